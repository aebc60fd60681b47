"""The head of a model card in YAML, which the hub reads: mappings, lists and scalars in block style."""

import json
from collections.abc import Mapping
from typing import Any


def front_matter(fields: Mapping[str, Any]) -> str:
    """Returns plain values as YAML between lines of dashes; strings are written as in JSON, which YAML contains."""
    return "---\n" + "".join(f"{line}\n" for line in _lines(fields)) + "---\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [line for key, part in value.items() for line in _entry(f"{key}:", part)]
    return [line for part in value for line in _item(part)]


def _entry(head: str, value: Any) -> list[str]:
    if isinstance(value, Mapping | list | tuple) and value:
        return [head, *(f"  {line}" for line in _lines(value))]
    return [f"{head} {json.dumps(value, ensure_ascii=False)}"]


def _item(value: Any) -> list[str]:
    if isinstance(value, Mapping | list | tuple) and value:
        first, *others = _lines(value)
        return [f"- {first}", *(f"  {line}" for line in others)]
    return [f"- {json.dumps(value, ensure_ascii=False)}"]

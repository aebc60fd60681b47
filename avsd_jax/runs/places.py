"""Folders of a machine in the record of a run: they mean nothing on another one."""

from typing import Any

from ml_collections import ConfigDict

from avsd_jax.common import hub
from avsd_jax.common.programs import AUTO

# Of fields that are folders alone.
_DEFAULTS: dict[str, Any] = {"data_dir": "data", "target_maps": "", "compilation_cache": AUTO}


def without_folders(config: ConfigDict) -> ConfigDict:
    """Returns a copy of a record with the defaults of its fields that are folders; addresses on a hub stay."""
    result = config.copy_and_resolve_references()
    parts = {part: _public(place) for part, place in dict(result.get("init_parts", {})).items()}
    changed = _DEFAULTS | {"init": _public(result.get("init", "")), "init_parts": {k: v for k, v in parts.items() if v}}
    begun = {changed["init"], *changed["init_parts"].values()}
    changed["revisions"] = tuple(pair for pair in result.get("revisions", ()) if pair[0] in begun)
    with result.unlocked(), result.ignore_type():
        for field, value in changed.items():
            if field in result:
                result[field] = ConfigDict(value) if isinstance(value, dict) else value
    return result


def _public(place: Any) -> str:
    return place if isinstance(place, str) and hub.is_address(place) else ""

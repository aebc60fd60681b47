"""The commands of the package, found without importing them."""

import ast
import functools
import re
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


@functools.cache
def purposes() -> dict[str, str]:
    """Returns the names of the commands, in alphabetical order, and what each is for.

    A command is a file directly in `avsd_jax`, or the `__main__` of a subpackage, that defines `main`. Its purpose is
    the first sentence of its docstring, up to a colon.
    """
    files = {path.stem: path for path in _PACKAGE.glob("*.py") if not path.stem.startswith("_")}
    files |= {path.parent.name: path for path in _PACKAGE.glob("*/__main__.py")}
    trees = {name: ast.parse(files[name].read_text(encoding="utf-8")) for name in sorted(files)}
    return {name: _purpose(tree) for name, tree in trees.items() if _is_command(tree)}


def _is_command(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def _purpose(tree: ast.Module) -> str:
    text = " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())
    return re.split(r"[.:](?: |$)", text, maxsplit=1)[0]

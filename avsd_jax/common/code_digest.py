"""A digest of code: of files of this package, and of all of the package that they import."""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def digest(*modules: str, package: Path = PACKAGE) -> str:
    """Returns the SHA-256 of the source of modules and of whatever of the package they import, directly or not.

    What is imported by a computed name, such as a model, does not count.

    Args:
        modules: dotted names, such as `avsd_jax.scoring.scorer`.
        package: folder of the package whose files count.

    Raises:
        FileNotFoundError: a module is not in the package.
    """
    found = hashlib.sha256()
    for file in files(*modules, package=package):
        found.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


def files(*modules: str, package: Path = PACKAGE) -> list[Path]:
    """Returns the files that `digest` reads, in order of their paths."""
    seen: set[Path] = set()
    left = []
    for module in modules:
        file = _file(module, package)
        if file is None:
            raise FileNotFoundError(f"{package} has no module {module}")
        left.append(file)
    while left:
        file = left.pop()
        if file not in seen:
            seen.add(file)
            left += [found for name in _imported(file) if (found := _file(name, package)) is not None]
    return sorted(seen)


def _imported(file: Path) -> set[str]:
    """Returns the dotted names that may be modules, of all imports anywhere in a file."""
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@functools.lru_cache(maxsize=4096)
def _file(module: str, package: Path) -> Path | None:
    """Returns the file of a module of the package; None of what is none."""
    first, *parts = module.split(".")
    if first != package.name:
        return None
    path = package.joinpath(*parts)
    choices = (path.with_suffix(".py"), path / "__init__.py")
    return next((choice for choice in choices if choice.is_file()), None)

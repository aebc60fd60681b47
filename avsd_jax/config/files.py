"""Location of configuration files."""

import runpy
from pathlib import Path

from avsd_jax.errors import InputError

_HERE = Path(__file__).parents
# Within the package where it is installed, beside it in a checkout.
PACKAGED_CONFIGS = _HERE[1 if (_HERE[1] / "configs").is_dir() else 2] / "configs"


def find_config(argument: str) -> str:
    """Returns the path of a configuration file; that of the packaged one if the given path does not exist.

    Raises:
        InputError: there is no such file.
    """
    path, _, variant = argument.partition(":")
    if Path(path).is_file():
        return argument
    packaged = PACKAGED_CONFIGS / Path(path).name
    if not packaged.is_file():
        raise InputError(f"no configuration file {path}: give the path of one, such as {', '.join(shipped())}")
    return f"{packaged}:{variant}" if variant else str(packaged)


def shipped() -> list[str]:
    """Returns the configuration files that come with the package, as `find_config` takes them."""
    return [f"configs/{path.name}" for path in sorted(PACKAGED_CONFIGS.glob("*.py"))]


def variants(config: str) -> list[str]:
    """Returns the variants of a configuration file that comes with the package."""
    return list(runpy.run_path(str(PACKAGED_CONFIGS / Path(config).name))["VARIANTS"])

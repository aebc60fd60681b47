"""Location of configuration files."""

from pathlib import Path

from avsd_jax.errors import InputError

PACKAGED_CONFIGS = Path(__file__).parent / "configs"


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
        shipped = ", ".join(f"configs/{p.name}" for p in sorted(PACKAGED_CONFIGS.glob("*.py"))) or "configs/avinet.py"
        raise InputError(f"no configuration file {path}: give the path of one, such as {shipped}")
    return f"{packaged}:{variant}" if variant else str(packaged)

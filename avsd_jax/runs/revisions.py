"""The commits of the models on a hub that a run starts from: looked up once and kept, also when the run resumes."""

import json
from pathlib import Path

from ml_collections import ConfigDict

from avsd_jax.common import hub
from avsd_jax.config.fields import check_fields
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import CONFIG_FILE


def given_folders(config: ConfigDict) -> dict[str, str]:
    """Returns the runs that the configured one starts from as they are given, by submodule; "" is the whole model."""
    return {part: folder for part, folder in {"": config.init, **config.init_parts}.items() if folder}


def at_recorded(place: str, config: ConfigDict) -> str:
    """Returns an address at the commit that a configuration records for it; a folder as it is."""
    commits = dict(tuple(pair) for pair in config.get("revisions", ()))
    return hub.at(place, commits[place]) if place in commits else place


def with_commits(config: ConfigDict, workdir: Path, look_up: bool = True) -> ConfigDict:
    """Returns a configuration whose `revisions` has the commit of each address that it starts from.

    Args:
        config: of the run.
        workdir: its folder; a commit in its record, or that of one of its rows, is kept.
        look_up: whether the hub is asked for the others, and their models downloaded.

    Raises:
        InputError: an address is spelled wrong; or see `avsd_jax.common.hub.folder`.
    """
    if not isinstance(config, ConfigDict) or not {"init", "init_parts"} <= set(config):  # which is refused later
        return config
    check_fields(config, ("init", "init_parts", "revisions", "rows"))
    places = sorted({place for place in given_folders(config).values() if hub.is_address(place)})
    if not places:
        return config
    folders = [workdir, *(workdir / name for name in config.get("rows", ()))]
    commits = {address: commit for folder in folders for address, commit in _recorded(folder)}
    commits |= {address: commit for address, commit in config.get("revisions", ())}
    for place in places if look_up else ():
        if place not in commits:
            try:
                commits[place] = hub.Address.of(hub.pinned(place)).revision
            except InputError as error:
                raise InputError(f"{_field(place, config)}: {error}") from error
    result = config.copy_and_resolve_references()
    with result.unlocked(), result.ignore_type():
        result.revisions = tuple((place, commits[place]) for place in places if place in commits)
    return result


def _recorded(folder: Path) -> list[tuple[str, str]]:
    """Returns the commits in the record of a run; none if there is no record, or a damaged one, which others report."""
    try:
        record = json.loads((folder / CONFIG_FILE).read_text())
        return [(str(address), str(commit)) for address, commit in record.get("revisions", ())]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return []


def _field(place: str, config: ConfigDict) -> str:
    part = next(part for part, given in given_folders(config).items() if given == place)
    return f"init_parts.{part}" if part else "init"

"""The folder of a shared model: weights, record, calibration, model card."""

import contextlib
import filecmp
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from absl import logging

from avsd_jax import models
from avsd_jax.common import atomic_files, atomic_folders, hub, staging
from avsd_jax.common.wording import some
from avsd_jax.errors import InputError, storage_error
from avsd_jax.runs import temperature, weights_file
from avsd_jax.runs.checkpoint import write_config
from avsd_jax.sharing.card import card
from avsd_jax.sharing.record import Record

CARD = "README.md"


def weights_of(record: Record) -> weights_file.Kept:
    """Returns the arrays of a model that are shared; none of a model without weights.

    Raises:
        InputError: they are not those of the model, or not finite.
    """
    if not models.is_learned(record.config.model_name):
        return weights_file.Kept({}, (), ())
    kept = weights_file.kept(record.config, record.variables, record.source)
    if kept.left_out:
        logging.warning(
            "%s: %d arrays that the model does not use are left out (%s)",
            record.source,
            len(kept.left_out),
            some(kept.left_out, 3, ", "),
        )
    return kept


def card_of(record: Record, kept: weights_file.Kept, address: str, licence: str) -> str:
    """Returns the model card; see `avsd_jax.sharing.card.card`."""
    return card(record, kept, address, licence, version("avsd-jax"))


def fill(folder: Path, record: Record, text: str, kept: weights_file.Kept, max_bytes: int) -> None:
    """Writes the files of a shared model into an empty folder; equal models give equal bytes.

    Raises:
        InputError, StorageError, OSError: a file cannot be written.
    """
    write_config(folder, record.config)
    if record.calibration is not None:
        temperature.write(folder, record.calibration)
    if kept.arrays:
        weights_file.write(folder, kept, record.step, max_bytes)
    atomic_files.write_text(folder / CARD, text)


def write(
    out: str | Path,
    record: Record,
    text: str,
    kept: weights_file.Kept,
    max_bytes: int,
    overwrite: bool = False,
) -> bool:
    """Writes a shared model into a new folder, completely or not at all.

    Args:
        out: folder; one that holds the same files is left as it is.
        record: of the model.
        text: its card.
        kept: its weights.
        max_bytes: of one file of weights.
        overwrite: replace another shared model in `out`.

    Returns:
        Whether it was written; False: it was there already.

    Raises:
        InputError: `out` holds something else, or cannot be written to.
        StorageError: the disk is full or read-only.
    """
    out = Path(out)
    if not out.is_dir() or out.is_symlink() or not any(out.iterdir()):
        with staging.new_folder(out) as folder:
            fill(folder, record, text, kept, max_bytes)
        return True
    strange = sorted(path.name for path in out.iterdir() if not _is_ours(path))
    if strange or not (out / hub.CONFIG).is_file():
        found = some(strange, 3, ", ") or "no config.json"
        raise InputError(f"{out} holds no shared model ({found}): give a new folder")
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{out.name}-", suffix=".partial", dir=out.absolute().parent
        ) as beside:
            folder = Path(beside) / "new"
            folder.mkdir()
            fill(folder, record, text, kept, max_bytes)
            if _same(folder, out):
                return False
            if not overwrite:
                raise InputError(f"{out} holds another shared model: give a new folder, or --overwrite")
            atomic_folders.exchange(folder, out.absolute(), Path(beside) / "old")
    except OSError as error:
        raise storage_error(error, out) or InputError(
            f"{out} cannot be written ({error.strerror or error}): give another folder"
        ) from error
    return True


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """Yields an empty folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="avsd-share-") as folder:
        yield Path(folder)


def _is_ours(path: Path) -> bool:
    known = (CARD, hub.CONFIG, hub.WEIGHTS, hub.INDEX, *hub.OPTIONAL)
    return path.is_file() and not path.is_symlink() and (path.name in known or bool(hub.SHARDS.fullmatch(path.name)))


def _same(one: Path, other: Path) -> bool:
    names = [sorted(path.name for path in folder.iterdir()) for folder in (one, other)]
    return names[0] == names[1] and filecmp.cmpfiles(one, other, names[0], shallow=False)[0] == names[0]

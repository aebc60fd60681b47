"""Building of a dataset, by one process at a time."""

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath

from avsd_jax.common import atomic_files, atomic_folders, beam, file_locks, logs, safe_paths
from avsd_jax.common.worker_processes import one_thread_each
from avsd_jax.data.catalog import (
    is_prepared,
    load_builder,
    open_builder,
)
from avsd_jax.errors import InputError, storage_error
from avsd_jax.sources.check import Report

_INCOMPLETE = "incomplete."  # TFDS's name for the folder of a build in progress


ASIDE = "replaced"  # temporary name of a build that is being replaced


def build(
    name: str,
    data_dir: str | Path,
    *,
    manual_dir: str | Path | None = None,
    skip_missing: bool = False,
    overwrite: bool = False,
    num_workers: int = 1,
    beam_options: Sequence[str] | None = None,
    report: Report | None = None,
) -> bool:
    """Builds a dataset, unless it exists already.

    The files are written to a folder beside the final one, which is renamed at the end: a build that fails or is killed
    leaves nothing that looks complete, and an earlier build unchanged; the next one removes the remains. One
    process builds at a time; others wait for it. The progress over videos is shown instead of TFDS's own bars.

    Args:
        name: `name` or `name/config`.
        data_dir: folder of built datasets, on this machine's file system.
        manual_dir: root of the user's source files, for datasets that need them.
        skip_missing: skip a video that lacks a file, instead of stopping; it is listed in the metadata.
        overwrite: build an existing dataset again; the old files stay until the new ones are complete.
        num_workers: number of processes.
        beam_options: flags for Apache Beam, which is then used for the build, such as ["--runner=FlinkRunner"].
        report: result of a check of `manual_dir`; None to check now.

    Returns:
        False if the dataset existed already.

    Raises:
        InputError: no such dataset or config; the source files are wrong, and the message lists all problems;
            or the existing dataset is damaged or was built with other settings (`overwrite` fixes it).
        StorageError: the disk is full or read-only.
    """
    check_folder_names(data_dir, manual_dir)
    builder = load_builder(name, data_dir)
    target = Path(builder.data_path)
    folder = target.parent
    with _lock(folder):
        atomic_folders.restore(target, folder / ASIDE)
        if is_prepared(builder) and not overwrite:
            open_builder(name, data_dir)  # another process may have built it while this one waited
            return False
        for stale in folder.glob(f"{_INCOMPLETE}*"):
            shutil.rmtree(stale)
        tfds.disable_progress_bar()
        config = tfds.download.DownloadConfig()
        config.manual_dir = manual_dir and epath.Path(manual_dir).expanduser()
        config.beam_options = beam.pipeline_options(beam_options)
        logs.stage(f"building {name}")
        with _place(name, data_dir, target) as place:
            fresh = load_builder(name, place)
            fresh.num_workers, fresh.skip_missing, fresh.report = num_workers, skip_missing, report
            # TFDS announces downloads, but there are none.
            with contextlib.redirect_stdout(io.StringIO()), one_thread_each():
                fresh.download_and_prepare(download_config=config)
    return True


@contextlib.contextmanager
def _place(name: str, data_dir: str | Path, target: Path) -> Iterator[str | Path]:
    """Yields the data folder to build in: a temporary one if the dataset exists, from which it is then replaced.

    TFDS would remove the old dataset before it reads anything.
    """
    if not target.exists():
        yield data_dir
        return
    place = target.parent / f"{_INCOMPLETE}new"
    try:
        yield place
        atomic_folders.exchange(Path(load_builder(name, place).data_path), target, target.parent / ASIDE)
    except OSError as error:
        full = storage_error(error, target.parent)
        if full is None:
            raise
        raise full from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def check_folder_names(*folders: str | Path | None) -> None:
    """Refuses folders whose names cannot be printed, nor read by FFmpeg."""
    for folder in folders:
        if folder is not None and not safe_paths.is_text(str(folder)):
            raise InputError(f"the folder {str(folder)!r} has a name that is not UTF-8: rename it")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds the folder's build lock, which the system releases when its process ends."""
    atomic_files.make_folder(folder)
    lock = folder / ".build_lock"
    try:
        lock.touch()
    except OSError as error:
        raise storage_error(error, folder) or InputError(
            f"{folder} cannot be written to ({error.strerror}): give another folder"
        ) from error
    with lock.open("w") as file:
        try:
            file_locks.lock(file)
        except BlockingIOError:
            print(f"waiting for another process that builds in {folder}", file=sys.stderr)
            file_locks.lock(file, wait=True)
        yield

"""What the Label page needs of a video before it is shown: its frames' times and places, and the strip of its audio."""

import shutil
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avsd_jax.common import atomic_files
from avsd_jax.common.file_digest import sha256
from avsd_jax.errors import InputError, storage_error
from avsd_jax.labelling import strip
from avsd_jax.media.exact_frames import FrameIndex, index_frames
from avsd_jax.media.reading import VideoInfo

_INDEX = "frames.npz"
_STAGED = ".preparing-"


class Prepared(NamedTuple):
    """A prepared video: its folder, frames, whether there is a strip of its audio, and the SHA-256 of its file."""

    folder: Path
    index: FrameIndex
    audio: bool
    digest: str


def load(folder: Path) -> Prepared | None:
    """Loads what `prepare` made; None if it is not there, not readable, or without a digest, as older ones are."""
    try:
        with np.load(folder / _INDEX, allow_pickle=False) as found:
            index = FrameIndex(found["times"], found["stamps"], found["keys"], bool(found["exact"]))
            return Prepared(folder, index, bool(found["audio"]), str(found["digest"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def prepare(folder: Path, info: VideoInfo, progress: Callable[[int, bool], None]) -> Prepared:
    """Decodes a video once and writes the result; the folder has its name when all of it is there.

    Args:
        folder: to write; what it held is replaced.
        info: what `probe` says of the video.
        progress: is called with the number of frames so far, then with that of columns of audio, and whether it is the
            latter; an exception that it raises ends the work, of which nothing is left.

    Raises:
        InputError: the video cannot be read.
        StorageError: the disk is full or read-only.
    """
    atomic_files.make_folder(folder.parent)
    staged = folder.parent / f"{_STAGED}{uuid.uuid4().hex}"
    try:
        staged.mkdir()
        index = index_frames(info.path, lambda done: progress(done, False))
        digest = sha256(info.path)
        audio = info.audio is not None
        if audio:
            try:
                strip.write(staged, info.path, info.start, lambda done: progress(done, True))
            except InputError:  # the audio alone is damaged: the pictures can be seen all the same
                audio = False
        named = {**index._asdict(), "audio": audio, "digest": digest}
        np.savez(staged / _INDEX, **named)
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)
    except OSError as error:
        raise storage_error(error, folder) or InputError(
            f"{folder} cannot be written ({error.strerror}): give another folder"
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Prepared(folder, index, audio, digest)


def finished(parent: Path) -> list[Path]:
    """Returns the folders of videos that the Label page has prepared below a folder."""
    found = parent.iterdir() if parent.is_dir() else ()
    return [path for path in found if (path / _INDEX).is_file() and not path.name.startswith(_STAGED)]


def remove_unfinished(parent: Path) -> None:
    """Removes what a killed program left of preparations below a folder."""
    for left in parent.glob(f"{_STAGED}*"):
        shutil.rmtree(left, ignore_errors=True)

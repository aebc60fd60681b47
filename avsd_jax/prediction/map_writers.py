"""Output files of a prediction: a hidden folder until all are complete, and the writers of maps."""

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from avsd_jax.common import file_locks
from avsd_jax.errors import InputError, storage_error
from avsd_jax.media.reading import VideoInfo
from avsd_jax.media.writing import GreyVideoWriter

VIDEO_RECORD, PICTURES_RECORD = "timeline.json", "pictures.json"
# Likewise of the consistency of a video, and its table.
CONSISTENCY_RECORD, CONSISTENCY_TABLE = "consistency.json", "consistency.csv"
FRAMES_PER_FILE = 100

_PREFIX = ".predict-"
# The maps that this program writes: those of an earlier prediction are recognised by their names.
_MAP_NAME = re.compile(r"\d{6,}\.(png|npz)|pred_sal_\d{6,}\.jpg|saliency\.mp4")
# In the output folder while files are moved there: it stays where the process is killed meanwhile.
_UNFINISHED = ".predict-unfinished"


def overlay_name(folder: Path, stem: str) -> str:
    """Returns the name of a video's overlay."""
    return fitting_name(folder, stem, "_overlay.mp4")


def fitting_name(folder: Path, stem: str, end: str) -> str:
    """Returns the name of a file, whose stem is truncated if it is too long for the disk of its folder."""
    try:
        longest = os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        longest = 255
    return os.fsdecode(os.fsencode(stem)[: longest - len(end)]).encode(errors="ignore").decode() + end


def check_folder(out: Path, video: str) -> None:
    """Checks that `out` holds no prediction of another video, because the maps of the two would be mixed up, and no
    file of something else with the name of a record.

    Args:
        out: the output folder; need not exist.
        video: name of the video's file.

    Raises:
        InputError: it does.
    """
    if os.path.exists(out / PICTURES_RECORD):
        refuse_foreign(out / PICTURES_RECORD, "source")
        raise InputError(f"{out} holds the prediction of pictures: give another --out, or remove that folder")
    if holds(out, VIDEO_RECORD, video, "prediction"):
        return
    refuse_foreign(out / VIDEO_RECORD, "video")
    if any(_earlier_maps(out)):
        raise InputError(f"{out / 'maps'} holds maps of an unknown video: give another --out, or remove that folder")


def holds(out: Path, record: str, video: str, what: str, field: str = "video") -> bool:
    """Returns whether `out` holds an earlier result for the same video; False if there is no readable record.

    Args:
        out: the output folder; need not exist.
        record: name of the file in it that names the video.
        video: name of the video's file.
        what: the kind of result, for the message.
        field: of the record, which holds that name.

    Raises:
        InputError: it is of another video.
    """
    held = _named(out / record, field)
    if held is None:
        return False
    if held != video:
        raise InputError(f"{out} holds the {what} of {held}: give another --out, or remove that folder")
    return True


def refuse_foreign(record: Path, field: str) -> None:
    """Checks that a file with the name of a record, which need not exist, is of a prediction.

    Args:
        record: the file.
        field: of a record, which names what was predicted.

    Raises:
        InputError: it is not, or cannot be read.
    """
    if os.path.lexists(record) and _named(record, field) is None:
        raise InputError(f"{record} is not of a prediction: give another --out, or move that file elsewhere")


def _named(record: Path, field: str) -> str | None:
    """Returns what a record names; None if there is no readable one."""
    try:
        held = json.loads(record.read_text())[field]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return held if isinstance(held, str) else None


def _earlier_maps(out: Path) -> Iterator[Path]:
    """Yields the map files in an output folder."""
    maps = out / "maps"
    return (p for p in (maps.iterdir() if os.path.isdir(maps) else ()) if _MAP_NAME.fullmatch(p.name) and p.is_file())


def earlier_files(out: Path, stem: str) -> Iterator[Path]:
    """Yields the maps in an output folder and the overlay of its video, whose file has that stem."""
    yield from _earlier_maps(out)
    if (overlaid := out / overlay_name(out, stem)).is_file():
        yield overlaid


def is_whole(out: Path) -> bool:
    """Returns whether no process was killed while it moved results into an output folder."""
    return not os.path.exists(out / _UNFINISHED)


class Staging:
    """A hidden folder inside the output folder, whose files are moved there when all are complete.

    It is a context manager: whatever is not published by `publish` is removed, and so is the output folder if it
    was created here. Hidden folders of killed processes are removed at the start: a lock, which the system
    releases with the process, distinguishes them from those of running ones.

    Attributes:
        folder: the folder to write to.

    Args:
        out: the output folder; created if missing.
        record: the file that names the video.
        earlier: finds what an earlier result may have left besides the files that replace it.

    Raises:
        InputError: it cannot be created or written to.
        StorageError: the disk is full or read-only, at the start or within the context.
    """

    def __init__(
        self,
        out: Path,
        record: str = VIDEO_RECORD,
        earlier: Callable[[Path], Iterable[Path]] = _earlier_maps,
    ):
        self._out = out
        self._record = record
        self._earlier = earlier
        self._made = [folder for folder in (out, *out.parents) if not os.path.exists(folder)]
        self._lock: int | None = None

    def __enter__(self) -> "Staging":
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            for leftover in self._out.glob(f"{_PREFIX}*"):
                if leftover.is_dir() and not leftover.is_symlink() and _abandoned(leftover):
                    shutil.rmtree(leftover, ignore_errors=True)
            self._hidden = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._out))
            self._lock = _lock(self._hidden, os.O_CREAT)
            self.folder = self._hidden / "files"
            self.folder.mkdir()
        except OSError as error:
            self._remove_made()
            raise storage_error(error, self._out) or InputError(
                f"{self._out} cannot be written to ({error.strerror}): give another --out"
            ) from error
        return self

    def publish(self) -> tuple[Path, ...]:
        """Moves all files into the output folder and removes those of an earlier prediction; returns their paths.

        Files that no prediction wrote stay.

        Raises:
            InputError: a folder has the name of a file to write, or the reverse.
        """
        files = sorted(p for p in self.folder.rglob("*") if p.is_file())
        # The record first: a run that is killed in between can be repeated, because the folder names the video.
        files.sort(key=lambda p: p.name != self._record)
        targets = [self._out / p.relative_to(self.folder) for p in files]
        for target in targets:
            if target.is_dir() or target.parent.is_file():
                taken = target if target.is_dir() else target.parent
                raise InputError(f"{taken} is in the way of the results: remove it or give another --out")
        (self._out / _UNFINISHED).touch()
        for source, target in zip(files, targets, strict=True):
            target.parent.mkdir(exist_ok=True)
            os.replace(source, target)
        self._made = []
        for stale in set(self._earlier(self._out)) - set(targets):
            stale.unlink()
            with contextlib.suppress(OSError):  # it holds more files
                stale.parent.rmdir()
        (self._out / _UNFINISHED).unlink(missing_ok=True)
        return tuple(sorted(targets))

    def _remove_made(self) -> None:
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._hidden, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
        self._remove_made()
        # Writers of many libraries fill the disk, each with an exception of its own.
        full = storage_error(error, self._out) if isinstance(error, Exception) else None
        if full is not None:
            raise full from error


def _lock(folder: Path, flags: int = 0) -> int | None:
    """Locks a folder until this process ends; None if locks are unavailable (Windows, some network disks).

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: the folder was never locked.
    """
    handle = os.open(folder / "lock", os.O_RDWR | flags)
    try:
        file_locks.lock(handle)
        return handle
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        pass
    os.close(handle)
    return None


def _abandoned(folder: Path) -> bool:
    """Returns whether no running process owns a hidden folder."""
    for _ in range(2):
        try:
            handle = _lock(folder)
        except FileNotFoundError:
            time.sleep(0.1)  # its owner may be about to lock it
            continue
        except OSError:
            return False
        if handle is None:
            return False
        os.close(handle)
        return True
    return True


class NoMaps:
    """Writes nothing.

    Attributes:
        in_order: whether frames have to come in their order, one at a time.
    """

    in_order = False

    def __init__(self, folder: Path, info: VideoInfo):
        del folder, info

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Takes the map of a frame: the model's, and its 8-bit image at the frame's size."""

    def close(self) -> None:
        """Writes the remaining maps."""


class PngMaps(NoMaps):
    """A PNG per frame at the frame's size, min-max normalised to 8 bits."""

    def __init__(self, folder: Path, info: VideoInfo):
        del info
        folder.mkdir()
        self._folder = folder

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Writes `%06d.png`."""
        del time, saliency
        # OpenCV's encoder is ten times faster than Pillow's at its default.
        _, data = cv2.imencode(".png", grey)
        (self._folder / f"{index:06d}.png").write_bytes(data.tobytes())


class NpzMaps(NoMaps):
    """The model's own maps, `FRAMES_PER_FILE` per file, each named by its first frame."""

    in_order = True

    def __init__(self, folder: Path, info: VideoInfo):
        del info
        folder.mkdir()
        self._folder = folder
        self._rows: list[tuple[int, float, np.ndarray]] = []

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Keeps the map until its file is full."""
        del grey
        self._rows.append((index, time, saliency))
        if len(self._rows) == FRAMES_PER_FILE:
            self.close()

    def close(self) -> None:
        """Writes the current file."""
        if self._rows:
            frames, times, maps = zip(*self._rows, strict=True)
            path = self._folder / f"{frames[0]:06d}.npz"
            # Compressing floats takes 40 times as long, and the file is an eighth smaller.
            np.savez(path, frames=np.array(frames), times=np.array(times), saliency=np.stack(maps))
        self._rows = []


class StavisMaps(NoMaps):
    """Maps as STAViS's script writes them: the model's map, min-max normalised to 0..255 and truncated, as grey JPEG.

    `pred_sal_%06d.jpg`, counted from 1; a constant map, for which the script divides by zero, is black. Unlike the
    script, this writes the first eight frames, too; the `stavis` protocol does not score them.
    """

    def __init__(self, folder: Path, info: VideoInfo):
        del info
        folder.mkdir()
        self._folder = folder

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Writes the file of a frame."""
        del time, grey
        low, high = saliency.min(), saliency.max()
        levels = (255 * (saliency - low) / (high - low if high > low else 1)).astype(np.uint8)
        Image.fromarray(levels).save(self._folder / f"pred_sal_{index + 1:06d}.jpg", quality=75)


class VideoOfMaps(NoMaps):
    """A grey video of the maps as `PngMaps` has them, to 2 levels, frame by frame at the times of the source."""

    in_order = True

    def __init__(self, folder: Path, info: VideoInfo):
        folder.mkdir()
        self._video = GreyVideoWriter(folder / "saliency.mp4", info)

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Appends a frame."""
        del index, saliency
        self._video.write(grey, time)

    def close(self) -> None:
        """Completes the file."""
        self._video.close()


MAP_WRITERS = {"png": PngMaps, "npz": NpzMaps, "stavis": StavisMaps, "mp4": VideoOfMaps, "none": NoMaps}

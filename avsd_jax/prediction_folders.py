"""Reads anybody's predicted maps: a folder with one folder (or one `.npz`) per video.

Known layouts, found by the files' names:

  stavis    <video>/pred_sal_000009.jpg ...   frames counted from 1; what STAViS and STANet write
  vinet     <video>/img_00001.jpg ...         frames counted from 1; ViNet keeps the frames' own file names
  numbered  <video>/000000.png ...            any other picture names that end in the frame's number, with the same
                                              letters before it; `avsd_jax.predict --out=<video>` writes them in maps/
  npz       <video>.npz or <video>/*.npz      `saliency` [n, h, w], and `frames` [n] counted from 0 (none: 0 to n - 1);
                                              what `avsd_jax.predict --maps=npz --out=<video>` writes in maps/

Pictures may be grey or in colour (the first channel counts), of 8 or 16 bits and of any size.
"""

import hashlib
import itertools
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Num
from PIL import Image

from avsd_jax.errors import InputError

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
_NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<number>\d+)$")
_ONE_BASED = {"pred_sal_": "stavis", "img_": "vinet"}
_LOOKED_FOR = (
    "<video>/pred_sal_000009.jpg (STAViS), <video>/img_00001.jpg (ViNet), <video>/000000.png (pictures named by frame "
    "number, also in <video>/maps), <video>.npz or <video>/*.npz"
)


@dataclass(frozen=True)
class VideoMaps:
    """Where a video's maps are.

    Attributes:
        files: frame (from 0) -> picture; empty for `npz`.
        archives: `.npz` files in the order of their names; empty for pictures.
        beyond: how many pictures are numbered past the end of the video; they are ignored.
    """

    files: Mapping[int, Path] = field(default_factory=dict)
    archives: tuple[Path, ...] = ()
    beyond: int = 0

    def fingerprint(self) -> str:
        """A digest of the files' frames, names, sizes and times: it changes when a prediction does."""
        digest = hashlib.sha256()
        for frame, path in (*self.files.items(), *enumerate(self.archives)):
            stat = path.stat()
            digest.update(f"{frame}\0{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class PredictionFolder:
    """The maps found for the videos of a split.

    Attributes:
        root: the folder.
        layout: "stavis", "vinet", "numbered" or "npz".
        first_frame: the number of the first frame in file names.
        videos: video id -> its maps; videos without any are left out.
        unused: folders and archives that belong to no video of the split.
    """

    root: Path
    layout: str
    first_frame: int
    videos: dict[str, VideoMaps]
    unused: tuple[str, ...]


def find(
    root: str | Path, dataset: str, num_frames: Mapping[str, int], first_frame: int | None = None
) -> PredictionFolder:
    """Finds the predictions of a split.

    Args:
        root: folder with a folder or an archive per video; or, as in STAViS' results, with a folder named like the
            dataset that has them.
        dataset: its name.
        num_frames: video id -> number of frames.
        first_frame: 0 or 1, what plain numbered files count from; None: found out.

    Raises:
        InputError: there are no predictions, they mix layouts, or cannot be told apart; the message says what was
            looked for.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"no folder {root}: give --predictions the folder that holds one folder of maps per video")
    named = [p for p in sorted(root.iterdir()) if p.is_dir() and p.name.lower() == dataset.partition("/")[0].lower()]
    for base in (root, *named):
        found = {video: entry for video in num_frames if (entry := _look(base, video)) is not None}
        if found:
            return _assemble(base, found, num_frames, first_frame)
    present = sorted(p.name for p in itertools.islice(root.iterdir(), 1000))
    wanted = sorted(num_frames)
    raise InputError(
        f"{root} holds no predictions for the videos of {dataset} ({_some(wanted)}): looked for {_LOOKED_FOR}; "
        f"it has {_some(present) or 'nothing'}"
    )


def read(video: VideoMaps) -> Iterator[tuple[int, Num[np.ndarray, "h w"], bool]]:
    """Yields (frame, map, whether it came from a picture), one map in memory at a time.

    Raises:
        InputError: a file is damaged; the message names it.
    """
    for frame, path in video.files.items():
        yield frame, read_picture(path), True
    for path in video.archives:
        for frame, values in _read_archive(path):
            yield frame, values, False


def read_picture(path: Path) -> Num[np.ndarray, "h w"]:
    """The first channel of a picture: uint8, or uint16 where it has 16 bits.

    Raises:
        InputError: it is damaged, or of a kind that holds no levels.
    """
    try:
        with Image.open(path) as image:
            if image.mode in ("1", "P", "PA"):
                image = image.convert("RGB")  # an index of colours is no level
            values = np.asarray(image)
    # What Pillow raises at damaged files, by format; OSError also where the file cannot be read.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is damaged or no picture ({error}): write it again") from error
    values = values if values.ndim == 2 else values[..., 0]
    if values.dtype == np.int32 and values.size and values.min() >= 0 and values.max() <= 65535:
        values = values.astype(np.uint16)  # how older Pillows open 16-bit PNGs
    if values.dtype not in (np.uint8, np.uint16) or not values.size:
        raise InputError(f"{path} has pixels of type {values.dtype}: write maps as pictures of 8 or 16 bits")
    return values


# ---------------------------------------------------------------------------------------------------------------------
# Finding
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """What lies in a video's place: archives, or pictures {prefix: {number: path}}."""

    archives: tuple[Path, ...]
    pictures: dict[str, dict[int, Path]]


def _look(base: Path, video: str) -> _Entry | None:
    """The files in a video's place; None where there are none."""
    single = base / f"{video}.npz"
    folder = base / video
    if (folder / "maps").is_dir():
        folder = folder / "maps"
    inside = (
        sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")) if folder.is_dir() else []
    )
    archives = ((single,) if single.is_file() else ()) + tuple(p for p in inside if p.suffix.lower() == ".npz")
    pictures: dict[str, dict[int, Path]] = {}
    for path in inside:
        match = _NUMBERED.match(path.stem)
        if path.suffix.lower() not in _PICTURES or not match:
            continue
        numbers = pictures.setdefault(match["prefix"], {})
        number = int(match["number"])
        if number in numbers:
            raise InputError(f"{folder} has two pictures of frame {number}: {numbers[number].name} and {path.name}")
        numbers[number] = path
    return _Entry(archives, pictures) if archives or pictures else None


def _assemble(
    base: Path, found: Mapping[str, _Entry], num_frames: Mapping[str, int], first_frame: int | None
) -> PredictionFolder:
    layouts = {video: _layout(base, video, entry) for video, entry in found.items()}
    (first_video, layout), *others = layouts.items()
    for video, other in others:
        if other != layout:
            raise InputError(
                f"{base} mixes layouts: {first_video!r} is {layout}, {video!r} is {other}; keep one per folder"
            )
    numbers = {video: next(iter(entry.pictures.values()), {}) for video, entry in found.items()}
    if layout == "npz":
        first, videos = 0, {video: VideoMaps(archives=entry.archives) for video, entry in found.items()}
    else:
        first = 1 if layout in _ONE_BASED.values() else _count_from(base, numbers, num_frames, first_frame)
        videos = {video: _frames(files, first, num_frames[video]) for video, files in numbers.items()}
    known = {name for video in num_frames for name in (video, f"{video}.npz")}
    others = (p for p in base.iterdir() if (p.is_dir() or p.suffix == ".npz") and not p.name.startswith("."))
    unused = sorted(p.name for p in others if p.name not in known)
    return PredictionFolder(base, layout, first, videos, tuple(unused))


def _layout(base: Path, video: str, entry: _Entry) -> str:
    kinds = [f"{prefix}<number>" for prefix in sorted(entry.pictures)] + ["npz"] * bool(entry.archives)
    if len(kinds) > 1:
        raise InputError(f"{base}, video {video!r} has files of several kinds ({', '.join(kinds)}): keep one")
    return "npz" if entry.archives else _ONE_BASED.get(next(iter(entry.pictures)), "numbered")


def _count_from(
    base: Path,
    numbers: Mapping[str, Mapping[int, Path]],
    num_frames: Mapping[str, int],
    first_frame: int | None,
) -> int:
    """Whether plain numbers count frames from 0 or from 1."""
    if first_frame is not None:
        return first_frame
    if any(0 in files for files in numbers.values()):
        return 0
    if any(num_frames[video] in files for video, files in numbers.items()):
        return 1
    raise InputError(
        f"{base}: do the files' numbers count frames from 0 or from 1? No video has a number 0, nor one equal to its "
        "number of frames: say --first_frame=0 or --first_frame=1"
    )


def _frames(files: Mapping[int, Path], first: int, num_frames: int) -> VideoMaps:
    inside = {number - first: path for number, path in sorted(files.items()) if 0 <= number - first < num_frames}
    return VideoMaps(files=inside, beyond=len(files) - len(inside))


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")


# ---------------------------------------------------------------------------------------------------------------------
# Archives
# ---------------------------------------------------------------------------------------------------------------------


# What is raised at damaged archives by zipfile and zlib, and by NumPy at damaged headers.
_OF_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError)
_OF_HEADERS = (ValueError, SyntaxError, tokenize.TokenError)


def _read_archive(path: Path) -> Iterator[tuple[int, Num[np.ndarray, "h w"]]]:
    """The maps of an `.npz`, streamed: a long video's array is never in memory as a whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            key = "saliency" if "saliency" in names or len(names) != 1 else names[0]
            if key not in names:
                raise InputError(f"{path} has no array `saliency` (it has {_some(names)}): name the maps so")
            frames = None
            if "frames" in names:
                with archive.open("frames.npy") as file:
                    frames = np.lib.format.read_array(file, allow_pickle=False)
            with archive.open(f"{key}.npy") as file:
                yield from _rows(path, file, frames)
    except (*_OF_ZIP, *_OF_HEADERS) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or no .npz of maps ({error}): write it again") from error


def _rows(path: Path, file: IO[bytes], frames: np.ndarray | None) -> Iterator[tuple[int, Num[np.ndarray, "h w"]]]:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if len(shape) != 3 or fortran or dtype.kind not in "fu" or min(shape[1:]) < 1:
        raise InputError(
            f"{path} has maps of shape {shape} and type {dtype}: write [n, h, w] in C order, floats or unsigned"
        )
    if frames is not None and (frames.shape != shape[:1] or frames.dtype.kind not in "iu"):
        raise InputError(f"{path} has {shape[0]} maps and `frames` of shape {frames.shape}: one whole number per map")
    size = dtype.itemsize * shape[1] * shape[2]
    for number in range(shape[0]) if frames is None else frames:
        data = file.read(size)
        if len(data) < size:
            raise InputError(f"{path} ends before its last map: write it again")
        yield int(number), np.frombuffer(data, dtype).reshape(shape[1:])

"""The files of predicted pictures: which ones there are, what theirs are called, and the writing of both."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

from avsd_jax.common.wording import printable
from avsd_jax.data.preprocessing.vinet import Preprocessing
from avsd_jax.errors import InputError
from avsd_jax.map_files.contents import children, composed, some
from avsd_jax.media import overlay, pictures
from avsd_jax.media.pictures import Picture
from avsd_jax.prediction.map_writers import PICTURES_RECORD, VIDEO_RECORD, fitting_name, holds, refuse_foreign

MAPS = ("png", "npz", "none")
_FOLDERS = ("maps", "overlays")
_JPEG_QUALITY = 92


class Found(NamedTuple):
    """The pictures of a prediction.

    Attributes:
        source: the file or the folder.
        paths: of the pictures, in the order of their names.
        notes: on what else is there.
    """

    source: Path
    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Returns the name of the file or folder, also of one that is given as `.` or `..`."""
        return Path(os.path.abspath(self.source)).name


def found(source: str | Path) -> Found | None:
    """Returns the pictures of a file or of a folder, not of those within it; None if the file is no still picture.

    Raises:
        InputError: the folder has no picture, or there is no file whose name is that of one.
    """
    source = Path(source)
    if source.suffix.lower() in pictures.SUFFIXES and not os.path.exists(source):
        raise InputError(f"{printable(source)} does not exist: give the path of a picture")
    # Unlike those of `Path`, these tell nothing of a path that cannot be asked.
    if not os.path.isdir(source):
        still = os.path.isfile(source) and pictures.is_picture(source) and not pictures.moves(source)
        return Found(source, (source,)) if still else None
    entries = children(source)
    paths = tuple(path for path in entries if os.path.isfile(path) and pictures.is_picture(path))
    if not paths:
        held = some([printable(path.name) for path in entries]) or "nothing"
        raise InputError(
            f"{source} has no pictures ({', '.join(pictures.SUFFIXES)}), but {held}: give a folder of pictures, or one "
            "video file"
        )
    taken = set(paths)
    rest = [printable(path.name) + "/" * os.path.isdir(path) for path in entries if path not in taken]
    notes = [f"left out, as they are no pictures: {some(rest, 20)}"] if rest else []
    if _numbered(paths):
        notes.append(
            "the names are numbered like the frames of a video, and each picture is predicted by itself: to predict "
            "them as one video, make a file of them (ffmpeg -framerate 25 -i %06d.png video.mp4)"
        )
    return Found(source, paths, tuple(notes))


def _numbered(paths: Sequence[Path]) -> bool:
    """Returns whether at least three names are the same but for numbers that follow each other."""
    starts = {path.stem.rstrip("0123456789") for path in paths}
    ends = [path.stem[len(path.stem.rstrip("0123456789")) :] for path in paths]
    if len(paths) < 3 or len(starts) > 1 or not all(ends):
        return False
    numbers = sorted(int(end) for end in ends)
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def output_names(
    folder: Path, paths: Sequence[Path], is_reserved: Callable[[str], bool] = lambda name: False
) -> list[str]:
    """Returns the name of each picture's output without its suffix: its own, with its suffix where two are the same.

    Args:
        folder: that they are written to, whose disk may limit the length.
        paths: of the pictures.
        is_reserved: whether no output may have a name; it keeps its suffix then, too.
    """
    shared = Counter(same_name(path.stem) for path in paths)
    taken: set[str] = set()
    names = []
    for path in paths:
        wanted = path.name if is_reserved(path.stem) or shared[same_name(path.stem)] > 1 else path.stem
        name = _fitting(folder, wanted)
        number = 1
        while same_name(name) in taken or is_reserved(name):
            number += 1
            name = _fitting(folder, wanted, f"-{number}")
        taken.add(same_name(name))
        names.append(name)
    return names


def _fitting(folder: Path, wanted: str, end: str = "") -> str:
    """Returns a name without a suffix that the disk of a folder takes; `wanted` may have no valid character."""
    valid = wanted.encode(errors="ignore").decode() or "picture"
    return fitting_name(folder, valid, f"{end}.png").removesuffix(".png")


def same_name(name: str) -> str:
    """Returns what is equal for names that some disk takes for one."""
    return composed(name).casefold()


def check_options(maps: str, overlaid: bool) -> None:
    """Checks how the results of pictures are written.

    Raises:
        InputError: the kind of maps is unknown or of videos, or nothing is asked for.
    """
    if maps not in MAPS:
        raise InputError(f"unknown kind of maps {maps!r} of pictures: choose one of {', '.join(MAPS)}")
    if maps == "none" and not overlaid:
        raise InputError("neither maps nor overlays of pictures are asked for: ask for one of them")


def check_folder(out: Path, source: str) -> None:
    """Checks that `out` holds no other prediction, because the maps of the two would be mixed up.

    Args:
        out: the output folder; need not exist.
        source: name of the picture or the folder of pictures.

    Raises:
        InputError: it holds the prediction of other pictures or of a video, or files of unknown ones.
    """
    if holds(out, PICTURES_RECORD, source, "prediction", "source"):
        return
    refuse_foreign(out / PICTURES_RECORD, "source")
    if os.path.exists(out / VIDEO_RECORD):
        refuse_foreign(out / VIDEO_RECORD, "video")
        raise InputError(f"{out} holds the prediction of a video: give another --out, or remove that folder")
    for name in _FOLDERS:
        if os.path.isdir(out / name) and children(out / name):
            raise InputError(f"{out / name} holds files of unknown pictures: give another --out, or remove that folder")


def earlier(out: Path) -> Iterator[Path]:
    """Yields the files of an earlier prediction of pictures in an output folder, besides its record."""
    try:
        rows = json.loads((out / PICTURES_RECORD).read_text())["pictures"]
        names = [(name, os.path.basename(row[name[:-1]])) for row in rows for name in _FOLDERS if name[:-1] in row]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return
    yield from (path for folder, name in names if (path := out / folder / name).is_file())


def write(
    folder: Path,
    name: str,
    picture: Picture,
    saliency: Float32[np.ndarray, "_ _"],
    maps: str,
    how: Preprocessing,
    *,
    overlaid: bool = True,
) -> dict[str, Any]:
    """Writes the map and the overlay of a picture.

    Args:
        folder: to write to.
        name: of the files, without a suffix.
        picture: as it was read.
        saliency: the model's map.
        maps: one of `MAPS`.
        how: converts maps to images.
        overlaid: whether to write the overlay.

    Returns:
        The fields of the record.
    """
    size = picture.image.shape[:2]
    grey = how.to_image(how.smooth(saliency, size))
    row: dict[str, Any] = {"height": size[0], "width": size[1]}
    if maps == "png":
        row["map"] = f"maps/{name}.png"
        (folder / row["map"]).write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    elif maps == "npz":
        row["map"] = f"maps/{name}.npz"
        np.savez(folder / row["map"], saliency=how.frame_part(saliency, size))
    if overlaid:
        row["overlay"] = f"overlays/{name}.jpg"
        drawn = np.ascontiguousarray(overlay.heat(picture.image, grey)[..., ::-1])
        quality = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
        (folder / row["overlay"]).write_bytes(cv2.imencode(".jpg", drawn, quality)[1].tobytes())
    return row | ({"notes": list(picture.notes)} if picture.notes else {})

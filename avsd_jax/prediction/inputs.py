"""The inputs of a prediction of many files: files, folders of them, and lists; each with a name for its results.

    FILE     a video or a picture, whatever its name
    FOLDER   all videos and pictures in it and in the folders within it, known by their names; pictures by their
             contents, too
    @LIST    a text file with a path of a file or folder on each line, relative to the list; empty lines and those that
             begin with `#` are passed over

The name of a file's results is its own without the suffix, below the folders that lead to it from FOLDER, or from the
list if its path there is relative. Where two would be one (`a.mp4` and `a.png`, on some disks also `A.mp4`), each keeps
its suffix; where that does not tell them apart, as of two folders, later ones get a number. A name that results have
themselves (`maps`, `summary.json`) keeps its suffix, too, and gets a number if it is that of a folder.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from avsd_jax.common.wording import printable, some
from avsd_jax.errors import InputError
from avsd_jax.map_files.contents import children
from avsd_jax.media import pictures
from avsd_jax.prediction.map_writers import PICTURES_RECORD, VIDEO_RECORD
from avsd_jax.prediction.picture_files import output_names, same_name

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".vob"),
    *(".wmv", ".asf", ".flv", ".ogv", ".3gp", ".mxf", ".y4m"),
)
"""Suffixes of the videos of a folder."""
LIST = "@"
SUMMARY = "summary.json"
# What is beside, or within, the folders of results.
_OWN_NAMES = {SUMMARY, VIDEO_RECORD, PICTURES_RECORD, "timeline.png", "maps", "overlays"}


class Input(NamedTuple):
    """A file to predict.

    Attributes:
        path: the file.
        name: of the folder of its results, in the output folder.
        still: whether it is a picture, and no animation.
        searched: whether it was found in a folder, and not named.
    """

    path: Path
    name: str
    still: bool
    searched: bool


class Inputs(NamedTuple):
    """The files of a prediction, and notes on what was left out."""

    files: tuple[Input, ...]
    notes: tuple[str, ...]


class _Found(NamedTuple):
    """A file, the folder of its results below the output folder, and whether it was found in a folder."""

    path: Path
    below: str
    searched: bool


def is_one(given: Sequence[str]) -> bool:
    """Returns whether the arguments are one prediction: a file, or a folder whose only files of ours are pictures."""
    if len(given) > 1 or _is_list(given[0]):
        return False
    folder = Path(given[0])
    if not os.path.isdir(folder):
        return True
    held = [path for path, ours in _walk(folder, None, set()) if ours]
    if any(path.suffix.lower() in VIDEOS for path in held):
        return False
    return not held or any(path.parent == folder for path in held)


def collect(given: Sequence[str], out: Path) -> Inputs:
    """Returns the files that arguments name, each once, in their order; those of a folder in the order of their paths.

    Args:
        given: files, folders and lists.
        out: the output folder, which is not searched; neither are folders that hold results.

    Raises:
        InputError: a path does not exist, a list cannot be read, the output folder is one of the folders, or there is
            no file.
    """
    found: dict[str, _Found] = {}
    notes: list[str] = []
    for path, below in _named(given):
        if not os.path.isdir(path):
            known = found.get(os.path.abspath(path), _Found(path, below, False))
            found[os.path.abspath(path)] = known._replace(searched=False)
            continue
        if os.path.realpath(path) == os.path.realpath(out):
            raise InputError(f"--out={out} is a folder of inputs: give another one, which may lie within it")
        left = []
        for file, ours in _walk(path, out, set()):
            inside = file.relative_to(path)
            if ours:
                leading = (Path(below) / inside).parent.as_posix()
                found.setdefault(os.path.abspath(file), _Found(file, leading, True))
            else:
                left.append(printable(inside))
        if left:
            notes.append(
                f"{printable(path)}: left out, as they are neither videos nor pictures: {some(left, 20, ', ')}"
            )
    if not found:
        raise InputError(f"{', '.join(map(printable, given))}: there is no video and no picture; give files or folders")
    return Inputs(_with_names(list(found.values()), out), tuple(notes))


def _with_names(found: Sequence[_Found], out: Path) -> tuple[Input, ...]:
    by_folder: dict[str, list[tuple[_Found, Path]]] = defaultdict(list)
    for each in found:
        below = Path(*(f"{part}-2" if is_result_name(part) else part for part in Path(each.below).parts))
        by_folder[same_name(below.as_posix())].append((each, below))
    names = {}
    for those in by_folder.values():
        wanted = output_names(out, [each.path for each, _ in those], is_result_name)
        for (each, below), name in zip(those, wanted, strict=True):
            names[each] = (below / name).as_posix()
    return tuple(
        Input(
            each.path,
            names[each],
            os.path.isfile(each.path) and pictures.is_picture(each.path) and not pictures.moves(each.path),
            each.searched,
        )
        for each in found
    )


def is_result_name(name: str) -> bool:
    """Returns whether files or folders of results have a name, so that no folder of results may."""
    return same_name(name) in _OWN_NAMES or same_name(name).endswith("_overlay.mp4")


def _is_list(argument: str) -> bool:
    return argument.startswith(LIST) and not os.path.exists(argument)


def _named(given: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Yields the paths that arguments and lists name, and the folder of their results below the output folder."""
    for argument in given:
        if not _is_list(argument):
            path = Path(argument)
            if not os.path.exists(path):
                raise InputError(f"{printable(path)} does not exist: give videos, pictures, folders or @lists")
            yield path, "."
            continue
        file = Path(argument.removeprefix(LIST))
        try:
            lines = os.fsdecode(file.read_bytes().removeprefix(b"\xef\xbb\xbf")).splitlines()
        except OSError as error:
            raise InputError(
                f"the list {printable(file)} cannot be read ({error.strerror}): give a text file"
            ) from error
        for number, line in enumerate(lines, 1):
            entry = line.strip()
            if not entry or entry.startswith("#"):
                continue
            path = file.parent / entry
            if "\0" in entry or not os.path.exists(path):
                raise InputError(
                    f"{printable(file)}, line {number}: {printable(path)} does not exist: correct the path"
                )
            relative = Path(entry)
            inside = not relative.is_absolute() and ".." not in relative.parts
            leading = relative if os.path.isdir(path) else relative.parent
            yield path, leading.as_posix() if inside else "."


def _walk(folder: Path, out: Path | None, seen: set[str]) -> Iterator[tuple[Path, bool]]:
    """Yields the files below a folder, sorted, and whether each is a video or a picture.

    Links are followed, each folder is read once; the output folder, hidden files and results are passed over.
    """
    seen.add(os.path.realpath(folder))
    for path in children(folder):
        if not os.path.isdir(path):
            if os.path.isfile(path):
                yield path, path.suffix.lower() in VIDEOS or pictures.is_picture(path)
            continue
        if os.path.realpath(path) in seen or out is not None and os.path.realpath(path) == os.path.realpath(out):
            continue
        if not any(os.path.exists(path / record) for record in (VIDEO_RECORD, PICTURES_RECORD)):
            yield from _walk(path, out, seen)

"""Contents of a folder of predictions, and descriptions of files that are not recognised."""

import difflib
import os
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from avsd_jax.errors import InputError
from avsd_jax.map_files import arrays, images, videos

ARRAYS = (arrays.ARCHIVE, *arrays.OTHER_SUFFIXES)
OTHERS = (*arrays.OTHER_SUFFIXES, *videos.SUFFIXES, *images.OTHER_SUFFIXES)
MAPS = (*images.SUFFIXES, arrays.ARCHIVE, *OTHERS)
_LITTER = {"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin"}
_LOOKED_FOR = (
    "<video>/pred_sal_000009.jpg (STAViS), <video>/img_00001.jpg (ViNet), <video>/000000.png (images named by frame "
    "number, also in <video>/maps), <video>.npz or <video>/*.npz"
)
_MOST_FOLDERS = 1000
_READ_THEM = "--other_forms=read reads .npy and .mat arrays, grey videos and .tif images"


def children(folder: Path) -> list[Path]:
    """Returns the sorted entries of a folder, without files that operating systems leave behind."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): make it readable") from error
    return [p for p in entries if not p.name.startswith(".") and p.name.lower() not in _LITTER]


def files_by_name(base: Path) -> dict[str, list[Path]]:
    """Returns the files of a folder that may hold a video's maps, by their names without suffix."""
    found: dict[str, list[Path]] = {}
    for path in children(base):
        if path.suffix.lower() in MAPS and path.is_file():
            found.setdefault(composed(path.stem), []).append(path)
    return found


def composed(name: str) -> str:
    """Returns a name with composed accents (NFC): some file systems decompose them."""
    return unicodedata.normalize("NFC", name)


def unused(base: Path, known: Collection[str]) -> tuple[str, ...]:
    """Returns folders, and files that may hold maps, which belong to no video."""
    names = {composed(video) for video in known}
    return tuple(
        p.name
        for p in children(base)
        if (composed(p.name) not in names if p.is_dir() else p.suffix.lower() in MAPS and composed(p.stem) not in names)
    )


def unknown(base: Path, names: Sequence[str], lacking: Sequence[str]) -> str:
    """Reports folders or files that belong to no video.

    Args:
        base: the folder.
        names: of the folders or files.
        lacking: ids of videos without maps; the most similar ones are suggested.
    """
    near = {name: difflib.get_close_matches(Path(name).stem, lacking, 1) for name in names}
    told = sorted(names, key=lambda name: not near[name])  # those with a suggestion first
    shown = [f"{name!r}" + (f" (is {near[name][0]!r} meant?)" if near[name] else "") for name in told]
    return f"{base} also has what is no video of the split: {some(shown)}"


class NoPredictionsError(InputError):
    """No video has predictions."""


def no_predictions(root: Path, dataset: str, wanted: Sequence[str], unread: tuple[str, ...]) -> NoPredictionsError:
    """Returns the error that no video has predictions: what was expected, what is there, and the likely fix.

    Args:
        root: the folder.
        dataset: that the maps should belong to.
        wanted: ids of videos.
        unread: suffixes that are only read with --other_forms=read.
    """
    entries = children(root)
    names = [path.name for path in entries]
    folders = [path for path in entries[:_MOST_FOLDERS] if path.is_dir()]
    fixes = [f"this seems to be the folder of one video: give --predictions={root.parent}"] * (root.name in wanted)
    for path in folders:
        if path.name not in wanted and any(p.name in wanted or p.stem in wanted for p in children(path)):
            fixes.append(f"its {path.name} has files of videos: give --predictions={path}")
    own = [path for path in folders if path.name in wanted][:2]
    inside = [f"{path.name} holds {some([p.name for p in children(path)]) or 'nothing'}" for path in own]
    for path in own:
        fixes += _fixes_inside(path, unread)
    beside = {p.suffix.lower() for p in entries if p.stem in wanted and p.is_file()}
    if beside & {*images.SUFFIXES, *images.OTHER_SUFFIXES}:
        fixes.append("one image holds one map: write <video>/<frame number> files")
    if beside & {*unread} - {*images.OTHER_SUFFIXES}:
        fixes.append(_READ_THEM)
    near = ((name, difflib.get_close_matches(Path(name).stem, wanted, 1)) for name in names if name not in wanted)
    if not fixes:
        fixes += [f"is {name!r} meant for {match[0]!r}?" for name, match in near if match][:1]
    return NoPredictionsError(
        f"{root} holds no predictions for the videos of {dataset} ({some(wanted)}): looked for {_LOOKED_FOR}; "
        + "; ".join([f"it has {some(names) or 'nothing'}", *inside, *dict.fromkeys(fixes)])
    )


def _fixes_inside(folder: Path, unread: tuple[str, ...]) -> list[str]:
    """Suggests fixes for a video's folder in which no file is recognised."""
    held = children(folder)
    fixes = []
    if os.path.isdir(folder / "maps") and any(p.suffix.lower() in unread for p in children(folder / "maps")):
        return [_READ_THEM]
    for deeper in (p for p in held if p.is_dir()):
        if any(p.suffix.lower() in MAPS for p in children(deeper)):
            fixes.append(f"move the maps of {folder.name}/{deeper.name} up into {folder.name}, and so for each video")
            break
    if any(p.suffix.lower() in unread and p.is_file() for p in held):
        fixes.append(_READ_THEM)
    elif any(p.suffix.lower() in images.SUFFIXES for p in held):
        fixes.append("names of images must end in the frame's number")
    return fixes


def some(names: Sequence[str], most: int = 4) -> str:
    """Lists the first names, and the number of all."""
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")

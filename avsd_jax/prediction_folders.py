"""Reads anybody's predicted maps: a folder with one folder (or one `.npz`) per video.

Known layouts, found by the files' names:

  stavis    <video>/pred_sal_000009.jpg ...   frames counted from 1; what STAViS and STANet write
  vinet     <video>/img_00001.jpg ...         frames counted from 1; ViNet keeps the frames' own file names
  numbered  <video>/000000.png ...            any other picture names that end in the frame's number, with the same
                                              letters before it; `avsd_jax.predict --out=<video>` writes them in maps/
  npz       <video>.npz or <video>/*.npz      `saliency` [n, h, w], and `frames` [n] counted from 0 (none: 0 to n - 1);
                                              what `avsd_jax.predict --maps=npz --out=<video>` writes in maps/

What the numbers count from is read off them (`avsd_jax.frame_numbers`), stated, and overruled by `--first_frame`.
Pictures are grey, of 8 or 16 bits and of any size, also as three equal channels; those in colour are refused, or read
as `--colour_maps` says (`avsd_jax.map_files.colour`).

With `--other_forms=read` also

  npy, mat  <video>.npy, <video>.mat          a volume [n, h, w] or [h, w, n]; or one map per numbered file
  video     <video>.mp4, .avi, .mkv ...       a grey video of exactly the video's number of frames
  numbered  <video>/000000.tif ...            also .webp, .pgm, .gif
"""

import difflib
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Num

from avsd_jax.errors import InputError
from avsd_jax.frame_numbers import Counting, counting
from avsd_jax.map_files import arrays, colour, pictures, videos
from avsd_jax.map_files.pictures import read_picture as read_picture

_NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<number>\d+)$")
_ONE_BASED = {"pred_sal_": "stavis", "img_": "vinet"}
_LITTER = {"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin"}
_LOOKED_FOR = (
    "<video>/pred_sal_000009.jpg (STAViS), <video>/img_00001.jpg (ViNet), <video>/000000.png (pictures named by frame "
    "number, also in <video>/maps), <video>.npz or <video>/*.npz"
)
_READ_THEM = "--other_forms=read reads .npy and .mat arrays, grey videos and .tif pictures"
VOLUMES = ("npz", "npy", "mat", "video")
"""Layouts of one file with many maps; of these, all but "video" hold arrays."""


@dataclass(frozen=True)
class VideoMaps:
    """Where a video's maps are, and how they are to be read.

    Attributes:
        files: frame (from 0) -> a file with one map; empty for volumes.
        archives: files with many maps each, in the order of their names; empty for single maps.
        beyond: how many files are numbered before the start or past the end of the video; they are ignored.
        first: the number of the video's first frame in the archives' own numbers.
        expected: the video's number of frames and size, where they are known.
        colour: what is done to maps in colour, as `colour.check_rule` takes it.
    """

    files: Mapping[int, Path] = field(default_factory=dict)
    archives: tuple[Path, ...] = ()
    beyond: int = 0
    first: int = 0
    expected: arrays.Expected = arrays.Expected()
    colour: str = colour.REFUSE

    def fingerprint(self) -> str:
        """A digest of the files' frames, names, sizes and times, and of how they are read: it changes when a
        prediction, or what is made of it, does."""
        digest = hashlib.sha256(f"{self.first}\0{self.expected}\0{self.colour}\0{self.beyond}\0".encode())
        for frame, path in (*self.files.items(), *enumerate(self.archives)):
            stat = path.stat()
            digest.update(f"{frame}\0{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class PredictionFolder:
    """The maps found for the videos of a split.

    Attributes:
        root: the folder.
        layout: "stavis", "vinet", "numbered", "npz", "npy", "mat" or "video".
        first_frame: the number of the first frame in file names.
        videos: video id -> its maps; videos without any are left out.
        unused: folders and archives that belong to no video of the split.
        remarks: what else is to be told of the folder, in sentences.
    """

    root: Path
    layout: str
    first_frame: int
    videos: dict[str, VideoMaps]
    unused: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def holds_arrays(self) -> bool:
        """Whether maps are arrays, which a protocol's encoding has yet to be applied to."""
        some = next(iter(self.videos.values()))
        files = (*some.files.values(), *some.archives)
        return self.layout != "video" and any(p.suffix.lower() in _ARRAYS for p in files)


def find(
    root: str | Path,
    dataset: str,
    num_frames: Mapping[str, int],
    first_frame: int | None = None,
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    colour_maps: str = colour.REFUSE,
    other_forms: bool = False,
) -> PredictionFolder:
    """Finds the predictions of a split.

    Args:
        root: folder with a folder or an archive per video; or, as in STAViS' results, with a folder named like the
            dataset that has them.
        dataset: its name.
        num_frames: video id -> number of frames.
        first_frame: 0 or 1, what the numbers count from; None: found out.
        sizes: video id -> (height, width) of its ground truth.
        colour_maps: what is done to maps in colour, as `colour.check_rule` takes it.
        other_forms: read `.npy`, `.mat`, videos and `.tif` as well.

    Raises:
        InputError: there are no predictions, they mix layouts, or cannot be told apart; the message says what was
            looked for, and what is there.
    """
    root = Path(root)
    colour.check_rule(colour_maps)
    if not root.is_dir():
        raise InputError(f"no folder {root}: give --predictions the folder that holds one folder of maps per video")
    named = [p for p in _children(root) if p.is_dir() and p.name.lower() == dataset.partition("/")[0].lower()]
    for base in (root, *named):
        singles = _singles(base)
        looked = {video: _look(base, singles, video, other_forms) for video in num_frames}
        found = {video: entry for video, entry in looked.items() if entry is not None}
        if found:
            expected = {v: arrays.Expected(num_frames[v], None if sizes is None else sizes[v]) for v in found}
            return _assemble(base, found, num_frames, expected, first_frame, colour_maps)
    raise _nothing(root, dataset, sorted(num_frames))


def read(video: VideoMaps, notes: Counter[str] | None = None) -> Iterator[tuple[int, Num[np.ndarray, "h w"], bool]]:
    """Yields (frame, map, whether it came from a picture), one map in memory at a time.

    Args:
        video: where the maps are.
        notes: counts every conversion of a map that is not plain.

    Raises:
        InputError: a file is damaged, or not one grey channel per frame; the message names it.
    """
    notes = Counter() if notes is None else notes
    for frame, path in video.files.items():
        if path.suffix.lower() in _ARRAYS:
            yield frame, arrays.read_map(path, video.colour, notes), False
        else:
            values = read_picture(path, video.colour, notes)
            yield frame, values, values.dtype.kind == "u"
    for path in video.archives:
        if path.suffix.lower() in videos.SUFFIXES:
            for frame, values in videos.read_video(path, video.expected.num_frames, video.colour, notes):
                yield frame, values, True
        else:
            for number, values in arrays.read_volume(path, video.expected, video.colour, notes):
                yield number - video.first, values, False


# ---------------------------------------------------------------------------------------------------------------------
# Finding
# ---------------------------------------------------------------------------------------------------------------------

_ARRAYS = (arrays.ARCHIVE, *arrays.OTHER_SUFFIXES)
_OTHERS = (*arrays.OTHER_SUFFIXES, *videos.SUFFIXES, *pictures.OTHER_SUFFIXES)
_MAPS = (*pictures.SUFFIXES, arrays.ARCHIVE, *_OTHERS)


@dataclass(frozen=True)
class _Entry:
    """What lies in a video's place: volumes {layout: files}, single maps {prefix: {number: file}}, and names of files
    that may hold maps and are not read."""

    volumes: dict[str, tuple[Path, ...]]
    singles: dict[str, dict[int, Path]]
    left: tuple[str, ...] = ()


def _children(folder: Path) -> list[Path]:
    """The entries of a folder in the order of their names, without what operating systems leave behind."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): make it readable") from error
    return [p for p in entries if not p.name.startswith(".") and p.name.lower() not in _LITTER]


def _singles(base: Path) -> dict[str, list[Path]]:
    """Files of a folder that may hold a video's maps, by their names without the ending."""
    found: dict[str, list[Path]] = {}
    for path in _children(base):
        if path.suffix.lower() in _MAPS and path.is_file():
            found.setdefault(path.stem, []).append(path)
    return found


def _look(base: Path, beside: Mapping[str, list[Path]], video: str, other_forms: bool) -> _Entry | None:
    """The files in a video's place; None where there are none."""
    folder = base / video
    if (folder / "maps").is_dir():
        folder = folder / "maps"
    inside = [p for p in _children(folder) if p.suffix.lower() in _MAPS and p.is_file()] if folder.is_dir() else []
    allowed = _MAPS if other_forms else (*pictures.SUFFIXES, arrays.ARCHIVE)
    numbered = {p for p in inside if p.suffix.lower() in allowed and _NUMBERED.match(p.stem)}
    several = Counter(p.suffix.lower() for p in numbered)
    volumes: dict[str, list[Path]] = {}
    singles: dict[str, dict[int, Path]] = {}
    left: list[str] = []
    for path in (*beside.get(video, ()), *inside):
        suffix = path.suffix.lower()
        form = "video" if suffix in videos.SUFFIXES else suffix[1:] if suffix in _ARRAYS else None
        single = path in numbered and (form is None or (suffix in arrays.OTHER_SUFFIXES and several[suffix] > 1))
        if single:
            _add(singles, folder, path)
        elif form is not None and suffix in allowed:
            volumes.setdefault(form, []).append(path)
        else:
            left.append(path.name)
    if not volumes and not singles:
        return None
    return _Entry({form: tuple(paths) for form, paths in volumes.items()}, singles, tuple(left))


def _add(singles: dict[str, dict[int, Path]], folder: Path, path: Path) -> None:
    match = _NUMBERED.match(path.stem)
    numbers, number = singles.setdefault(match["prefix"], {}), int(match["number"])
    if number in numbers:
        raise InputError(f"{folder} has two pictures of frame {number}: {numbers[number].name} and {path.name}")
    numbers[number] = path


def _assemble(
    base: Path,
    found: Mapping[str, _Entry],
    num_frames: Mapping[str, int],
    expected: Mapping[str, arrays.Expected],
    first_frame: int | None,
    colour_maps: str,
) -> PredictionFolder:
    layout = _common_layout(base, found)
    remarks = []
    if layout in VOLUMES:
        files = {video: entry.volumes[layout] for video, entry in found.items()}
        count = _count_archives(base, files, num_frames, first_frame) if layout == "npz" else Counting(0, "")
        result = {v: VideoMaps({}, paths, 0, count.first, expected[v], colour_maps) for v, paths in files.items()}
    else:
        numbers = {video: next(iter(entry.singles.values())) for video, entry in found.items()}
        usage = 1 if layout in _ONE_BASED.values() else None
        count = counting(str(base), numbers, num_frames, usage, first_frame)
        result = {v: _frames(files, count.first, expected[v], colour_maps) for v, files in numbers.items()}
        example = min(next(iter(numbers.values())).items())[1].name
        if any(len({path.suffix.lower() for path in files.values()}) > 1 for files in numbers.values()):
            remarks.append(f"{base}: videos have files with several endings")
        if layout in _ONE_BASED.values() and count.first == 0 and first_frame is None:
            count = Counting(0, f"{count.reason}, though {example} is named as {layout} names files, from 1")
    if count.reason:
        remarks.append(
            f"{base}: frames are counted from {count.first} ({count.reason}); --first_frame={1 - count.first} if not"
        )
    left = {video: entry.left for video, entry in found.items() if entry.left}
    if left:
        video, names = next(iter(left.items()))
        more = f" and of {len(left) - 1} other videos" if len(left) > 1 else ""
        remarks.append(f"{base}: files of video {video!r}{more} that are not read: {_some(names)}")
    unused = _unused(base, num_frames)
    remarks += [_unknown(base, name, [v for v in num_frames if v not in found] or list(num_frames)) for name in unused]
    return PredictionFolder(base, layout, count.first, result, unused, tuple(remarks))


def _common_layout(base: Path, found: Mapping[str, _Entry]) -> str:
    layouts = {video: _layout(base, video, entry) for video, entry in found.items()}
    (first_video, layout), *others = layouts.items()
    for video, other in others:
        if other != layout:
            raise InputError(
                f"{base} mixes layouts: {first_video!r} is {layout}, {video!r} is {other}; keep one per folder"
            )
    return layout


def _layout(base: Path, video: str, entry: _Entry) -> str:
    kinds = [f"{prefix}<number>" for prefix in sorted(entry.singles)] + sorted(entry.volumes)
    if len(kinds) > 1:
        raise InputError(f"{base}, video {video!r} has files of several kinds ({', '.join(kinds)}): keep one")
    return next(iter(entry.volumes), None) or _ONE_BASED.get(next(iter(entry.singles)), "numbered")


def _count_archives(
    base: Path, files: Mapping[str, Sequence[Path]], num_frames: Mapping[str, int], first_frame: int | None
) -> Counting:
    """What `frames` of archives counts from; archives without it are in order, from the first frame on."""
    told = {video: [arrays.frame_numbers(path) for path in paths] for video, paths in files.items()}
    numbers = {v: {int(n) for each in some if each is not None for n in each} for v, some in told.items()}
    numbers = {video: found for video, found in numbers.items() if found}
    return counting(str(base), numbers, num_frames, 0, first_frame) if numbers else Counting(0, "")


def _frames(files: Mapping[int, Path], first: int, expected: arrays.Expected, colour_maps: str) -> VideoMaps:
    inside = {n - first: path for n, path in sorted(files.items()) if 0 <= n - first < expected.num_frames}
    return VideoMaps(inside, (), len(files) - len(inside), first, expected, colour_maps)


# ---------------------------------------------------------------------------------------------------------------------
# What is there instead
# ---------------------------------------------------------------------------------------------------------------------


def _unused(base: Path, known: Mapping[str, int]) -> tuple[str, ...]:
    """Folders, and files that may hold a video's maps, which belong to no video."""
    return tuple(
        p.name
        for p in _children(base)
        if (p.is_dir() and p.name not in known) or (p.suffix.lower() in _MAPS and p.is_file() and p.stem not in known)
    )


def _unknown(base: Path, name: str, wanted: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, wanted, 1) or difflib.get_close_matches(Path(name).stem, wanted, 1)
    return f"{base}: {name!r} is no video of the split" + (f"; is {near[0]!r} meant?" if near else "")


def _nothing(root: Path, dataset: str, wanted: Sequence[str]) -> InputError:
    """The error where no video has predictions: what was looked for, what is there, and the likely fix."""
    children = list(itertools.islice(_children(root), 1000))
    names = [path.name for path in children]
    fixes = []
    if root.name in wanted:
        fixes.append(f"this seems to be the folder of one video: give --predictions={root.parent}")
    inside = []
    for path in (p for p in children if p.is_dir()):
        held = _children(path)
        if any(p.name in wanted or p.stem in wanted for p in held):
            fixes.append(f"its {path.name} has folders of videos: give --predictions={path}")
        if path.name in wanted and len(inside) < 2:
            inside.append(f"{path.name} holds {_some([p.name for p in held]) or 'nothing'}")
            deeper = next(
                (p for p in held if p.is_dir() and any(q.suffix.lower() in _MAPS for q in _children(p))), None
            )
            if deeper is not None:
                fixes.append(f"move the maps of {path.name}/{deeper.name} up into {path.name}, and so for each video")
            if any(p.suffix.lower() in _OTHERS and p.is_file() for p in held):
                fixes.append(_READ_THEM)
            elif any(p.suffix.lower() in pictures.SUFFIXES for p in held):
                fixes.append("names of pictures must end in the frame's number")
    if any(p.suffix.lower() in _OTHERS and p.stem in wanted for p in children):
        fixes.append(_READ_THEM)
    if not fixes:
        near = {n: m for n in names if (m := difflib.get_close_matches(Path(n).stem, wanted, 1))}
        fixes += [f"is {name!r} meant for {match[0]!r}?" for name, match in itertools.islice(near.items(), 1)]
    return InputError(
        f"{root} holds no predictions for the videos of {dataset} ({_some(wanted)}): looked for {_LOOKED_FOR}; "
        + "; ".join([f"it has {_some(names) or 'nothing'}", *inside, *dict.fromkeys(fixes)])
    )


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")

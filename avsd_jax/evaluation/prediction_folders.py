"""Reader of third-party predicted maps: a folder with one folder (or one `.npz`) per video.

Known layouts, recognised by file names:

  stavis    <video>/pred_sal_000009.jpg ...   frames counted from 1; written by STAViS and STANet
  vinet     <video>/img_00001.jpg ...         frames counted from 1; ViNet keeps the file names of the frames
  numbered  <video>/000000.png ...            any other image names that end in the frame number, with the same
                                              prefix; `avsd_jax.predict --out=<video>` writes them in maps/
  npz       <video>.npz or <video>/*.npz      `saliency` [n, h, w], and `frames` [n] counted from 0 (none: 0 to n - 1);
                                              written by `avsd_jax.predict --maps=npz --out=<video>` in maps/

The number of the first frame is inferred (`avsd_jax.evaluation.frame_numbers`) and reported, unless `--first_frame` is
given. Images are grey, of 8 or 16 bits and of any size, also as three equal channels; those in colour are
refused, or read as `--colour_maps` says (`avsd_jax.map_files.colour`).

With `--other_forms=read` also

  npy, mat  <video>.npy, <video>.mat          a volume [n, h, w] or [h, w, n]; or one map per numbered file
  video     <video>.mp4, .avi, .mkv ...       a grey video with exactly as many frames as the video
  numbered  <video>/000000.tif ...            also .webp, .pgm, .gif
"""

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Num

from avsd_jax.errors import InputError
from avsd_jax.evaluation.frame_numbers import Counting, counting
from avsd_jax.map_files import arrays, colour, contents, images, videos
from avsd_jax.map_files.images import read_image as read_image

_NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<number>\d+)$")
# First number of `frames` in files of many maps: as documented above; in MATLAB files both are common.
_USAGE = {"npz": 0, "mat": None}
_ONE_BASED = {"pred_sal_": "stavis", "img_": "vinet"}
VOLUMES = ("npz", "npy", "mat", "video")
"""Layouts with many maps per file; all but "video" hold arrays."""


@dataclass(frozen=True)
class VideoMaps:
    """The files of a video's maps, and how to read them.

    Attributes:
        files: frame (from 0) -> a file with one map; empty for volumes.
        archives: files with many maps each, sorted by name; empty for single maps.
        beyond: number of files before the start or past the end of the video, which are ignored.
        expected: the video's number of frames and size, if known, and the first frame number in archives.
        colour: how maps in colour are read, as `colour.check_rule` takes it.
    """

    files: Mapping[int, Path] = field(default_factory=dict)
    archives: tuple[Path, ...] = ()
    beyond: int = 0
    expected: arrays.Expected = arrays.Expected()
    colour: str = colour.REFUSE

    def anywhere(self) -> "VideoMaps":
        """Returns the same with absolute paths."""
        files = {frame: path.absolute() for frame, path in self.files.items()}
        return dataclasses.replace(self, files=files, archives=tuple(path.absolute() for path in self.archives))

    def fingerprint(self) -> str:
        """Returns a digest of frames, names, sizes and times of the files, and of how they are read, which changes when
        a prediction or its interpretation does."""
        digest = hashlib.sha256(f"{self.expected}\0{self.colour}\0{self.beyond}\0".encode())
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
        videos: video id -> its maps; videos without any are omitted.
        unused: folders and archives that belong to no video of the split.
        remarks: notes on the folder, as sentences.
    """

    root: Path
    layout: str
    first_frame: int
    videos: dict[str, VideoMaps]
    unused: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def holds_arrays(self) -> bool:
        """Returns whether maps are arrays, to which the encoding of a protocol must still be applied."""
        some = next(iter(self.videos.values()))
        files = (*some.files.values(), *some.archives)
        return self.layout != "video" and any(p.suffix.lower() in contents.ARRAYS for p in files)


def find(
    root: str | Path,
    dataset: str,
    num_frames: Mapping[str, int],
    first_frame: int | None = None,
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    colour_maps: str = colour.REFUSE,
    other_forms: bool = False,
    others: Collection[str] = (),
) -> PredictionFolder:
    """Finds the predictions of a split.

    Args:
        root: folder with a folder or an archive per video; or, as in STAViS's results, with a folder named like the
            dataset that has them.
        dataset: its name.
        num_frames: video id -> number of frames.
        first_frame: 0 or 1, the number of the first frame; None: inferred.
        sizes: video id -> (height, width) of its ground truth.
        colour_maps: how maps in colour are read, as `colour.check_rule` takes it.
        other_forms: read `.npy`, `.mat`, videos and `.tif` as well.
        others: ids of videos of other datasets, whose predictions may be there too.

    Raises:
        NoPredictionsError: there are no predictions; the message says what was expected, and what is there.
        InputError: they mix layouts or are ambiguous.
    """
    root = Path(root)
    colour.check_rule(colour_maps)
    if not root.is_dir():
        raise InputError(f"no folder {root}: give --predictions the folder that holds one folder of maps per video")
    named = [p for p in contents.children(root) if p.is_dir() and p.name.lower() == dataset.partition("/")[0].lower()]
    for base in (root, *named):
        folders = {contents.composed(path.name): path for path in contents.children(base) if path.is_dir()}
        files = contents.files_by_name(base)
        looked = {
            video: _look(
                folders.get(contents.composed(video), base / video),
                files.get(contents.composed(video), ()),
                other_forms,
            )
            for video in num_frames
        }
        found = {video: entry for video, entry in looked.items() if entry is not None}
        if found:
            expected = {v: arrays.Expected(num_frames[v], None if sizes is None else sizes[v]) for v in found}
            return _assemble(base, found, num_frames, expected, first_frame, colour_maps, others)
    raise contents.no_predictions(root, dataset, sorted(num_frames), () if other_forms else contents.OTHERS)


def survey(base: Path, ids: Sequence[str]) -> tuple[dict[str, int], dict[str, set[int]]]:
    """Counts the maps of each video of a folder, and returns the numbers of those that are numbered.

    Raises:
        InputError: a file is damaged, or two maps have the same number.
    """
    counts: dict[str, int] = {}
    numbers: dict[str, set[int]] = {}
    files = contents.files_by_name(base)
    for video in ids:
        entry = _look(base / video, files.get(contents.composed(video), ()), other_forms=True)
        if entry is None:
            continue
        single = _layout(base, video, entry) not in VOLUMES
        if single:
            numbers[video] = set(next(iter(entry.singles.values())))
            counts[video] = len(numbers[video])
            continue
        for path in next(iter(entry.volumes.values())):
            if path.suffix.lower() in videos.SUFFIXES:
                raise InputError(f"{path} is a video, whose levels are not exact: write images or arrays")
            found = arrays.frame_numbers(path)
            counts[video] = counts.get(video, 0) + sum(
                1 for _ in arrays.read_volume(path, arrays.Expected(), colour.REFUSE, Counter())
            )
            if found is not None:
                numbers.setdefault(video, set()).update(found.tolist())
    return counts, numbers


def read(video: VideoMaps, notes: Counter[str] | None = None) -> Iterator[tuple[int, Num[np.ndarray, "h w"], bool]]:
    """Yields (frame, map, whether it came from an image), one map in memory at a time.

    Args:
        video: where the maps are.
        notes: counts the conversions that are reported.

    Raises:
        InputError: a file is damaged, or not one grey channel per frame; the message names it.
    """
    notes = Counter() if notes is None else notes
    for frame, path in video.files.items():
        if path.suffix.lower() in contents.ARRAYS:
            yield frame, arrays.read_map(path, video.colour, notes), False
        else:
            values = read_image(path, video.colour, notes)
            yield frame, values, values.dtype.kind == "u"
    for path in video.archives:
        if path.suffix.lower() in videos.SUFFIXES:
            for frame, values in videos.read_video(path, video.expected.num_frames, video.colour, notes):
                yield frame, values, True
        else:
            for frame, values in arrays.read_volume(path, video.expected, video.colour, notes):
                yield frame, values, False


# ---------------------------------------------------------------------------------------------------------------------
# Finding
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """The files of a video: volumes {layout: files}, single maps {prefix: {number: file}}, and names of files
    that may hold maps and are not read."""

    volumes: dict[str, tuple[Path, ...]]
    singles: dict[str, dict[int, Path]]
    left: tuple[str, ...] = ()


def _look(folder: Path, beside: Sequence[Path], other_forms: bool) -> _Entry | None:
    """Finds the maps of a video, in its folder and in files named like it; None if there are none."""
    if (folder / "maps").is_dir():
        folder = folder / "maps"
    inside = (
        [p for p in contents.children(folder) if p.suffix.lower() in contents.MAPS and p.is_file()]
        if folder.is_dir()
        else []
    )
    allowed = contents.MAPS if other_forms else (*images.SUFFIXES, arrays.ARCHIVE)
    numbered = {p for p in inside if p.suffix.lower() in allowed and _NUMBERED.match(p.stem)}
    several = Counter(p.suffix.lower() for p in numbered)
    volumes: dict[str, list[Path]] = {}
    singles: dict[str, dict[int, Path]] = {}
    left: list[str] = []
    for path in (*beside, *inside):
        suffix = path.suffix.lower()
        form = "video" if suffix in videos.SUFFIXES else suffix[1:] if suffix in contents.ARRAYS else None
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
        raise InputError(f"{folder} has two images of frame {number}: {numbers[number].name} and {path.name}")
    numbers[number] = path


def _assemble(
    base: Path,
    found: Mapping[str, _Entry],
    num_frames: Mapping[str, int],
    expected: Mapping[str, arrays.Expected],
    first_frame: int | None,
    colour_maps: str,
    others: Collection[str],
) -> PredictionFolder:
    layout = _common_layout(base, found)
    if layout in VOLUMES:
        files = {video: entry.volumes[layout] for video, entry in found.items()}
        count = _count_archives(base, layout, files, num_frames, first_frame)
        first = {video: dataclasses.replace(known, first=count.first) for video, known in expected.items()}
        result = {v: VideoMaps({}, paths, 0, first[v], colour_maps) for v, paths in files.items()}
    else:
        numbers = {video: next(iter(entry.singles.values())) for video, entry in found.items()}
        usage = 1 if layout in _ONE_BASED.values() else None
        count = counting(str(base), numbers, num_frames, usage, first_frame)
        result = {v: _frames(files, count.first, expected[v], colour_maps) for v, files in numbers.items()}
    unused = contents.unused(base, {*num_frames, *others})
    remarks = _remarks(base, layout, found, count, first_frame)
    if unused:
        remarks.append(contents.unknown(base, unused, [video for video in num_frames if video not in found]))
    return PredictionFolder(base, layout, count.first, result, unused, tuple(remarks))


def _remarks(
    base: Path, layout: str, found: Mapping[str, _Entry], count: Counting, first_frame: int | None
) -> list[str]:
    """Returns notes on the interpretation of a folder's files."""
    remarks = []
    if not count.reason and first_frame is not None:
        remarks.append(f"{base}: maps without numbers are in order from the first frame on, whatever --first_frame")
    if count.reason:
        contrary = layout in _ONE_BASED.values() and count.first == 0 and first_frame is None
        though = f", though names of layout {layout} count from 1" if contrary else ""
        remarks.append(
            f"{base}: frames are counted from {count.first} ({count.reason}{though}); --first_frame={1 - count.first} "
            "if not"
        )
    numbered = [files for entry in found.values() for files in entry.singles.values()]
    if any(len({path.suffix.lower() for path in files.values()}) > 1 for files in numbered):
        remarks.append(f"{base}: videos have files with several endings")
    left = {video: entry.left for video, entry in found.items() if entry.left}
    if left:
        video, names = next(iter(left.items()))
        more = f" and of {len(left) - 1} other videos" if len(left) > 1 else ""
        remarks.append(f"{base}: files of video {video!r}{more} that are not read: {contents.some(names)}")
    return remarks


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
    base: Path, layout: str, files: Mapping[str, Sequence[Path]], num_frames: Mapping[str, int], first_frame: int | None
) -> Counting:
    """Infers the first number of `frames` in archives; archives without it are in order, from the first frame on."""
    if layout not in _USAGE:
        return Counting(0, "")
    told = {video: [arrays.frame_numbers(path) for path in paths] for video, paths in files.items()}
    numbers = {v: {int(n) for each in some if each is not None for n in each} for v, some in told.items()}
    numbers = {video: found for video, found in numbers.items() if found}
    return counting(str(base), numbers, num_frames, _USAGE[layout], first_frame) if numbers else Counting(0, "")


def _frames(files: Mapping[int, Path], first: int, expected: arrays.Expected, colour_maps: str) -> VideoMaps:
    inside = {n - first: path for n, path in sorted(files.items()) if 0 <= n - first < expected.num_frames}
    return VideoMaps(inside, (), len(files) - len(inside), expected, colour_maps)

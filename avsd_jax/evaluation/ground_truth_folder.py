"""Ground truth from a user's folder, for `python -m avsd_jax.evaluate --ground_truth=FOLDER`.

By type, or by video (`fixation` is accepted for `fixations`):

    FOLDER/maps/<video>/000000.png      FOLDER/fixations/<video>/000000.png   or FOLDER/fixations/<video>.csv, .mat
    FOLDER/<video>/maps/000000.png      FOLDER/<video>/fixations/000000.png   or FOLDER/<video>/fixations.csv, .mat

Density maps are numbered images or a volume (`avsd_jax.evaluation.prediction_folders`);
`avsd_jax.map_files.fixation_files` describes the fixations. Every frame of a video has a density map; their number is
the number of frames of the video.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Num, UInt8

from avsd_jax.common.byte_cache import ByteCache
from avsd_jax.data import schema
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.evaluation import map_checks, prediction_folders
from avsd_jax.evaluation.frame_numbers import Counting, counting
from avsd_jax.evaluation.prediction_folders import PredictionFolder, VideoMaps
from avsd_jax.map_files import contents, fixation_files
from avsd_jax.scoring.scorer import as_levels

SPLIT = "all"
FLAG = "--ground_truth_first_frame"
_MAPS, _FIXATIONS = "maps", ("fixations", "fixation")
_CACHE_BYTES = 256 << 20
# Maps may be truncated at some deviations from a fixation, and pixels there rounded to 0: a few are not reported.
_TOLD_SHARE = 0.1


def name_of(folder: str | Path) -> str:
    """Returns the name of a folder in results; no dataset has such a name."""
    return f"ground_truth={Path(folder).absolute().name}"


class FolderTruth(VideoStore):
    """The videos of a folder of ground truth, with density maps and fixations, and neither frames nor audio.

    Args:
        folder: see the module.
        first_frame: 0 or 1, the number of the first frame; None: inferred.

    Attributes:
        maps: the density maps.
        counted: the number of the first frame, by "maps" and "fixations".
        notes: observations while opening, as sentences.

    Raises:
        InputError: something is missing, damaged or contradictory; the message names it.
    """

    has_frames = False

    def __init__(self, folder: str | Path, first_frame: int | None = None):
        folder = Path(folder)
        places = _places(folder)
        self.notes = [*places.notes]
        self.maps, self.counted = _find_maps(places, first_frame)
        found = {video: fixation_files.find(video, *places.fixations(video)) for video in self.maps.videos}
        sizes = {video: _first_size(maps) for video, maps in self.maps.videos.items()}
        lengths = {video: maps.expected.num_frames or 0 for video, maps in self.maps.videos.items()}
        self.counted["fixations"] = _count_fixations(folder, found, lengths, self.counted["maps"], first_frame)
        self._found = list(found.values())
        self._rows: list[np.ndarray | None] = []
        self.outside: dict[str, Counter[str]] = {}
        for video, each in found.items():
            self._rows.append(self._inside(video, each, sizes[video], lengths[video]))
        super().__init__(
            f"{name_of(folder)} {SPLIT}", [], [_index(v, lengths[v], sizes[v], found[v]) for v in found], 1
        )
        self._points = ByteCache(_CACHE_BYTES)
        self._volumes: OrderedDict[int, list[bytes]] = OrderedDict()
        self.conversions: Counter[str] = Counter()

    def density(self, video: int, index: int) -> UInt8[np.ndarray, "h w"]:
        """Returns the density map of a frame at 8 bits: as stored, or scaled to a peak of 255 if it has other values.

        Raises:
            IndexError: the video has no such frame.
            InputError: the map is damaged, of a different size than the video's first, negative or not finite.
        """
        known = self.videos[video]
        if not 0 <= index < known.num_frames:
            raise IndexError(f"{self.name}: video {known.id!r} has no frame {index}")
        maps = self.maps.videos[known.id]
        if maps.archives:
            return schema.decode_png(self._volume(video)[index])
        one = VideoMaps({index: maps.files[index]}, (), 0, maps.expected, maps.colour)
        ((_, values, _),) = prediction_folders.read(one, self.conversions)
        return self._checked(video, index, values)

    def density_levels(self, video: int, index: int) -> UInt8[np.ndarray, "h w"]:
        """Returns the same as `density`: there are no deeper maps."""
        return self.density(video, index)

    def fixations(self, video: int, index: int) -> Float32[np.ndarray, "n 2"]:
        """Returns the fixations (x, y) of a frame; see `VideoStore.fixations`."""
        return self.viewer_rows(video, index)[:, 1:]

    def viewer_rows(self, video: int, index: int) -> Float32[np.ndarray, "n 3"]:
        """Returns (viewer or -1, x, y) of a frame; see `VideoStore.viewer_rows`."""
        rows = self._rows[video]
        if rows is not None:
            low, high = np.searchsorted(rows[:, 0], [index, index + 1])
            return rows[low:high, 1:]
        found, known = self._found[video], self.videos[video]
        number, plane = index + self.counted["fixations"].first, (known.map_height, known.map_width)
        points = self._points.get((video, index), lambda: fixation_files.points(found, number, plane))
        return np.insert(points, 0, -1, axis=1)

    def frames(self, video: int, indices: Any) -> list[UInt8[np.ndarray, "h w 3"]]:
        """Raises InputError: there are none."""
        raise InputError(f"{self.name} has no frames, only density maps and fixations: build a dataset for more")

    def audio(self, video: int, start: int, stop: int) -> np.ndarray:
        """Raises InputError: there is none."""
        raise InputError(f"{self.name} has no audio, only density maps and fixations: build a dataset for more")

    def _inside(
        self, video: str, found: fixation_files.Fixations, plane: tuple[int, int], length: int
    ) -> np.ndarray | None:
        """Returns a table's fixations with frames from 0, without those outside the image or the video, which are
        counted."""
        if found.rows is None:
            return None
        if found.plane not in (None, plane):
            raise InputError(f"{found.source} has masks of {found.plane}, and the video's density maps are {plane}")
        rows = found.rows.copy()
        rows[:, 0] -= 0 if found.ordered else self.counted["fixations"].first
        if found.ordered and len(rows) and rows[-1, 0] >= length:
            raise InputError(f"{found.source} has more masks than the {length} density maps of video {video!r}")
        keep, counts = fixation_files.outside(rows, plane, length)
        self.outside[video] = counts
        return rows[keep]

    def _volume(self, video: int) -> list[bytes]:
        """Returns the maps of a video in a volume, as PNG files; those of the last two videos are cached."""
        if video not in self._volumes:
            planes: dict[int, bytes] = {}
            for frame, values, _ in prediction_folders.read(self.maps.videos[self.videos[video].id], self.conversions):
                if frame in planes:
                    raise InputError(f"{self.name}: video {self.videos[video].id!r} has two maps of frame {frame}")
                planes[frame] = schema.encode_png(self._checked(video, frame, values))
            if set(planes) != set(range(self.videos[video].num_frames)):
                raise InputError(
                    f"{self.name}: the volume of video {self.videos[video].id!r} leaves frames out: give every frame a "
                    "density map"
                )
            self._volumes[video] = [planes[frame] for frame in sorted(planes)]
            while len(self._volumes) > 2:
                self._volumes.popitem(last=False)
        return self._volumes[video]

    def _checked(self, video: int, frame: int, values: Num[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        known = self.videos[video]
        where = f"{self.name}: the density map of video {known.id!r}, frame {frame},"
        if values.shape != (known.map_height, known.map_width):
            raise InputError(
                f"{where} is {values.shape[0]}x{values.shape[1]}, the first one {known.map_height}x{known.map_width}: "
                "write all maps of a video in one size"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{where} has values that are not finite: write finite densities")
        if values.min() < 0:
            raise InputError(f"{where} has values below 0: write densities")
        values = as_levels(values)
        if values.dtype == np.uint8 or not values.any():
            return values.astype(np.uint8)
        self.conversions["density maps of other values than levels of 8 bits, scaled to a peak of 255 and rounded"] += 1
        return np.rint(values * (255 / float(values.max()))).astype(np.uint8)


def inspect(store: FolderTruth) -> tuple[str, list[str]]:
    """Reads all of a folder once: every map and mask is checked before anything is scored.

    Returns:
        A digest of the content (ids, density maps at 8 bits, fixations with their viewers), and notes on it, as
        sentences.

    Raises:
        InputError: a file is damaged, maps have different sizes, or there are no fixations.
    """
    content = hashlib.sha256()
    kinds: dict[str, dict[str, list[int]]] = {"constant": {}, "empty": {}, "unlooked": {}, "looked": {}}
    fixated: Counter[str] = Counter()
    dark: Counter[str] = Counter()
    for number, video in enumerate(store.videos):
        content.update(f"{video.id}\0{video.num_frames}\0{video.map_height}\0{video.map_width}\0".encode())
        for frame in range(video.num_frames):
            density, rows = store.density(number, frame), store.viewer_rows(number, frame)
            content.update(density.tobytes() + f"{len(rows)}\0".encode() + rows.astype("<f4").tobytes())
            kind = _kind(density, len(rows))
            if kind is not None:
                kinds[kind].setdefault(video.id, []).append(frame)
            at = np.floor(rows[:, 1:] + 0.5).astype(int).clip(0, (video.map_width - 1, video.map_height - 1))
            fixated[video.id] += len(rows)
            dark[video.id] += int((density[at[:, 1], at[:, 0]] == 0).sum())
    if not sum(fixated.values()):
        raise InputError(f"{store.name} has no fixation inside any frame: nothing can be scored, check the files")
    return content.hexdigest(), [*store.notes, *_remarks(store, kinds, fixated, dark)]


def _kind(density: UInt8[np.ndarray, "h w"], fixations: int) -> str | None:
    """Returns what is unexpected about a frame."""
    if not density.any():
        return "looked" if fixations else "empty"
    if density.min() == density.max():
        return "constant"
    return None if fixations else "unlooked"


def _remarks(
    store: FolderTruth, kinds: Mapping[str, Mapping[str, list[int]]], fixated: Counter[str], dark: Counter[str]
) -> list[str]:
    words = {
        "constant": "constant density maps, for which most metrics do not exist",
        "empty": "frames without fixations, whose density maps are zero",
        "looked": "density maps that are zero in frames with fixations: the two contradict each other",
        "unlooked": "density maps of frames without fixations (made of several frames, or are fixations missing?)",
    }
    said = [
        f"{store.name}: frames of {what} are counted from {count.first} ({count.reason})"
        + (f"; {FLAG}={1 - count.first} if not" if what == "fixations" else "")
        for what, count in store.counted.items()
        if count.reason
    ]
    said += [
        f"{store.name}: {sum(map(len, kinds[kind].values()))} {what}: {map_checks.where(kinds[kind])}"
        for kind, what in words.items()
        if kinds[kind]
    ]
    for key, what in (("image", "outside the image"), ("frames", "before the start or past the end of the video")):
        counts = {video: found[key] for video, found in store.outside.items() if found[key]}
        if counts:
            each = ", ".join(f"{number} of video {video}" for video, number in list(counts.items())[:4])
            said.append(f"{store.name}: {sum(counts.values())} fixations {what} are ignored: {each}")
    apart = [video for video in fixated if dark[video] > _TOLD_SHARE * fixated[video]]
    if apart:
        said.append(
            f"{store.name}: {sum(dark[v] for v in apart)} of {sum(fixated[v] for v in apart)} fixations of video "
            f"{', '.join(apart[:4])} lie where the density map is 0: are x and y swapped, or is the frame count off?"
        )
    return said + [f"{store.name}: {number} {what}" for what, number in store.conversions.items()]


# ---------------------------------------------------------------------------------------------------------------------
# Finding
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Places:
    """Locations of a folder's parts: `base` holds a folder or volume of maps per video."""

    folder: Path
    base: Path
    by_kind: bool
    videos: tuple[str, ...]
    notes: tuple[str, ...]

    def fixations(self, video: str) -> tuple[list[Path], list[Path]]:
        """Returns the possible folders of masks and table files of a video."""
        stems = [self.folder / f / video if self.by_kind else self.base / video / f for f in _FIXATIONS]
        return stems, [stem.with_name(stem.name + suffix) for stem in stems for suffix in fixation_files.TABLES]


def _places(folder: Path) -> _Places:
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: give --ground_truth the folder with density maps and fixations")
    by_kind = (folder / _MAPS).is_dir()
    base = folder / _MAPS if by_kind else folder
    entries = contents.children(base)
    if by_kind:
        names = {p.name if p.is_dir() else p.stem for p in entries if p.is_dir() or p.suffix.lower() in contents.MAPS}
        others = [p for f in _FIXATIONS if (folder / f).is_dir() for p in contents.children(folder / f)]
        left = [p.name for p in others if (p.name if p.is_dir() else p.stem) not in names]
        why = "fixations of no video with density maps"
    else:
        names = {p.name for p in entries if (p / _MAPS).is_dir()}
        left, why = [p.name for p in entries if p.is_dir() and p.name not in names], "folders without maps/"
    if not names:
        there = contents.some([p.name for p in entries]) if entries else "nothing"
        raise InputError(
            f"{folder} holds no ground truth (it has {there}): put density maps into {folder}/maps/<video>/ and "
            f"fixations into {folder}/fixations/<video>/, or both into {folder}/<video>/"
        )
    notes = (f"{folder} also has {why}: {contents.some(left)}",) if left else ()
    return _Places(folder, base, by_kind, tuple(sorted(names)), notes)


def _find_maps(places: _Places, told: int | None) -> tuple[PredictionFolder, dict[str, Counting]]:
    """Finds the density maps, and the number of their first frame; every video has a map of every frame."""
    counts, numbers = prediction_folders.survey(places.base, places.videos)
    lacking = [video for video in places.videos if not counts.get(video)]
    if lacking:
        raise InputError(f"{places.base}: video {lacking[0]!r} has no density map: put its maps there, or remove it")
    for video, found in numbers.items():
        gaps = sorted(set(range(min(found), max(found) + 1)) - found)
        if gaps or min(found) > 1:
            said = (
                f"lacks the density map number {gaps[0]}" if gaps else f"has density maps from number {min(found)} on"
            )
            raise InputError(f"{places.base}: video {video!r} {said}: give every frame one, counted from 0 or 1")
    counted = Counting(0, "")
    if numbers:
        starts = {min(found): video for video, found in numbers.items()}
        if len(starts) > 1:
            raise InputError(
                f"{places.base}: density maps of video {starts[0]!r} are numbered from 0 and of {starts[1]!r} from 1: "
                "number all alike"
            )
        counted = counting(str(places.base), numbers, counts, None, told, FLAG)
        if counted.first not in starts:
            first, video = next(iter(starts.items()))
            raise InputError(
                f"{places.base}: the density maps of video {video!r} are numbered from {first} and not from "
                f"{counted.first}: leave out {FLAG}, or number them differently"
            )
    found = prediction_folders.find(places.base, "", counts, counted.first if numbers else None, other_forms=True)
    return found, {"maps": counted}


def _count_fixations(
    folder: Path,
    found: Mapping[str, fixation_files.Fixations],
    lengths: Mapping[str, int],
    maps: Counting,
    told: int | None,
) -> Counting:
    """Infers the number of the first frame of the fixations; if it is ambiguous, that of the maps."""
    for video, each in found.items():
        if each.masks and (len(each.masks) != lengths[video] or max(each.masks) - min(each.masks) >= lengths[video]):
            raise InputError(
                f"{each.source} has {len(each.masks)} masks (numbers {min(each.masks)} to {max(each.masks)}) and video "
                f"{video!r} {lengths[video]} density maps: give every frame both, an empty mask without fixations"
            )
    numbers = {video: each.numbers for video, each in found.items() if each.numbers and not each.ordered}
    if not numbers:
        return Counting(0, "")
    usage = maps.first if maps.reason else None
    count = counting(f"fixations in {folder}", numbers, lengths, usage, told, FLAG)
    wrong = [video for video, each in found.items() if each.masks and min(each.masks) != count.first]
    if wrong:
        raise InputError(f"{found[wrong[0]].source}: masks are not numbered from {count.first}: number all alike")
    if maps.reason and maps.first != count.first:
        raise InputError(
            f"{folder}: density maps count frames from {maps.first} ({maps.reason}) and fixations from {count.first} "
            f"({count.reason}): number both alike"
        )
    return count


def _first_size(maps: VideoMaps) -> tuple[int, int]:
    _, values, _ = next(prediction_folders.read(maps))
    return values.shape


def _index(video: str, num_frames: int, size: tuple[int, int], found: fixation_files.Fixations) -> schema.VideoIndex:
    """Returns the index of a video; the frame rate is unknown, and the frame size is assumed to be that of the maps."""
    return schema.VideoIndex(
        id=video,
        fps=0.0,
        num_frames=num_frames,
        num_samples=0,
        sample_rate=1,
        height=size[0],
        width=size[1],
        map_height=size[0],
        map_width=size[1],
        num_viewers=found.viewers,
        audio_rms=0.0,
        audio_first=(),
        label_runs=((0, -1),),
        tags=(),
    )

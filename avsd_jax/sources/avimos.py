"""AViMoS (AIM 2024) and its successor of NTIRE 2026: videos with sound, and where thousands moved the mouse on them.

  TrainTestSplit.json                         {"train": [names], "public_test": [names], "private_test": [names]}
  Videos/<video>.mp4                          or in Videos/Train/ and Videos/Test/
  SaliencyTrain/Train/<video>.mp4             density maps as a grey video of 10 bits; or in SaliencyTrain/ itself
  FixationsTrain/Train/<video>/fixations.json a list of points [y, x] per frame; or in FixationsTrain/ itself
  SaliencyTest/Test/, FixationsTest/Test/     likewise

below `manual_dir`, or below the folder of either repository in it. The archives are unpacked into folders of their
names. A name in TrainTestSplit.json has `.mp4` at its end or not. VideoInfo.json (licences), and the images of
fixations beside fixations.json, which show a repeated point once, are not read.

This is written from the organisers' README and `bench.py` and from a participant's copy of TrainTestSplit.json, and
tested on synthetic files in that form.

Both test parts were published without ground truth during the challenges: where SaliencyTest and FixationsTest are
absent, the test videos are built without.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from avsd_jax.common import safe_paths
from avsd_jax.data import schema
from avsd_jax.errors import InputError
from avsd_jax.media import reading
from avsd_jax.sources import audio_files, video_damage, video_files
from avsd_jax.sources.base import Findings, Inspection, MissingFile, agreed_length, read_through, shortest
from avsd_jax.sources.gaze import mouse_tracks
from avsd_jax.sources.short_side import reduced, resized

SPLITS = "TrainTestSplit.json"
REPOSITORIES = ("AudioVisualMouseSaliency", "VideoSaliencyChallenge")
"""Folders of the two editions, 2024 and 2026, as their repositories are named."""
PARTS = {"train": "Train", "public_test": "Test", "private_test": "Test"}
"""The archives that hold the videos of each list."""
PUBLISHED = {"train": (1000, 1200), "test": (500, 800)}
"""Videos in 2024 and 2026."""

_SUFFIX = ".mp4"
_FIX = "or leave its video out with --skip_missing"


@dataclass(frozen=True)
class Listed:
    """A listed video: its name, the archives that hold its ground truth, and whether it is published."""

    video: str
    part: str
    watched: bool


@dataclass(frozen=True)
class Lists:
    """The content of TrainTestSplit.json.

    Attributes:
        splits: `train`, `public_test` and `private_test` in the order of the file, each video once; `test`: the latter
            two; `all`: every video, sorted by name.
        videos: each listed video, by its name.
        oddities: sentences about what does not stop a build.
    """

    splits: Mapping[str, tuple[str, ...]]
    videos: Mapping[str, Listed]
    oddities: tuple[str, ...]


def find(manual_dir: str | Path) -> Path:
    """Finds the folder that holds TrainTestSplit.json.

    Raises:
        InputError: there is none.
    """
    root = Path(manual_dir)
    for folder in (root, *(safe_paths.below(root, name) for name in REPOSITORIES)):
        if (folder / SPLITS).exists():
            return folder
    raise InputError(
        f"{root / SPLITS} is missing, and so is the folder {' or '.join(REPOSITORIES)} with one: put the files of the "
        "dataset there, its archives unpacked"
    )


def read_lists(folder: Path) -> Lists:
    """Reads TrainTestSplit.json.

    Args:
        folder: as `find` found it.

    Raises:
        InputError: it is a link or malformed, or a name in it is not plain.
    """
    path = safe_paths.below(folder, SPLITS)
    try:
        lists = json.loads(safe_paths.read_text(path))
    except (RecursionError, ValueError) as error:
        raise InputError(f"{path} is not JSON ({error}): restore the file") from error
    if not isinstance(lists, dict):
        lists = {}
    splits, videos = {}, {}
    for split, part in PARTS.items():
        names = lists.get(split)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path} has no list of names {split!r}: restore the file")
        where = f"{path}, {split}"
        splits[split] = tuple(dict.fromkeys(safe_paths.checked_name(_stem(name), where) for name in names))
        watched = part == "Train" or any(safe_paths.below(folder, kind + part).exists() for kind in _KINDS)
        for video in splits[split]:
            videos.setdefault(video, Listed(video, part, watched))
    splits["test"] = tuple(dict.fromkeys(splits["public_test"] + splits["private_test"]))
    return Lists(splits | {"all": tuple(sorted(videos))}, videos, tuple(_oddities(splits, videos)))


def _oddities(splits: Mapping[str, tuple[str, ...]], videos: Mapping[str, Listed]) -> Iterator[str]:
    for split, (earlier, later) in PUBLISHED.items():
        if len(splits[split]) not in (earlier, later):
            yield f"{SPLITS} names {len(splits[split])} videos in {split}, the published ones {earlier} or {later}"
    times = Counter(video for split in PARTS for video in splits[split])
    several = [video for video, count in times.items() if count > 1]
    if several:
        yield f"in several lists of {SPLITS}: {', '.join(several)}"
    unwatched = sum(not listed.watched for listed in videos.values())
    if unwatched:
        yield f"{unwatched} test videos are without ground truth: SaliencyTest and FixationsTest are not there"


def existing_videos(folder: Path) -> tuple[str, ...]:
    """Returns the names of the existing videos, sorted."""
    videos = safe_paths.below(folder, "Videos")
    places = (videos, *(safe_paths.below(videos, part) for part in sorted(set(PARTS.values()))))
    names = {name for place in places for name in safe_paths.file_names(place)}
    return tuple(sorted(_stem(name) for name in names if name.endswith(_SUFFIX)))


def read(folder: Path, listed: Listed, short_side: int | None = None) -> schema.SourceVideo:
    """Reads a video; frames and maps are streamed. Both videos are decoded first to count their frames.

    Args:
        folder: as `find` found it.
        listed: its entry in the lists.
        short_side: frames are reduced so that their shorter side has this many pixels; None: stored at their own
            size. Maps and fixations keep theirs, which scores depend on.

    Raises:
        MissingFile: a file is missing; the message names it.
        InputError: a file is damaged, or files contradict each other.
    """
    info = _probe(folder, listed)
    counts = dict(zip(("frames stated", "frames"), reading.count_frames(info.path), strict=True))
    truth = _probe_truth(folder, listed) if listed.watched else None
    if truth is not None:
        counts |= {"maps": reading.count_frames(truth.maps.path).decoded, "fixations": truth.tracks.num_frames}
    n = agreed_length(f"{info.path}", counts)
    samples, rate = _sound(info, n)
    for file in (info, truth and truth.maps):
        if file:
            video_damage.check_video(file.path)
    plane = (truth.maps.height, truth.maps.width) if truth else (info.height, info.width)
    height, width = reduced((info.height, info.width), short_side)
    images = (frame.image for frame in reading.read_frames(info.path) if frame.index < n)
    return schema.SourceVideo(
        video_id=listed.video,
        fps=info.fps,
        num_frames=n,
        height=height,
        width=width,
        frames=(schema.encode_jpeg(resized(image, (height, width))) for image in images),
        density=truth and _maps(truth.maps.path, n),
        fixations=truth.tracks.within(plane, n) if truth else np.zeros((0, 4), np.float32),
        num_viewers=0,
        avc_label=np.full(n, -1, np.int8),
        audio=samples,
        sample_rate=rate,
        map_height=plane[0],
        map_width=plane[1],
    )


def inspect(folder: Path, video: str, listed: Listed | None) -> Inspection:
    """Inspects a video's files; numbers of frames are those of packets.

    Args:
        folder: as `find` found it.
        video: its name.
        listed: its entry in the lists; None if it is in none.
    """
    findings = Findings(notes=[] if listed else ["in no list: skipped"])
    entry = listed or Listed(video, "Train", False)
    info, sound, counts, n, dropped, empty = None, None, {}, 0, 0, ()
    with findings.caught():
        info = _probe(folder, entry)
        counts = dict(zip(("frames stated", "frames"), video_files.count_packets(info.path), strict=True))
        sound = info.audio and audio_files.probe(info.path)
    truth = None
    with findings.caught():
        truth = _probe_truth(folder, entry) if entry.watched else None
        if truth:
            counts |= {
                "maps": video_files.count_packets(truth.maps.path).decoded,
                "fixations": truth.tracks.num_frames,
            }
    if info and counts:
        with findings.caught():
            n, remark = shortest(f"{info.path}", counts)
            findings.notes += [remark] if remark else []
            findings.notes += audio_files.notes(sound, n / info.fps) if sound else ["without sound"]
    if truth and n:
        plane = (truth.maps.height, truth.maps.width)
        dropped = int((truth.tracks.rows[:, 0] < n).sum()) - len(truth.tracks.within(plane, n))
        empty = truth.tracks.unseen(n)
        if plane != (info.height, info.width):
            findings.notes.append(f"maps of {plane[1]}x{plane[0]}, unlike the video: points count as pixels of maps")
    return Inspection(
        num_frames=0 if findings.problems else n,
        counts={kind: count for kind, count in counts.items() if count is not None and kind != "frames stated"},
        sample_rate=sound and sound.sample_rate,
        channels=sound.channels if sound else 0,
        size=info and (info.width, info.height),
        empty_maps=empty,
        dropped_points=dropped,
        problems=tuple(findings.problems),
        missing=tuple(findings.missing),
        notes=tuple(findings.notes),
    )


def examine(folder: Path, video: str, listed: Listed | None, thorough: bool = False) -> Inspection:
    """Finds what would stop a build of a video, and further notes.

    Args:
        folder: as `find` found it.
        video: its name.
        listed: its entry in the lists; None if it is in none.
        thorough: also read the whole video as a build does, which decodes its frames and maps.
    """
    found = inspect(folder, video, listed)
    return read_through(found, lambda: read(folder, listed)) if thorough and listed else found


# ---------------------------------------------------------------------------------------------------------------------
# The files of one video
# ---------------------------------------------------------------------------------------------------------------------

_KINDS = ("Saliency", "Fixations")


@dataclass(frozen=True)
class _Truth:
    maps: reading.VideoInfo
    tracks: mouse_tracks.Tracks


def _stem(name: str) -> str:
    return name.removesuffix(_SUFFIX)


def _file(folder: Path, archive: str, part: str, *names: str) -> Path:
    """Returns the file of an archive, whose top folder may be missing.

    Raises:
        MissingFile: there is none.
    """
    top = safe_paths.below(folder, archive)
    first, second = (safe_paths.below(top, *inner, *names) for inner in ((), (part,)))
    for path in (first, second):
        if path.is_file():
            return path
    raise MissingFile(f"{second} is missing, and so is {first}: put it there, {_FIX}")


def _probe(folder: Path, listed: Listed) -> reading.VideoInfo:
    return video_files.probed(_file(folder, "Videos", listed.part, listed.video + _SUFFIX))


def _probe_truth(folder: Path, listed: Listed) -> _Truth:
    maps = _file(folder, f"Saliency{listed.part}", listed.part, listed.video + _SUFFIX)
    points = _file(folder, f"Fixations{listed.part}", listed.part, listed.video, "fixations.json")
    return _Truth(video_files.probed(maps), mouse_tracks.read(points))


def _sound(info: reading.VideoInfo, num_frames: int) -> tuple[Int16[np.ndarray, " s"], int]:
    """Returns samples and rate; none if the video is silent, as some are."""
    if info.audio is None:
        return np.zeros(0, np.int16), audio_files.MAX_RATE
    return audio_files.read(info.path, num_frames / info.fps)


def _maps(path: Path, num_frames: int) -> Iterator[bytes]:
    """Yields the density maps as PNG files of 16 bits, which hold all levels of the video."""
    for _, levels in zip(range(num_frames), reading.read_levels(path), strict=False):
        yield schema.encode_png(levels)

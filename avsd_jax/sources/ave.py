"""AVE's public download: videos, and lists of the audio-visual events in them.

  Annotations.txt                         lines `category&video&quality&start&end`, one per event, below a header
  trainSet.txt, valSet.txt, testSet.txt   the same five fields; with or without the header
  AVE/<video>.mp4

below `manual_dir`, or below `AVE_Dataset/` in it. Times are whole seconds; in [start, end) the event is both audible
and visible. This is written from the public description of the dataset, and tested on synthetic files in that format.

The name of a category ends at its first comma. Annotations.txt is authoritative for events; the other lists assign its
videos to splits. A video with several events has the tags of all.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from avsd_jax.common import safe_paths
from avsd_jax.data import schema
from avsd_jax.data.preprocessing.vinet import Preprocessing
from avsd_jax.errors import InputError
from avsd_jax.media import reading
from avsd_jax.sources import audio_files, video_damage, video_files
from avsd_jax.sources.base import Findings, Inspection, MissingFile, agreed_length, read_through, shortest

# In the order of STANet's official loaders.
CATEGORIES = (
    "Accordion",
    "Acoustic guitar",
    "Baby cry",
    "Banjo",
    "Bark",
    "Bus",
    "Cat",
    "Chainsaw",
    "Church bell",
    "Clock",
    "Female speech",
    "Fixed-wing aircraft",
    "Flute",
    "Frying (food)",
    "Goat",
    "Helicopter",
    "Horse",
    "Male speech",
    "Mandolin",
    "Motorcycle",
    "Race car",
    "Rodents",
    "Shofar",
    "Toilet flush",
    "Train horn",
    "Truck",
    "Ukulele",
    "Violin",
)
FOLDER = "AVE_Dataset"
ANNOTATIONS = "Annotations.txt"
LISTS = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}
PUBLISHED = {"train": 3339, "val": 402, "test": 402}
"""Events in the published lists."""

_VIDEOS = "AVE"
_HEADER = "Category&VideoID&"
_TIME = re.compile(r"[0-9]{1,6}")
_FORM = "category&video&quality&start&end"


@dataclass(frozen=True)
class Event:
    """An event that is both audible and visible from second `start` until second `end`, and its category."""

    category: str
    start: int
    end: int


@dataclass(frozen=True)
class Listed:
    """A listed video.

    Attributes:
        video: its name.
        events: its events in Annotations.txt, in order.
        where: the list and line that contain it, for messages.
    """

    video: str
    events: tuple[Event, ...]
    where: str

    @property
    def tags(self) -> tuple[str, ...]:
        """Returns the categories of its events, each once."""
        return tuple(dict.fromkeys(event.category for event in self.events))


@dataclass(frozen=True)
class Lists:
    """The content of the lists.

    Attributes:
        splits: `train`, `val` and `test`, videos in the order of the list, each once; `all`: every listed video,
            sorted by name.
        videos: each listed video, by its name.
        oddities: sentences about inconsistencies and differences from the published lists that do not stop a build.
    """

    splits: Mapping[str, tuple[str, ...]]
    videos: Mapping[str, Listed]
    oddities: tuple[str, ...]


def find(manual_dir: str | Path) -> Path:
    """Finds the folder that holds the lists: `manual_dir`, or `AVE_Dataset` in it.

    Raises:
        InputError: there is no Annotations.txt in either.
    """
    root = Path(manual_dir)
    for folder in (root, safe_paths.below(root, FOLDER)):
        if (folder / ANNOTATIONS).exists():
            return folder
    raise InputError(f"{root / ANNOTATIONS} is missing, and so is {FOLDER}/{ANNOTATIONS}: unpack {FOLDER} there")


def read_lists(folder: Path) -> Lists:
    """Reads the lists of the folder that `find` found.

    Raises:
        InputError: a list is missing, a link, empty or malformed, has an unknown category, or names a video that is not
            in Annotations.txt; the message names the line.
    """
    events: dict[str, list[Event]] = {}
    for _, video, event in _lines(safe_paths.below(folder, ANNOTATIONS)):
        events.setdefault(video, []).append(event)
    splits, videos, oddities = {}, {}, []
    for split, name in LISTS.items():
        listed = list(_lines(safe_paths.below(folder, name)))
        for where, video, _ in listed:
            if video not in events:
                raise InputError(f"{where}: {video!r} is not in {ANNOTATIONS}: restore its line there")
            videos.setdefault(video, Listed(video, tuple(dict.fromkeys(events[video])), where))
        splits[split] = tuple(dict.fromkeys(video for _, video, _ in listed))
        if len(listed) != PUBLISHED[split]:
            oddities.append(f"{name} names {len(listed)} events, the published list {PUBLISHED[split]}")
        differing = [video for _, video, event in listed if event not in events[video]]
        if differing:
            oddities.append(f"{name} differs from {ANNOTATIONS}, which counts, in {', '.join(differing)}")
    times = Counter(itertools.chain.from_iterable(splits.values()))
    several = [video for video, count in times.items() if count > 1]
    if several:
        oddities.append(f"in several lists: {', '.join(several)}")
    return Lists(splits | {"all": tuple(sorted(videos))}, videos, tuple(oddities))


def _lines(path: Path) -> Iterator[tuple[str, str, Event]]:
    """Yields (location, video, event) of each line."""
    if not path.exists():
        raise InputError(f"{path} is missing: unpack {FOLDER} there")
    lines = [(number, line.strip()) for number, line in enumerate(safe_paths.read_text(path).splitlines(), 1)]
    entries = [(number, line) for number, line in lines if line and not (number == 1 and line.startswith(_HEADER))]
    if not entries:
        raise InputError(f"{path} lists no video: restore the file")
    for number, line in entries:
        where = f"{path}, line {number}"
        fields = [field.strip() for field in line.split("&")]
        if len(fields) != 5 or not all(map(_TIME.fullmatch, fields[3:])):
            raise InputError(f"{where}: {line!r} is not {_FORM}, with times in whole seconds: fix the line")
        category, video, _, start, end = fields
        if int(start) >= int(end):
            raise InputError(f"{where}: the event ends at {end} s and begins at {start} s: fix the line")
        name = category.partition(",")[0].rstrip()
        if name not in CATEGORIES:
            raise InputError(f"{where}: {category!r} is no category of AVE: write one of {', '.join(CATEGORIES)}")
        yield where, safe_paths.checked_name(video, where), Event(name, int(start), int(end))


def labels(events: Sequence[Event], num_frames: int, fps: float) -> Int8[np.ndarray, " n"]:
    """Derives the consistency of each frame from the events: 1 if there is one at the frame's time, else 0."""
    time = np.arange(num_frames) / fps
    return np.any([(event.start <= time) & (time < event.end) for event in events], axis=0).astype(np.int8)


def existing_videos(folder: Path) -> tuple[str, ...]:
    """Returns the names of the existing videos, sorted."""
    names = safe_paths.file_names(safe_paths.below(folder, _VIDEOS))
    return tuple(name.removesuffix(".mp4") for name in names if name.endswith(".mp4"))


def read(folder: Path, listed: Listed, size: tuple[int, int] | None) -> schema.SourceVideo:
    """Reads a video, which has no eye-tracking data; its frames are streamed. It is decoded first to count them.

    Args:
        folder: as `find` found it.
        listed: its entry in the lists.
        size: (height, width) of the frames, aspect ratio not kept, by Pillow's bilinear filter; None: the video's own.

    Raises:
        MissingFile: the video is not there, or has no audio track; the message names it and the list's line.
        InputError: it is damaged.
    """
    info = _probe(folder, listed.video, listed.where)
    stated, decoded = reading.count_frames(info.path)
    n = agreed_length(f"{info.path}", {"frames stated": stated, "frames": decoded})
    samples, rate = audio_files.read(info.path, n / info.fps)
    video_damage.check_video(info.path)
    height, width = size or (info.height, info.width)
    resize = Preprocessing().resize_frame
    images = (resize(frame.image, (height, width)) for frame in reading.read_frames(info.path))
    return schema.SourceVideo(
        video_id=listed.video,
        fps=info.fps,
        num_frames=n,
        height=height,
        width=width,
        frames=map(schema.encode_jpeg, images),
        density=None,
        fixations=np.zeros((0, 4), np.float32),
        num_viewers=0,
        avc_label=labels(listed.events, n, info.fps),
        audio=samples,
        sample_rate=rate,
        tags=listed.tags,
    )


def inspect(folder: Path, video: str, listed: Listed | None) -> Inspection:
    """Inspects a video; its number of frames is that in its header.

    Args:
        folder: as `find` found it.
        video: its name.
        listed: its entry in the lists; None if it is in none.
    """
    findings = Findings(notes=[] if listed else ["in no list: skipped"])
    info, sound, n = None, None, 0
    with findings.caught():
        info = _probe(folder, video, listed.where if listed else "in no list")
        stated, there = video_files.count_packets(info.path)
        n, remark = shortest(f"{info.path}", {"frames stated": stated, "frames": there})
        sound = audio_files.probe(info.path)
        findings.notes += [*([remark] if remark else []), *audio_files.notes(sound, n / info.fps)]
    return Inspection(
        num_frames=0 if findings.problems else n,
        counts={"frames": n} if n else {},
        sample_rate=sound and sound.sample_rate,
        channels=sound.channels if sound else 0,
        size=info and (info.width, info.height),
        problems=tuple(findings.problems),
        missing=tuple(findings.missing),
        labelled=0 if findings.problems or listed is None else n,
        notes=tuple(findings.notes),
    )


def examine(folder: Path, video: str, listed: Listed | None, thorough: bool = False) -> Inspection:
    """Finds what would stop a build of a video, and further notes.

    Args:
        folder: as `find` found it.
        video: its name.
        listed: its entry in the lists; None if it is in none.
        thorough: also read the whole video as a build does, which decodes its frames.
    """
    found = inspect(folder, video, listed)
    return read_through(found, lambda: read(folder, listed, None)) if thorough and listed else found


def _probe(folder: Path, video: str, where: str) -> reading.VideoInfo:
    path = safe_paths.below(folder, _VIDEOS, f"{video}.mp4")
    fix = "or leave its video out with --skip_missing"
    if not path.is_file():
        raise MissingFile(f"{path} is missing ({where}): put it there, {fix}")
    info = video_files.probed(path)
    if info.audio is None:
        raise MissingFile(f"{path} has no audio track ({where}): put one with audio there, {fix}")
    return info

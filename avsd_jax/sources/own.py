"""Your own eye-tracking data: a folder of videos and a table of fixations for each.

  videos/<video>.mp4      any file that FFmpeg reads (`SUFFIXES`), with or without sound
  fixations/<video>.csv   columns `frame,x,y` or `frame,x,y,viewer`, a fixation per line: frames from 0, pixels of the
                          video from 0 at the centre of the top left one
  labels/<video>.csv      optional labels of audio-visual consistency, as `avsd_jax.sources.label_files` describes
  test.txt                optional names of the test videos, one per line; without it, every fifth video by name

below `manual_dir`. Density maps are made of the fixations: a Gaussian at each, `avsd_jax.data.density`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int8, Int16

from avsd_jax.common import safe_paths
from avsd_jax.data import density, schema
from avsd_jax.errors import InputError
from avsd_jax.map_files import fixation_files
from avsd_jax.media import reading
from avsd_jax.sources import audio_files, label_files, video_damage, video_files
from avsd_jax.sources.base import Findings, Inspection, MissingFile, agreed_length, read_through, shortest
from avsd_jax.sources.own_folder import FIXATIONS, LABELS, TEST, VIDEOS
from avsd_jax.sources.short_side import reduced, resized

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
EVERY = 5
"""Without a list, one video in as many is a test video."""


@dataclass(frozen=True)
class Lists:
    """The videos and their splits.

    Attributes:
        splits: names by `train`, `test` and `all`, sorted.
        videos: each video's name, by itself.
        oddities: sentences about what does not stop a build.
    """

    splits: Mapping[str, tuple[str, ...]]
    videos: Mapping[str, str]
    oddities: tuple[str, ...]


def find(manual_dir: str | Path) -> Path:
    """Returns the folder, if videos and fixations are there.

    Raises:
        InputError: they are not.
    """
    root = Path(manual_dir)
    for name in (VIDEOS, FIXATIONS):
        if not safe_paths.below(root, name).is_dir():
            raise InputError(
                f"{root / name} is missing: put videos into {root / VIDEOS} and a table of fixations for each, "
                f"<video>.csv, into {root / FIXATIONS}"
            )
    return root


def existing_videos(folder: Path) -> tuple[str, ...]:
    """Returns the names of the videos, sorted."""
    return tuple(sorted(_files(folder)))


def read_lists(folder: Path) -> Lists:
    """Divides the videos.

    Raises:
        InputError: there are fewer than two; or test.txt names none, all, or one that is not there.
    """
    videos = existing_videos(folder)
    if len(videos) < 2:
        raise InputError(
            f"{folder / VIDEOS} has {len(videos)} videos ({', '.join(SUFFIXES)}): two are needed, to train on and to "
            "test with"
        )
    path, oddities = safe_paths.below(folder, TEST), ()
    if path.exists():
        lines = (line.strip() for line in safe_paths.read_text(path).splitlines())
        test = tuple(
            sorted({line.removesuffix(Path(line).suffix) if line not in videos else line for line in lines if line})
        )
        unknown = sorted(set(test) - set(videos))
        if unknown:
            raise InputError(f"{path} names {', '.join(unknown)}: {folder / VIDEOS} has no such video")
    else:
        test = videos[EVERY - 1 :: EVERY] or videos[-1:]
        oddities = (f"without {TEST}, the test videos are {', '.join(test)}",)
    train = tuple(video for video in videos if video not in test)
    if not test or not train:
        raise InputError(f"{path} leaves no video for {'training' if test else 'the test'}: name some, not all")
    oddities += tuple(_unused(folder, videos))
    return Lists({"train": train, "test": test, "all": videos}, dict(zip(videos, videos, strict=True)), oddities)


def read(folder: Path, listed: str, short_side: int | None = None) -> schema.SourceVideo:
    """Reads a video; frames and maps are streamed. It is decoded first to count its frames.

    Args:
        folder: as `find` found it.
        listed: its name.
        short_side: frames are reduced so that their shorter side has this many pixels; None: stored at their own
            size. Maps and fixations keep theirs, which scores depend on.

    Raises:
        MissingFile: a file is missing; the message names it.
        InputError: a file is damaged, or files contradict each other.
    """
    info = _probe(folder, listed)
    stated, decoded = reading.count_frames(info.path)
    n = agreed_length(f"{info.path}", {"frames stated": stated, "frames": decoded})
    plane = info.height, info.width
    found = _table(folder, listed)
    rows, _ = _inside(found, plane, n)
    samples, rate = _sound(info, n)
    video_damage.check_video(info.path)
    height, width = reduced(plane, short_side)
    images = (frame.image for frame in reading.read_frames(info.path) if frame.index < n)
    maps = density.density_maps(rows, n, plane, density.sigma_of("own", info.width))
    return schema.SourceVideo(
        video_id=listed,
        fps=info.fps,
        num_frames=n,
        height=height,
        width=width,
        frames=(schema.encode_jpeg(resized(image, (height, width))) for image in images),
        density=map(schema.encode_png, maps),
        fixations=rows,
        num_viewers=found.viewers,
        avc_label=_labels(folder, listed, n),
        audio=samples,
        sample_rate=rate,
        map_height=info.height,
        map_width=info.width,
    )


def inspect(folder: Path, video: str) -> Inspection:
    """Inspects a video's files; its number of frames is that of packets.

    Args:
        folder: as `find` found it.
        video: its name.
    """
    findings, info, sound, n = Findings(), None, None, 0
    with findings.caught():
        info = _probe(folder, video)
        stated, there = video_files.count_packets(info.path)
        n, remark = shortest(f"{info.path}", {"frames stated": stated, "frames": there})
        sound = info.audio and audio_files.probe(info.path)
        findings.notes += [remark] if remark else []
        findings.notes += audio_files.notes(sound, n / info.fps) if sound else ["without sound"]
    empty, outside, labelled = (), Counter(), 0
    with findings.caught():
        found = _table(folder, video)
        if n:
            rows, outside = _inside(found, (info.height, info.width), n)
            seen = np.bincount(rows[:, 0].astype(int), minlength=n)
            empty = tuple(int(frame) + 1 for frame in np.flatnonzero(seen == 0))
    with findings.caught():
        labelled = int((_labels(folder, video, n or None) != label_files.UNLABELLED).sum())
    return Inspection(
        num_frames=0 if findings.problems else n,
        counts={"frames": n} if n else {},
        sample_rate=sound and sound.sample_rate,
        channels=sound.channels if sound else 0,
        size=info and (info.width, info.height),
        empty_maps=empty,
        dropped_points=outside["image"],
        problems=tuple(findings.problems),
        missing=tuple(findings.missing),
        labelled=labelled,
        notes=tuple(findings.notes),
    )


def examine(folder: Path, video: str, listed: str | None, thorough: bool = False) -> Inspection:
    """Finds what would stop a build of a video, and further notes.

    Args:
        folder: as `find` found it.
        video: its name.
        listed: the same; None if the lists could not be made.
        thorough: also read the whole video as a build does, which decodes its frames.
    """
    found = inspect(folder, video)
    return read_through(found, lambda: read(folder, video)) if thorough and listed else found


# ---------------------------------------------------------------------------------------------------------------------
# The files of one video
# ---------------------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in safe_paths.file_names(safe_paths.below(folder, VIDEOS)):
        path = folder / VIDEOS / name
        if path.suffix.lower() in SUFFIXES:
            if path.stem in found:
                raise InputError(f"{found[path.stem]} and {path} have the same name: rename one, and its fixations")
            found[path.stem] = safe_paths.below(folder, VIDEOS, name)
    return found


def _unused(folder: Path, videos: Collection[str]) -> Iterator[str]:
    """Yields a sentence on each folder's files that belong to no video: a slip in a name would go unseen."""
    names = safe_paths.file_names(folder / VIDEOS)
    others = [name for name in names if Path(name).suffix.lower() not in SUFFIXES]
    if others:
        yield f"not used, as {VIDEOS} end in {', '.join(SUFFIXES)}: {', '.join(others)}"
    for table in (FIXATIONS, LABELS):
        names = safe_paths.file_names(folder / table)
        stray = [name for name in names if name.removesuffix(".csv") not in videos or not name.endswith(".csv")]
        if stray:
            yield f"not used, as no video in {VIDEOS} has its name: {', '.join(f'{table}/{name}' for name in stray)}"


def _probe(folder: Path, video: str) -> reading.VideoInfo:
    return video_files.probed(_files(folder)[video])


def _table(folder: Path, video: str) -> fixation_files.Fixations:
    path = safe_paths.below(folder, FIXATIONS, f"{video}.csv")
    if not path.is_file():
        raise MissingFile(f"{path} is missing: put it there, or leave its video out with --skip_missing")
    return fixation_files.find(video, [], [path])


def _inside(
    found: fixation_files.Fixations, plane: tuple[int, int], num_frames: int
) -> tuple[np.ndarray, Counter[str]]:
    """Returns the rows (frame, viewer, x, y) inside of the image, and counts of the others."""
    keep, outside = fixation_files.outside(found.rows, plane, num_frames)
    if outside["frames"] and len(found.rows):
        low, high = found.rows[0, 0], found.rows[-1, 0]
        raise InputError(
            f"{found.source} has frames {low:.0f} to {high:.0f}, and the video frames 0 to {num_frames - 1}: number "
            "them from 0, and leave out what comes after the end"
        )
    if not keep.any():
        raise InputError(f"{found.source} has no fixation in the image of {plane[1]}x{plane[0]} pixels: write pixels")
    return found.rows[keep], outside


def _labels(folder: Path, video: str, num_frames: int | None) -> Int8[np.ndarray, " n"]:
    path = safe_paths.below(folder, LABELS, f"{video}.csv")
    if not path.is_file():
        return np.full(num_frames or 0, label_files.UNLABELLED, np.int8)
    labels = label_files.read(path)
    return labels if num_frames is None else label_files.fit(labels, num_frames, str(path))


def _sound(info: reading.VideoInfo, num_frames: int) -> tuple[Int16[np.ndarray, " s"], int]:
    """Returns samples and rate; none if the video is silent."""
    if info.audio is None:
        return np.zeros(0, np.int16), audio_files.MAX_RATE
    return audio_files.read(info.path, num_frames / info.fps)

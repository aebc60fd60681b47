"""Layout of the owners' archives, as unpacked (`avsd_jax.sources.raw_trees`): video files, audio, and gaze per
viewer.

Frames become JPEG files, and density maps are rendered from gaze, both frame by frame. Gaze and maps have the size in
which the video was shown. Audio is downsampled to 22.05 kHz if its rate is higher.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from avsd_jax.data import density, schema
from avsd_jax.media import reading
from avsd_jax.sources import (
    audio_files,
    image_files,
    image_headers,
    label_files,
    raw_trees,
    video_damage,
    video_files,
)
from avsd_jax.sources.base import Findings, Inspection, MissingFile, Source, agreed_length, shortest
from avsd_jax.sources.fold_lists import ListedVideo
from avsd_jax.sources.gaze import points

looked_for = raw_trees.looked_for

# Rates of a list and a video file differ in the third decimal (24.99975 for 25); more indicates another encoding.
_RATE_TOLERANCE = 0.01
# Of the aspect ratio: rounding to even sizes when a video is encoded again.
_SHAPE_TOLERANCE = 0.02
# DIEM's; only DIEM may come as a folder of frames.
_FRAMES_FPS = 30.0


@dataclass(frozen=True)
class _Images:
    """A video file or a folder of frames: its (height, width), rate, and numbers of frames by source."""

    path: Path
    size: tuple[int, int]
    fps: float
    counts: dict[str, int | None]

    def jpegs(self, num_frames: int) -> Iterator[bytes]:
        """Yields the first frames as JPEG files, unchanged if they are JPEG."""
        if self.path.is_dir():
            yield from image_files.jpegs(image_files.numbered(self.path, "img")[:num_frames], self.size)
            return
        video_damage.check_video(self.path)
        for frame in itertools.islice(reading.read_frames(self.path), num_frames):
            yield schema.encode_jpeg(frame.image)


class Reader(Source):
    """The videos of a dataset in this layout."""

    def videos(self) -> tuple[str, ...]:
        """Returns the videos that have a video file or a folder of frames."""
        return tuple(sorted(self._tree.images()))

    def read(self, video: str, listed: ListedVideo | None) -> schema.SourceVideo:
        """Reads a video, as `Source` documents; it is decoded first to count its frames."""
        name = f"{self.dataset}, {video}"
        images = self._images(video, exact=True)
        gaze = self._gaze(video, images)
        counts = {"list": listed and listed.num_frames, **images.counts, "gaze": gaze.num_frames}
        n = agreed_length(name, counts)
        gaze = gaze.first(n)
        for note in _notes(gaze, images, listed):
            logging.warning("%s: %s", name, note)
        logging.info("%s: %d points of %d viewers; dropped: %s", name, len(gaze.rows), len(gaze.viewers), gaze.dropped)
        samples, rate = audio_files.read(self._audio_file(video, images.path), n / images.fps)
        maps = density.density_maps(gaze.rows, n, gaze.plane, density.sigma_of(self.dataset, gaze.plane[1]))
        return schema.SourceVideo(
            video_id=video,
            fps=listed.fps if listed else images.fps,
            num_frames=n,
            height=images.size[0],
            width=images.size[1],
            frames=images.jpegs(n),
            density=map(schema.encode_png, maps),
            fixations=gaze.rows,
            num_viewers=len(gaze.viewers),
            avc_label=np.full(n, label_files.UNLABELLED, np.int8),
            audio=samples,
            sample_rate=rate,
            map_height=gaze.plane[0],
            map_width=gaze.plane[1],
        )

    def inspect(self, video: str, listed: ListedVideo | None) -> Inspection:
        """Inspects a video; frames are counted by the header of the video file and by its packets."""
        findings, counts, n = Findings(), {}, 0
        images = gaze = audio = None
        with findings.caught():
            images = self._images(video, exact=False)
        with findings.caught():
            if images:
                gaze = self._gaze(video, images)
                counts = {"list": listed and listed.num_frames, **images.counts, "gaze": gaze.num_frames}
                counts = {kind: count for kind, count in counts.items() if count is not None}
                n, remark = shortest(f"{self.dataset}, {video}", counts)
                gaze = gaze.first(n)
                findings.notes += [*([remark] if remark else []), *_notes(gaze, images, listed)]
        with findings.caught():
            if images and images.path.is_dir():
                frames = image_files.numbered(images.path, "img")
                image_headers.look(frames[: n or None], "frames", findings)
        with findings.caught():
            if images:
                audio = audio_files.probe(self._audio_file(video, images.path))
                findings.notes += audio_files.notes(audio, n / images.fps if n else None)
        if listed is None:
            findings.notes.append("in no fold list: skipped")
        return Inspection(
            num_frames=0 if findings.problems else n,
            counts=counts,
            sample_rate=audio and audio.sample_rate,
            channels=audio.channels if audio else 0,
            size=images and images.size[::-1],
            empty_maps=tuple(_empty_frames(gaze)) if gaze else (),
            dropped_points=gaze.dropped.outside if gaze else 0,
            problems=tuple(findings.problems),
            missing=tuple(findings.missing),
            notes=tuple(findings.notes),
        )

    @property
    def _tree(self) -> raw_trees.Tree:
        return raw_trees.tree(self.root, self.dataset)

    def _images(self, video: str, exact: bool) -> _Images:
        path = self._tree.images().get(video)
        if path is None:
            raise MissingFile(f"{video} of {self.dataset} has no video file below {self.root}: unpack it there")
        if path.is_dir():
            files = image_files.numbered(path, "img")
            return _Images(path, image_headers.size(files[0]), _FRAMES_FPS, {"frames": len(files)})
        info = video_files.probed(path)
        # A truncated file has fewer packets than it states frames.
        stated, there = reading.count_frames(path) if exact else video_files.count_packets(path)
        counts = {"frames": there} if stated == there else {"frames stated": stated, "frames": there}
        return _Images(path, (info.height, info.width), info.fps, counts)

    def _gaze(self, video: str, images: _Images) -> points.Gaze:
        longest = max(filter(None, images.counts.values())) + label_files.TOLERANCE
        try:
            return self._tree.gaze(video, images.size, self.options, longest)
        except points.NoGaze as error:
            raise MissingFile(str(error)) from error

    def _audio_file(self, video: str, images: Path) -> Path:
        """Returns the video's audio file, or the video file if it contains the audio."""
        path = self._tree.audio(video)
        if path is None or path.is_file():
            return path or images
        if images.is_file():
            with reading.open_media(images) as container:
                if reading.audio_stream(container) is not None:
                    return images
        raise MissingFile(f"{path} is missing: put the video's audio there")


def _notes(gaze: points.Gaze, images: _Images, listed: ListedVideo | None) -> list[str]:
    """Returns what looks wrong, as sentences."""
    notes = [gaze.misplaced()]
    if listed and abs(images.fps / listed.fps - 1) > _RATE_TOLERANCE:
        notes.append(f"the video file has {images.fps:g} frames per second, the list says {listed.fps:g}")
    (height, width), (shown_height, shown_width) = images.size, gaze.plane
    if abs(width / height * shown_height / shown_width - 1) > _SHAPE_TOLERANCE:
        notes.append(f"frames of {width}x{height} do not have the shape {shown_width}x{shown_height} that was shown")
    return [note for note in notes if note]


def _empty_frames(gaze: points.Gaze) -> list[int]:
    """Returns the frames without fixations, counted from 1."""
    return (1 + np.setdiff1d(np.arange(gaze.num_frames), gaze.rows[:, 0])).astype(int).tolist()

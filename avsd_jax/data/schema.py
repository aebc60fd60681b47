"""The schema of all datasets: the encoding of a video as records, and their content.

A record is a chunk of consecutive frames of one video, so that reading a clip reads one or two chunks of a
long video and decodes only the requested frames. Images stay compressed (JPEG frames, grey PNG density maps of 8 bits,
or 16 where the source has more than 8); arrays are stored as plain bytes, which TFDS parses fifty times faster than
lists of numbers.

Data about whole videos (`VideoIndex`: length, rates, sizes, labels, beginnings of chunks) is stored separately in
the dataset's metadata: opening a dataset reads no record.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Float32, Int8, Int16, UInt8, UInt16

from avsd_jax.common.extras import need
from avsd_jax.errors import InputError

if TYPE_CHECKING:
    import tensorflow_datasets

CHUNK_FRAMES = 32
JPEG_QUALITY = 92
_LABELS = (-1, 0, 1)


@dataclasses.dataclass(frozen=True)
class SourceVideo:
    """One video as returned by a dataset's reader.

    Attributes:
        video_id: unique within its split.
        fps: frames per second of these frames (as in a list, not rounded).
        num_frames: number of frames.
        height: frame height in pixels.
        width: frame width in pixels.
        frames: `num_frames` JPEG files, in order; a generator keeps a long video out of memory.
        density: `num_frames` grey PNG files of 8 or 16 bits, in order; None for a video that has no eye-tracking data,
            neither maps nor fixations.
        fixations: rows (frame, viewer, x, y), frames ascending from 0; x to the right and y downwards in
            pixels of the map plane, pixel centres at whole numbers.
        num_viewers: number of viewers; they are numbered 0 to `num_viewers` - 1. 0 means unknown, and
            then every viewer is -1, because a binary fixation map does not distinguish viewers.
        avc_label: per frame 1 consistent, 0 inconsistent, -1 unlabelled.
        audio: mono waveform, 16 bit; empty without audio.
        sample_rate: samples per second.
        map_height: height of the plane of density maps and fixations; 0 means the frames' height.
        map_width: width of that plane; 0 means the frames' width.
        tags: words that describe the video.
    """

    video_id: str
    fps: float
    num_frames: int
    height: int
    width: int
    frames: Iterable[bytes]
    density: Iterable[bytes] | None
    fixations: Float32[np.ndarray, "f 4"]
    num_viewers: int
    avc_label: Int8[np.ndarray, " n"]
    audio: Int16[np.ndarray, " s"]
    sample_rate: int
    map_height: int = 0
    map_width: int = 0
    tags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class VideoIndex:
    """The index entry of one video; the attributes shared with `SourceVideo` mean the same.

    Attributes:
        num_samples: length of the waveform.
        audio_rms: root mean square of the 16-bit samples; 0 without audio.
        audio_first: first sample of each chunk.
        label_runs: (first frame, label) of each run of equal AVC labels.
        watched: whether there are density maps and fixations; missing in files of earlier versions.
    """

    id: str
    fps: float
    num_frames: int
    num_samples: int
    sample_rate: int
    height: int
    width: int
    map_height: int
    map_width: int
    num_viewers: int
    audio_rms: float
    audio_first: tuple[int, ...]
    label_runs: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    watched: bool = True

    @property
    def avc_label(self) -> Int8[np.ndarray, " n"]:
        """Returns the label per frame."""
        starts = [first for first, _ in self.label_runs]
        lengths = np.diff([*starts, self.num_frames])
        return np.repeat(np.array([label for _, label in self.label_runs], np.int8), lengths)

    def to_json(self) -> dict[str, Any]:
        """Converts to plain data for the metadata file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "VideoIndex":
        """Converts from the result of `to_json`."""
        runs = tuple((int(first), int(label)) for first, label in entry["label_runs"])
        lists = {"audio_first": tuple(entry["audio_first"]), "tags": tuple(entry["tags"]), "label_runs": runs}
        return cls(**{**entry, **lists})


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A parsed record: frames `first_frame` onwards, images still compressed."""

    first_frame: int
    frames: list[bytes]
    density: list[bytes]
    fixations: Float32[np.ndarray, "f 4"]
    audio: Int16[np.ndarray, " s"]
    audio_first: int

    @property
    def nbytes(self) -> int:
        """Returns the memory that the chunk takes."""
        images = sum(map(len, self.frames)) + sum(map(len, self.density))
        return images + self.fixations.nbytes + self.audio.nbytes


def features() -> "tensorflow_datasets.features.FeaturesDict":
    """Returns the TFDS features of a record, which are written and read without TensorFlow.

    Raises:
        InputError: the extra `train` is not installed.
    """
    feature = need("tensorflow_datasets", "train").features
    image = feature.Tensor(shape=(), dtype=np.object_)
    return feature.FeaturesDict(
        {
            "video_id": feature.Text(doc="unique within the split"),
            "chunk": feature.Scalar(np.int32, doc="number of the chunk within its video"),
            "first_frame": feature.Scalar(np.int32, doc="number of the chunk's first frame"),
            "frames": feature.Sequence(image, doc="JPEG files"),
            "density": feature.Sequence(image, doc="grey PNG files of fixation density; none without gaze"),
            "fixations": feature.Tensor(
                shape=(None, 4),
                dtype=np.float32,
                encoding="bytes",
                doc="rows (frame in the video, viewer or -1, x, y)",
            ),
            "avc_label": feature.Tensor(
                shape=(None,),
                dtype=np.int8,
                encoding="bytes",
                doc="1 consistent, 0 inconsistent, -1 unlabelled",
            ),
            "audio": feature.Tensor(shape=(None,), dtype=np.int16, encoding="bytes", doc="mono waveform"),
            "audio_first": feature.Scalar(np.int64, doc="number of the chunk's first sample"),
            "sample_rate": feature.Scalar(np.int32, doc="samples per second"),
            "fps": feature.Scalar(np.float64, doc="frames per second"),
            "height": feature.Scalar(np.int32, doc="frame height in pixels"),
            "width": feature.Scalar(np.int32, doc="frame width in pixels"),
            "map_height": feature.Scalar(np.int32, doc="height of the plane of density and fixations"),
            "map_width": feature.Scalar(np.int32, doc="width of the plane of density and fixations"),
            "num_frames": feature.Scalar(np.int32, doc="frames of the whole video"),
            "num_samples": feature.Scalar(np.int64, doc="samples of the whole video"),
            "num_viewers": feature.Scalar(np.int32, doc="viewers of the video, 0 if unknown"),
        }
    )


def index_of(video: SourceVideo, chunk_frames: int = CHUNK_FRAMES) -> VideoIndex:
    """Builds the index entry of a video.

    Audio is split at the first frames of chunks, `floor(first_frame / fps * sample_rate)`; audio after
    the last frame belongs to the last chunk.

    Raises:
        InputError: the video is inconsistent; the message names it and the problem.
    """
    _check(video)
    n, samples = video.num_frames, len(video.audio)
    firsts = [int(f / video.fps * video.sample_rate) for f in range(0, n, chunk_frames)]
    labels = video.avc_label.astype(int)
    changes = np.concatenate([[0], 1 + np.flatnonzero(np.diff(labels))])
    rms = float(np.sqrt(np.mean(np.square(video.audio, dtype=np.float64)))) if samples else 0.0
    return VideoIndex(
        id=video.video_id,
        fps=float(video.fps),
        num_frames=n,
        num_samples=samples,
        sample_rate=video.sample_rate,
        height=video.height,
        width=video.width,
        map_height=video.map_height or video.height,
        map_width=video.map_width or video.width,
        num_viewers=video.num_viewers,
        audio_rms=rms,
        audio_first=tuple(min(first, samples) for first in firsts),
        label_runs=tuple((int(first), int(labels[first])) for first in changes),
        tags=tuple(video.tags),
        watched=video.density is not None,
    )


def encode(video: SourceVideo, chunk_frames: int = CHUNK_FRAMES) -> Iterator[dict[str, Any]]:
    """Yields the records of a video, each as a dictionary that `features()` encodes.

    Args:
        video: the whole video; its `frames` and `density` are consumed once, in step.
        chunk_frames: frames of a record (the last one of a video may hold fewer).

    Raises:
        InputError: the video is inconsistent, or has fewer or more images than it states.
    """
    index = index_of(video, chunk_frames)
    frames, density = iter(video.frames), iter(video.density or ())
    bounds = [*index.audio_first, index.num_samples]
    for chunk, first in enumerate(range(0, index.num_frames, chunk_frames)):
        stop = min(first + chunk_frames, index.num_frames)
        low, high = np.searchsorted(video.fixations[:, 0], [first, stop])
        yield {
            "video_id": index.id,
            "chunk": chunk,
            "first_frame": first,
            "frames": _take(frames, stop - first, index.id, "frames"),
            "density": _take(density, stop - first, index.id, "density maps") if index.watched else [],
            "fixations": video.fixations[low:high],
            "avc_label": video.avc_label[first:stop],
            "audio": video.audio[bounds[chunk] : bounds[chunk + 1]],
            "audio_first": bounds[chunk],
            "sample_rate": index.sample_rate,
            "fps": index.fps,
            "height": index.height,
            "width": index.width,
            "map_height": index.map_height,
            "map_width": index.map_width,
            "num_frames": index.num_frames,
            "num_samples": index.num_samples,
            "num_viewers": index.num_viewers,
        }
    for kind, rest in (("frames", frames), ("density maps", density)):
        if next(rest, None) is not None:
            raise InputError(f"video {index.id!r} has more than its {index.num_frames} {kind}: make them agree")


def parse(record: Mapping[str, Any]) -> Chunk:
    """Parses a record, as TFDS reads it, without the fields that the index has."""
    return Chunk(
        first_frame=int(record["first_frame"]),
        frames=list(record["frames"]),
        density=list(record["density"]),
        fixations=record["fixations"],
        audio=record["audio"],
        audio_first=int(record["audio_first"]),
    )


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"], quality: int = JPEG_QUALITY) -> bytes:
    """Encodes an RGB image as a JPEG file."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes a JPEG file to an RGB image: the same pixels as Pillow, also ignoring EXIF rotation.

    Raises:
        InputError: the data is damaged.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise InputError("damaged JPEG data: restore the file and build the dataset again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_png(image: UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]) -> bytes:
    """Encodes a grey image of 8 or 16 bits as a PNG file."""
    return cv2.imencode(".png", image)[1].tobytes()


def decode_png(data: bytes) -> UInt8[np.ndarray, "h w"]:
    """Decodes a PNG file to an 8-bit grey image; of 16 bits the upper 8 are kept.

    Raises:
        InputError: the data is damaged.
    """
    return _decode_grey(data, cv2.IMREAD_GRAYSCALE)


def decode_levels(data: bytes) -> UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]:
    """Decodes a grey PNG file at its own depth, 8 or 16 bits.

    Raises:
        InputError: the data is damaged.
    """
    return _decode_grey(data, cv2.IMREAD_UNCHANGED)


def _decode_grey(data: bytes, mode: int) -> UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    if image is None:
        raise InputError("damaged PNG data: restore the file and build the dataset again")
    return image


def _take(images: Iterator[bytes], count: int, video_id: str, kind: str) -> list[bytes]:
    taken = [image for _, image in zip(range(count), images, strict=False)]
    if len(taken) < count:
        raise InputError(f"video {video_id!r} has fewer {kind} than it states: make the number of frames agree")
    return taken


def _check(video: SourceVideo) -> None:
    height, width = video.map_height or video.height, video.map_width or video.width
    frame, viewer, x, y = video.fixations.T
    problems = {
        "no frame": video.num_frames < 1,
        f"fps {video.fps}, which is no positive number": not 0 < video.fps < np.inf,
        f"sample rate {video.sample_rate}, which is not positive": video.sample_rate < 1,
        f"a size of {video.height}x{video.width}": min(video.height, video.width, height, width) < 1,
        f"{len(video.avc_label)} labels for {video.num_frames} frames": (len(video.avc_label) != video.num_frames),
        "labels other than -1, 0 and 1": not np.isin(video.avc_label, _LABELS).all(),
        "fixations that are not finite": not np.isfinite(video.fixations).all(),
        "fixations whose frames do not ascend": bool((np.diff(frame) < 0).any()),
        "fixations or viewers, and no density maps": video.density is None and bool(len(frame) or video.num_viewers),
        f"fixations outside frames 0 to {video.num_frames - 1}": _outside(frame, 0.0, video.num_frames - 1.0),
        f"fixations of viewers outside 0 to {video.num_viewers - 1}": (
            _outside(viewer, 0.0, video.num_viewers - 1.0) if video.num_viewers else bool((viewer != -1).any())
        ),
        f"fixations outside the {height}x{width} map": (
            _outside(x, -0.5, width - 0.5) or _outside(y, -0.5, height - 0.5)
        ),
    }
    wrong = [problem for problem, present in problems.items() if present]
    if wrong:
        raise InputError(f"video {video.video_id!r} has {wrong[0]}: correct the source files")


def _outside(values: Float32[np.ndarray, " f"], low: float, high: float) -> bool:
    return bool(((values < low) | (values > high)).any())

"""Small synthetic videos for the data tests."""

from collections.abc import Sequence

import numpy as np

from avsd_jax.data import schema
from avsd_jax.data.store import VideoStore


def source_video(
    video_id: str = "clip",
    *,
    num_frames: int = 23,
    fps: float = 12.5,
    size: tuple[int, int] = (32, 48),
    sample_rate: int = 22050,
    num_samples: int | None = None,
    empty_maps: Sequence[int] = (),
    seed: int = 0,
) -> schema.SourceVideo:
    """A video whose frame i is a flat grey of level 5 i and whose density map i is i + 1, or 0 if
    `empty_maps` has it."""
    rng = np.random.default_rng(seed)
    samples = round(num_frames / fps * sample_rate) if num_samples is None else num_samples
    frames = [np.full((*size, 3), 5 * i % 256, np.uint8) for i in range(num_frames)]
    density = [np.full(size, 0 if i in empty_maps else i % 255 + 1, np.uint8) for i in range(num_frames)]
    rows = [(i, viewer, i % size[1], viewer) for i in range(num_frames) for viewer in range(i % 3)]
    return schema.SourceVideo(
        video_id=video_id,
        fps=fps,
        num_frames=num_frames,
        height=size[0],
        width=size[1],
        frames=[schema.encode_jpeg(frame) for frame in frames],
        density=[schema.encode_png(plane) for plane in density],
        fixations=np.array(rows, np.float32).reshape(-1, 4),
        num_viewers=3,
        avc_label=(np.arange(num_frames) // 5 % 3 - 1).astype(np.int8),
        audio=rng.integers(-9000, 9000, samples).astype(np.int16),
        sample_rate=sample_rate,
        tags=("grey",),
    )


def memory_store(videos: Sequence[schema.SourceVideo], chunk_frames: int = 8) -> VideoStore:
    """A store of records that were never written."""
    records = [record for video in videos for record in schema.encode(video, chunk_frames)]
    return VideoStore("made up", records, [schema.index_of(video, chunk_frames) for video in videos], chunk_frames)


def grey_levels(frames: Sequence[np.ndarray]) -> list[int]:
    """Frame numbers of decoded frames of `source_video`."""
    return [round(float(frame.mean()) / 5) for frame in frames]

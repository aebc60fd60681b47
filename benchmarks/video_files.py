"""Videos for benchmarks: moving squares with noise as their audio."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS, SAMPLE_RATE = 25, 16_000


def write_video(path: Path, frames: int, width: int, height: int) -> Path:
    """Writes a video of squares that move by a pixel per frame, with noise as its audio; returns its path."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 8 + 1, (width + frames) // 8 + 1, 3), np.uint8)
    film = np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height]
    with av.open(str(path), "w") as file:
        video = file.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = file.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for i in range(frames):
            image = np.ascontiguousarray(film[:, i : i + width])
            file.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        file.mux(video.encode())
        samples = (0.1 * rng.standard_normal((1, frames * SAMPLE_RATE // FPS))).astype(np.float32)
        sound = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        sound.sample_rate, sound.time_base, sound.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        file.mux(audio.encode(sound))
        file.mux(audio.encode())
    return path

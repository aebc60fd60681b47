"""ViNet's preprocessing of frames, maps and audio, and its conversion of predictions to images.

The same numbers as the official code: PIL's antialiased bilinear filter for frames, OpenCV's plain one for
maps, audio as 16-bit samples over 128 in a Hann window in the middle of a buffer of zeros.
"""

import dataclasses
import functools

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int64, Num, UInt8
from PIL import Image

from avsd_jax.data.preprocessing._pillow import resize
from avsd_jax.errors import InputError

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """ViNet's, and the base of the others: they override what they do differently, and add options as fields.

    Attributes:
        sample_rate: rate to which audio is resampled before clips are cut out, Hz; None for the video's own.
        waveform_scale: factor from a waveform in [-1, 1] to what the network was trained on (SoundNet: 256).
        frame_audio: whether each frame of a clip has audio of its own; see `pieces`.
    """

    sample_rate = None
    waveform_scale = 256.0
    frame_audio = False

    def resize_frame(
        self, frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Resizes an RGB frame to `(height, width)`, aspect ratio not kept, by PIL's antialiased bilinear filter."""
        return resize(frame, size, Image.Resampling.BILINEAR)

    def normalise(self, frames: UInt8[np.ndarray, "*t h w 3"]) -> Float32[np.ndarray, "*t h w 3"]:
        """Applies ImageNet normalisation to RGB frames: (frame / 255 - MEAN) / STD."""
        rows = frames.reshape(-1, frames.shape[-2], 3)
        return cv2.LUT(rows, _normalised_values()).reshape(frames.shape)

    def resize_density(
        self, density: Num[np.ndarray, "h w"], size: tuple[int, int]
    ) -> Float32[np.ndarray, "height width"]:
        """Resizes a density map to `(height, width)` by OpenCV's bilinear filter (no antialiasing).

        Values are divided by 255 if any of them exceeds 1; the map is not normalised to sum to one.
        """
        resized = cv2.resize(density.astype(np.float64), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        return (resized / 255 if resized.max() > 1 else resized).astype(np.float32)

    def fixation_map(
        self, points: Float[np.ndarray, "n 2"], plane: tuple[int, int], size: tuple[int, int]
    ) -> Float32[np.ndarray, "height width"]:
        """Builds a map of `(height, width)` with 1 at the pixels that hold a fixation.

        Args:
            points: (x, y) in pixels of a plane of `plane` = (height, width), pixel centres at whole numbers.
            plane: size of the points' plane.
            size: size of the map.
        """
        out = np.zeros(size, np.float32)
        x = np.clip((points[:, 0] + 0.5) * (size[1] / plane[1]), 0, size[1] - 1).astype(int)
        y = np.clip((points[:, 1] + 0.5) * (size[0] / plane[0]), 0, size[0] - 1).astype(int)
        out[y, x] = 1
        return out

    def audio_samples(self, clip_size: int) -> int:
        """Returns the length of the audio buffer of a clip: a tenth of a second at 22,050 Hz per frame."""
        return int(22050 / 10 * clip_size)

    def excerpt_span(
        self, first: int, last: int, num_frames: int, fps: float, sample_rate: int, num_samples: int
    ) -> tuple[int, int]:
        """Returns the samples `(start, stop)`, stop exclusive, of the audio of frames `first` to `last`.

        Frames count from 0, inclusive. The same as `excerpt_bounds` without computing every frame's.
        """
        last = min(last, num_frames - 1)
        start = min(num_samples, int(max(0, first * (1 / fps) * sample_rate - sample_rate / fps / 2)))
        end = int(min(num_samples, abs(last * (1 / fps) * sample_rate + sample_rate / fps / 2)))
        return start, max(start, min(end + 1, num_samples))

    def pieces(self, fps: float, num_samples: int) -> int | None:
        """Returns for how many frames a waveform at `sample_rate` lasts if each has audio of its own, otherwise None.

        The audio of frames `first` to `last` is then that from the beginning of the first one's to the end of the last
        one's.
        """
        return None

    def window_audio(
        self, excerpt: Num[np.ndarray, " s"], length: int, reverse: bool = False
    ) -> Float32[np.ndarray, " length"]:
        """Puts a clip's audio, under a symmetric Hann window, in the middle of `length` zeros.

        Args:
            excerpt: samples in ViNet's scale (16-bit samples over 128).
            length: samples of the buffer.
            reverse: flip the whole buffer, as for frames in reversed order of time.

        Raises:
            InputError: the excerpt does not fit (a high sampling rate, or few frames per second).
        """
        n = len(excerpt)
        if n > length:
            raise InputError(
                f"a clip's audio of {n} samples does not fit the model's buffer of {length}: resample it to "
                "22050 Hz or less, or use a smaller frame_step"
            )
        out = np.zeros(length, np.float32)
        start = length // 2 - n // 2
        # Float32 times float32: the official code converts the window before it multiplies.
        out[start : start + n] = excerpt.astype(np.float32) * _hann(n)
        return out[::-1] if reverse else out

    def frame_part(self, prediction: Float[np.ndarray, "h w"], frame: tuple[int, int]) -> Float[np.ndarray, "h2 w2"]:
        """Returns the part of a predicted map that shows the frame of `frame` = (height, width): all of it."""
        return prediction

    def smooth(self, prediction: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
        """Resizes a predicted map to `(height, width)` (bilinear) and blurs it (Gaussian, 11 x 11, sigma 2)."""
        resized = cv2.resize(prediction, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        return cv2.GaussianBlur(resized, (11, 11), 0)

    def to_image(self, smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Converts what `smooth` returns to an 8-bit image: min-max normalised, 255 x rounded up in effect."""
        return min_max_image(smoothed)


def excerpt_bounds(
    num_frames: int, fps: float, sample_rate: int, num_samples: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Computes the first and last sample of each frame's audio, centred on the frame's time.

    Returns:
        `(starts, ends)`, each `[num_frames + 1]`: entry v belongs to frame v counted from 1, entry 0 is 0. An
        end is inclusive and may be `num_samples`, one past the last sample.
    """
    per_frame = sample_rate / fps
    centre = np.arange(num_frames, dtype=np.float64) * (1 / fps) * sample_rate
    starts = np.maximum(0, centre - per_frame / 2)
    ends = np.minimum(num_samples, np.abs(centre + per_frame / 2))
    return np.append(0, starts.astype(np.int64)), np.append(0, ends.astype(np.int64))


def min_max_image(smoothed: Float[np.ndarray, "h w"], rule: str = "tvnew") -> UInt8[np.ndarray, "h w"]:
    """Normalises a map (min-max) to an 8-bit image, as torchvision's `save_image` did for the official inference.

    Args:
        smoothed: what `Preprocessing.smooth` returns.
        rule: "tv05" divides by max - min + 1e-5, as torchvision 0.5 did; "tvnew" by max(max - min, 1e-5), as
            later ones.

    Raises:
        InputError: an unknown rule.
    """
    if rule not in ("tv05", "tvnew"):
        raise InputError(f"unknown image rule {rule!r}: choose tv05 or tvnew")
    low, high = float(smoothed.min()), float(smoothed.max())
    spread = high - low + 1e-5 if rule == "tv05" else max(high - low, 1e-5)
    normalised = (smoothed - low) / spread
    return np.clip(np.round(normalised * 255 + 0.5), 0, 255).astype(np.uint8)


@functools.cache
def _normalised_values() -> Float32[np.ndarray, "256 1 3"]:
    """Returns the normalised value of each 8-bit value, computed in the official order of operations."""
    unit = np.arange(256, dtype=np.float32)[:, None, None] / np.float32(255)
    return (unit - np.float32(MEAN)) / np.float32(STD)


@functools.lru_cache(maxsize=64)
def _hann(n: int) -> Float32[np.ndarray, " n"]:
    return np.hanning(n).astype(np.float32)

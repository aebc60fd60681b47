"""UNISAL's preprocessing: frames by Pillow's Lanczos filter, maps divided by their largest value."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from avsd_jax.data.preprocessing import imagenet
from avsd_jax.data.preprocessing._pillow import resize


@dataclasses.dataclass(frozen=True)
class Preprocessing(imagenet.Preprocessing):
    """That of the released code; a waveform is scaled for SoundNet, as elsewhere."""

    def resize_frame(
        self, frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Resizes an RGB frame to `(height, width)`, aspect ratio not kept, by PIL's antialiased Lanczos filter."""
        return resize(frame, size, Image.Resampling.LANCZOS)

    def to_image(self, smoothed: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Scales a map so that its largest value is 255, truncated."""
        high = smoothed.max()
        return (smoothed * (255 / high if high > 0 else 0)).astype(np.uint8)

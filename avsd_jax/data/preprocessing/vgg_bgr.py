"""The preprocessing of networks on Caffe's VGG16: BGR frames in [0, 255] minus the means of ImageNet."""

import dataclasses

import numpy as np
from jaxtyping import Float32, UInt8

from avsd_jax.data.preprocessing import imagenet
from avsd_jax.nn.vgg16 import MEAN_RGB

MEAN_BGR = MEAN_RGB[::-1]


@dataclasses.dataclass(frozen=True)
class Preprocessing(imagenet.Preprocessing):
    """Caffe's; maps are those of `imagenet`."""

    def normalise(self, frames: UInt8[np.ndarray, "*t h w 3"]) -> Float32[np.ndarray, "*t h w 3"]:
        """Reverses the channels of RGB frames and subtracts `MEAN_BGR`."""
        return frames[..., ::-1].astype(np.float32) - np.float32(MEAN_BGR)

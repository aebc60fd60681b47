"""The encoder that MWS's classification and caption networks share: a map, and what it lets through."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.models.common.image_network import ImageNetwork, grid_outputs
from avsd_jax.nn.densenet import DEPTHS_169, DenseNet
from avsd_jax.nn.width import scaled

SMALL = nn.initializers.normal(0.02)


class Pool(nn.Module):
    """A mean over locations by learned weights, a softmax over the locations.

    Attributes:
        weights: "features", scores of the features at a location (the released test code), or "free", a score of each
            location, for one size of images (the released training code).
    """

    weights: str = "features"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b c"]:
        """Returns the mean.

        Raises:
            InputError: unknown kind of weights.
        """
        if self.weights == "features":
            scores = nn.Conv(1, (1, 1), use_bias=False, kernel_init=SMALL, name="conv")(x)[..., 0]
        elif self.weights == "free":
            scores = _Grid(x.shape[1:3], name="conv")()[None]
        else:
            raise InputError(f"unknown pool {self.weights!r}: choose features or free")
        share = nn.softmax(scores.reshape(len(scores), -1), -1).reshape(scores.shape)
        return jnp.sum(x * share[..., None], axis=(1, 2))


class _Grid(nn.Module):
    """A number for each location, stored as the kernel of a convolution."""

    size: tuple[int, int]

    @nn.compact
    def __call__(self) -> Float[Array, "h w"]:
        """Returns the numbers."""
        return self.param("kernel", SMALL, (*self.size, 1, 1))[..., 0, 0]


class MWSNetwork(ImageNetwork):
    """DenseNet-169 of stride 16 with a map.

    Attributes:
        pool: see `Pool`.
        width, depths: see `avsd_jax.nn.densenet.DenseNet`; the width scales the other parts too.
        frozen_norm: as published, batch statistics are those of the initial weights.
        axis_name: the pmap axis over which BatchNorm statistics are averaged.
    """

    pool: str = "features"
    width: float = 1.0
    depths: Sequence[int] = DEPTHS_169
    frozen_norm: bool = True
    axis_name: str | None = None
    defaults = MappingProxyType({"frame_size": (256, 256), "preprocessing": "imagenet", "sampler": "centred"})

    @property
    def frozen(self) -> bool:
        """Returns whether batch statistics are."""
        return self.frozen_norm

    def encode(self, images: Float[Array, "b h w 3"], train: bool) -> tuple[dict[str, Any], Float[Array, "b d"]]:
        """Returns the map's outputs, and the pooled feature [B, 512]; call it in a compact method.

        The outputs are grid_logits [B, h, w], the map's on the grid of the features, and, except in training, where
        nothing compares maps of the whole size, saliency [B, H, W] in [0, 1] and logits [B, H, W].
        """
        net = DenseNet(
            self.depths, self.width, (True, True, False), (1, 1, 1, 1), self.frozen_norm, self.axis_name, name="feature"
        )
        feature = self.deepest(net(images, train))
        score = nn.Conv(1, (1, 1), kernel_init=SMALL, name="pred")(feature)
        reduced = nn.Conv(scaled(512, self.width), (3, 3), kernel_init=SMALL, name="reduce")(feature)
        pooled = Pool(self.pool, name="param_pool")(reduced * nn.sigmoid(score))
        return grid_outputs(score, images.shape[1:3], train), pooled

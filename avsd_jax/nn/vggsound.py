"""The audio encoder of VGGSound (Chen et al., ICASSP 2020): ResNet-18 on spectrograms, pooled by NetVLAD or a mean."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.resnet import ResNet18

POOLS = ("vlad", "avgpool")

_ALPHA = 100.0


def l2_normalise(x: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
    """Returns x / max(|x|, 1e-12) along the last axis; zero, with a finite gradient, where x is zero."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * lax.rsqrt(jnp.maximum(square, 1e-24))


class NetVLAD(nn.Module):
    """NetVLAD (Arandjelovic et al., CVPR 2016): aggregates descriptors into one vector of unit length.

    Each descriptor is softly assigned to clusters; a cluster's part of the vector is the sum of the residuals of its
    descriptors from its centre.

    Attributes:
        clusters: number of clusters K.
    """

    clusters: int = 16

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k_c"]:
        """Maps [B, H, W, C] to [B, K * C], cluster by cluster."""
        channels = x.shape[-1]
        centroids = self.param("centroids", nn.initializers.uniform(1.0), (self.clusters, channels))
        # The assignment starts as a hard one to the nearest centre; its weights are then trained freely.
        assign = nn.Conv(
            self.clusters,
            (1, 1),
            kernel_init=lambda *_: (2 * _ALPHA * centroids.T)[None, None],
            bias_init=lambda *_: -_ALPHA * jnp.linalg.norm(centroids, axis=1),
            name="conv",
        )
        x = l2_normalise(x)
        weights = nn.softmax(assign(x))
        total = jnp.sum(weights, axis=(1, 2))[..., None]
        vlad = jnp.einsum("bhwk,bhwc->bkc", weights, x) - total * centroids.astype(x.dtype)
        return l2_normalise(l2_normalise(vlad).reshape(x.shape[0], self.clusters * channels))


class VGGSound(nn.Module):
    """ResNet-18 on one-channel spectrograms, and its pool.

    Attributes:
        pool: "vlad" (STANet's; 16 * 512 features) or "avgpool" (512).
        width: multiplies the channel counts.
        axis_name, norm_momentum: see `avsd_jax.nn.resnet.ResNeXt`.
    """

    pool: str = "vlad"
    width: float = 1.0
    axis_name: str | None = None
    norm_momentum: float = 0.9

    @nn.compact
    def __call__(self, spectrogram: Float[Array, "b f n"], train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """Encodes spectrograms of any length.

        Args:
            spectrogram: [B, F, N], as `avsd_jax.nn.spectrogram.normalised_log_power` makes them.
            train: use and update batch statistics.

        Returns:
            layer1 ... layer4 [B, H', W', C] and pool [B, D].

        Raises:
            InputError: an unknown `pool`.
        """
        if self.pool not in POOLS:
            raise InputError(f"unknown pool {self.pool!r}: choose one of {', '.join(POOLS)}")
        trunk = ResNet18(self.width, self.axis_name, self.norm_momentum, name="trunk")
        taps = trunk(spectrogram[..., None], train)
        last = taps["layer4"]
        pooled: jax.Array = NetVLAD(name="vlad")(last) if self.pool == "vlad" else jnp.mean(last, axis=(1, 2))
        return {**taps, "pool": pooled}

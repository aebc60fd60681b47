"""Bilinear fusion (the survey's fig. 11c), exactly AViNet's (Jain et al., IROS 2021).

The products of all pairs of an audio step and a pooled visual position are mapped to the grid by a learned linear map
that all channels share. The result *replaces* the visual feature and has no activation.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError


def pool_positions(visual: Float[Array, "b t h w c"]) -> Float[Array, "b i c"]:
    """Returns the maximum over time of every second column; position i = row * columns + column.

    This is AViNet's max-pool of kernel (4, 1, 1) and stride (2, 1, 2) on its four time steps, for any number of
    steps.
    """
    pooled = jnp.max(visual, axis=1)[:, :, ::2]
    return pooled.reshape(pooled.shape[0], -1, pooled.shape[-1])


def bilinear_map(
    visual: Float[Array, "b i c"],
    audio: Float[Array, "b j c"],
    kernel: Float[Array, "k i j"],
    bias: Float[Array, " k"],
) -> Float[Array, "b k c"]:
    """Returns out[b, k, c] = sum_ij visual[b, i, c] kernel[k, i, j] audio[b, j, c] + bias[k]."""
    pairs = visual[:, :, None] * audio[:, None]
    pairs = pairs.reshape(pairs.shape[0], -1, pairs.shape[-1])
    return jnp.einsum("kp,bpc->bkc", kernel.reshape(kernel.shape[0], -1), pairs) + bias[:, None]


def _uniform(key: jax.Array, shape: tuple[int, ...], positions: int) -> jax.Array:
    """Initialises a bilinear layer as PyTorch does."""
    bound = positions**-0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


class Bilinear(nn.Module):
    """The learned map: `kernel` (positions out, positions in, audio steps) and `bias` (positions out)."""

    @nn.compact
    def __call__(self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"]) -> Float[Array, "b t h w c"]:
        """Returns the fused feature in the shape of the visual one; raises InputError as `Fusion` does."""
        if audio.shape[-1] != visual.shape[-1]:
            raise InputError(
                f"the bilinear fusion pairs channels one to one, and the audio has {audio.shape[-1]} "
                f"where the visual feature has {visual.shape[-1]}: use another fusion, or equal widths"
            )
        _, t, h, w, _ = visual.shape
        pooled = pool_positions(visual)
        shape = (t * h * w, pooled.shape[1], audio.shape[1])
        if self.has_variable("params", "kernel"):
            made_for = self.get_variable("params", "kernel").shape
            if made_for != shape:
                raise InputError(
                    f"the bilinear fusion's weights map {made_for[1]} visual positions and {made_for[2]} "
                    f"audio steps to {made_for[0]} positions, and the input needs {shape[1]}, {shape[2]} and "
                    f"{shape[0]}: give the video size, clip length and audio length that it was trained with"
                )
        kernel = self.param("kernel", _uniform, shape, shape[1])
        bias = self.param("bias", _uniform, shape[:1], shape[1])
        return bilinear_map(pooled, audio, kernel, bias).reshape(visual.shape)


class Fusion(nn.Module):
    """AViNet's fusion; its weights only fit one video size, clip length and audio length."""

    @nn.compact
    def __call__(
        self, visual: Float[Array, "b t h w c"], audio: Float[Array, "b n c2"], train: bool = False
    ) -> Float[Array, "b t h w c"]:
        """Fuses the two features.

        Args:
            visual: [B, T, H, W, C], the encoder's deepest tap.
            audio: [B, N, C], as many channels as `visual`.
            train: unused.

        Raises:
            InputError: the channels differ, or the sizes do not match the weights.
        """
        return Bilinear(name="bilinear")(visual, audio)

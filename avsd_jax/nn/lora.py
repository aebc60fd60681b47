"""Dense layers whose weights are fixed but for a learned product of two thin matrices (LoRA, Hu et al., ICLR 2022)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=-1, out_axis=-2)


class LoRADense(nn.Module):
    """y = x W + b + (alpha / rank) x A' B', with A [rank, i] and B [o, rank] as PyTorch stores them.

    At inference W and the product are added first, so that it costs nothing.

    Attributes:
        features: of the output.
        rank: of the product; 0: a plain dense layer.
        alpha: see above.
        dropout: share of the product's inputs that training drops.
        use_bias: whether b is added.
        without_bias: the first and the end of a part of the outputs whose b counts as zero.
        kernel_init: initialiser of W.
    """

    features: int
    rank: int = 0
    alpha: float = 64.0
    dropout: float = 0.05
    use_bias: bool = True
    without_bias: tuple[int, int] = (0, 0)
    kernel_init: Callable[..., jax.Array] = nn.initializers.truncated_normal(0.02)

    @nn.compact
    def __call__(self, x: Float[Array, "*n i"], train: bool = False) -> Float[Array, "*n o"]:
        """Applies the layer.

        Args:
            x: input.
            train: apply dropout (needs an rng named "dropout").
        """
        size = x.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (size, self.features))
        bias = self._bias()
        if self.rank:
            first = self.param("lora_a", _UNIFORM, (self.rank, size))
            second = self.param("lora_b", nn.initializers.zeros, (self.features, self.rank))
            scale = self.alpha / self.rank
            if not train:
                kernel = kernel + scale * (second @ first).T.astype(kernel.dtype)
        y = x @ kernel.astype(x.dtype) + bias.astype(x.dtype)
        if self.rank and train:
            dropped = nn.Dropout(self.dropout, deterministic=False)(x)
            y = y + scale * (dropped @ first.T.astype(x.dtype)) @ second.T.astype(x.dtype)
        return y

    def _bias(self) -> Float[Array, " o"]:
        if not self.use_bias:
            return jnp.zeros(self.features)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        start, stop = self.without_bias
        return bias.at[start:stop].set(0) if stop > start else bias

"""UNISAL's convolutional GRU, whose convolutions are depthwise ones followed by 1 x 1 ones, with norms everywhere."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn.conv2d import Conv2D
from avsd_jax.nn.depthwise import DepthwiseConv2D
from avsd_jax.nn.domain_norm import Norms
from avsd_jax.nn.mobilenet_v2 import INIT
from avsd_jax.nn.norm import conv_norm_relu6

# Reset, update and candidate: their suffixes in the names of convolutions, norms and factors.
_GATES = (("_r", "r", "r"), ("_z", "z", "z"), ("", "out", "h"))

Parts = Float[Array, "g n h w c"]


class SeparableConv(nn.Module):
    """Depthwise 3 x 3 convolution, batch norm, ReLU6, 1 x 1 convolution, and a norm and a factor that are given.

    Attributes:
        features: output channels.
        norms: its batch norm.
    """

    features: int
    norms: Norms

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w i"], norm: nn.Module, factor: Float[Array, " c"], train: bool
    ) -> Float[Array, "n h w c"]:
        """Returns factor * norm(convolutions(x))."""
        x = conv_norm_relu6(DepthwiseConv2D(name="conv_dw"), self.norms.create("sep_bn"), x, train)
        conv = Conv2D(self.features, kernel_init=INIT, name="conv_sep")
        if train or self.is_initializing():
            return norm(conv(x), use_running_average=not train) * factor.astype(x.dtype)
        scale, shift = norm.affine()
        return conv(x, scale * factor, shift * factor)


class SeparableGRU(nn.Module):
    """A GRU over a sequence of maps: with f the convolutions of `SeparableConv`, all of them different,

        r = sigmoid(f(x) + f(h) + b_r), z = sigmoid(f(x) + f(h) + b_z), n = tanh(f(x) + r f(h) + b_h)
        h' = (1 - z) h + z n

    In training, the norms of what is made of the state take their statistics from each step, those of what is made of
    the inputs from all steps at once.

    Attributes:
        features: channels of the state.
        norms: its batch norms.
        dropout: share of the state's channels that training drops from what is convolved, drawn once for each gate,
            for all steps and clips.
    """

    features: int
    norms: Norms
    dropout: float = 0.2

    def setup(self) -> None:
        """Creates two convolutions and two norms for each gate."""
        shape = (self.features, 1, 1)
        for suffix, norm, factor in _GATES:
            for convolution, given in (("w", "x"), ("u", "h")):
                conv = SeparableConv(self.features, self.norms)
                setattr(self, f"{convolution}{suffix}", conv)
                setattr(self, f"norm_{norm}_{given}", self.norms.create())
                one = self.param(f"a_{factor}_{given}", nn.initializers.ones, shape)
                setattr(self, f"_a_{factor}_{given}", one)
        self._bias = jnp.stack([self.param(f"b_{g[2]}", nn.initializers.zeros, shape) for g in _GATES])

    def __call__(
        self, x: Float[Array, "b t h w i"], state: Float[Array, "b h w c"] | None = None, train: bool = False
    ) -> tuple[Float[Array, "b t h w c"], Float[Array, "b h w c"]]:
        """Returns the states after each step, and the last.

        Args:
            x: inputs.
            state: before the first step; zero if absent.
            train: use and update batch statistics, apply dropout.
        """
        flat = x.reshape(-1, *x.shape[2:])
        parts = self._convolved("w", "x", [flat] * 3, train) + self._bias[:, None, None].reshape(3, 1, 1, 1, -1)
        parts = parts.astype(x.dtype).reshape(3, *x.shape[:2], *parts.shape[2:])
        if state is None:
            state = jnp.zeros((x.shape[0], *parts.shape[3:]), x.dtype)
        masks = self._masks(train).astype(x.dtype)
        parts = jnp.moveaxis(parts, 2, 0)
        if self.is_initializing():
            state, states = _step(self, state.astype(x.dtype), parts[0], masks, train)
            return jnp.repeat(states[:, None], x.shape[1], axis=1), state
        state, states = _over_steps(train)(self, state.astype(x.dtype), parts, masks, train)
        return jnp.moveaxis(states, 0, 1), state

    def _masks(self, train: bool) -> Float[Array, "3 c"]:
        """Returns what the state's channels are multiplied by before they are convolved, for each gate."""
        if not (train and self.dropout):
            return jnp.ones((3, self.features))
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.dropout, (3, self.features))
        return kept / max(1 - self.dropout, 1e-6)

    def _convolved(self, convolution: str, given: str, inputs: list[jax.Array], train: bool) -> Parts:
        """Returns what each gate makes of its input."""
        parts = []
        for (suffix, norm, factor), x in zip(_GATES, inputs, strict=True):
            conv, norm = getattr(self, f"{convolution}{suffix}"), getattr(self, f"norm_{norm}_{given}")
            parts.append(conv(x, norm, getattr(self, f"_a_{factor}_{given}")[:, 0, 0], train))
        return jnp.stack(parts)


def _step(
    gru: SeparableGRU, state: Float[Array, "b h w c"], x: Parts, masks: Float[Array, "3 c"], train: bool
) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"]]:
    """Computes a step from what the gates make of its input; returns the new state twice."""
    seen = [state * mask for mask in masks] if train else [state] * 3
    reset, update, new = gru._convolved("u", "h", seen, train)
    reset, update = nn.sigmoid(x[0] + reset), nn.sigmoid(x[1] + update)
    state = (1 - update) * state + update * jnp.tanh(x[2] + reset * new)
    return state, state


def _over_steps(train: bool) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Returns `_step` over all steps; in training the running statistics pass from step to step."""
    kept = {"variable_broadcast": "params", "variable_carry": "batch_stats"}
    fixed = {"variable_broadcast": ("params", "batch_stats")}
    return nn.scan(
        _step, **(kept if train else fixed), split_rngs={"params": False}, in_axes=(0, nn.broadcast, nn.broadcast)
    )

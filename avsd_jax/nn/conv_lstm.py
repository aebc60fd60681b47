"""Convolutional LSTMs over a sequence of maps, as in two published networks, which differ in gates and in dropout."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

# Cell and output, in this order.
State = tuple[Float[Array, "b h w f"], Float[Array, "b h w f"]]


def hard_sigmoid(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Computes Keras's piecewise linear sigmoid, clip(0.2 x + 0.5, 0, 1)."""
    return jnp.clip(0.2 * x + 0.5, 0, 1)


class ConvLSTM2D(nn.Module):
    """Keras's layer of this name with `recurrent_activation="hard_sigmoid"`; gates in the order i, f, c, o.

    Variables as in Keras: kernel (k, k, in, 4 f), recurrent_kernel (k, k, f, 4 f), bias (4 f), that of f starting at 1.

    Attributes:
        features: channels f of the output.
        size: k.
        dropout: share of the inputs that training drops, drawn once for each gate and all steps.
    """

    features: int
    size: int = 3
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w c"], state: State | None = None, train: bool = False
    ) -> tuple[Float[Array, "b t h w f"], State]:
        """Returns the outputs of all steps, and the state after the last."""
        shape, width = (self.size, self.size), 4 * self.features
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), (*shape, x.shape[-1], width))
        recurrent = self.param("recurrent_kernel", nn.initializers.orthogonal(), (*shape, self.features, width))
        bias = self.param("bias", _forget_one, (width,))
        if train and self.dropout:
            kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.dropout, (4, *x[:, :1].shape))
            masks = kept.astype(x.dtype) / (1 - self.dropout)
            parts = [
                _conv(_folded(x * mask), part) for mask, part in zip(masks, jnp.split(kernel, 4, axis=-1), strict=True)
            ]
            inputs = jnp.concatenate(parts, axis=-1)
        else:
            inputs = _conv(_folded(x), kernel)
        inputs = (inputs + bias.astype(x.dtype)).reshape(*x.shape[:2], *inputs.shape[1:])

        def step(state: State, given: jax.Array) -> tuple[State, jax.Array]:
            c, h = state
            i, f, new, o = jnp.split(given + _conv(h, recurrent), 4, axis=-1)
            c = hard_sigmoid(f) * c + hard_sigmoid(i) * jnp.tanh(new)
            h = hard_sigmoid(o) * jnp.tanh(c)
            return (c, h), h

        return _over_time(step, inputs, _started(state, inputs, self.features))


class TwoCellLSTM(nn.Module):
    """One layer of DeepVS's 2C-LSTM: a convolution of its own for each gate, in the order i, candidate, f, o.

    The convolutions h1 to h4 of the state have no bias, i1 to i4 of the input have; 1 is added to the gate f.

    Attributes:
        features: channels of the output and of the state.
        keep: probability with which training keeps an entry: each gate has a mask for its input and one for its state,
            fixed over time; what the convolutions give is divided by it.
        samples: draws of which a mask is the mean.
        scale: factor on what the convolutions give at inference.
    """

    features: int
    keep: float = 0.75
    samples: int = 100
    scale: float = 1.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w c"], state: State | None = None, train: bool = False
    ) -> tuple[Float[Array, "b t h w f"], State]:
        """Returns the outputs of all steps, and the state after the last."""
        given = [_Gate(self.features, name=f"i{gate}")(x.shape[-1]) for gate in range(1, 5)]
        kept = [_Gate(self.features, use_bias=False, name=f"h{gate}")(self.features) for gate in range(1, 5)]
        state = _started(state, x, self.features)
        dropped = train and self.keep < 1
        scale = 1 / self.keep if train else self.scale
        masks_x, masks_h = (self._masks(like) if dropped else [1.0] * 4 for like in (x[:, :1], state[1]))
        inputs = [
            (_conv(_folded(x * mask), kernel) + bias.astype(x.dtype)) * scale
            for mask, (kernel, bias) in zip(masks_x, given, strict=True)
        ]
        inputs = jnp.concatenate(inputs, axis=-1).reshape(*x.shape[:-1], 4 * self.features)

        def step(state: State, given: jax.Array) -> tuple[State, jax.Array]:
            c, h = state
            of_state = [_conv(h * mask, kernel) * scale for mask, (kernel, _) in zip(masks_h, kept, strict=True)]
            i, new, f, o = jnp.split(given + jnp.concatenate(of_state, axis=-1), 4, axis=-1)
            c = nn.sigmoid(f + 1) * c + nn.sigmoid(i) * jnp.tanh(new)
            h = nn.sigmoid(o) * jnp.tanh(c)
            return (c, h), h

        return _over_time(step, inputs, state)

    def _masks(self, like: Float[Array, "*n"]) -> list[Float[Array, "*n"]]:
        """Returns a mask for each gate, of the shape of `like`."""
        shape = (4, *like.shape)
        drawn = jax.random.binomial(self.make_rng("dropout"), float(self.samples), self.keep, shape, jnp.float32)
        return list((drawn / self.samples).astype(like.dtype))


class _Gate(nn.Module):
    """The variables of one gate's 3 x 3 convolution."""

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, channels: int) -> tuple[Float[Array, "3 3 c f"], Float[Array, " f"] | None]:
        """Returns kernel and bias, None without one."""
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), (3, 3, channels, self.features))
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None


def _conv(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"]) -> Float[Array, "n h w f"]:
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel.astype(x.dtype), (1, 1), "SAME", dimension_numbers=dimensions)


def _folded(x: Float[Array, "b t h w c"]) -> Float[Array, "n h w c"]:
    return x.reshape(-1, *x.shape[2:])


def _started(state: State | None, x: Float[Array, "b t h w c"], features: int) -> State:
    """Returns the state, zeros if there is none."""
    shape = (x.shape[0], *x.shape[2:4], features)
    return tuple(jnp.zeros(shape, x.dtype) if part is None else part.astype(x.dtype) for part in state or (None, None))


def _over_time(
    step: Callable[[State, jax.Array], tuple[State, jax.Array]], inputs: Float[Array, "b t h w c"], state: State
) -> tuple[Float[Array, "b t h w f"], State]:
    state, outputs = jax.lax.scan(step, state, jnp.moveaxis(inputs, 1, 0))
    return jnp.moveaxis(outputs, 0, 1), state


def _forget_one(key: jax.Array, shape: tuple[int], dtype: Any = jnp.float32) -> Float[Array, " n"]:
    """Returns biases of zero, of one for the gate f."""
    del key
    quarter = shape[0] // 4
    return jnp.zeros(shape, dtype).at[quarter : 2 * quarter].set(1)

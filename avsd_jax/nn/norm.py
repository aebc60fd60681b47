"""Batch normalisation that is fast to differentiate, and foldable into the preceding convolution."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

Vector = Float[Array, " c"]

_BLOCK = 32  # terms of a partial sum


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last; its variables are those of Flax's own.

    The defaults are S3D's constants.

    Attributes:
        momentum: new = momentum * old + (1 - momentum) * batch; PyTorch's 0.001 is 0.999 here.
        epsilon: added to the variance.
        axis_name: the pmap axis over which batch statistics are averaged.
        unbiased: keep the unbiased running variance, as PyTorch does; otherwise the biased one, as Flax does.
        one_pass: form sums as is fastest; otherwise as XLA does, which rounds as PyTorch does: networks that end in
            statistics over a few values amplify the difference.
    """

    momentum: float = 0.999
    epsilon: float = 1e-3
    axis_name: str | None = None
    unbiased: bool = False
    one_pass: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*n c"], use_running_average: bool) -> Float[Array, "*n c"]:
        """Normalises in float32 or float64, and returns the dtype of `x`; updates running statistics in training."""
        size = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, size)
        bias = self.param("bias", nn.initializers.zeros, size)
        mean = self.variable("batch_stats", "mean", jnp.zeros, size)
        var = self.variable("batch_stats", "var", jnp.ones, size)
        if use_running_average or self.is_initializing():
            factor = scale * lax.rsqrt(var.value + self.epsilon)
            return (x * factor + (bias - mean.value * factor)).astype(x.dtype)
        y, batch_mean, batch_var = _normalise(x, scale, bias, self.epsilon, self.axis_name, self.one_pass)
        if self.unbiased:
            count = x.size // x.shape[-1] * (1 if self.axis_name is None else lax.axis_size(self.axis_name))
            batch_var = batch_var * (count / max(1, count - 1))
        mean.value = self.momentum * mean.value + (1 - self.momentum) * batch_mean
        var.value = self.momentum * var.value + (1 - self.momentum) * batch_var
        return y

    def affine(self) -> tuple[Vector, Vector]:
        """Returns `affine` of its variables, which must exist already."""
        return affine(self.variables["params"], self.variables["batch_stats"], self.epsilon)


def affine(params: Mapping[str, Vector], stats: Mapping[str, Vector], epsilon: float) -> tuple[Vector, Vector]:
    """Returns (scale, shift) such that a BatchNorm's inference equals `x * scale + shift`."""
    scale = params["scale"] * lax.rsqrt(stats["var"] + epsilon)
    return scale, params["bias"] - stats["mean"] * scale


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _normalise(
    x: Float[Array, "*n c"], scale: Vector, bias: Vector, epsilon: float, axis_name: str | None, one_pass: bool
) -> tuple[Float[Array, "*n c"], Vector, Vector]:
    """Returns normalised x, batch mean and biased batch variance; no gradient flows through the latter two.

    It has a custom derivative, because the automatic one of a mean, a variance and a product took half of a video
    model's compilation time.
    """
    count = x.size // x.shape[-1]
    wide = _wide(x)
    mean, square = (s / count for s in _sums(wide, jnp.square(wide), one_pass))
    if axis_name is not None:
        mean, square = lax.pmean((mean, square), axis_name)
    var = jnp.maximum(square - jnp.square(mean), 0)
    factor = scale * lax.rsqrt(var + epsilon)
    return (x * factor + (bias - mean * factor)).astype(x.dtype), mean, var


def _wide(x: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
    """Returns x in float32, or in float64 if it is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _sums(a: Float[Array, "b *n c"], b: Float[Array, "b *n c"], one_pass: bool) -> tuple[Vector, Vector]:
    """Returns the sums per channel of two arrays.

    XLA's CPU backend sums along other axes than the last with one pass over memory for each array, and rewrites the
    sum as windows, which takes it five times as long. Sums of two arrays at once are left as they are; to round as
    little as windows do, they are formed in blocks.
    """
    axes = tuple(range(a.ndim - 1))
    places = a.size // (a.shape[0] * a.shape[-1])
    block = max(n for n in range(1, _BLOCK + 1) if places % n == 0)
    if not one_pass or jax.default_backend() != "cpu" or block < _BLOCK // 4:
        return jnp.sum(a, axes), jnp.sum(b, axes)
    pair = tuple(x.reshape(x.shape[0], places // block, block, x.shape[-1]) for x in (a, b))
    zero = jnp.zeros((), a.dtype)
    pair = lax.reduce(pair, (zero, zero), lambda x, y: (x[0] + y[0], x[1] + y[1]), (2,))
    return jnp.sum(pair[0], (0, 1)), jnp.sum(pair[1], (0, 1))


def _normalise_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None, one_pass: bool
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, ...]]:
    y, mean, var = _normalise(x, scale, bias, epsilon, axis_name, one_pass)
    return (y, mean, var), (x, scale, mean, lax.rsqrt(var + epsilon))


def _normalise_backward(
    epsilon: float, axis_name: str | None, one_pass: bool, saved: tuple[jax.Array, ...], grads: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns, with z = (x - mean) / std, dx = scale / std * (dy - mean(dy) - z mean(dy z))."""
    x, scale, mean, inverse = saved
    dy = _wide(grads[0])
    count = x.size // x.shape[-1]
    # The gradients of scale and bias are this device's share; dx needs the means over all devices.
    bias_grad, slope_sum = _sums(dy, dy * x, one_pass)
    scale_grad = (slope_sum - mean * bias_grad) * inverse
    dy_mean, dyz_mean = bias_grad / count, scale_grad / count
    if axis_name is not None:
        dy_mean, dyz_mean = lax.pmean((dy_mean, dyz_mean), axis_name)
    slope = inverse * dyz_mean
    dx = scale * inverse * (dy - slope * x + (slope * mean - dy_mean))
    return dx.astype(x.dtype), scale_grad, bias_grad


_normalise.defvjp(_normalise_forward, _normalise_backward)


def conv_norm(conv: nn.Module, norm: nn.Module, x: jax.Array, train: bool) -> Float[Array, "b *space c"]:
    """Returns BatchNorm(conv(x)) in the dtype of `x`; at inference the norm is folded into the kernel.

    Args:
        conv: a bias-free `Conv3D` or `Conv2D`.
        norm: the norm over its output channels: a `BatchNorm`, or what has its call and its `affine`.
        x: [B, ..., C].
        train: normalise by batch statistics and update the running ones.
    """
    if train or norm.is_initializing():
        return norm(conv(x), use_running_average=not train)
    scale, shift = norm.affine()
    return conv(x, scale, shift)


def conv_norm_relu(conv: nn.Module, norm: BatchNorm, x: jax.Array, train: bool) -> Float[Array, "b *space c"]:
    """Returns ReLU(BatchNorm(conv(x))); see `conv_norm`."""
    return nn.relu(conv_norm(conv, norm, x, train))


def conv_norm_relu6(conv: nn.Module, norm: nn.Module, x: jax.Array, train: bool) -> Float[Array, "b *space c"]:
    """Returns ReLU6(BatchNorm(conv(x))); see `conv_norm`."""
    return nn.relu6(conv_norm(conv, norm, x, train))

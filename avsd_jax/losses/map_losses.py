"""The losses as functions of maps and logits: one value per example, gradients finite everywhere."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Num

from avsd_jax.metrics.maps import centred, per_map
from avsd_jax.metrics.maps import total as total_of

EPSILON = 2.2204e-16
# A map is constant if its deviations hold at most this share of its energy: less is rounding.
CONSTANT = 1e-12


def kl(pred: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Computes ViNet's divergence, `sum g log(eps + g / (s + eps))`, of maps divided by their sums; lower is better.

    Equal to the official loss wherever that is finite. Two guards: a map whose sum is zero stays zero instead of
    becoming NaN (a zero density then costs 0), and at pixels with s <= eps, where the official gradients reach about
    1e11, the gradient is that of a pixel predicted at the uniform density. A sigmoid output never gets that low.

    Args:
        pred, density: non-negative maps `[B, H, W]` of any scale.
    """
    pixels = pred.shape[-2] * pred.shape[-1]
    s, g = _sum_to_one(pred), _sum_to_one(density)
    held = jax.lax.stop_gradient(s)
    s = jnp.where(s > EPSILON, s, held + EPSILON * pixels * (s - held))
    return total_of(g * jnp.log(EPSILON + g / (s + EPSILON)))


def log_kl(log_density: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Computes the divergence `sum g (log g - log s)` from the logarithm of a density s of sum 1; lower is better.

    A target g without mass costs 0.
    """
    g = _sum_to_one(density)
    return total_of(jax.scipy.special.xlogy(g, g) - g * log_density)


def cc(pred: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Computes Pearson's correlation over pixels, higher is better; 0 without gradient if a map is constant."""
    x, y = centred(pred), centred(density)
    xx, yy = total_of(x * x), total_of(y * y)
    varies = _varies(xx, pred) & _varies(yy, density)
    norm = jnp.sqrt(jnp.where(varies, xx, 1)) * jnp.sqrt(jnp.where(varies, yy, 1))
    return jnp.where(varies, total_of(x * y) / norm, 0)


def sim(pred: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Computes the histogram intersection of maps, min-max normalised and divided by their sums; higher is better.

    A constant map is normalised to zero, and has similarity 0.
    """
    x, y = _sum_to_one(_min_max(pred)), _sum_to_one(_min_max(density))
    return total_of(jnp.minimum(x, y))


def bce(logits: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Computes STAViS's binary cross entropy with a density in [0, 1], summed over the pixels; lower is better."""
    return total_of(optax.losses.sigmoid_binary_cross_entropy(logits, density))


def bce_mean(logits: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Computes STANet's binary cross entropy with a density in [0, 1], averaged over the pixels; lower is better."""
    return bce(logits, density) / (logits.shape[-2] * logits.shape[-1])


def nss(pred: Float[Array, "b h w"], fixations: Num[Array, "b h w"], ddof: int = 1) -> Float[Array, " b"]:
    """Computes the mean z-score of the prediction over fixations, higher is better; 0 if there are none.

    As in ViNet, a pixel counts as often as its value says, and the standard deviation is over n - `ddof`, 1 in ViNet
    and 0 in STAViS. A constant prediction scores 0 without gradient.
    """
    deviation = centred(pred)
    energy = total_of(deviation * deviation)
    varies = _varies(energy, pred)
    std = jnp.sqrt(jnp.where(varies, energy, 1) / (pred.shape[-2] * pred.shape[-1] - ddof))
    hits = fixations.astype(pred.dtype)
    number = total_of(hits)
    return jnp.where(varies, total_of(deviation * hits) / std / jnp.where(number > 0, number, 1), 0)


def cross_entropy(logits: Float[Array, "b 2"], labels: Int[Array, " b"]) -> Float[Array, " b"]:
    """Computes the cross entropy of the consistency classifier; an example labelled -1 costs 0."""
    known = labels >= 0
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.where(known, labels, 0))
    return jnp.where(known, loss, 0)


def tag_entropy(logits: Float[Array, "b *n k"], tags: Float[Array, "b k"]) -> Float[Array, " b"]:
    """Computes the cross entropy of K tags, each present (1) or not (0), summed over the tags and classified items.

    PyTorch's multi-label soft margin loss is the mean over the tags: a weight of 1 / K.
    """
    shape = (tags.shape[0], *(1,) * (logits.ndim - 2), tags.shape[-1])
    entropy = optax.losses.sigmoid_binary_cross_entropy(logits, tags.reshape(shape))
    return jnp.sum(entropy, axis=tuple(range(1, logits.ndim)))


def _sum_to_one(x: Float[Array, "b h w"]) -> Float[Array, "b h w"]:
    mass = total_of(x)
    return x / per_map(jnp.where(mass > 0, mass, 1))


def _varies(energy: Float[Array, " b"], x: Float[Array, "b h w"]) -> Bool[Array, " b"]:
    """Returns whether the squared deviations of a map sum to more than rounding errors."""
    return energy > CONSTANT * total_of(x * x)


def _min_max(x: Float[Array, "b h w"]) -> Float[Array, "b h w"]:
    low, high = x.min(axis=(-2, -1)), x.max(axis=(-2, -1))
    return (x - per_map(low)) / per_map(jnp.where(high > low, high - low, 1))

"""Training losses: saliency terms and the consistency classifier's, joined as in the survey's eq. 3.

Every term gives one value per example and a weight per example, so that a mean over any split of a batch into
devices is exact: sum(value * weight) / global sum(weight).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Num

from avsd_jax.errors import InputError
from avsd_jax.metrics.maps import centred, per_map
from avsd_jax.metrics.maps import total as total_of

EPSILON = 2.2204e-16
# A map is constant where its deviations hold at most this share of its energy: less is rounding.
CONSTANT = 1e-12

LOSSES = ("kl", "stavis", "stanet_cvpr", "stanet_2021")
# Those that have the term `kl`.
DIVERGENCES = ("kl", "stanet_2021")

_NO_TERM = (
    "the model predicts no map and tells no tags, so that no loss is for it: choose another model, or give it tags"
)

Terms = dict[str, tuple[Float[Array, " b"], Float[Array, " b"]]]


def kl(pred: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """ViNet's divergence, `sum g log(eps + g / (s + eps))` with both maps divided by their sums; lower is
    better.

    Equal to the official loss wherever that is finite. Two guards: a map whose sum is zero stays zero instead
    of becoming NaN (a zero density then costs 0), and at pixels where s <= eps, which make official gradients
    of about 1e11, the gradient is that of a pixel predicted at the uniform density. A sigmoid output never
    gets there.

    Args:
        pred, density: non-negative maps `[B, H, W]` of any scale.
    """
    pixels = pred.shape[-2] * pred.shape[-1]
    s, g = _sum_to_one(pred), _sum_to_one(density)
    held = jax.lax.stop_gradient(s)
    s = jnp.where(s > EPSILON, s, held + EPSILON * pixels * (s - held))
    return total_of(g * jnp.log(EPSILON + g / (s + EPSILON)))


def cc(pred: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Pearson correlation over pixels, higher is better; 0 without gradient where a map is constant."""
    x, y = centred(pred), centred(density)
    xx, yy = total_of(x * x), total_of(y * y)
    varies = _varies(xx, pred) & _varies(yy, density)
    norm = jnp.sqrt(jnp.where(varies, xx, 1)) * jnp.sqrt(jnp.where(varies, yy, 1))
    return jnp.where(varies, total_of(x * y) / norm, 0)


def sim(pred: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Histogram intersection of the maps, each stretched to [0, 1] and divided by its sum; higher is better.

    A constant map is stretched to zero, and has similarity 0.
    """
    x, y = _sum_to_one(_min_max(pred)), _sum_to_one(_min_max(density))
    return total_of(jnp.minimum(x, y))


def bce(logits: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """STAViS's binary cross entropy with a density in [0, 1], summed over the pixels; lower is better."""
    return total_of(optax.losses.sigmoid_binary_cross_entropy(logits, density))


def bce_mean(logits: Float[Array, "b h w"], density: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """STANet's binary cross entropy with a density in [0, 1], its mean over the pixels; lower is better."""
    return bce(logits, density) / (logits.shape[-2] * logits.shape[-1])


def nss(pred: Float[Array, "b h w"], fixations: Num[Array, "b h w"], ddof: int = 1) -> Float[Array, " b"]:
    """Mean z-score of the prediction over fixations, higher is better; 0 where there is none.

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
    """Cross entropy of the consistency classifier; an example labelled -1 costs 0."""
    known = labels >= 0
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.where(known, labels, 0))
    return jnp.where(known, loss, 0)


def tag_entropy(logits: Float[Array, "b *n k"], tags: Float[Array, "b k"]) -> Float[Array, " b"]:
    """Cross entropy of K tags, each present (1) or not (0), summed over the tags and over what is judged by them.

    PyTorch's multi-label soft margin loss is the mean over the tags: a weight of 1 / K.
    """
    shape = (tags.shape[0], *(1,) * (logits.ndim - 2), tags.shape[-1])
    entropy = optax.losses.sigmoid_binary_cross_entropy(logits, tags.reshape(shape))
    return jnp.sum(entropy, axis=tuple(range(1, logits.ndim)))


def terms(
    output: Mapping[str, Any],
    batch: Mapping[str, Any],
    *,
    loss: str = "kl",
    side_weight: float | Float[Array, ""] | None = None,
    rho: float = 0.5,
    bce_weight: float = 0.0,
    cc_weight: float = 0.0,
    sim_weight: float = 0.0,
    nss_weight: float = 0.0,
    tag_weight: float = 0.0,
    side_tag_weight: float = 0.0,
) -> Terms:
    """Values and weights per example of every term of the loss: name -> (values [B], weights [B]).

    Args:
        output: what the model returns: `saliency` [B, H, W] if it predicts maps, `avc_logits` [B, 2] if it has a
            classifier, `tag_logits` and `heard_logits` [B, K] if it tells tags by eye or ear ([B, N, K] for N frames),
            `side_tag_logits` of the same shape from an earlier layer; for loss="stavis" `logits` [B, H, W] and with
            a `side_weight` `side_logits` [B, N, H, W]; for loss="stanet_2021" `scale_logits` [B, K, scales, H, W], of
            the target frame among K; entries that no term reads are ignored.
        batch: `density` [B, H, W]; `avc_label` [B] with a classifier; `fixations` [B, H, W] with
            `nss_weight`; `tags` [B, K] for a model that tells them; and optionally `mask` [B], false for padding.
        loss: of the map: "kl" (ViNet's), "stavis" (`bce`, `cc`, `nss`), or what STANet's published scripts train: in
            "stanet_cvpr" `bce_mean` of a map that went through the sigmoid before, in "stanet_2021" the sum over the
            scales of `bce_mean` and `kl`. All but "stavis" take `cc`, `sim` and `nss` on request.
        side_weight: weight of the maps of STAViS's levels in each of its terms, where they are trained too.
        rho and the other weights: as for `total`; a term that it would weigh with 0 is left out, except `kl` and the
            tags.

    An example counts in a saliency term if it has a target: a density (or fixations) not zero everywhere, as
    the official training redraws clips whose target is empty; STAViS's does not, and there all count. In the cross
    entropy (`ce`) it counts if it is labelled, in that of the tags by ear (`heard`) if it is consistent.

    Raises:
        InputError: an unknown loss; or the batch, the model or the weights lack what a term needs.
    """
    if loss not in LOSSES:
        raise InputError(f"unknown loss {loss!r}: choose one of {', '.join(LOSSES)}")
    size = len(next(iter(output.values())))
    if "saliency" in output and loss != "stavis" and side_weight is not None:
        raise InputError(f"side_epochs trains maps of levels, which loss={loss!r} does not: set side_epochs=0")
    mask = jnp.asarray(batch["mask"], jnp.float32) if "mask" in batch else jnp.ones(size)
    result = {}
    if "saliency" in output and loss == "stavis":
        weights = {"bce": bce_weight, "cc": cc_weight, "nss": nss_weight}
        if sim_weight:
            raise InputError(
                f"sim_weight={sim_weight}, and loss='stavis' has no SIM: set sim_weight=0, or another loss"
            )
        if not any(weights.values()):
            raise InputError(
                "loss='stavis' has no term: bce_weight, cc_weight and nss_weight are 0; officially 0.1, 2 and 1"
            )
        result |= {k: v for k, v in _stavis_terms(output, batch, mask, side_weight).items() if weights[k]}
    elif "saliency" in output:
        result |= _map_terms(output, batch, mask, loss, bce_weight, cc_weight, sim_weight, nss_weight)
    if "tag_logits" in output:
        result["tags"] = (tag_entropy(output["tag_logits"], _required(batch, "tags", "the loss of tags")), mask)
    if "side_tag_logits" in output and side_tag_weight:
        side = tag_entropy(output["side_tag_logits"], _required(batch, "tags", "the loss of tags"))
        result["side_tags"] = (side, mask)
    if "heard_logits" in output:
        # What sounds is among what is seen only where the two are consistent.
        consistent = _required(batch, "avc_label", "the loss of tags by ear") == 1
        tags = _required(batch, "tags", "the loss of tags by ear")
        result["heard"] = (tag_entropy(output["heard_logits"], tags), mask * consistent)
    if "avc_logits" in output and rho < 1:
        labels = _required(batch, "avc_label", "the classifier's loss")
        result["ce"] = (cross_entropy(output["avc_logits"], labels), mask * (labels >= 0))
    if not result:
        if "avc_logits" in output:
            raise InputError(f"rho={rho} leaves the classifier no loss, and the model predicts no map: set rho below 1")
        raise InputError(_NO_TERM)
    if result.keys() == {"tags"} and not tag_weight:
        raise InputError("the model learns nothing but tags, and tag_weight=0: give them a weight")
    return result


def _map_terms(
    output: Mapping[str, Any],
    batch: Mapping[str, Any],
    mask: Float[Array, " b"],
    loss: str,
    bce_weight: float,
    cc_weight: float,
    sim_weight: float,
    nss_weight: float,
) -> Terms:
    """The terms of ViNet's and STANet's losses, and those on request."""
    saliency, density = output["saliency"], _required(batch, "density", "the saliency loss")
    targeted = mask * (total_of(density) > 0)
    if loss != "kl" and not bce_weight:
        raise InputError(f"loss={loss!r} has a cross entropy, and bce_weight is 0: give it a weight, officially 1")
    if loss == "kl":
        result = {"kl": (kl(saliency, density), targeted)}
    elif loss == "stanet_cvpr":
        result = {"bce": (bce_mean(saliency, density), targeted)}
    else:
        if "scale_logits" not in output:
            raise InputError(
                f"the model has no maps of several scales, which loss={loss!r} trains: choose another loss"
            )
        # The target is the middle one of one or three frames.
        scales = output["scale_logits"][:, output["scale_logits"].shape[1] // 2]
        scales = [scales[:, i] for i in range(scales.shape[1])]
        result = {
            "bce": (sum(bce_mean(z, density) for z in scales), targeted),
            "kl": (sum(kl(jax.nn.sigmoid(z), density) for z in scales), targeted),
        }
    if cc_weight:
        result["cc"] = (cc(saliency, density), targeted)
    if sim_weight:
        result["sim"] = (sim(saliency, density), targeted)
    if nss_weight:
        fixations = _required(batch, "fixations", "the NSS term (nss_weight)")
        result["nss"] = (nss(saliency, fixations), mask * (total_of(fixations) > 0))
    return result


def _stavis_terms(
    output: Mapping[str, Any],
    batch: Mapping[str, Any],
    mask: Float[Array, " b"],
    side_weight: float | Float[Array, ""] | None,
) -> Terms:
    """STAViS's terms, each a sum over the maps that are trained."""
    density = _required(batch, "density", "the saliency loss")
    fixations = _required(batch, "fixations", "STAViS's NSS term")
    maps = [(1.0, _given(output, "logits", "the loss 'stavis' takes them: choose another loss"))]
    if side_weight is not None:
        sides = _given(output, "side_logits", "side_epochs trains them: set side_epochs=0")
        maps += [(side_weight, sides[:, i]) for i in range(sides.shape[1])]

    def over_maps(term: Callable[[Float[Array, "b h w"]], Float[Array, " b"]]) -> tuple[Array, Array]:
        return sum(weight * term(logits) for weight, logits in maps), mask

    return {
        "bce": over_maps(lambda z: bce(z, density)),
        "cc": over_maps(lambda z: cc(jax.nn.sigmoid(z), density)),
        "nss": over_maps(lambda z: nss(jax.nn.sigmoid(z), fixations, ddof=0)),
    }


def side_schedule(total_steps: int, epochs: int) -> Callable[[Any], Float[Array, ""]] | None:
    """STAViS's deep supervision: the weight of the side maps by step, 1 - e / epochs in epoch e (from 1).

    Args:
        total_steps: of the run.
        epochs: into which it is cut; 0: side maps are not trained.
    """
    if not epochs:
        return None
    return lambda step: 1 - (step * epochs // total_steps + 1) / epochs


def total(
    means: Mapping[str, Float[Array, ""]],
    *,
    loss: str = "kl",
    rho: float | Float[Array, ""] = 0.5,
    bce_weight: float | Float[Array, ""] = 0.0,
    cc_weight: float | Float[Array, ""] = 0.0,
    sim_weight: float | Float[Array, ""] = 0.0,
    nss_weight: float | Float[Array, ""] = 0.0,
    tag_weight: float | Float[Array, ""] = 0.0,
    side_tag_weight: float | Float[Array, ""] = 0.0,
) -> Float[Array, ""]:
    """Eq. 3: `(1 - rho) * ce + rho * saliency`; one part alone, with a weight of 1, where the model
    has only one of the two. A model that only hears has the tags by ear as its loss, one that only tells tags
    `tag_weight * tags + side_tag_weight * side_tags`.

    The saliency part is `kl + tag_weight * tags - cc_weight * cc - sim_weight * sim - nss_weight * nss`: what is
    better when higher is subtracted, so weights are positive, and an official coefficient of -1 is a weight of 1. With
    a loss that has a cross entropy it begins with `bce_weight * bce`, instead of `kl` or beside it: the official
    weights of STAViS are 0.1, 2 (CC) and 1 (NSS), that of STANet is 1.

    Args:
        means: of each of the `terms`, over the whole batch: sum(values * weights) / sum(weights), or 0 where
            no example counts. As the loss is linear in them, devices may each put in the share of their
            examples and add up the losses and gradients.
    """
    if not means.keys() & {"kl", "bce", "cc", "sim", "nss"}:
        if "tags" in means:
            return tag_weight * means["tags"] + side_tag_weight * means.get("side_tags", 0.0)
        return means["ce"] if "ce" in means else means["heard"]
    saliency = bce_weight * means.get("bce", 0.0)
    if loss in DIVERGENCES:
        saliency = saliency + means["kl"]
    if "tags" in means:
        saliency = saliency + tag_weight * means["tags"]
    for name, weight in (("cc", cc_weight), ("sim", sim_weight), ("nss", nss_weight)):
        if name in means:
            saliency = saliency - weight * means[name]
    return (1 - rho) * means["ce"] + rho * saliency if "ce" in means else saliency


def _given(output: Mapping[str, Any], key: str, user: str) -> Array:
    if key not in output:
        raise InputError(f"the model has no {key}, and {user}, or choose another model")
    return output[key]


def _required(batch: Mapping[str, Any], key: str, user: str) -> Array:
    if key not in batch:
        raise InputError(f"the batch has no {key!r}, which {user} needs: add it to the pipeline or drop that term")
    return jnp.asarray(batch[key])


def _sum_to_one(x: Float[Array, "b h w"]) -> Float[Array, "b h w"]:
    mass = total_of(x)
    return x / per_map(jnp.where(mass > 0, mass, 1))


def _varies(energy: Float[Array, " b"], x: Float[Array, "b h w"]) -> Bool[Array, " b"]:
    """Whether the squared deviations of a map sum to more than rounding leaves."""
    return energy > CONSTANT * total_of(x * x)


def _min_max(x: Float[Array, "b h w"]) -> Float[Array, "b h w"]:
    low, high = x.min(axis=(-2, -1)), x.max(axis=(-2, -1))
    return (x - per_map(low)) / per_map(jnp.where(high > low, high - low, 1))

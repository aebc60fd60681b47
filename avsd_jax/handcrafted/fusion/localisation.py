"""Localisation of sounding objects: where in the image does the audio come from? (survey, III.D)

Three families: places that move with the audio [104, 105, 109], class activation maps of what is heard [19, 20, 108,
117], and features of the image that resemble that of the audio [18, 80, 118]. Maps are raw; scale them by
`avsd_jax.handcrafted.fusion.maps.normalised`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.fusion.correlation import WINDOW, sliding_correlation
from avsd_jax.handcrafted.normalise import as_float

SIMILARITIES = ("cosine", "euclidean")


def motion_energy(frames: Num[Array | np.ndarray, "*b t h w"]) -> Float[Array, "*b t h w"]:
    """Computes |I(t) - I(t - 1)| of grey frames; the first frame has the second one's, and a single one has none."""
    (frames,) = as_float(frames)
    change = jnp.abs(frames[..., 1:, :, :] - frames[..., :-1, :, :])
    first = change[..., :1, :, :] if frames.shape[-3] > 1 else jnp.zeros_like(frames)
    return jnp.concatenate([first, change], -3)


def by_correlation(
    frames: Num[Array | np.ndarray, "*b t h w"],
    audio: Num[Array | np.ndarray, "*b t"],
    window: int = WINDOW,
    cell: int = 1,
) -> Float[Array, "*b t h2 w2"]:
    """Localises by the correlation of motion energy with the audio's energy, in a window around each frame.

    Args:
        frames: grey, of any scale.
        audio: one value per frame, such as `avsd_jax.handcrafted.sound.envelope.rms`.
        window: frames.
        cell: side of the squares over which motion is averaged before; a remainder at the right and the bottom is
            left out, and a frame smaller than a square is one.

    Returns:
        max(0, r) of every cell: 0 where nothing moves, or the audio is constant.

    Raises:
        InputError: a window or cell below 1.
    """
    if cell < 1:
        raise InputError(f"cell={cell}: give at least one pixel")
    motion = motion_energy(frames)
    height, width = (min(cell, side) for side in motion.shape[-2:])
    motion = motion[..., : motion.shape[-2] // height * height, : motion.shape[-1] // width * width]
    rows, columns = motion.shape[-2] // height, motion.shape[-1] // width
    cells = motion.reshape(*motion.shape[:-2], rows, height, columns, width).mean((-3, -1))
    return jnp.maximum(sliding_correlation(cells, audio, window), 0)


def by_class_maps(
    class_maps: Num[Array | np.ndarray, "*b h w k"], tags: Num[Array | np.ndarray, "*b k"]
) -> Float[Array, "*b h w"]:
    """Localises by class activation: the evidence for each class at each place, weighted by how much it is heard.

    Args:
        class_maps: activation maps of K classes, as models of tags return under `class_maps`; only positive
            evidence counts.
        tags: weight of each class in the audio, not negative, such as probabilities; divided by its sum.

    Returns:
        sum_k p_k max(0, M_k); 0 if no class is heard.
    """
    class_maps, tags = as_float(class_maps, tags)
    tags = jnp.maximum(tags, 0)
    total = jnp.sum(tags, -1, keepdims=True)
    weights = tags / jnp.where(total > 0, total, 1)
    return jnp.einsum("...hwk,...k->...hw", jnp.maximum(class_maps, 0), weights, precision=jax.lax.Precision.HIGHEST)


def by_similarity(
    visual: Num[Array | np.ndarray, "*b h w c"], audio: Num[Array | np.ndarray, "*b c"], similarity: str = "cosine"
) -> Float[Array, "*b h w"]:
    """Localises by the similarity of the audio's feature vector with the image's at each place.

    Args:
        visual, audio: features in one space, of C dimensions.
        similarity: "cosine", in [-1, 1] and 0 where a vector is 0; or "euclidean", the distance with a minus.

    Raises:
        InputError: an unknown similarity.
    """
    if similarity not in SIMILARITIES:
        raise InputError(f"unknown similarity {similarity!r}: choose one of {', '.join(SIMILARITIES)}")
    visual, audio = as_float(visual, audio)
    if similarity == "euclidean":
        return -jnp.linalg.norm(visual - audio[..., None, None, :], axis=-1)
    likeness = jnp.einsum("...hwc,...c->...hw", _unit_norm(visual), _unit_norm(audio), precision="highest")
    return jnp.clip(likeness, -1, 1)


def _unit_norm(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
    # Scaled first: squares of large or small numbers leave the range of float32.
    peak = jnp.max(jnp.abs(x), -1, keepdims=True)
    x = x / jnp.where(peak > 0, peak, 1)
    norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x / jnp.where(norm > 0, norm, 1)

"""The regions of a video that change with the audio, and whether any of them does (survey, III.D and IV.B).

A region's changes of brightness, of colourfulness and its motion are compared with the changes of loudness by
canonical correlation. Something in a picture always goes along with a sound by chance. How much is found by comparing
the same picture with the audio moved in time: what remains above that is evidence that they belong together.

The features, the sizes and the two constants of the decision are our own choice, made on videos of the generator of
the synthetic benchmark that are in none of its splits.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.fusion.cca import region_scores

LEAST_FRAMES = 16
GRID = 16  # regions along each side of the picture
_SPREAD = 0.08  # standard deviation of a region's Gaussian window, in sides of the picture
_RIDGE = 0.5  # added to the variances of the features, which are 1
# Picture and audio of a file may be a frame apart: the best displacement within so many halves of a frame counts,
_NEAR = 1
_FAR = 5  # and so it is with displacements far from the true one, as many as these, which tell what chance gives,
_LEAST_MET = 0.3  # if they leave this share of the time with picture and audio, on average.

# Logit of consistency: zero at this excess over chance, and its change with it.
_THRESHOLD = 0.16
_STEEPNESS = 25.0

# Deviations well below these are noise: of the mean of a region's normalised pixels, which range over 4.4, as
# compression leaves it in a still picture; and of amplitudes.
_LEAST_SEEN = 2e-2
_LEAST_HEARD = 1e-3

_LUMA = (0.299, 0.587, 0.114)


class Agreement(NamedTuple):
    """How a picture goes along with its audio.

    Attributes:
        regions: of each region, its correlation with the audio above that of chance, [B, GRID, GRID] in [0, 1].
        logits: of consistency, class 1 = some region goes along with the audio.
    """

    regions: Float[Array, "b g g"]
    logits: Float[Array, "b 2"]


def agreement(frames: Float[Array, "b n h w 3"], waveform: Float[Array, "b s"]) -> Agreement:
    """Compares the regions of a clip with its audio.

    Where two neighbouring frames are equal, as at the ends of a video, whose first and last frames are repeated, time
    counts as missing. Without any change of picture or audio nothing agrees. Nor does anything where the moved audio
    hardly meets the picture, as in a video of less than a third of the clip: what chance gives is unknown there, and
    it is much.

    Args:
        frames: N frames at equal distances, ImageNet-normalised RGB, as classifiers of consistency get them. Neighbours
            are averaged in pairs, so that it matters little which frames of a video are the nearest to these times.
        waveform: of the same time, in [-1, 1].

    Raises:
        InputError: there are fewer than `LEAST_FRAMES`.
    """
    if frames.shape[1] < LEAST_FRAMES:
        raise InputError(f"{frames.shape[1]} frames are too few to compare with audio: give {LEAST_FRAMES} or more")
    pairs = frames.shape[1] // 2
    frames = jnp.mean(frames[:, : 2 * pairs].reshape(frames.shape[0], pairs, 2, *frames.shape[2:]), axis=2)
    shown = jnp.any(jnp.diff(frames, axis=1) != 0, axis=(2, 3, 4))  # [b, pairs - 1]
    changed = _without_ends(shown)
    seen = _standardised(_changes_of_regions(frames), changed[:, None, :, None], _LEAST_SEEN)
    loudness = _loudness(waveform, frames.shape[1])
    heard = jnp.stack([_changes(jnp.roll(loudness, steps, axis=1)) for steps in _moves(frames.shape[1])], axis=1)
    steps = jnp.sum(jnp.any(heard != 0, -1) & shown[:, None], -1)  # [b, move], with picture and audio
    known = jnp.mean(steps[:, 2 * _NEAR + 1 :], -1) >= _LEAST_MET * steps[:, _NEAR]
    heard = _standardised(heard, changed[:, None, :, None], _LEAST_HEARD)
    scores = jnp.where(known[:, None, None], region_scores(seen[:, None], heard, _RIDGE), 0)  # [b, move, region]
    scores = jnp.max(scores.reshape(scores.shape[0], -1, 2 * _NEAR + 1, GRID * GRID), axis=2)
    together, apart = scores[:, 0], scores[:, 1:]
    excess = jnp.max(together, -1) - jnp.mean(jnp.max(apart, -1), -1)
    logit = _STEEPNESS * (excess - _THRESHOLD) / 2
    above = jnp.maximum(0.0, together - jnp.mean(apart, 1))
    return Agreement(above.reshape(-1, GRID, GRID), jnp.stack([-logit, logit], axis=-1))


def _without_ends(changed: Bool[Array, "b steps"]) -> Bool[Array, "b steps"]:
    """Leaves out the first and the last change of a video that begins or ends within the clip.

    There audio that is moved by half a frame begins or ends, which is no event.
    """
    number = jnp.cumsum(changed, axis=1)
    first, last = number == 1, number == number[:, -1:]
    return changed & ~(first & ~changed[:, :1]) & ~(last & ~changed[:, -1:])


def _changes_of_regions(frames: Float[Array, "b n h w 3"]) -> Float[Array, "b r steps 3"]:
    """Returns for each region the changes of its brightness and colourfulness, and its motion, frame by frame."""
    luma = frames @ jnp.asarray(_LUMA, frames.dtype)
    colourful = jnp.max(frames, axis=-1) - jnp.min(frames, axis=-1)
    steps = jnp.diff(luma, axis=1)
    features = jnp.stack([steps, jnp.diff(colourful, axis=1), jnp.abs(steps)], axis=-1)
    rows, columns = _windows(frames.shape[2]), _windows(frames.shape[3])
    local = jnp.einsum("bnhwp,yh,xw->byxnp", features, rows, columns)
    return local.reshape(local.shape[0], -1, *local.shape[3:])


def _loudness(waveform: Float[Array, "b s"], frames: int) -> Float[Array, "b bins"]:
    """Returns the mean square of the waveform in each half of a frame's time."""
    bins = 2 * frames
    length = -(-waveform.shape[1] // bins)
    padded = jnp.pad(waveform, ((0, 0), (0, bins * length - waveform.shape[1])))
    return jnp.mean(jnp.square(padded.reshape(-1, bins, length)), axis=-1)


def _changes(loudness: Float[Array, "b bins"]) -> Float[Array, "b steps 2"]:
    """Returns the changes of the audio's amplitude and of its logarithm, frame by frame."""
    amplitude = jnp.sqrt(jnp.mean(loudness.reshape(loudness.shape[0], -1, 2), axis=-1) + 1e-10)
    return jnp.diff(jnp.stack([amplitude, jnp.log(amplitude + 1e-3)], axis=-1), axis=1)


def _moves(frames: int) -> list[int]:
    """Returns the displacements of the audio, in halves of a frame: the near ones, then groups that are far from it."""
    far = np.linspace(frames / 3, 2 * frames - frames / 3, _FAR).round().astype(int)
    return [int(middle) + step for middle in (0, *far) for step in range(-_NEAR, _NEAR + 1)]


def _standardised(
    x: Float[Array, "b *r t p"], present: Bool[Array, "b *r2 t 1"], least: float
) -> Float[Array, "b *r t p"]:
    """Returns features with the mean 0 and the variance 1 over the time that is present, 0 in the rest.

    Where the deviation is not far above `least`, the variance is smaller.
    """
    number = jnp.maximum(1, jnp.sum(present, axis=-2, keepdims=True))
    centred = jnp.where(present, x - jnp.sum(jnp.where(present, x, 0), -2, keepdims=True) / number, 0)
    deviation = jnp.sqrt(jnp.sum(jnp.square(centred), -2, keepdims=True) / number)
    return centred / (deviation + least)


def _windows(size: int) -> Float[np.ndarray, "g size"]:
    """Returns the Gaussian weights of the pixels of one axis for each region, which sum to 1."""
    centres, pixels = (np.arange(GRID) + 0.5) / GRID, (np.arange(size) + 0.5) / size
    weights = np.exp(-0.5 * np.square((centres[:, None] - pixels) / _SPREAD))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)

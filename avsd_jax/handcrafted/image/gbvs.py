"""Graph-based visual saliency (Harel, Koch, Perona, NIPS 2006), as the authors' MATLAB toolbox computes it.

    RGB ── pyramid ── features at 1/4, 1/8, 1/16 ── 32 pixels ── graph ── ^1.5 ── sum ── fade, blur ── saliency

Every feature map becomes the equilibrium of a walk on its pixels that prefers unlike neighbours
(`avsd_jax.handcrafted.image.graph`). Recorded runs of the toolbox in Octave are reproduced within 1e-4.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.image import features, graph, pyramid
from avsd_jax.handcrafted.image.maps import (
    ROUNDING,
    Images,
    blur,
    fade_borders,
    flat_batch,
    min_max,
    resize_bicubic,
    small_size,
    unflatten,
)

NAMES = {
    "C": "colour",
    "D": "dkl",
    "F": "flicker",
    "I": "intensity",
    "M": "motion",
    "O": "orientation",
    "R": "contrast",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """The toolbox's parameters; the defaults are its own.

    Attributes:
        cues: a letter each, C colour, D DKL colour, I intensity, O orientation, R contrast, and, of the previous
            frame, F flicker and M motion; summed with equal weights.
        map_size: the longest side of the maps on which the graphs are, pixels.
        levels: of the pyramid, level l has 2^-l of the image's size.
        angles: of orientation and motion, degrees.
        sigma: reach of the activation's walk, fraction of the mean side.
        tolerance: change of a distribution (L2 norm) below which a walk ends.
        normalisation: 1 raises activations to the power 1.5; 2 is the paper's, a second walk towards large values.
        normalisation_sigma: its reach, fraction of the mean side.
        contrast_window: side of the window of R, fraction of the width.
        blur: standard deviation of the final blur, fraction of the longest side; 0 for none.
        centre_bias: how much of the map is multiplied by a Gaussian at its centre, of a standard deviation of a quarter
            of each side: 0 for none, as in the toolbox, 1 for all of it.
    """

    cues: str = "DIO"
    map_size: int = 32
    levels: tuple[int, ...] = (2, 3, 4)
    angles: tuple[int | float, ...] = (0, 45, 90, 135)
    sigma: float = 0.15
    tolerance: float = 1e-4
    normalisation: int = 1
    normalisation_sigma: float = 0.06
    contrast_window: float = 0.1
    blur: float = 0.02
    centre_bias: float = 0.0

    def __post_init__(self) -> None:
        if not self.cues or not set(self.cues) <= set(NAMES) or len(set(self.cues)) < len(self.cues):
            raise InputError(f"cues={self.cues!r}: use different letters of {''.join(NAMES)}")
        if self.normalisation not in (1, 2):
            raise InputError(f"normalisation={self.normalisation}: use 1, a power, or 2, a second walk")
        if not 0 <= self.centre_bias <= 1:
            raise InputError(f"centre_bias={self.centre_bias}: use a fraction from 0 to 1")

    @property
    def needs_previous(self) -> bool:
        """Returns whether a channel compares with the frame before."""
        return bool(set(self.cues) & set("FM"))


# The toolbox's `gbvs_fast`.
FAST = Options(cues="DO", map_size=24, levels=(3,), angles=(0, 90), tolerance=0.003)


def gbvs(
    images: Images, options: Options = Options(), previous: Images | None = None
) -> dict[str, Array | dict[str, Array]]:
    """Returns the saliency of images of any size, RGB in [0, 1] or bytes.

    `previous` are the frames before, for flicker and motion; without them nothing moved. Returns `saliency` [*b, h, w],
    `master` [*b, h2, w2], which the former is enlarged from, and `channels`, a dictionary of maps [*b, h2, w2] by the
    names of `NAMES`; each map from 0 to 1.
    """
    before = None if previous is None else flat_batch(previous)
    return unflatten(_gbvs(flat_batch(images), options, before), images.shape[:-3])


def raw_features(
    images: Float[Array, "b 3 h w"], options: Options, previous: Float[Array, "b 3 h w"] | None = None
) -> dict[str, list[Float[Array, "b n _ _"]]]:
    """Returns the feature maps of each channel, by its letter, at each of the levels."""
    now = _levels(images, options)
    before = now if previous is None else _levels(previous, options)
    computed = {
        "C": lambda level, _: features.colour(level),
        "D": lambda level, _: features.dkl_colour(level),
        "F": features.flicker,
        "I": lambda level, _: features.intensity(level),
        "M": functools.partial(features.motion, angles=options.angles),
        "O": lambda level, _: features.orientation(level, options.angles),
        "R": lambda level, _: features.contrast(level, options.contrast_window),
    }
    return {letter: [computed[letter](*pair) for pair in zip(now, before, strict=True)] for letter in options.cues}


@functools.partial(jax.jit, static_argnames="options")
def _gbvs(
    images: Float[Array, "b 3 h w"], options: Options, previous: Float[Array, "b 3 h w"] | None
) -> Mapping[str, Array | dict[str, Array]]:
    height, width = images.shape[-2:]
    size = small_size(height, width, options.map_size)
    maps = {
        letter: jnp.concatenate([resize_bicubic(level, size) for level in of_levels], 1)
        for letter, of_levels in raw_features(images, options, previous).items()
    }
    # All maps share the graph, so they are walked on together.
    stacked = _activate(jnp.concatenate(list(maps.values()), 1), options)
    channels, start = {}, 0
    for letter, of_channel in maps.items():
        channels[letter] = jnp.sum(stacked[:, start : start + of_channel.shape[1]], 1)
        start += of_channel.shape[1]
    master = _finish(sum(channels.values()), options)
    return {
        "saliency": min_max(resize_bicubic(master, (height, width))),
        "master": master,
        "channels": {NAMES[letter]: min_max(of_channel) for letter, of_channel in channels.items()},
    }


def _activate(maps: Float[Array, "b n h w"], options: Options) -> Float[Array, "b n h w"]:
    """Returns the activations, normalised."""
    low = jnp.min(maps, (-2, -1), keepdims=True)
    extent = jnp.max(maps, (-2, -1), keepdims=True) - low
    # A walk heeds only ratios of differences: it would make a map of the rounding of a constant one.
    maps = jnp.where(extent > ROUNDING, (maps - low) / jnp.where(extent > ROUNDING, extent, 1), 0)
    flat = maps.reshape(-1, *maps.shape[-2:])
    mean_side = sum(maps.shape[-2:]) / 2
    active = graph.dissimilarity(flat, options.sigma * mean_side, options.tolerance)
    if options.normalisation == 1:
        active = active**1.5
    else:
        active = graph.concentration(active, options.normalisation_sigma * mean_side, options.tolerance)
    return active.reshape(maps.shape)


def _finish(master: Float[Array, "b h w"], options: Options) -> Float[Array, "b h w"]:
    """Fades the borders, applies the centre bias and blurs."""
    master = min_max(fade_borders(master, 4))
    if options.centre_bias:
        master = min_max(master * (1 - options.centre_bias * (1 - _centre(*master.shape[-2:]))))
    if options.blur:
        master = min_max(blur(master, options.blur * max(master.shape[-2:])))
    return master


def _centre(height: int, width: int) -> Float[Array, "h w"]:
    rows, columns = ((jnp.arange(side) + 0.5) / side - 0.5 for side in (height, width))
    return jnp.exp(-(rows[:, None] ** 2 + columns**2) / (2 * 0.25**2))


def _levels(images: Float[Array, "b 3 h w"], options: Options) -> list[Float[Array, "b 4 _ _"]]:
    all_levels = pyramid.levels(features.with_lightness(images), max(options.levels))
    return [all_levels[level] for level in options.levels]

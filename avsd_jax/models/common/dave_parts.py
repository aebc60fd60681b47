"""What DAVE's two trunks have in common, and what its audio trunk hears."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.nn.resnet3d import DEPTHS_18, ResNet3D
from avsd_jax.nn.vggish import patches

# The trunk divides time by this, and one step has to be left.
MAX_FRAMES = 16
_OPTIONS = ("width", "lowering", "axis_name", "norm_momentum", "shortcut", "detach_shortcut")
# Heights and widths of which the trunk leaves two.
_PATCH_SIDES = range(33, 65)


def kernels(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Draws the official initial kernels, of variance 2 / (time * height * output channels): the width is left out."""
    time, height, *_, features = shape
    return jax.random.normal(key, shape, dtype) * (2 / (time * height * features)) ** 0.5


def trunk(model: nn.Module) -> ResNet3D:
    """Builds a 3-D ResNet-18 by those options of a model that have the names of `avsd_jax.nn.resnet3d.ResNet3D`'s.

    Raises:
        InputError: it does not have four stages.
    """
    options = {name: getattr(model, name) for name in _OPTIONS}
    if len(model.depths) != len(DEPTHS_18):
        raise InputError(
            f"depths has {len(model.depths)} stages: give four, as time is halved before the first and in three"
        )
    return ResNet3D(depths=tuple(model.depths), basic=True, kernel_init=kernels, **options)


def patches_of(batch: Mapping[str, Array], clip_size: int) -> Float[Array, "b t f m c"]:
    """Returns the patches of a clip's log-mel spectrogram as frames of one channel, or of the three that are given.

    Args:
        batch: `spectrogram` [B, T, 64, 64] or [B, T, 64, 64, 3], or else `audio` in [-1, 1] at 16 kHz: [B, T, S], the
            sound of each frame, or [B, S], that of the clip, over which the patches are spread evenly.
        clip_size: patches of a waveform [B, S].

    Raises:
        InputError: neither entry, audio shorter than a patch, or patches of another number or size.
    """
    if "spectrogram" in batch:
        given = jnp.asarray(batch["spectrogram"])
        clip = given[..., None] if given.ndim == 4 else given
    else:
        audio = read(batch, "audio")
        if audio.ndim not in (2, 3):
            raise InputError(f"audio has shape {audio.shape}: give [b s], or [b t s] of each frame")
        each = audio.ndim == 3
        cut = patches(audio.reshape(-1, audio.shape[-1]), 1 if each else clip_size)
        clip = cut.reshape(audio.shape[0], -1, *cut.shape[2:], 1).astype(audio.dtype)
    if clip.ndim != 5 or any(side not in _PATCH_SIDES for side in clip.shape[2:4]) or clip.shape[4] not in (1, 3):
        raise InputError(
            f"spectrogram has shape {clip.shape}: give patches [b t f m] or [b t f m 3] with sides from "
            f"{_PATCH_SIDES[0]} to {_PATCH_SIDES[-1]} (published: 64)"
        )
    check_frames(clip.shape[1], "the audio")
    return clip


def pooled(layer4: Float[Array, "b 1 2 2 c"]) -> Float[Array, "b 1 c"]:
    """Returns the vector of a clip's audio."""
    return jnp.mean(layer4, axis=(2, 3))


def check_frames(number: int, what: str) -> None:
    """Raises InputError unless the trunk leaves one step of so many frames."""
    if not 0 < number <= MAX_FRAMES:
        raise InputError(f"{what} has {number} frames: give dave 1 to {MAX_FRAMES}")


ACTIVATIONS = {"relu": nn.relu, "softplus": nn.softplus}
"""From logits to a map; see `avsd_jax.models.dave.Model`."""

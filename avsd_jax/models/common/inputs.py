"""Reading of a batch by models, with an error for missing entries."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array

from avsd_jax.errors import InputError

SHAPES = {
    "video": "[B, T, H, W, 3]",
    "audio": "[B, S]",
    "avc_frames": "[B, N, h, w, 3]",
    "avc_audio": "[B, S]",
    "avc_label": "[B]",
}


def read(batch: Mapping[str, Array], key: str) -> Array:
    """Returns an entry of the batch.

    Args:
        batch: what the model is called with.
        key: one of `SHAPES`.

    Raises:
        InputError: it is missing; the message states its shape.
    """
    if key not in batch:
        raise InputError(f"the batch has no {key!r}, which this model reads: add it, of shape {SHAPES[key]}")
    return jnp.asarray(batch[key])

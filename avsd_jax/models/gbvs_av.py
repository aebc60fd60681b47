"""Saliency of videos with sound without any training: GBVS, motion, and the regions that change along with the audio.

    last two frames ──> GBVS with flicker and motion ──> V ───────────────────────┐
                                                         │                        │ c ? AV : V
    two seconds of frames and audio ──> correlation ──┬─ regions ──> V, regions ──> AV
                                                      └─ does any region agree? ──> c

A hand-crafted counterpart of the gated models (survey, section IV.B with the gate of eq. 2). V is
`avsd_jax.handcrafted.image.gbvs`, the regions and the decision are those of
`avsd_jax.handcrafted.fusion.moving_regions`. How the two are put together is our own.
"""

from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from avsd_jax.batch import ClassifierInputs, read
from avsd_jax.handcrafted.fusion import moving_regions
from avsd_jax.handcrafted.image import gbvs
from avsd_jax.handcrafted.image.maps import logits_of, min_max
from avsd_jax.models import classifiers
from avsd_jax.models.common.network import Network
from avsd_jax.nn.gate import AVCGate

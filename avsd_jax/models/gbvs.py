"""Graph-based visual saliency (Harel, Koch, Perona, NIPS 2006) of single frames: computed, not learned.

See `avsd_jax.handcrafted.image.gbvs`; with the default options the authors' toolbox with its own.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from jaxtyping import Array

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.handcrafted.image import gbvs
from avsd_jax.handcrafted.image.maps import logits_of
from avsd_jax.models.common.network import Network


class Model(Network):
    """GBVS of the last frame of a clip, of any size.

    Attributes:
        clip_size: frames of a clip; flicker and motion compare the last two, the others need one.
        cues: letters of the channels, see `avsd_jax.handcrafted.image.gbvs.Options`; this and the next are ignored with
            `fast`.
        map_size: longest side of the small maps, pixels.
        normalisation, blur, centre_bias: see the same.
        fast: the toolbox's `gbvs_fast`: DKL colour and orientation at one level.
    """

    learned = False
    any_size = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"preprocessing": "unit", "frame_size": (360, 640)})

    clip_size: int = 1
    cues: str = "DIO"
    map_size: int = 32
    normalisation: int = 1
    blur: float = 0.02
    centre_bias: float = 0.0
    fast: bool = False

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Computes one map for each clip.

        Args:
            batch: {"video": [B, T, H, W, 3]}, RGB in [0, 1] or bytes; other keys are ignored.
            train: changes nothing.

        Returns:
            saliency [B, H, W] in [0, 1], logits [B, H, W], master [B, h, w], the small map before it is enlarged, and
            the small map of each channel, by its name.

        Raises:
            InputError: no video, or one frame where flicker or motion need two.
        """
        del train
        video = read(batch, "video")
        options = self.options
        if options.needs_previous and video.shape[1] < 2:
            raise InputError(f"cues={self.cues!r} compares two frames: set clip_size=2 or more")
        previous = video[:, -2] if options.needs_previous else None
        found = gbvs.gbvs(video[:, -1], options, previous)
        parts = {"saliency": found["saliency"], "master": found["master"]} | found["channels"]
        return parts | {"logits": logits_of(found["saliency"])}

    @property
    def options(self) -> gbvs.Options:
        """Returns all parameters."""
        shared = {"normalisation": self.normalisation, "blur": self.blur, "centre_bias": self.centre_bias}
        if self.fast:
            return dataclasses.replace(gbvs.FAST, **shared)
        return gbvs.Options(cues=self.cues, map_size=self.map_size, **shared)

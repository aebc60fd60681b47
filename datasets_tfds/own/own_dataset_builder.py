"""TFDS builder of a user's own videos and fixations."""

from typing import Any

import tensorflow_datasets as tfds

from avsd_jax.sources import own
from datasets_tfds.listed import ListedVideosBuilder, ShortSideConfig, short_side_config


class Builder(ListedVideosBuilder):
    """Your own eye-tracking data: `videos/`, `fixations/<video>.csv`, optionally `labels/<video>.csv` and `test.txt`.

    Density maps are made of the fixations. Splits: `train`, `test`, `all`.
    """

    SOURCE = own
    LAYOUT = f"{own.VIDEOS}/ and {own.FIXATIONS}/"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [ShortSideConfig(name="default", description="frames of the videos' own sizes", short_side=None)]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put videos into videos/, and for each a table of fixations <video>.csv into fixations/, below manual_dir; "
        "`python -m avsd_jax.datasets check --dataset=own --manual_dir=...` says what is found."
    )

    @classmethod
    def get_builder_config(
        cls, name: str, version: str | tfds.core.Version | None = None
    ) -> tfds.core.BuilderConfig | None:
        """Returns the config of that name: the default, or `short-PIXELS`.

        Raises:
            InputError: the name is neither.
        """
        return super().get_builder_config(name, version) or short_side_config(cls.name, name)

    @property
    def settings(self) -> dict[str, Any]:
        return {"short_side": self.builder_config.short_side}

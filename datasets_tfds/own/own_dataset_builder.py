"""TFDS builder of a user's own videos and fixations."""

import tensorflow_datasets as tfds

from avsd_jax.sources import own
from datasets_tfds.listed import ShortSideBuilder, ShortSideConfig


class Builder(ShortSideBuilder):
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

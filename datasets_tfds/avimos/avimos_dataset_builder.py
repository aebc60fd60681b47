"""TFDS builder of AViMoS and of the dataset of NTIRE 2026."""

import tensorflow_datasets as tfds

from avsd_jax.sources import avimos
from datasets_tfds.listed import ShortSideBuilder, ShortSideConfig


class Builder(ShortSideBuilder):
    """AViMoS (1,500 videos of AIM 2024), or its successor of NTIRE 2026 (2,000 videos), in the same form.

    Full HD videos of 18 seconds on average, watched with sound by more than 70 people each, who moved the mouse to what
    they looked at: not eye tracking, but ten times as much as the six datasets together, and free to use.

    Density maps keep the depth and size of the published 10-bit videos, and fixations are stored as often as they
    occur, both for the official scores (`evaluate --protocol=avimos`). Written from the organisers' README and scoring
    script, and tested on synthetic files in that form. Splits: `train`, `public_test`, `private_test`, `test` (both),
    `all`.
    """

    SOURCE = avimos
    LAYOUT = avimos.SPLITS
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        ShortSideConfig(name="default", description="frames of the videos' own sizes, full HD", short_side=None)
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put TrainTestSplit.json and the unpacked archives Videos, SaliencyTrain, FixationsTrain, and if you have them "
        "SaliencyTest and FixationsTest below manual_dir; `python -m avsd_jax.datasets check --dataset=avimos "
        "--manual_dir=...` says what is found."
    )
    HOMEPAGE = "https://github.com/msu-video-group/NTIRE26_Saliency_Prediction"
    LICENSE = "CC BY, as the organisers state; each video's own terms are in their VideoInfo.json."
    CITATION = """\
@inproceedings{moskalenko2024aim,
  title={{AIM} 2024 challenge on video saliency prediction: Methods and results},
  author={Moskalenko, Andrey and Bryncev, Alexey and Vatolin, Dmitry and Timofte, Radu and others},
  booktitle={European Conference on Computer Vision Workshops},
  year={2024}
}
@inproceedings{moskalenko2026ntire,
  title={{NTIRE} 2026 challenge on video saliency prediction: Methods and results},
  author={Moskalenko, Andrey and Bryncev, Alexey and Kosmynin, Ivan and Shilovskaya, Kira and others},
  booktitle={IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops},
  year={2026}
}"""

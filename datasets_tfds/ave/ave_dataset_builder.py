"""TFDS builder of AVE."""

import dataclasses
import functools
import re
from typing import Any

import tensorflow_datasets as tfds

from avsd_jax.errors import InputError
from avsd_jax.sources import ave
from datasets_tfds.listed import ListedVideosBuilder

_SIZE = re.compile(r"size-([1-9]\d{0,3})x([1-9]\d{0,3})")
_OWN_SIZE = "size-own"


@dataclasses.dataclass(eq=False, kw_only=True)
class AveConfig(tfds.core.BuilderConfig):
    """Size (height, width) of the stored frames; None for each video's own."""

    size: tuple[int, int] | None


class Builder(ListedVideosBuilder):
    """AVE: ten-second videos, each with an audio-visual event of one of 28 categories.

    The category is the tag of a video. The dataset has no eye-tracking data, so a model is trained on tags, or on maps
    derived from them (`target_maps`), and cannot be scored on it. AVC labels are derived from the events: 1 in a frame
    whose time is in an annotated event, else 0.

    Written from the public description of the dataset (4143 videos, split 3339/402/402), and tested on synthetic files
    in that layout. Splits: `train`, `val`, `test` as in the lists, and `all`.
    """

    SOURCE = ave
    LAYOUT = ave.FOLDER
    WATCHED = False
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        AveConfig(name="default", description="frames of 400x400 pixels, as STANet's are", size=(400, 400))
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the folder AVE_Dataset, as unpacked, below manual_dir; "
        "`python -m avsd_jax.datasets check --dataset=ave --manual_dir=...` says what is found."
    )
    HOMEPAGE = "https://github.com/YapengTian/AVE-ECCV18"
    LICENSE = "Research use; see the authors' terms. The videos are their owners', and not to be passed on."
    CITATION = """\
@inproceedings{tian2018audio,
  title={Audio-visual event localization in unconstrained videos},
  author={Tian, Yapeng and Shi, Jing and Li, Bochen and Duan, Zhiyao and Xu, Chenliang},
  booktitle={European Conference on Computer Vision},
  year={2018}
}"""

    @classmethod
    def get_builder_config(
        cls, name: str, version: str | tfds.core.Version | None = None
    ) -> tfds.core.BuilderConfig | None:
        """Returns the config of that name: the default, `size-WIDTHxHEIGHT`, or `size-own`.

        Raises:
            InputError: the name is none of these.
        """
        return super().get_builder_config(name, version) or _config(name)

    @property
    def settings(self) -> dict[str, Any]:
        return {"size": self.builder_config.size}


@functools.cache
def _config(name: str) -> AveConfig:
    match = _SIZE.fullmatch(name)
    if match is None and name != _OWN_SIZE:
        raise InputError(f"ave has no config {name!r}: write size-WIDTHxHEIGHT, as in size-256x256, or {_OWN_SIZE}")
    size = (int(match[2]), int(match[1])) if match else None
    words = f"frames of {match[1]}x{match[2]} pixels" if match else "frames of the videos' own sizes"
    return AveConfig(name=name, description=words, size=size)

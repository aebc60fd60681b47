"""The base of the builders of the six audio-visual eye-tracking datasets.

The files come from `manual_dir`, the root of a tree in any of the layouts of `avsd_jax.sources.layouts`; the splits,
rates and lengths of videos from the fold lists in it (`avsd_jax.sources.fold_lists`); AVC
labels, if there are any, from `av_gt_label/` in it (`avsd_jax.sources.label_files`).

Splits: `train_1`, `test_1` ... `train_3`, `test_3` as in the lists, and `all`, every listed video. All share one
copy of the videos (`datasets_tfds.base`). DIEM's single split has all three names, so that split k has the same name in
all datasets. (To TFDS itself the string "all" means the sum of all splits, here every video several times:
`tfds.core.ReadInstruction("all")` is the split.)

A config is named by its options (`avsd_jax.sources.build_options`), such as `diem/maps-gaze+eye-left`; without one, all
options have their defaults.
"""

import dataclasses
import functools
import inspect
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging

from avsd_jax.data import schema
from avsd_jax.sources import build_options, check, fold_lists, label_files, layouts
from avsd_jax.sources.base import Source, with_labels
from avsd_jax.sources.build_options import BuildOptions
from avsd_jax.sources.fold_checksums import CANONICAL
from avsd_jax.sources.gaze.coutrot import OWN_SOUND
from datasets_tfds.base import Contents, VideoDatasetBuilder

GAZE_OF_SUMME_AND_ETMD = """\
@article{tsiami2019behaviorally,
  title={A behaviorally inspired fusion approach for computational audiovisual saliency modeling},
  author={Tsiami, Antigoni and Koutras, Petros and Katsamanis, Athanasios and Vatakis, Argiro and Maragos, Petros},
  journal={Signal Processing: Image Communication},
  volume={76},
  year={2019}
}"""
"""How to cite the recordings that both datasets share."""

_SHARED_OPTIONS = ("maps", "silent_last_video")


@dataclasses.dataclass(eq=False, kw_only=True)
class EyeTrackingConfig(tfds.core.BuilderConfig):
    """Build options, named by themselves."""

    options: BuildOptions = dataclasses.field(default_factory=BuildOptions)


class EyeTrackingBuilder(VideoDatasetBuilder, skip_registration=True):
    """Base of the six; a subclass defines the properties of its dataset.

    Attributes:
        OPTIONS: the options that only some datasets have.
        FPS: the frame rates of its videos, in words.
        SURVEY_FRAMES: the survey's number of frames, if it differs from the lists.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        EyeTrackingConfig(
            name=build_options.DEFAULT, description="supplied maps where there are any, else rendered from gaze"
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the dataset's files and fold lists below manual_dir, in one of the layouts that docs/data.md describes; "
        "`python -m avsd_jax.datasets check --manual_dir=...` reports what is found."
    )
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    FPS: ClassVar[str]
    SURVEY_FRAMES: ClassVar[int | None] = None

    @classmethod
    def get_builder_config(
        cls, name: str, version: str | tfds.core.Version | None = None
    ) -> tfds.core.BuilderConfig | None:
        """Returns the config of that name, which need not be in `BUILDER_CONFIGS`, as the name defines the options.

        Raises:
            InputError: the name has options that the dataset does not have.
        """
        return super().get_builder_config(name, version) or _config(name, cls.name, (*_SHARED_OPTIONS, *cls.OPTIONS))

    @property
    def settings(self) -> dict[str, Any]:
        return dataclasses.asdict(self.builder_config.options)

    def contents(self, manual_dir: Path | None) -> Contents:
        """Returns the listed videos; the layout is detected automatically."""
        manual_dir = self.given(manual_dir)
        options = self.builder_config.options
        layout, source = layouts.find(manual_dir, self.name, options)
        there = source.videos()
        lists = fold_lists.read(manual_dir, self.name, there)
        labelled = label_files.files(manual_dir, self.name)
        unlisted = sorted(set(there) - set(lists.videos))
        if unlisted:
            logging.warning("%s: in no fold list, and skipped: %s", self.name, ", ".join(unlisted))
        return Contents(
            {video: functools.partial(_read, source, lists.videos[video]) for video in lists.splits["all"]},
            lists.splits,
            _last_videos(lists) if options.silent_last_video == "on" else {},
            {
                "layout": layout,
                "labelled": sorted(set(labelled) & set(lists.videos)),
                "differences": lists.differences,
                "oddities": lists.oddities,
            },
        )

    def check(self, manual_dir: str | Path, num_workers: int = 1, thorough: bool = False) -> check.Report:
        return check.check(manual_dir, self.name, self.builder_config.options, num_workers, thorough)

    @property
    def about(self) -> str:
        """Returns a description of the dataset with its size."""
        expected = CANONICAL[self.name]["all"]
        footnote = f" (The survey counts {self.SURVEY_FRAMES:,}.)" if self.SURVEY_FRAMES else ""
        counts = f"{expected.videos} videos, {expected.frames:,} frames at {self.FPS} in the published lists.{footnote}"
        return f"{inspect.cleandoc(type(self).__doc__)}\n\n{counts}"


@functools.cache
def _config(name: str, dataset: str, allowed: tuple[str, ...]) -> EyeTrackingConfig:
    aliases = {f"condition-{OWN_SOUND[dataset]}": "condition-own"} if dataset in OWN_SOUND else {}
    return EyeTrackingConfig(
        name=name, description="as its name says", options=build_options.parse(name, allowed, aliases)
    )


def _last_videos(lists: fold_lists.FoldLists) -> dict[str, tuple[str, ...]]:
    """Returns the last video of each list, except `all`."""
    return {split: names[-1:] for split, names in lists.splits.items() if split != "all"}


def _read(source: Source, listed: fold_lists.ListedVideo) -> schema.SourceVideo:
    return with_labels(source.read(listed.video, listed), source.root, source.dataset)

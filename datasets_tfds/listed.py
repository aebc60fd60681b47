"""The base of builders of published datasets that come as video files and lists of their names."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any, ClassVar, Protocol

import tensorflow_datasets as tfds
from absl import logging

from avsd_jax.data import schema
from avsd_jax.errors import InputError
from avsd_jax.sources import check
from avsd_jax.sources.base import Inspection
from datasets_tfds.base import Contents, VideoDatasetBuilder

_SHORT = re.compile(r"short-([1-9]\d{1,3})")


@dataclasses.dataclass(eq=False, kw_only=True)
class ShortSideConfig(tfds.core.BuilderConfig):
    """Pixels of the shorter side of the stored frames; None for the videos' own size."""

    short_side: int | None


@functools.cache
def short_side_config(dataset: str, name: str) -> ShortSideConfig:
    """Returns the config `short-PIXELS` of a dataset.

    Raises:
        InputError: the name is another.
    """
    match = _SHORT.fullmatch(name)
    if match is None:
        raise InputError(f"{dataset} has no config {name!r}: write short-PIXELS, as in short-360, or default")
    description = f"frames with a shorter side of {match[1]} pixels"
    return ShortSideConfig(name=name, description=description, short_side=int(match[1]))


class Reader(Protocol):
    """The reader of a dataset's files, a module of `avsd_jax.sources`.

    Its lists have `splits` (names by split, `all` among them), `videos` (an entry by name) and `oddities` (sentences).
    """

    def find(self, manual_dir: str | Path) -> Path:
        """Returns the folder of the dataset below the user's."""

    def read_lists(self, folder: Path) -> object:
        """Returns the lists."""

    def existing_videos(self, folder: Path) -> tuple[str, ...]:
        """Returns the names of the existing videos."""

    def read(self, folder: Path, listed: object, **settings: object) -> schema.SourceVideo:
        """Reads a video, of its entry in the lists; the settings are the builder's."""

    def examine(self, folder: Path, video: str, listed: object, thorough: bool = False) -> Inspection:
        """Finds what would stop a build of a video, and further notes."""


class ListedVideosBuilder(VideoDatasetBuilder, skip_registration=True):
    """Base of these builders; a subclass also defines these attributes, and `settings`.

    Attributes:
        SOURCE: the reader of the files.
        LAYOUT: what their layout is called, a file or folder that it has.
        WATCHED: whether the dataset has density maps.
    """

    SOURCE: ClassVar[Reader]
    LAYOUT: ClassVar[str]
    WATCHED: ClassVar[bool] = True

    def contents(self, manual_dir: Path | None) -> Contents:
        """Returns the listed videos."""
        folder = self.SOURCE.find(self.given(manual_dir))
        lists = self.SOURCE.read_lists(folder)
        for sentence in lists.oddities:
            logging.warning("%s: %s", self.name, sentence)
        unlisted = sorted(set(self.SOURCE.existing_videos(folder)) - set(lists.videos))
        if unlisted:
            logging.warning("%s: in no list, and skipped: %s", self.name, ", ".join(unlisted))
        read = functools.partial(self.SOURCE.read, folder, **self.settings)
        return Contents(
            {video: functools.partial(read, lists.videos[video]) for video in lists.splits["all"]},
            lists.splits,
            notes={"layout": self.LAYOUT, "oddities": lists.oddities},
        )

    def check(self, manual_dir: str | Path, num_workers: int = 1, thorough: bool = False) -> check.Report:
        folder = self.SOURCE.find(manual_dir)
        listed, splits, oddities, problems, there = {}, {}, (), [], ()
        try:
            there = self.SOURCE.existing_videos(folder)
            lists = self.SOURCE.read_lists(folder)
            listed, splits, oddities = lists.videos, lists.splits, lists.oddities
        except InputError as error:
            problems.append(str(error))
        looks = {
            video: functools.partial(self.SOURCE.examine, folder, video, listed.get(video), thorough)
            for video in sorted({*listed, *there})
        }
        return check.Report(
            dataset=self.name,
            layout=self.LAYOUT,
            listed=dict.fromkeys(listed),
            videos=check.look_at(looks, num_workers),
            splits=splits,
            problems=tuple(problems),
            notes=oddities,
            watched=self.WATCHED,
        )


class ShortSideBuilder(ListedVideosBuilder, skip_registration=True):
    """Base of builders whose reader can reduce the stored frames."""

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

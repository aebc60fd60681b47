"""TFDS builder of the sounding shapes benchmark."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from avsd_jax.data import schema
from datasets_tfds.base import Contents, VideoDatasetBuilder
from datasets_tfds.sounding_shapes.config import GeneratorConfig


@dataclasses.dataclass(eq=False, kw_only=True)
class SoundingShapesConfig(tfds.core.BuilderConfig):
    """One size of the benchmark.

    Attributes:
        generator: sizes, rates and probabilities of the videos.
        train_videos: number of videos to train on.
        test_videos: number of held-out videos.
        chunk_frames: frames of a record.
    """

    generator: GeneratorConfig
    train_videos: int
    test_videos: int
    chunk_frames: int = schema.CHUNK_FRAMES


class Builder(VideoDatasetBuilder):
    """Generated videos of sounding shapes with gaze, density maps and the true audio-visual consistency per
    frame."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "More videos to train on.", "1.0.0": "First release."}
    LICENSE = "Apache-2.0"
    BUILDER_CONFIGS = [
        SoundingShapesConfig(
            name="default",
            description="The demo's size: 272 videos of six seconds.",
            generator=GeneratorConfig(num_frames=75),
            train_videos=240,
            test_videos=32,
        ),
        SoundingShapesConfig(
            name="tiny",
            description="For tests: seven videos of 40 frames.",
            generator=GeneratorConfig(
                num_frames=40, height=64, width=96, min_segment_seconds=0.6, max_segment_seconds=1.4
            ),
            train_videos=4,
            test_videos=3,
            chunk_frames=16,
        ),
    ]

    @property
    def chunk_frames(self) -> int:
        return self.builder_config.chunk_frames

    @property
    def settings(self) -> dict[str, Any]:
        config = self.builder_config
        videos = {"train_videos": config.train_videos, "test_videos": config.test_videos}
        return dataclasses.asdict(config.generator) | videos

    def contents(self, manual_dir: Path | None) -> Contents:
        """Returns folds that share no video, because the split's name is part of each video's seed."""
        del manual_dir
        config = self.builder_config
        counts = {"train": config.train_videos, "test": config.test_videos}
        splits = {split: [f"{split}_{index:05d}" for index in range(count)] for split, count in counts.items()}
        videos = {
            name: functools.partial(_read, config.generator, split, index)
            for split, names in splits.items()
            for index, name in enumerate(names)
        }
        return Contents(videos, splits)


def _read(config: GeneratorConfig, split: str, index: int) -> schema.SourceVideo:
    # Reading the dataset does not need the generator.
    from datasets_tfds.sounding_shapes.generator import generate_video

    video = generate_video(config, split, index)
    num_frames, height, width, _ = video.frames.shape
    return schema.SourceVideo(
        video_id=video.video_id,
        fps=video.fps,
        num_frames=num_frames,
        height=height,
        width=width,
        frames=(schema.encode_jpeg(frame) for frame in video.frames),
        density=(schema.encode_png(density) for density in video.density),
        fixations=video.fixations,
        num_viewers=config.num_viewers,
        avc_label=video.avc_label,
        audio=video.waveform,
        sample_rate=video.sample_rate,
        tags=video.tags,
    )

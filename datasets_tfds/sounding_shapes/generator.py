"""Generation of one video of the benchmark, as a pure function of (config, split, index)."""

import dataclasses
import zlib

import numpy as np
from jaxtyping import Float, Int, Int8, Int16, UInt8

from avsd_jax.errors import InputError
from datasets_tfds.sounding_shapes import attention, looks, render, scene, soundtrack
from datasets_tfds.sounding_shapes.config import GeneratorConfig
from datasets_tfds.sounding_shapes.scene import CONSISTENT, Scene, Segment

__all__ = ["GeneratedVideo", "GeneratorConfig", "Segment", "Truth", "generate_video", "script"]


@dataclasses.dataclass(frozen=True)
class Truth:
    """The hidden variables of the generator, which a model has to infer.

    Attributes:
        tracks: centre and radius (x, y, radius) of each of the K shapes in pixels.
        sounding: index of the shape that sounds in each frame, -1 if none does.
        strongest: index of the visually strongest shape in each frame.
        segments: of the audio.
    """

    tracks: Float[np.ndarray, "n k 3"]
    sounding: Int[np.ndarray, " n"]
    strongest: Int[np.ndarray, " n"]
    segments: tuple[Segment, ...]


@dataclasses.dataclass(frozen=True)
class GeneratedVideo:
    """One video: N frames of H x W pixels and S samples.

    Attributes:
        video_id: "<split>_<index>", unique in the benchmark.
        frames: RGB.
        waveform: mono; frame i spans the samples from i to i + 1 times `sample_rate / fps`.
        fps: frames per second.
        sample_rate: samples per second.
        fixations: rows (frame, viewer, x, y), at least one per frame, in pixels with x right, y down and
            pixel centres at integers.
        density: blurred fixations of each frame, with a maximum of 255.
        avc_label: 1 consistent, 0 inconsistent, -1 unlabelled.
        tags: names of the visible classes.
        truth: the hidden variables behind the labels and the gaze.
    """

    video_id: str
    frames: UInt8[np.ndarray, "n h w 3"]
    waveform: Int16[np.ndarray, " s"]
    fps: float
    sample_rate: int
    fixations: Float[np.ndarray, "f 4"]
    density: UInt8[np.ndarray, "n h w"]
    avc_label: Int8[np.ndarray, " n"]
    tags: tuple[str, ...]
    truth: Truth


def generate_video(config: GeneratorConfig, split: str, index: int) -> GeneratedVideo:
    """Generates video `index` of `split`.

    The random streams depend on (config.seed, split, index) alone, not on the order of calls, the
    number of processes or the version of Python, and no two splits share a video.

    Args:
        config: sizes and probabilities.
        split: name of the fold, such as "train".
        index: number of the video in its fold, not negative.

    Raises:
        InputError: `index` is negative.
    """
    plot, (picture_rng, sound_rng, viewer_rng) = _script_and_streams(config, split, index)
    fixations = attention.watch(config, plot, viewer_rng)
    return GeneratedVideo(
        video_id=f"{split}_{index:05d}",
        frames=render.render(config, plot, picture_rng),
        waveform=soundtrack.sound(config, plot, sound_rng),
        fps=config.fps,
        sample_rate=config.sample_rate,
        fixations=fixations,
        density=attention.density_maps(config, fixations),
        avc_label=scene.labels(config, plot),
        tags=tuple(looks.CLASSES[kind] for kind in plot.classes),
        truth=_truth(plot),
    )


def script(config: GeneratorConfig, split: str, index: int) -> Scene:
    """Returns the scene of `generate_video(config, split, index)`, without rendering it (a few ms)."""
    return _script_and_streams(config, split, index)[0]


def _script_and_streams(config: GeneratorConfig, split: str, index: int) -> tuple[Scene, list[np.random.Generator]]:
    """Returns the scene and the random streams of images, audio and viewers."""
    if index < 0:
        raise InputError(f"index must not be negative, not {index}")
    # crc32 because Python's own hash of a string differs from process to process.
    seed = [config.seed, zlib.crc32(split.encode()), index]
    scene_rng, *streams = np.random.default_rng(seed).spawn(4)
    return scene.draw_scene(config, scene_rng), streams


def _truth(plot: Scene) -> Truth:
    """Returns the part of a scene that is published with the video."""
    sounding = np.array([s.shape if s.kind == CONSISTENT else -1 for s in plot.segments])
    strongest = np.array([s.strongest for s in plot.segments])
    return Truth(
        tracks=plot.tracks,
        sounding=sounding[plot.segment_of_frame],
        strongest=strongest[plot.segment_of_frame],
        segments=plot.segments,
    )

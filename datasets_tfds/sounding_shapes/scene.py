"""The scene of a video, before images, audio and gaze are generated.

`draw_scene` is cheap: it determines the shapes, their movement, pulsation and saliency, and the audio segments. The
modules `render`, `soundtrack` and `attention` then realise the scene.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, Int8
from scipy import ndimage

from datasets_tfds.sounding_shapes import looks, rhythm
from datasets_tfds.sounding_shapes.config import GeneratorConfig

CONSISTENT = "voice"
INCONSISTENT = ("music", "foreign", "imitation")

_TRANSITION_SECONDS = 0.8  # duration of a change of the strongest shape


@dataclasses.dataclass(frozen=True)
class Segment:
    """A segment of the audio.

    Attributes:
        start: seconds.
        stop: seconds, the next segment's start.
        kind: "voice" (consistent), "music", "foreign" or "imitation".
        shape: index of the sounding shape ("voice") or of the imitated one ("imitation"), else -1.
        voice: class of the audible voice, -1 for music.
        strongest: index of the visually strongest shape.
    """

    start: float
    stop: float
    kind: str
    shape: int
    voice: int
    strongest: int


@dataclasses.dataclass(frozen=True)
class Scene:
    """A video's script.

    Attributes:
        classes: class of each of the K shapes, all different.
        pulsations: rhythm of each shape.
        segments: of the audio, from 0 to the end of the video.
        segment_of_frame: index of the segment that contains the centre time of each frame.
        strength: visual strength of each shape in each frame, in [0, 1]; 1 for the strongest.
        camera: displacement of the whole image in pixels (x, y).
        tracks: centre and radius (x, y, radius) of each shape in pixels, camera and pulsation included;
            pixel centres lie at integers.
        angles: rotation of each shape in radians.
    """

    classes: tuple[int, ...]
    pulsations: tuple[rhythm.Pulsation, ...]
    segments: tuple[Segment, ...]
    segment_of_frame: Int[np.ndarray, " n"]
    strength: Float[np.ndarray, "n k"]
    camera: Float[np.ndarray, "n 2"]
    tracks: Float[np.ndarray, "n k 3"]
    angles: Float[np.ndarray, "n k"]


def frame_times(config: GeneratorConfig) -> Float[np.ndarray, " n"]:
    """Returns the centre time of each frame in seconds."""
    return (np.arange(config.num_frames) + 0.5) / config.fps


def draw_scene(config: GeneratorConfig, rng: np.random.Generator) -> Scene:
    """Draws a scene."""
    num_shapes = int(rng.integers(config.min_shapes, config.max_shapes + 1))
    classes = tuple(int(k) for k in rng.permutation(len(looks.CLASSES))[:num_shapes])
    pulsations = tuple(rhythm.draw_pulsation(rhythm.SHAPE_RATE, config.seconds, rng) for _ in range(num_shapes))
    segments = _draw_segments(config, classes, rng)
    times = frame_times(config)
    segment_of_frame = np.searchsorted([s.start for s in segments], times, side="right") - 1
    strength = _strength(segments, rng.uniform(0, 0.3, num_shapes), times)
    pulse = np.stack([p.at(times) for p in pulsations], axis=1)
    base_radius = config.height * (0.095 + 0.055 * strength) * rng.uniform(0.93, 1.07, num_shapes)
    centres = _move(config, base_radius, strength, rng)
    camera = _drift(config, rng)
    tracks = np.concatenate([centres + camera[:, None], (base_radius * (0.8 + 0.4 * pulse))[..., None]], axis=2)
    spin = rng.uniform(0.15, 0.4, num_shapes) * rng.choice([-1, 1], num_shapes)
    turned = np.cumsum(spin * (1 + 2 * strength) / config.fps, axis=0)
    return Scene(
        classes=classes,
        pulsations=pulsations,
        segments=segments,
        segment_of_frame=segment_of_frame,
        strength=strength.astype(np.float32),
        camera=camera.astype(np.float32),
        tracks=tracks.astype(np.float32),
        angles=(turned + rng.uniform(0, 2 * np.pi, num_shapes)).astype(np.float32),
    )


def labels(config: GeneratorConfig, scene: Scene) -> Int8[np.ndarray, " n"]:
    """Returns the AVC label of each frame: 1 consistent, 0 inconsistent, -1 unlabelled.

    The label is that of the segment at the frame's centre time. Frames whose centre is less than
    `config.border_frames` frames from a change of the label are left open, as annotators would.
    """
    consistent = np.array([s.kind == CONSISTENT for s in scene.segments])
    label = consistent[scene.segment_of_frame].astype(np.int8)
    changes = np.array([s.start for s in scene.segments])[1:][consistent[1:] != consistent[:-1]]
    distance = np.abs(frame_times(config)[:, None] - changes) * config.fps
    label[(distance < config.border_frames).any(axis=1)] = -1
    return label


def _draw_segments(config: GeneratorConfig, classes: tuple[int, ...], rng: np.random.Generator) -> tuple[Segment, ...]:
    """Draws the audio segments: no two neighbours are both consistent or of the same kind."""
    segments: list[Segment] = []
    unseen = [k for k in range(len(looks.CLASSES)) if k not in classes]
    share = config.consistent_share
    start, kind = 0.0, ""
    strongest = int(rng.integers(len(classes)))
    while start < config.seconds:
        if start > 0 and rng.random() < config.change_strongest:
            strongest = _another(len(classes), strongest, rng)
        # The stationary distribution of this chain gives consistent segments exactly the requested share.
        probability = share if not kind else 0.0 if kind == CONSISTENT else share / (1 - share)
        others = [k for k in INCONSISTENT if k != kind]
        kind = CONSISTENT if rng.random() < probability else others[rng.integers(len(others))]
        shape, voice = -1, -1
        if kind == "foreign":
            voice = unseen[rng.integers(len(unseen))]
        elif kind != "music":
            weak = rng.random() < config.weak_speaker
            shape = _another(len(classes), strongest, rng) if weak else strongest
            voice = classes[shape]
        stop = _segment_stop(config, start, rng)
        segments.append(Segment(start, stop, kind, shape, voice, strongest))
        start = stop
    return tuple(segments)


def _segment_stop(config: GeneratorConfig, start: float, rng: np.random.Generator) -> float:
    """Draws the end of the segment that begins at `start`, never leaving too short a remainder."""
    left = config.seconds - start
    if left <= config.max_segment_seconds:
        return config.seconds
    longest = min(config.max_segment_seconds, left - config.min_segment_seconds)
    return start + rng.uniform(config.min_segment_seconds, longest)


def _another(count: int, index: int, rng: np.random.Generator) -> int:
    """Draws one of `count` indices other than `index`."""
    return int((index + rng.integers(1, count)) % count)


def _strength(segments: tuple[Segment, ...], weak: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Returns the strength of each shape in each frame: 1 for the strongest, else `weak`, changing smoothly."""
    is_strongest = np.array([[s.strongest == k for k in range(len(weak))] for s in segments])
    level = np.where(is_strongest, 1.0, weak)
    strength = np.broadcast_to(level[0], (len(times), len(weak))).copy()
    for i in range(1, len(segments)):
        step = np.clip((times - segments[i].start) / _TRANSITION_SECONDS + 0.5, 0, 1)
        strength += (step * step * (3 - 2 * step))[:, None] * (level[i] - level[i - 1])
    return np.clip(strength, 0, 1)


def _drift(config: GeneratorConfig, rng: np.random.Generator) -> np.ndarray:
    """Draws the displacement of a hand-held camera in pixels (x, y), about 1 % of the height."""
    noise = rng.standard_normal((config.num_frames, 2))
    smooth = ndimage.gaussian_filter1d(noise, 2.0, axis=0, mode="nearest")
    return config.height * (0.02 * smooth + 0.001 * rng.standard_normal(noise.shape))


def _move(config: GeneratorConfig, radius: np.ndarray, strength: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws centres [N, K, 2] in pixels of shapes that wander, stay inside the frame and avoid each other."""
    num_frames, num_shapes = radius.shape
    size = np.array([config.width - 1, config.height - 1], float)
    heading = _directions(rng.uniform(0, 2 * np.pi, num_shapes))
    turns = rng.standard_normal((num_frames, num_shapes, 2)) * np.sqrt(2 / config.fps)
    speed = config.height * (0.1 + 0.25 * strength) / config.fps
    position = _spread(size, radius[0], rng)
    centres = np.empty((num_frames, num_shapes, 2))
    pair = ~np.eye(num_shapes, dtype=bool)
    for i in range(num_frames):
        reach = 1.25 * radius[i][:, None]
        # Steer: wander, turn away from the walls and from near neighbours.
        wall = np.clip(1.6 - position / reach, 0, 1) - np.clip(1.6 - (size - position) / reach, 0, 1)
        apart = position[:, None] - position[None]
        distance = np.hypot(apart[..., 0], apart[..., 1]) + 1e-6
        touching = reach + reach.T
        push = np.where(pair, np.clip(1.5 - distance / touching, 0, 1) / distance, 0)[..., None] * apart
        heading = heading + turns[i] + (8 / config.fps) * (wall + 2 * push.sum(axis=1))
        heading = heading / np.hypot(heading[:, :1], heading[:, 1:])
        position = position + speed[i][:, None] * heading
        # And never sit on another shape or leave the frame.
        overlap = np.where(pair, np.clip(touching - distance, 0, None) / distance, 0)[..., None] * apart
        position = position + 0.3 * overlap.sum(axis=1)
        position = np.clip(position, np.minimum(reach, size / 2), np.maximum(size - reach, size / 2))
        centres[i] = position
    return ndimage.gaussian_filter1d(centres, 1.0, axis=0, mode="nearest")


def _spread(size: np.ndarray, radius: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws start positions [K, 2]: of 32 random arrangements, the one with the widest gaps."""
    reach = 1.3 * radius[:, None]
    arrangements = reach + rng.random((32, len(radius), 2)) * np.maximum(size - 2 * reach, 1)
    apart = arrangements[:, :, None] - arrangements[:, None]
    gap = np.hypot(apart[..., 0], apart[..., 1]) - (reach + reach.T)
    gap[:, np.eye(len(radius), dtype=bool)] = np.inf
    return arrangements[np.argmax(gap.min(axis=(1, 2)))]


def _directions(angle: np.ndarray) -> np.ndarray:
    """Returns unit vectors (x, y)."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)

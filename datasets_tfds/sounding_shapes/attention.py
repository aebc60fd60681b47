"""The gaze of the simulated viewers, and the density maps of their fixations.

The model and its probabilities are described in the package docstring.
"""

import numpy as np
from jaxtyping import Float, Int, UInt8

from avsd_jax.data.density import bells
from datasets_tfds.sounding_shapes.config import GeneratorConfig
from datasets_tfds.sounding_shapes.scene import CONSISTENT, Scene, Segment

_CENTRE_SPREAD = 0.18  # of the gaze that looks at no shape, in frame sizes
_DWELL_SHARE = 0.9  # fraction of the gaze's jitter that stays constant during a dwell


def watch(config: GeneratorConfig, scene: Scene, rng: np.random.Generator) -> Float[np.ndarray, "f 4"]:
    """Draws the fixations of all viewers: rows (frame, viewer, x, y), sorted by frame, then viewer.

    x and y are pixels, x right and y down, pixel centres at integers. Gazes outside the frame are
    dropped; if all are, the first viewer's is moved to the nearest pixel, so each frame has one.
    """
    num_frames, num_viewers = config.num_frames, config.num_viewers
    num_shapes = len(scene.classes)
    perceived = _perceived_segments(config, scene, rng)
    new = rng.random((num_frames, num_viewers)) < config.redraw
    new[0] = True
    new[1:] |= perceived[1:] != perceived[:-1]
    # Each frame draws a choice for every viewer, who keeps the one of the frame where the dwell began.
    table = np.cumsum([choice_probabilities(config, s, num_shapes) for s in scene.segments], axis=1)
    drawn = rng.random((num_frames, num_viewers))
    choice = (drawn[..., None] >= table[perceived][..., :-1]).sum(axis=-1)
    offset = rng.standard_normal((num_frames, num_viewers, 2))
    began = np.maximum.accumulate(np.where(new, np.arange(num_frames)[:, None], 0), axis=0)
    choice = np.take_along_axis(choice, began, axis=0)
    offset = np.take_along_axis(offset, began[..., None], axis=0)
    tremor = rng.standard_normal(offset.shape)

    size = np.array([config.width, config.height])
    frame = np.arange(num_frames)[:, None]
    target = scene.tracks[frame, np.minimum(choice, num_shapes - 1)]
    jitter = _DWELL_SHARE * offset + np.sqrt(1 - _DWELL_SHARE**2) * tremor
    on_shape = target[..., :2] + config.gaze_jitter * target[..., 2:] * jitter
    at_centre = (size - 1) / 2 + size * (_CENTRE_SPREAD * offset + 0.01 * tremor)
    gaze = np.where((choice < num_shapes)[..., None], on_shape, at_centre)

    inside = ((gaze >= 0) & (gaze <= size - 1)).all(axis=-1)
    lost = ~inside.any(axis=1)
    gaze[lost, 0] = np.clip(gaze[lost, 0], 0, size - 1)
    inside[lost, 0] = True
    frames, viewers = np.nonzero(inside)
    return np.column_stack([frames, viewers, gaze[inside]]).astype(np.float32)


def choice_probabilities(config: GeneratorConfig, segment: Segment, num_shapes: int) -> Float[np.ndarray, " choices"]:
    """Returns the probability of choosing each shape in `segment`, and, last, a point near the frame's centre."""
    probability = np.zeros(num_shapes + 1)
    if segment.kind == CONSISTENT:
        probability[segment.shape] += config.look_at_speaker
        probability[segment.strongest] += config.look_at_strongest
        elsewhere = config.look_elsewhere
    else:
        probability[segment.strongest] += config.look_at_strongest_inconsistent
        elsewhere = 1 - config.look_at_strongest_inconsistent
    others = probability == 0
    others[-1] = False
    if others.any():
        probability[others] = elsewhere / 2 / others.sum()
        probability[-1] = elsewhere / 2
    else:
        probability[-1] = elsewhere
    return probability


def density_maps(config: GeneratorConfig, fixations: Float[np.ndarray, "f 4"]) -> UInt8[np.ndarray, "n h w"]:
    """Blurs the fixations of each frame by a Gaussian of `config.density_sigma` widths; peaks are 255."""
    sigma = config.density_sigma * config.width
    maps = np.empty((config.num_frames, config.height, config.width), np.float32)
    frame = fixations[:, 0].astype(int)
    columns = bells(fixations[:, 2], config.width, sigma)
    rows = bells(fixations[:, 3], config.height, sigma)
    borders = np.searchsorted(frame, np.arange(config.num_frames + 1))
    for i, (first, last) in enumerate(zip(borders[:-1], borders[1:], strict=True)):
        maps[i] = rows[first:last].T @ columns[first:last]
    peak = maps.max(axis=(1, 2), keepdims=True)
    return np.round(255 * (maps / peak)).astype(np.uint8)


def _perceived_segments(config: GeneratorConfig, scene: Scene, rng: np.random.Generator) -> Int[np.ndarray, "n v"]:
    """Returns the segment that each viewer perceives at each frame: each reacts to a border after a lag."""
    first = np.searchsorted(scene.segment_of_frame, np.arange(1, len(scene.segments)))
    lag = rng.integers(config.min_lag_frames, config.max_lag_frames + 1, (len(first), config.num_viewers))
    reacted = np.arange(config.num_frames)[:, None, None] >= first[:, None] + lag
    return reacted.sum(axis=1)

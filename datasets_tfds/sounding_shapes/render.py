"""Rendering of the frames of a scene."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from datasets_tfds.sounding_shapes import looks
from datasets_tfds.sounding_shapes.config import GeneratorConfig
from datasets_tfds.sounding_shapes.scene import Scene, frame_times


def render(config: GeneratorConfig, scene: Scene, rng: np.random.Generator) -> UInt8[np.ndarray, "n h w 3"]:
    """Renders `scene` in RGB: background, shapes (the strongest on top), flicker and sensor noise."""
    frames = _background(config, scene.camera, rng)
    order = np.argsort(scene.strength.mean(axis=0), kind="stable")
    specimens = [looks.draw_look(kind, rng) for kind in scene.classes]
    for k in order:
        _paint(frames, config, scene, int(k), specimens[k])
    flicker = 1 + 0.01 * rng.standard_normal((config.num_frames, 1, 1, 1), dtype=np.float32)
    noise = rng.standard_normal(frames.shape, dtype=np.float32)
    frames *= 255 * flicker
    frames += rng.uniform(3, 6) * noise
    return np.clip(np.round(frames), 0, 255).astype(np.uint8)


def _background(
    config: GeneratorConfig, camera: Float[np.ndarray, "n 2"], rng: np.random.Generator
) -> Float[np.ndarray, "n h w 3"]:
    """Renders muted smooth noise in [0, 1] that moves with the camera."""
    border = int(np.ceil(np.abs(camera).max())) + 2
    height, width = config.height + 2 * border, config.width + 2 * border
    light = np.float32(rng.uniform(0.32, 0.45))
    picture = np.full((height, width, 3), light, np.float32)
    # Octaves of grey texture, and a broad faint tint.
    for cells, grey, tint in ((3, 0.05, 0.025), (8, 0.035, 0.01), (24, 0.025, 0.0)):
        grid = (cells, round(cells * width / height))
        coarse = grey * rng.standard_normal((*grid, 1)) + tint * rng.standard_normal((*grid, 3))
        picture += cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    frames = np.empty((config.num_frames, config.height, config.width, 3), np.float32)
    for frame, (x, y) in zip(frames, camera, strict=True):
        shift = np.array([[1, 0, x - border], [0, 1, y - border]], np.float32)
        frame[:] = cv2.warpAffine(picture, shift, (config.width, config.height), flags=cv2.INTER_LINEAR)
    return frames


def _paint(frames: np.ndarray, config: GeneratorConfig, scene: Scene, k: int, look: looks.Look) -> None:
    """Paints shape `k` into all `frames`, in place.

    One square patch per frame, big enough for the shape, is computed for all frames at once.
    """
    x, y, radius = scene.tracks[:, k].T
    reach = int(np.ceil(looks.EXTENT * radius.max())) + 1
    left, top = np.floor(x).astype(int) - reach, np.floor(y).astype(int) - reach
    steps = np.arange(2 * reach + 2)
    dx = (left[:, None] + steps - x[:, None])[:, None, :] / radius[:, None, None]
    dy = (top[:, None] + steps - y[:, None])[:, :, None] / radius[:, None, None]
    dx, dy = dx.astype(np.float32), dy.astype(np.float32)
    cos, sin = (f(scene.angles[:, k])[:, None, None] for f in (np.cos, np.sin))
    u, v = cos * dx + sin * dy, cos * dy - sin * dx

    strength = scene.strength[:, k][:, None, None]
    pulse = scene.pulsations[k].at(frame_times(config)).astype(np.float32)[:, None, None]
    outside = looks.signed_distance(look.kind, u, v)
    alpha = np.clip(0.5 - outside * radius[:, None, None], 0, 1)  # one pixel of smooth edge
    # Pulsation moves the brightness, strength the saturation, contrast and a bright rim.
    value = (0.62 + 0.2 * strength) * (0.72 + 0.45 * pulse)
    value = value * (1 + (0.12 + 0.13 * strength) * looks.texture(look, u, v))
    rim = strength * np.clip(1 + outside / 0.16, 0, 1) * 0.7
    saturation = (0.5 + 0.45 * strength)[..., None]
    colour = value[..., None] * (1 - saturation * (1 - look.rgb.astype(np.float32)))
    colour += rim[..., None] * (1 - colour)

    height, width = frames.shape[1:3]
    for i, (x0, y0) in enumerate(zip(left, top, strict=True)):
        rows = slice(max(0, y0), min(height, y0 + len(steps)))
        columns = slice(max(0, x0), min(width, x0 + len(steps)))
        patch = slice(rows.start - y0, rows.stop - y0), slice(columns.start - x0, columns.stop - x0)
        target = frames[i, rows, columns]
        target += alpha[i][patch][..., None] * (colour[i][patch] - target)

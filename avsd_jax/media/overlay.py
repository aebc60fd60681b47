"""Drawing of a prediction: its map over the frame, the gate in a corner."""

import functools

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

_OPACITY = 0.7
_PANEL = (16, 16, 20)
_OPEN = (72, 200, 120)
_SHUT = (150, 150, 156)
_TEXT = (240, 240, 240)
# Rows that are coloured at a time: their intermediate results stay in the processor's cache.
_STRIP = 32


def heat(image: UInt8[np.ndarray, "h w 3"], grey: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Draws an 8-bit map over a frame: the more salient, the more opaque the colour.

    The frame is desaturated by half, so that the colours of the map stand out.
    """
    colours, opacity = _heat_values()
    out = np.empty_like(image)
    for top in range(0, len(image), _STRIP):
        strip = image[top : top + _STRIP]
        levels = cv2.cvtColor(grey[top : top + _STRIP], cv2.COLOR_GRAY2RGB)
        luminance = cv2.cvtColor(cv2.cvtColor(strip, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        muted = cv2.add(strip, luminance, dtype=cv2.CV_32F)
        muted *= np.float32(0.5)
        mixed = cv2.LUT(levels, colours)
        mixed -= muted
        mixed *= cv2.LUT(levels, opacity)
        mixed += muted
        mixed += np.float32(0.5)
        out[top : top + _STRIP] = mixed
    return out


@functools.cache
def _heat_values() -> tuple[Float32[np.ndarray, "256 1 3"], Float32[np.ndarray, "256 1 3"]]:
    """Returns the colour and the opacity of each value of a map."""
    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[..., ::-1]
    opacity = _OPACITY * np.linspace(0, 1, 256, dtype=np.float32)[:, None, None] ** 0.7
    return colours.astype(np.float32), np.repeat(opacity, 3, 2)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def gate_label(
    image: UInt8[np.ndarray, "h w 3"], text: str, opened: bool, probability: float | None
) -> UInt8[np.ndarray, "h w 3"]:
    """Writes the gate's state into the lower left corner, with a bar as long as the probability.

    Args:
        image: the frame; not changed.
        text: the label; truncated at the frame's width.
        opened: whether the audio was used, which determines the colour.
        probability: of audio-visual consistency; None for no bar.
    """
    height, width = image.shape[:2]
    size = int(np.clip(height / 24, 9, 40))
    font, gap = _font(size), max(2, size // 3)
    long = min(width - 2 * gap, max(round(font.getlength(text)), 8 * size) + 2 * gap)
    tall = size + 2 * gap + (0 if probability is None else gap + size // 2)
    left, top = gap, height - gap - tall
    if long <= 2 * gap or top < 0:
        return image
    corner = Image.fromarray(np.ascontiguousarray(image[top : top + tall, left : left + long]))
    panel = Image.blend(corner, Image.new("RGB", corner.size, _PANEL), 0.65)
    draw = ImageDraw.Draw(panel)
    draw.text((gap, gap + size / 2), text, fill=_TEXT, font=font, anchor="lm")
    if probability is not None:
        bar = (gap, tall - gap - size // 2, long - gap - 1, tall - gap - 1)
        draw.rectangle(bar, fill=(70, 70, 76))
        end = bar[0] + round(probability * (bar[2] - bar[0]))
        draw.rectangle((bar[0], bar[1], end, bar[3]), fill=_OPEN if opened else _SHUT)
        middle = (bar[0] + bar[2]) // 2
        draw.line((middle, bar[1], middle, bar[3]), fill=_TEXT)
    labelled = image.copy()
    labelled[top : top + tall, left : left + long] = np.asarray(panel)
    return labelled

"""What the plots over time share: a pen, and the ticks of the time axis."""

from collections.abc import Sequence

from PIL import ImageDraw, ImageFont

SCALE = 2  # drawn larger and reduced: Pillow does not antialias lines
INK, FAINT, CURVE, BAND = "#202024", "#c8c8d0", "#1f5fb4", "#b9d0ee"


def time_ticks(seconds: float) -> list[float]:
    """Returns about eight round times."""
    small = [m * 10.0**e for e in (-2, -1, 0) for m in (1, 2, 5)]
    large = [10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0]
    step = next((s for s in small + large if seconds / s <= 9), 7200.0 * (1 + seconds // (9 * 7200)))
    return [i * step for i in range(int(seconds / step) + 1)]


def clock(seconds: float, last: float) -> str:
    """Returns a time in words, as minutes or hours if the axis ends at `last` of that size."""
    if last < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if last >= 3600 else f"{minutes}:{rest:02d}"


class Pen:
    """Draws on an image that is `SCALE` times as large as the final one, in units of the final one."""

    def __init__(self, canvas: ImageDraw.ImageDraw):
        self._canvas = canvas

    def line(self, points: Sequence[tuple[float, float]], width: int, colour: str) -> None:
        """Draws a polyline."""
        scaled = [(px * SCALE, py * SCALE) for px, py in points]
        self._canvas.line(scaled, fill=colour, width=width * SCALE, joint="curve")

    def box(self, corners: tuple[float, float, float, float], colour: str) -> None:
        """Fills a rectangle: left, top, right, bottom."""
        self._canvas.rectangle([c * SCALE for c in corners], fill=colour)

    def text(self, place: tuple[float, float], text: str, size: int, colour: str, anchor: str) -> None:
        """Writes a line of text; `anchor` is Pillow's."""
        font = ImageFont.load_default(size * SCALE)
        at = (place[0] * SCALE, place[1] * SCALE)
        self._canvas.text(at, text, fill=colour, font=font, anchor=anchor)

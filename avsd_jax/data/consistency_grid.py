"""The time grid of the consistency score: of each `every` seconds one score, held until the next.

A video's time is divided into cells of `every` seconds from its start. The first frame of a cell is scored, and all
frames of the cell have its score; a cell without frames has none. `every=0` scores every frame.

The commands `avc` and `predict`, and the scoring of gated models, all share this definition.
"""

import math

# Seconds between two scores, where nothing else is given.
EVERY = 0.25
# Share of a cell by which a frame may be early: times are rounded.
_ROUNDING = 1e-6
# Seconds below which a cell holds one frame of any video.
_SHORTEST = 1e-9


def cell(time: float, every: float) -> int:
    """Returns the number of the cell that a time belongs to.

    Args:
        time: seconds since the start of the video.
        every: seconds of a cell, more than 0.
    """
    return math.floor(time / max(every, _SHORTEST) + _ROUNDING)


def scored_frame(frame: int, fps: float, every: float) -> int:
    """Returns the frame whose score a frame has: the first one of its cell, at a constant frame rate.

    Args:
        frame: number of the frame, from 0.
        fps: frames per second.
        every: seconds of a cell; 0: the frame's own score.
    """
    if every < _SHORTEST:
        return frame
    start = (cell(frame / fps, every) - _ROUNDING) * every * fps
    return min(frame, max(0, math.ceil(start)))

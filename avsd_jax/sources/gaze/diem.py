"""DIEM's gaze: one text file per viewer, in pixels of the screen.

`event_data/diem<session>s<subject>[letter].asc_<video>.txt` has a row per frame of the video, 30 per second, and no
header: `frame left_x left_y left_dilation left_event right_x right_y right_dilation right_event`, with frames counted
from 1 and events -1 error, 0 blink, 1 fixation, 2 saccade. The owner advises to use fixations only.

The videos were shown unscaled on a screen of 1280x960, presumably at its centre: see `placed`.
"""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from avsd_jax.common import safe_paths
from avsd_jax.errors import InputError
from avsd_jax.sources import plausible
from avsd_jax.sources.gaze import points

EYES = ("both", "left", "right")
PLACEMENTS = ("centre", "corner")

_SCREEN = (960, 1280)  # height, width
_VIEWER = re.compile(r"(?:(?P<before>.+)_)?(?P<viewer>diem\d+s\d+[A-Za-z]*)\.asc(?:_(?P<after>.*))?\.txt")
_SIZE = re.compile(r".*_(\d+)x(\d+)")
_COLUMNS = 9
# Column of x, which is followed by y, the dilation and the event.
_FIRST_COLUMN = {"left": 1, "right": 5}
_EVENTS = (-1, 0, 1, 2)
_FIXATION = 1


def native_size(video: str) -> tuple[int, int] | None:
    """Returns the displayed (height, width) of a video from its name, as in `..._1280x720`; None if it has none.

    Raises:
        InputError: it is not plausible.
    """
    match = _SIZE.fullmatch(video)
    return plausible.checked_size((int(match[2]), int(match[1])), f"the name {video}") if match else None


def viewer_files(folder: Path, video: str | None = None) -> dict[str, Path]:
    """Returns the files of a video's viewers, by their stems, such as `diem4s04b`: numbers repeat across sessions.

    Args:
        folder: of the files.
        video: that they belong to; None if unknown.

    Raises:
        NoGaze: the folder has none.
        InputError: it has a link instead of one; a stem is duplicated; or a file's name names another video.
    """
    found: dict[str, Path] = {}
    for name in safe_paths.file_names(folder):
        if match := _VIEWER.fullmatch(name):
            named = [part for part in (match["before"], match["after"]) if part]
            others = [part for part in named if video is not None and part.casefold() != video.casefold()]
            if others:
                raise InputError(
                    f"{folder / name} is gaze on another video, {others[0]}, than {video}: move it to that one's folder"
                )
            viewer = match["viewer"]
            if viewer in found:
                raise InputError(f"{found[viewer]} and {folder / name} are of the same viewer: keep one of them")
            found[viewer] = safe_paths.below(folder, name)
    if not found:
        raise points.NoGaze(
            f"{folder} has no file diem<session>s<subject>.asc_<video>.txt: unpack the owner's archive there"
        )
    return found


def read(
    files: Mapping[str, Path],
    plane: tuple[int, int],
    *,
    eye: str = "both",
    placement: str = "centre",
    offset: tuple[float, float] = (0.0, 0.0),
    longest: int | None = None,
) -> points.Gaze:
    """Reads the gaze on a video.

    Args:
        files: a file per viewer, by the viewer's name.
        plane: (height, width) in which the video was shown.
        eye: "left", "right", or "both" for the mean of the two if both fixate.
        placement: as for `placed`.
        offset: as for `placed`.
        longest: largest number of frames of a recording; None if the video's length is unknown.

    Raises:
        InputError: an unknown option; or a file that is not as described or too long, which the message names.
    """
    if eye not in EYES:
        raise InputError(f"unknown eye {eye!r}: choose one of {', '.join(EYES)}")
    tables = {name: _read_table(path) for name, path in files.items()}
    for name, table in tables.items():
        _check_length(files[name], table[-1, 0], longest)
    num_frames = max(int(table[-1, 0]) for table in tables.values())
    positions = np.full((len(tables), num_frames, 2), np.nan)
    fixating = np.ones((len(tables), num_frames), bool)
    for viewer, table in enumerate(tables.values()):
        frames = table[:, 0].astype(int) - 1
        columns = [_FIRST_COLUMN[side] for side in (("left", "right") if eye == "both" else (eye,))]
        positions[viewer, frames] = np.mean([table[:, c : c + 2] for c in columns], axis=0)
        fixating[viewer, frames] = np.all([table[:, c + 3] == _FIXATION for c in columns], axis=0)
    return points.collect(placed(positions, plane, placement, offset), fixating, tuple(tables), plane)


def _check_length(path: Path, frames: float, longest: int | None) -> None:
    plausible.checked(frames, "frames", path)
    if longest is not None and frames > longest:
        raise InputError(
            f"{path} continues to frame {frames:.0f}, but a recording of this video has at most {longest} frames: put "
            "the owner's file there, or complete the video"
        )


def placed(
    positions: Float[np.ndarray, "*n 2"], plane: tuple[int, int], placement: str, offset: tuple[float, float]
) -> Float[np.ndarray, "*n 2"]:
    """Converts positions on the screen to positions in the video.

    Args:
        positions: (x, y) on the screen.
        plane: (height, width) in which the video was shown.
        placement: "centre", in the middle of the screen; "corner", in its upper left corner, as in some readers:
            it only looks right for videos of the screen's width.
        offset: (x, y) added, in pixels of the video.

    Raises:
        InputError: an unknown placement.
    """
    if placement not in PLACEMENTS:
        raise InputError(f"unknown placement {placement!r}: choose one of {', '.join(PLACEMENTS)}")
    height, width = plane
    corner = ((_SCREEN[1] - width) / 2, (_SCREEN[0] - height) / 2) if placement == "centre" else (0.0, 0.0)
    return positions - np.array(corner) + np.array(offset)


def _read_table(path: Path) -> Float[np.ndarray, "n 9"]:
    text = safe_paths.read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty: restore it from the owner's archive")
    try:
        table = np.loadtxt(io.StringIO(text), ndmin=2)
    except ValueError as error:
        raise InputError(f"{path} is not a table of numbers ({error}): restore it from the owner's archive") from error
    if table.shape[1] != _COLUMNS:
        raise InputError(f"{path} has {table.shape[1]} columns and not {_COLUMNS}: restore it")
    wrong = {
        "frames that are not whole numbers in ascending order from 1": not np.isfinite(table[:, 0]).all()
        or table[0, 0] < 1
        or (np.diff(table[:, 0]) <= 0).any()
        or (table[:, 0] % 1 != 0).any(),
        "events other than -1, 0, 1 and 2": not np.isin(table[:, [4, 8]], _EVENTS).all(),
    }
    for problem, present in wrong.items():
        if present:
            raise InputError(f"{path} has {problem}: restore it from the owner's archive")
    return table

"""Gaze on SumMe and ETMD, both in one MATLAB file by CVSP, NTUA, as fractions of the video's width and height.

`eyetracking/all_videos.mat` holds a struct `eye_data_all` with a field per video, [D x frames x viewers]: row 0 x and
row 1 y from 0 to 1, missing if they are NaN or both 0. The recording is at the video's rate: column n - 1 is frame n
counted from 1. Events are not marked: saccades are among the positions.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from avsd_jax.errors import InputError
from avsd_jax.map_files import mat_files
from avsd_jax.sources.gaze import points

_VARIABLE = "eye_data_all"


def videos(path: Path) -> Mapping[str, np.ndarray]:
    """Reads the arrays [D, n, v] by video.

    Raises:
        InputError: the file is damaged or not as described.
    """
    variables = mat_files.load_cached(path)
    if _VARIABLE not in variables:
        found = ", ".join(variables) or "nothing"
        raise InputError(f"{path} has {found} and no {_VARIABLE}: put the owner's file there")
    return mat_files.fields(variables[_VARIABLE], f"{path}: {_VARIABLE}")


def read(path: Path, video: str, plane: tuple[int, int], *, offset: tuple[float, float] = (0.0, 0.0)) -> points.Gaze:
    """Reads the gaze on a video.

    Args:
        path: the MATLAB file.
        video: its name, such as `CHI_1_color`.
        plane: (height, width) of the video, pixels.
        offset: (x, y) added, in pixels of the video.

    Raises:
        NoGaze: the file does not have the video.
        InputError: as `videos`.
    """
    arrays = videos(path)
    if video not in arrays:
        raise points.NoGaze(
            f"{path} has no gaze on {video}: put the owner's file there, or leave the video out of the lists"
        )
    height, width = plane
    shares = points.from_array(arrays[video], f"{path}: {_VARIABLE}.{video}")
    shares = np.where((shares == 0).all(axis=-1, keepdims=True), np.nan, shares)
    # From 0 at the left edge of the first pixel to 1 at the right edge of the last; pixel centres at whole numbers.
    positions = shares * np.array([width, height]) - 0.5 + np.array(offset)
    valid = np.ones(positions.shape[:2], bool)
    return points.collect(positions, valid, [str(i + 1) for i in range(len(positions))], plane)

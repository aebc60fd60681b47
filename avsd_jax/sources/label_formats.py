"""Readers of audio-visual consistency labels in various formats, converted to one label per frame.

The format of the survey's authors is not public, so common formats are supported, each read strictly:

  lines     text, one label per line, one line per frame
  frames    text, `frame label` per line, separated by spaces or a comma; counted from 0 or from 1, given by a flag
  array     one-dimensional numbers in a .npy file or a variable of a .mat file
  seconds   text, one label per line; line k (from 0) is the label of the frames with floor((n - 1) / fps) = k
  segments  text, `start_s end_s label`, half open: a frame belongs to the segment with its time (n - 1) / fps
  consistency  text, `frame time probability label` per line, as `python -m avsd_jax.avc` writes it

with n counted from 1. A first line of column names is skipped.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from avsd_jax.common import safe_paths
from avsd_jax.errors import InputError
from avsd_jax.map_files import mat_files
from avsd_jax.sources.label_files import TOLERANCE

_TEXT = (".txt", ".csv")
SUFFIXES = {
    "lines": _TEXT,
    "frames": _TEXT,
    "array": (".mat", ".npy"),
    "seconds": _TEXT,
    "segments": _TEXT,
    "consistency": _TEXT,
}
KINDS = tuple(SUFFIXES)
# Kinds whose labels can only be assigned to frames with the video's rate and length.
TIMED = ("seconds", "segments")
# The file that `python -m avsd_jax.avc` writes into the folder of a video.
CONSISTENCY_FILE = "consistency.csv"

_COLUMNS = {"frames": 2, "segments": 3, "consistency": 4}

_COLUMN_NAME = re.compile(r"[A-Za-z_]\w*")


def read(
    path: Path,
    kind: str,
    *,
    first_frame: int = 1,
    key: str | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
) -> Int8[np.ndarray, " n"]:
    """Reads labels per frame; n is the number in the file, which may differ from the video's length.

    Args:
        path: the file.
        kind: one of `KINDS`.
        first_frame: number of the first frame of kind "frames", 0 or 1.
        key: variable of a .mat file; None if it has only one candidate.
        num_frames: of the video; for the kinds in `TIMED`.
        fps: frames per second; for the kinds in `TIMED`.

    Raises:
        InputError: the file cannot be read, is not of that kind, has a value other than 0 and 1, or omits frames (up to
            two may be missing or surplus at the end); the message names the line.
    """
    if kind == "array":
        return _checked_array(_read_array(path, key), path)
    rows = _read_rows(path, _COLUMNS.get(kind, 1))
    if kind == "lines":
        return np.array([_label(path, line, row[0]) for line, row in rows.items()], np.int8)
    if kind == "frames":
        return _from_frames(path, rows, first_frame)
    if kind == "consistency":
        return _from_frames(path, {line: [row[0], row[3]] for line, row in rows.items()}, first_frame=1)
    if num_frames is None or not fps:
        raise ValueError(f"kind {kind!r} needs num_frames and fps")
    return {"seconds": _from_seconds, "segments": _from_segments}[kind](path, rows, num_frames, fps)


# ---------------------------------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------------------------------


def _read_rows(path: Path, columns: int) -> dict[int, list[str]]:
    """Reads the fields of each line by line number, without column names and without empty lines at the end."""
    lines = safe_paths.read_text(path).rstrip().splitlines()
    rows = {number: re.split(r"\s*,\s*|\s+", line.strip()) for number, line in enumerate(lines, 1)}
    if 1 in rows and all(map(_COLUMN_NAME.fullmatch, rows[1])):
        del rows[1]
    for number, row in rows.items():
        if len(row) != columns or "" in row:
            line = lines[number - 1]
            raise InputError(f"{path}, line {number}: {line!r} does not have {columns} value(s): fix the line")
    if not rows:
        raise InputError(f"{path} has no labels: write one per line")
    return rows


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}, line {line}: {text!r} is not a number: fix the line")
    return value


def _label(path: Path, line: int, text: str) -> int:
    """Parses 0 or 1 in any notation: NumPy's savetxt writes 1.000000000000000000e+00."""
    value = _number(path, line, text)
    if value not in (0, 1):
        raise InputError(f"{path}, line {line}: the label {text} is neither 0 nor 1: fix the line")
    return int(value)


def _from_frames(path: Path, rows: Mapping[int, list[str]], first_frame: int) -> Int8[np.ndarray, " n"]:
    for expected, (line, (frame, _)) in enumerate(rows.items(), first_frame):
        if _number(path, line, frame) != expected:
            raise InputError(
                f"{path}, line {line}: frame {frame} where {expected} is expected: give every frame once and in order, "
                "and --first_frame=0 or 1 as in the file"
            )
    return np.array([_label(path, line, label) for line, (_, label) in rows.items()], np.int8)


def _from_seconds(path: Path, rows: Mapping[int, list[str]], num_frames: int, fps: float) -> Int8[np.ndarray, " n"]:
    labels = np.array([_label(path, line, row[0]) for line, row in rows.items()], np.int8)
    # Two more frames than the video has, so that a list for that length is within the tolerance.
    second = np.floor(np.arange(num_frames + TOLERANCE) / fps).astype(int)
    if not second[max(0, num_frames - 1 - TOLERANCE)] < len(labels) <= second[-1] + 1:
        raise InputError(
            f"{path} labels {len(labels)} seconds of a video of {num_frames} frames at {fps:g} per second, which has "
            f"{second[num_frames - 1] + 1}: give one label per started second"
        )
    second = second[:num_frames]
    return labels[second[second < len(labels)]]


def _from_segments(path: Path, rows: Mapping[int, list[str]], num_frames: int, fps: float) -> Int8[np.ndarray, " n"]:
    times = np.arange(num_frames + TOLERANCE) / fps
    labels = np.full(len(times), -1, np.int8)
    last = 0.0
    for line, (start_s, end_s, label) in rows.items():
        start, end = _number(path, line, start_s), _number(path, line, end_s)
        if not last <= start < end:
            raise InputError(
                f"{path}, line {line}: the segment {start_s} to {end_s} s is empty or begins before 0 or before the "
                "last one's end: put segments in temporal order, without overlap"
            )
        labels[(times >= start) & (times < end)] = _label(path, line, label)
        last = end
    if last > (num_frames + TOLERANCE) / fps:
        raise InputError(
            f"{path} ends at {last:g} s, the video of {num_frames} frames at {fps:g} per second at "
            f"{num_frames / fps:.3f} s: end the last segment with the video"
        )
    covered = np.flatnonzero(labels >= 0)
    labels = labels[: covered[-1] + 1] if len(covered) else labels
    if (labels < 0).any():
        hole = int(np.argmax(labels < 0))
        raise InputError(f"{path} omits frame {hole + 1} at {times[hole]:.3f} s: add a segment for it")
    return labels


# ---------------------------------------------------------------------------------------------------------------------
# Arrays
# ---------------------------------------------------------------------------------------------------------------------


def _read_array(path: Path, key: str | None) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        if key is not None:
            raise InputError(f"{path} has no variables: leave out --key")
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{path} is not a .npy file of numbers ({error}): save it with numpy.save") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
    variables = mat_files.load(path)
    if key is None and len(variables) != 1:
        raise InputError(f"{path} has {len(variables)} variables ({', '.join(variables)}): choose one with --key")
    if key is not None and key not in variables:
        raise InputError(f"{path} has no variable {key!r}: choose one of {', '.join(variables)} with --key")
    return next(iter(variables.values())) if key is None else variables[key]


def _checked_array(values: np.ndarray, path: Path) -> Int8[np.ndarray, " n"]:
    """Converts a vector, a row or a column of 0 and 1 to int8 [n]."""
    if values.dtype.kind not in "buif" or not values.size or values.size != max(values.shape, default=0):
        raise InputError(f"{path} holds {values.dtype} {list(values.shape)}: save a row or column of numbers")
    values = values.reshape(-1)
    wrong = np.flatnonzero(~np.isin(values, (0, 1)))
    if len(wrong):
        raise InputError(f"{path}: the label {values[wrong[0]]} of entry {wrong[0] + 1} is neither 0 nor 1: fix it")
    return values.astype(np.int8)

"""Gaze of both Coutrot datasets: one MATLAB file each, in pixels of the video.

`coutrot_database1.mat` holds a struct `Coutrot_Database1` with a field per viewing condition (the audio that was
played), each with fields `clip_<n>`, each a struct of `data` [D x frames x viewers] (row 0 x, row 1 y, NaN missing) and
`info` (`vidwidth`, `vidheight` and more). The second dataset is similar. Only OriginalSounds has all clips of the
first.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from avsd_jax.data import dataset_names
from avsd_jax.errors import InputError
from avsd_jax.map_files import mat_files
from avsd_jax.sources import plausible
from avsd_jax.sources.gaze import points

CONDITIONS = ("own", "pooled")
# The condition in which viewers heard the audio of the video.
OWN_SOUND = {"coutrot1": "OriginalSounds", "coutrot2": "AudioVisual"}

_VARIABLE = {"coutrot1": "Coutrot_Database1", "coutrot2": "Coutrot_Database2"}
_NO_CONDITION = "Header"


def clips(path: Path, dataset: str, condition: str = "own") -> dict[str, dict[str, np.ndarray]]:
    """Reads the clips' structs by viewing condition, then by clip, such as `clip7`.

    Args:
        path: the dataset's MATLAB file.
        dataset: "coutrot1" or "coutrot2".
        condition: "own" for the viewers who heard the video's own audio, "pooled" for all: also those who heard
            different audio, or none.

    Raises:
        InputError: an unknown condition; or the file is damaged or not as described.
    """
    if condition not in CONDITIONS:
        raise InputError(f"unknown condition {condition!r}: choose one of {', '.join(CONDITIONS)}")
    variables, name = mat_files.load_cached(path), _VARIABLE[dataset]
    if name not in variables:
        raise InputError(f"{path} has {', '.join(variables) or 'nothing'} and no {name}: put the owner's file there")
    conditions = mat_files.fields(variables[name], f"{path}: {name}")
    names = [n for n in conditions if n != _NO_CONDITION and (condition == "pooled" or n == OWN_SOUND[dataset])]
    if not names:
        raise InputError(f"{path} has no condition {OWN_SOUND[dataset]}: put the owner's file there")
    return {n: _clips(conditions[n], dataset, f"{path}: {name}.{n}") for n in names}


def read(
    path: Path,
    dataset: str,
    video: str,
    plane: tuple[int, int],
    *,
    condition: str = "own",
    offset: tuple[float, float] = (0.0, 0.0),
) -> points.Gaze:
    """Reads the gaze on a clip.

    Args:
        path: the dataset's MATLAB file.
        dataset: "coutrot1" or "coutrot2".
        video: such as `clip7`.
        plane: (height, width) of the video; a size in the file takes precedence.
        condition: as for `clips`. Pooled, a clip has those conditions that show it.
        offset: (x, y) added, in pixels of the video.

    Raises:
        NoGaze: the clip has no viewer in this condition.
        InputError: as `clips`.
    """
    found = {name: videos[video] for name, videos in clips(path, dataset, condition).items() if video in videos}
    if not found:
        raise points.NoGaze(
            f"{path} has no gaze on {video} ({condition} condition): put the owner's file there, or leave the video "
            "out of the lists"
        )
    parts = {name: _clip(value, f"{path}: {name}.{video}") for name, value in found.items()}
    planes = {size for _, size in parts.values() if size} or {plane}
    if len(planes) > 1:
        raise InputError(f"{path} gives {video} {len(planes)} sizes, {sorted(planes)}: put the owner's file there")
    num_frames = max(data.shape[1] for data, _ in parts.values())
    missing = [((0, 0), (0, num_frames - data.shape[1]), (0, 0)) for data, _ in parts.values()]
    padded = [
        np.pad(data, width, constant_values=np.nan) for (data, _), width in zip(parts.values(), missing, strict=True)
    ]
    positions = np.concatenate(padded) + np.array(offset)
    viewers = [f"{name}/{i + 1}" for name, (data, _) in parts.items() for i in range(len(data))]
    return points.collect(positions, np.ones(positions.shape[:2], bool), viewers, planes.pop())


def _clips(value: np.ndarray, dataset: str, where: str) -> dict[str, np.ndarray]:
    """Returns the clips by their names in STAViS's spelling; an empty field is a clip that was not shown."""
    fields = mat_files.fields(value, where)
    return {dataset_names.video_id(dataset, clip): data for clip, data in fields.items() if data.size}


def _clip(value: np.ndarray, where: str) -> tuple[Float[np.ndarray, "v n 2"], tuple[int, int] | None]:
    """Returns positions and, if the file states it, (height, width)."""
    fields = mat_files.fields(value, where)
    if "data" not in fields:
        raise InputError(f"{where} has no field data: put the owner's file there")
    info: Mapping[str, np.ndarray] = mat_files.fields(fields["info"], f"{where}.info") if "info" in fields else {}
    sides = [info[name] for name in ("vidheight", "vidwidth") if name in info]
    if not all(side.size == 1 and side.dtype.kind in "fiu" for side in sides):
        raise InputError(f"{where}.info has a size that is not a number: put the owner's file there")
    size = None
    if len(sides) == 2:
        quantities = zip(sides, ("pixels high", "pixels wide"), strict=True)
        height, width = (plausible.checked(side.item(), quantity, f"{where}.info") for side, quantity in quantities)
        size = (int(height), int(width))
    return points.from_array(fields["data"], f"{where}.data"), size

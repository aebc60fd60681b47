"""Audio-visual consistency labels on disk: `av_gt_label/<SET>/<video>.csv`.

UTF-8, a header `frame,label`, then one row per frame: frames counted from 1 without holes, the label 1 (the audio is
made by what viewers look at) or 0. Labels in other forms are brought into this one by `python -m avsd_jax.avc_labels
convert`. The folder of a set may carry STAViS's name for it (`Coutrot_db1`) instead of the survey's (`Coutrot1`).
"""

from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Int8

from avsd_jax.common import atomic_files, safe_paths
from avsd_jax.data import dataset_names
from avsd_jax.errors import InputError

FOLDER = "av_gt_label"
HEADER = "frame,label"
UNLABELLED = -1
# Lists and files of the sets differ by as much.
TOLERANCE = 2
CONVERT = "python -m avsd_jax.avc_labels convert"


def write(path: Path, labels: Int8[np.ndarray, " n"]) -> None:
    """Writes a file, whole or not at all.

    Args:
        path: the target; its folder is made.
        labels: per frame 0 or 1.

    Raises:
        InputError: a label is neither 0 nor 1, there is none, or the place cannot be written to.
    """
    if not len(labels) or not np.isin(labels, (0, 1)).all():
        raise InputError(f"{path} would hold {np.unique(labels).tolist()}: labels are 0 or 1, one for every frame")
    rows = (f"{frame},{label}" for frame, label in enumerate(labels.tolist(), 1))
    atomic_files.write_text(path, "\n".join([HEADER, *rows, ""]))


def read(path: Path) -> Int8[np.ndarray, " n"]:
    """Reads a file; per frame 0 or 1.

    Raises:
        InputError: it cannot be read or is not as documented; the message names the line.
    """
    header, *lines = safe_paths.read_text(path).splitlines() or [""]
    if header != HEADER:
        raise InputError(f"{path} does not begin with {HEADER}: make it with {CONVERT}")
    if not lines:
        raise InputError(f"{path} has no labels: one row per frame follows the header")
    labels = np.empty(len(lines), np.int8)
    for frame, line in enumerate(lines, 1):
        if line not in (f"{frame},0", f"{frame},1"):
            raise InputError(f"{path}, line {frame + 1}: {line!r} is not `{frame},0` or `{frame},1`: fix the line")
        labels[frame - 1] = line[-1] == "1"
    return labels


def folder(manual_dir: str | Path, dataset: str) -> Path | None:
    """The folder of a set's labels; None if it is not there.

    Args:
        manual_dir: root of the user's tree, in any layout.
        dataset: the set's key, such as "coutrot1".

    Raises:
        InputError: no such set; it is there under both names, or as a link.
    """
    candidates = [safe_paths.below(Path(manual_dir), FOLDER, name) for name in dataset_names.named(dataset).spellings]
    there = [path for path in candidates if path.is_dir()]
    if len(there) > 1:
        raise InputError(f"{there[0]} and {there[1]} are the same set: keep one of them")
    return there[0] if there else None


def files(manual_dir: str | Path, dataset: str) -> dict[str, Path]:
    """The label files of a set by video, in the order of names; empty if there is none.

    Raises:
        InputError: as `folder`; or two files are of the same video.
    """
    where = folder(manual_dir, dataset)
    found: dict[str, Path] = {}
    for name in safe_paths.file_names(where) if where else ():
        if name.endswith(".csv"):
            video = dataset_names.video_id(dataset, name.removesuffix(".csv"))
            if video in found:
                raise InputError(f"{found[video]} and {where / name} are of the same video: keep one of them")
            found[video] = safe_paths.below(where, name)
    return found


def load(manual_dir: str | Path, dataset: str, video: str, num_frames: int | None) -> Int8[np.ndarray, " n"]:
    """The labels of a video's frames, n = `num_frames`; all -1 if it has none.

    Args:
        manual_dir: root of the user's tree.
        dataset: the set's key.
        video: its name, as the fold lists spell it.
        num_frames: of the video as it will be used; None where that is not known: the labels are as the file has them.

    Raises:
        InputError: the file is wrong or does not fit the video (`fit`), or there is only one in another form.
    """
    path = files(manual_dir, dataset).get(video)
    if path is not None:
        labels = read(path)
        return labels if num_frames is None else fit(labels, num_frames, str(path))
    where = folder(manual_dir, dataset)
    for name in (*safe_paths.file_names(where), *safe_paths.folder_names(where)) if where else ():
        if dataset_names.video_id(dataset, Path(name).stem) == video:
            raise InputError(f"{where / name} is not a label file {video}.csv: bring it into that form with {CONVERT}")
    return np.full(num_frames or 0, UNLABELLED, np.int8)


def fit(labels: Int8[np.ndarray, " n"], num_frames: int, name: str) -> Int8[np.ndarray, " m"]:
    """Labels for exactly m = `num_frames` frames: up to two too many are cut, up to two missing repeat the last.

    Args:
        labels: one or more.
        num_frames: of the video.
        name: what the labels come from, for the log and the message.

    Raises:
        InputError: the numbers differ by more than two.
    """
    excess = len(labels) - num_frames
    if abs(excess) > TOLERANCE:
        raise InputError(f"{name} labels {len(labels)} frames of a video that has {num_frames}: label every frame")
    if excess:
        done = "the excess is cut" if excess > 0 else "the last label is repeated"
        logging.warning("%s labels %d frames of a video that has %d: %s", name, len(labels), num_frames, done)
    return np.pad(labels[:num_frames], (0, max(0, -excess)), mode="edge")

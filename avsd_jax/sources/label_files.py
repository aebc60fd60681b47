"""Audio-visual consistency labels on disk: `av_gt_label/<SET>/<video>.csv`.

UTF-8, a header `frame,label`, then one row per frame: frames counted from 1 without gaps, the label 1 (the audio
comes from what viewers look at) or 0; nothing after the comma where a frame has no label, as where the people who
labelled it were unsure. Labels in other formats are converted by `python -m avsd_jax.avc_labels
convert`. The folder of a dataset may have STAViS's name (`Coutrot_db1`) instead of the survey's (`Coutrot1`).
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
_LABELS = {"": UNLABELLED, "0": 0, "1": 1}
# Lists and files of the datasets differ by this many frames.
TOLERANCE = 2
CONVERT = "python -m avsd_jax.avc_labels convert"


def write(path: Path, labels: Int8[np.ndarray, " n"]) -> None:
    """Writes a label file atomically.

    Args:
        path: the target; its folder is created.
        labels: per frame 0 or 1.

    Raises:
        InputError: a label is neither 0 nor 1, there is none, or the path cannot be written to.
    """
    if not len(labels) or not np.isin(labels, (0, 1)).all():
        raise InputError(f"{path} would hold {np.unique(labels).tolist()}: labels are 0 or 1, one for every frame")
    atomic_files.write_text(path, text(labels, str(path)))


def text(labels: Int8[np.ndarray, " n"], name: str) -> str:
    """Returns the text of a label file.

    Args:
        labels: per frame 0, 1 or -1, no label.
        name: of the file, for the message.

    Raises:
        InputError: no frame has a label.
    """
    if not (labels != UNLABELLED).any():
        raise InputError(f"{name} would hold no label: label at least one frame as consistent or inconsistent")
    rows = (
        f"{frame}," if label == UNLABELLED else f"{frame},{label}" for frame, label in enumerate(labels.tolist(), 1)
    )
    return "\n".join([HEADER, *rows, ""])


def read(path: Path) -> Int8[np.ndarray, " n"]:
    """Reads a label file; per frame 0 or 1, or -1 where it has no label.

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
        number, comma, label = line.partition(",")
        if number != str(frame) or not comma or label not in _LABELS:
            raise InputError(
                f"{path}, line {frame + 1}: {line!r} is not `{frame},0` or `{frame},1`, or `{frame},` without a label: "
                "fix the line"
            )
        labels[frame - 1] = _LABELS[label]
    if not (labels != UNLABELLED).any():
        raise InputError(f"{path} has no labels: label at least one frame")
    return labels


def folder(manual_dir: str | Path, dataset: str) -> Path | None:
    """Finds the folder of a dataset's labels; None if there is none.

    Args:
        manual_dir: root of the user's tree, in any layout.
        dataset: its key, such as "coutrot1".

    Raises:
        InputError: no such dataset; the folder exists under both names, or is a link.
    """
    candidates = [safe_paths.below(Path(manual_dir), FOLDER, name) for name in dataset_names.named(dataset).spellings]
    there = [path for path in candidates if path.is_dir()]
    if len(there) > 1:
        raise InputError(f"{there[0]} and {there[1]} are the same dataset: keep one of them")
    return there[0] if there else None


def files(manual_dir: str | Path, dataset: str) -> dict[str, Path]:
    """Finds the label files of a dataset by video, sorted by name; empty if there are none.

    Raises:
        InputError: as `folder`; or two files belong to the same video.
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
    """Loads the labels of a video's frames, n = `num_frames`; all -1 if it has none.

    Args:
        manual_dir: root of the user's tree.
        dataset: its key.
        video: its name, as in the fold lists.
        num_frames: number of frames that are used; None if unknown: the labels are returned as in the file.

    Raises:
        InputError: the file is malformed or does not fit the video (`fit`), or there is only one in another format.
    """
    path = files(manual_dir, dataset).get(video)
    if path is not None:
        labels = read(path)
        return labels if num_frames is None else fit(labels, num_frames, str(path))
    where = folder(manual_dir, dataset)
    for name in (*safe_paths.file_names(where), *safe_paths.folder_names(where)) if where else ():
        if dataset_names.video_id(dataset, Path(name).stem) == video:
            raise InputError(f"{where / name} is not a label file {video}.csv: convert it with {CONVERT}")
    return np.full(num_frames or 0, UNLABELLED, np.int8)


def fit(labels: Int8[np.ndarray, " n"], num_frames: int, name: str) -> Int8[np.ndarray, " m"]:
    """Fits labels to exactly m = `num_frames` frames: up to two surplus ones are cut, up to two missing repeat the
    last.

    Args:
        labels: one or more.
        num_frames: of the video.
        name: origin of the labels, for the log and the message.

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

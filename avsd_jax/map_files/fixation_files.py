"""Reader of the fixations of one video: masks by frame, or a table of points.

    000000.png, 000001.png ...   a mask per frame (`.png`, `.bmp` or `.mat`), every nonzero pixel is fixated
    NAME.csv                     columns `frame,x,y` and optionally `viewer`, a fixation per line
    NAME.mat                     `fixations` [n, 3] or [n, 4] with the same columns, or masks [h, w, n]

x and y are in pixels of the density maps, from 0 at the centre of the top left pixel.
"""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from avsd_jax.errors import InputError
from avsd_jax.map_files import fixation_maps, mat_files
from avsd_jax.map_files.contents import children
from avsd_jax.map_files.images import read_image

MASKS, TABLES = (".png", ".bmp", ".mat"), (".csv", ".mat")
_TABLE = "fixations"
_COLUMNS = ("frame", "x", "y")
_NUMBER = re.compile(r"(\d+)$")
_MOST_FRAME = 1 << 24  # whole numbers up to here are exact in float32


@dataclass(frozen=True)
class Fixations:
    """The fixations of a video as its files hold them.

    Attributes:
        source: the file, or the folder of masks.
        masks: number -> a frame's mask; empty for tables.
        rows: (number of the frame, viewer or -1, x, y) of a table; None for masks.
        plane: (height, width) of masks in one volume; None: unknown.
        ordered: frames without numbers, in order: a volume of masks.
        viewers: number of viewers that a table names; 0: none.
    """

    source: Path
    masks: Mapping[int, Path] = field(default_factory=dict)
    rows: Float32[np.ndarray, "f 4"] | None = None
    plane: tuple[int, int] | None = None
    ordered: bool = False
    viewers: int = 0

    @property
    def numbers(self) -> set[int]:
        """Returns the frame numbers in the files."""
        return set(self.masks) if self.rows is None else set(self.rows[:, 0].astype(int).tolist())


def find(video: str, folders: Sequence[Path], tables: Sequence[Path]) -> Fixations:
    """Reads the tables and finds the masks of a video.

    Args:
        video: its id, for messages.
        folders: possible folders of masks.
        tables: possible files with all fixations.

    Raises:
        InputError: there are none, or of several kinds, or a file is damaged.
    """
    found = [path for path in tables if path.is_file()]
    masks = {folder: _masks(folder) for folder in folders if folder.is_dir()}
    found += [folder for folder, files in masks.items() if files]
    if not found:
        raise InputError(
            f"video {video!r} has density maps and no fixations: put masks into {folders[0]}/, or a table at "
            f"{' or '.join(map(str, tables))}"
        )
    if len(found) > 1:
        raise InputError(f"video {video!r} has fixations in {' and in '.join(map(str, found))}: keep one")
    path = found[0]
    if path in masks:
        return Fixations(path, masks[path])
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_mat(path)


def points(found: Fixations, number: int, plane: tuple[int, int]) -> Float32[np.ndarray, "n 2"]:
    """Returns the points (x, y) of a frame's mask.

    Raises:
        InputError: the mask is damaged, not binary, or of a different size than the density map.
    """
    path = found.masks[number]
    values = _mask_of_mat(path) if path.suffix.lower() == ".mat" else read_image(path)
    if values.shape != plane:
        raise InputError(
            f"{path} is {values.shape[0]}x{values.shape[1]} and the video's density maps {plane[0]}x{plane[1]} (height "
            "x width): fixations of a different size would be misplaced, write both in one size"
        )
    return fixation_maps.points(values, path)


def _masks(folder: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in children(folder):
        match = _NUMBER.search(path.stem)
        if path.suffix.lower() not in MASKS or not match or not path.is_file():
            continue
        number = int(match[1])
        if number in files:
            raise InputError(f"{folder} has two masks of frame {number}: {files[number].name} and {path.name}")
        files[number] = path
    return files


def _mask_of_mat(path: Path) -> Shaped[np.ndarray, "h w"]:
    arrays = [value for value in mat_files.load(path).values() if value.ndim == 2 and value.dtype.kind in "buif"]
    if len(arrays) != 1:
        raise InputError(f"{path} has {len(arrays)} matrices: write one mask [h, w] per file")
    return arrays[0]


def _read_csv(path: Path) -> Fixations:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            if any(header.count(name) != 1 for name in _COLUMNS) or header.count("viewer") > 1:
                raise InputError(
                    f"{path} begins with {','.join(header)!r}: begin it with frame,x,y or frame,x,y,viewer"
                )
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if any(map(str.strip, line))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({error}): write it again, in UTF-8") from error
    for number, cells in lines:
        if len(cells) != len(header):
            raise InputError(f"{path}, line {number} has {len(cells)} cells of {len(header)}: complete it")
    named = "viewer" in header
    people = sorted({cells[header.index("viewer")] for _, cells in lines}) if named else []
    if "" in people:
        raise InputError(f"{path} has lines without a viewer: name each, or leave the column out")
    order = {viewer: place for place, viewer in enumerate(people)}
    rows = []
    for number, cells in lines:
        try:
            frame, x, y = (float(cells[header.index(name)]) for name in _COLUMNS)
        except ValueError as error:
            raise InputError(f"{path}, line {number} is {','.join(cells)!r}: write three numbers") from error
        rows.append((frame, order[cells[header.index("viewer")]] if named else -1, x, y))
    return Fixations(path, rows=_checked(path, np.array(rows, float).reshape(-1, 4)), viewers=len(people))


def _read_mat(path: Path) -> Fixations:
    variables = {name: value for name, value in mat_files.load(path).items() if value.dtype.kind in "buif"}
    value = variables.get(_TABLE, next(iter(variables.values())) if len(variables) == 1 else None)
    if value is not None and value.ndim == 3:
        marked = [fixation_maps.points(value[..., i], path) for i in range(value.shape[2])]
        rows = [np.insert(np.insert(p, 0, -1, axis=1), 0, i, axis=1) for i, p in enumerate(marked)]
        return Fixations(path, rows=np.concatenate(rows).astype(np.float32), plane=value.shape[:2], ordered=True)
    if value is None or value.ndim != 2 or value.shape[1] not in (3, 4):
        found = ", ".join(f"{name}: {mat_files.described(each)}" for name, each in variables.items()) or "no numbers"
        raise InputError(f"{path} has {found}: write `fixations`, rows of frame, x, y (and viewer), or masks [h, w, n]")
    viewer = value[:, 3].astype(float) if value.shape[1] == 4 else np.full(len(value), -1.0)
    if not np.isfinite(viewer).all():
        raise InputError(f"{path} has viewers that are not finite: number each")
    people, place = np.unique(viewer, return_inverse=True)
    named = value.shape[1] == 4
    rows = np.column_stack([value[:, 0], place if named else viewer, value[:, 1:3]]).astype(float)
    return Fixations(path, rows=_checked(path, rows), viewers=len(people) if named else 0)


def _checked(path: Path, rows: np.ndarray) -> Float32[np.ndarray, "f 4"]:
    """Returns rows in the order of their frames."""
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise InputError(f"{path} has {len(bad)} fixations that are not finite, first the {bad[0] + 1}.: remove them")
    odd = np.flatnonzero((rows[:, 0] % 1 != 0) | (np.abs(rows[:, 0]) > _MOST_FRAME))
    if len(odd):
        raise InputError(
            f"{path} has frame {rows[odd[0], 0]:g}, which is no number of a frame (of the {odd[0] + 1}. fixation): "
            "write whole numbers of frames, not times"
        )
    return rows[np.argsort(rows[:, 0], kind="stable")].astype(np.float32)


def outside(
    rows: Float32[np.ndarray, "f 4"], plane: tuple[int, int], num_frames: int
) -> tuple[np.ndarray, Counter[str]]:
    """Returns which fixations are in the video (x and y in the image, frame from 0 in its length), and counts of those
    outside the `image` and its `frames`."""
    _, _, x, y = rows.T
    height, width = plane
    in_time = (rows[:, 0] >= 0) & (rows[:, 0] < num_frames)
    in_image = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    counts = Counter(frames=int((~in_time).sum()), image=int((in_time & ~in_image).sum()))
    return in_time & in_image, counts

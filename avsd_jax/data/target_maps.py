"""Stores without their eye-tracking data: with the maps of a folder, or none, as targets.

A folder of maps holds `<video id>/<frame, six digits>.png`, 8-bit grey, whole frames at any size, and the record
`maps.json`, which is written last. Frames without a map have no target. It is also a folder of predictions:
`python -m avsd_jax.evaluate --predictions=FOLDER --first_frame=0` scores it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16, UInt8

from avsd_jax.common import atomic_files
from avsd_jax.common.safe_paths import below
from avsd_jax.data import schema
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError

RECORD = "maps.json"

_EVERYWHERE = np.full((1, 1), 255, np.uint8)
_NOWHERE = np.zeros((1, 1), np.uint8)

DensityOf = Callable[[int, int], UInt8[np.ndarray, "h w"]]
FrameOf = Callable[[int, int, UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "h2 w2 3"]]


class WithTargetMaps(VideoStore):
    """The videos of a store with other target maps: neither density maps nor fixations of the store are read.

    Args:
        store: frames and audio are read through it.
        density_of: (video, frame) -> the target map.
        frame_of: (video, frame, image) -> the replacement of the image; the image itself by default.
    """

    def __init__(self, store: VideoStore, density_of: DensityOf, frame_of: FrameOf | None = None):
        super().__init__(store.name, store.records, store.videos, store.chunk_frames)
        self.parts = store.parts
        self._store = store
        self._density_of = density_of
        self._frame_of = frame_of

    def frames(self, video: int, indices: Sequence[int] | np.ndarray) -> list[UInt8[np.ndarray, "h w 3"]]:
        """Returns the store's frames, each replaced."""
        shown = self._store.frames(video, indices)
        if self._frame_of is None:
            return shown
        return [self._frame_of(video, int(index), frame) for index, frame in zip(indices, shown, strict=True)]

    def audio(self, video: int, start: int, stop: int) -> Int16[np.ndarray, " s"]:
        """Returns the store's samples."""
        return self._store.audio(video, start, stop)

    def density(self, video: int, index: int) -> UInt8[np.ndarray, "h w"]:
        """Returns the target map of a frame."""
        return self._density_of(video, index)

    def density_levels(self, video: int, index: int) -> UInt8[np.ndarray, "h w"]:
        """Returns the same as `density`: there are no deeper maps."""
        return self.density(video, index)

    def fixations(self, video: int, index: int) -> Float32[np.ndarray, "n 2"]:
        """Returns no fixations, for any frame."""
        return self.viewer_rows(video, index)[:, 1:]

    def viewer_rows(self, video: int, index: int) -> Float32[np.ndarray, "n 3"]:
        """Returns no fixations, for any frame."""
        del video, index
        return np.zeros((0, 3), np.float32)


def ignore_gaze(store: VideoStore) -> WithTargetMaps:
    """Returns the videos of a store with all frames as equal targets."""
    return WithTargetMaps(store, lambda video, index: _EVERYWHERE)


def only(store: VideoStore, usable: Callable[[int, int], bool], frame_of: FrameOf) -> WithTargetMaps:
    """Returns the videos of a store with other images, of which the usable ones, by (video, frame), are targets."""
    return WithTargetMaps(store, lambda video, index: _EVERYWHERE if usable(video, index) else _NOWHERE, frame_of)


def write_map(folder: Path, video_id: str, frame: int, values: UInt8[np.ndarray, "h w"]) -> None:
    """Writes one map atomically.

    Raises:
        InputError: the video's id is not a plain name, or the path cannot be written to.
    """
    data = schema.encode_png(values)
    atomic_files.write(below(folder, video_id) / f"{frame:06d}.png", lambda file: file.write(data))


def write_record(folder: Path, dataset: str, split: str, facts: Mapping[str, Any]) -> None:
    """Writes the record that a folder's maps are complete, with their dataset and split, and further facts."""
    atomic_files.write_json(folder / RECORD, {"dataset": dataset, "split": split, **facts})


def replace_density(store: VideoStore, folder: str | Path) -> WithTargetMaps:
    """Returns the videos of a store with a folder's maps as targets; see the module.

    Raises:
        InputError: the folder holds no complete set of maps, belongs to other videos, or has none for these.
    """
    folder = Path(folder)
    record = folder / RECORD
    if not record.is_file():
        raise InputError(
            f"{folder} has no {RECORD}: give a folder of maps that `python -m avsd_jax.pseudo_labels` or `python -m "
            "avsd_jax.scam` completed"
        )
    try:
        of = json.loads(record.read_text())
        name = f"{of['dataset']} {of['split']}"
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{record} is damaged ({error}): make the maps again") from error
    if name != store.name:
        raise InputError(f"{folder} holds maps of {name}, not of {store.name}: give its own")
    found = [
        {int(path.stem) for path in below(folder, video.id).glob("*.png") if path.stem.isdecimal()}
        for video in store.videos
    ]
    if not any(found):
        raise InputError(f"{folder} has no map for any video of {store.name}: make them again")

    def density_of(video: int, index: int) -> np.ndarray:
        if index not in found[video]:
            return _NOWHERE
        path = folder / store.videos[video].id / f"{index:06d}.png"
        try:
            return schema.decode_png(path.read_bytes())
        except (InputError, OSError) as error:
            raise InputError(f"{path} cannot be read: make the maps again") from error

    return WithTargetMaps(store, density_of)

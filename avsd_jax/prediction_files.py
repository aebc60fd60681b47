"""Where a prediction's files go: a hidden folder until all are whole, and the ways to write maps."""

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from avsd_jax.errors import InputError

FRAMES_PER_FILE = 100


class Staging:
    """A hidden folder inside the output folder, whose files are moved there when all are whole.

    Used as a context manager: what was not published by `publish` is removed, and the output folder too where
    this made it.

    Args:
        out: the output folder; made if missing.

    Raises:
        InputError: it cannot be made or written to.
    """

    def __init__(self, out: Path):
        self._out = out
        self._made = [folder for folder in (out, *out.parents) if not folder.exists()]

    def __enter__(self) -> "Staging":
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=".predict-", dir=self._out))
        except OSError as error:
            self._remove_made()
            raise InputError(f"{self._out} cannot be written to ({error.strerror}): give another --out") from error
        return self

    def publish(self) -> tuple[Path, ...]:
        """Moves all files into the output folder, over files of the same names; returns their paths.

        Raises:
            InputError: a folder stands where a file is to go, or a file where a folder is.
        """
        files = sorted(p for p in self.folder.rglob("*") if p.is_file())
        targets = [self._out / p.relative_to(self.folder) for p in files]
        for target in targets:
            if target.is_dir() or target.parent.is_file():
                taken = target if target.is_dir() else target.parent
                raise InputError(f"{taken} is in the way of the results: remove it or give another --out")
        for source, target in zip(files, targets, strict=True):
            target.parent.mkdir(exist_ok=True)
            os.replace(source, target)
        self._made = []
        return tuple(targets)

    def _remove_made(self) -> None:
        for folder in self._made:
            if folder.is_dir():
                folder.rmdir()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._remove_made()


class NoMaps:
    """Writes nothing."""

    def __init__(self, folder: Path):
        del folder

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Takes a frame's map: the model's, and its 8-bit picture at the frame's size."""

    def close(self) -> None:
        """Writes what is left."""


class PngMaps(NoMaps):
    """A PNG per frame at the frame's size, stretched to 8 bits."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self._folder = folder

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Writes `%06d.png`."""
        del time, saliency
        # OpenCV's encoder is ten times faster than PIL's at its default.
        _, data = cv2.imencode(".png", grey)
        (self._folder / f"{index:06d}.png").write_bytes(data.tobytes())


class NpzMaps(NoMaps):
    """The model's own maps, `FRAMES_PER_FILE` a file, each named by its first frame."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self._folder = folder
        self._rows: list[tuple[int, float, np.ndarray]] = []

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Keeps the map until its file is full."""
        del grey
        self._rows.append((index, time, saliency))
        if len(self._rows) == FRAMES_PER_FILE:
            self.close()

    def close(self) -> None:
        """Writes the file begun."""
        if self._rows:
            frames, times, maps = zip(*self._rows, strict=True)
            path = self._folder / f"{frames[0]:06d}.npz"
            np.savez_compressed(path, frames=np.array(frames), times=np.array(times), saliency=np.stack(maps))
        self._rows = []


class StavisMaps(NoMaps):
    """What STAViS's script writes: the model's own map, stretched from 0 to 255 and cut off, as grey JPEG.

    `pred_sal_%06d.jpg`, counted from 1; a constant map, by whose range the script divides, is black. The script writes
    nothing for the first eight frames, here they are there; the `stavis` protocol does not score them.
    """

    def __init__(self, folder: Path):
        folder.mkdir()
        self._folder = folder

    def write(
        self, index: int, time: float, saliency: Float[np.ndarray, "h w"], grey: UInt8[np.ndarray, "H W"]
    ) -> None:
        """Writes a frame's file."""
        del time, grey
        low, high = saliency.min(), saliency.max()
        levels = (255 * (saliency - low) / (high - low if high > low else 1)).astype(np.uint8)
        Image.fromarray(levels).save(self._folder / f"pred_sal_{index + 1:06d}.jpg", quality=75)


MAP_WRITERS = {"png": PngMaps, "npz": NpzMaps, "stavis": StavisMaps, "none": NoMaps}

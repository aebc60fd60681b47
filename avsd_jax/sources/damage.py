"""Detection of damage inside JPEG images by decoding them; it is counted, and refused beyond a tolerance.

Headers and file ends do not show damage between them, and decoders conceal what they cannot read: the image has the
right size and corrupt content. No decoder detects all damage. OpenCV's libjpeg detects surplus or missing data, FFmpeg
that a block has too many coefficients; damage that neither detects is a valid code of another image.
"""

import functools
import os
import sys
import tempfile
import threading
from pathlib import Path

import av
import cv2
import numpy as np
from absl import logging

from avsd_jax.common.wording import some
from avsd_jax.errors import InputError

# Fraction of a video's images that may be damaged: more is refused, less is reported.
TOLERANCE = 0.01

# Beginnings of libjpeg's warnings on damaged data; its others are about colours and versions.
_WARNINGS = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression", "Invalid SOS")
_HARMLESS = "bad ICC"
_SHOWN = 5
_LOCK = threading.Lock()


class Tally:
    """Counts the damaged among a video's images.

    Args:
        total: number of images.
        kind: of images, such as "frames".
    """

    def __init__(self, total: int, kind: str):
        self._allowed = int(TOLERANCE * total)
        self._total = total
        self._kind = kind
        self._damaged: list[Path] = []

    def look(self, path: Path, data: bytes) -> None:
        """Checks the content of an image file; only JPEG files are decoded in spite of damage.

        Raises:
            InputError: it cannot be decoded, or more than `TOLERANCE` of the images are damaged.
        """
        found = concealed(data, path)
        if found:
            self._damaged.append(path)
            logging.warning("%s is damaged inside (%s)", path, found)
        if len(self._damaged) > self._allowed:
            raise InputError(
                f"{path} is damaged inside ({found}), which leaves {len(self._damaged)} damaged of {self._total} "
                f"{self._kind}, more than {TOLERANCE:.0%}: restore the files"
            )

    def end(self) -> None:
        """Logs how many are damaged, and which."""
        if self._damaged:
            logging.warning(
                "%s: %d of %d %s are damaged inside and stored as they are: %s",
                self._damaged[0].parent,
                len(self._damaged),
                self._total,
                self._kind,
                some((path.name for path in self._damaged), _SHOWN, ", "),
            )


def concealed(data: bytes, path: Path) -> str | None:
    """Returns the decoders' message on JPEG data with concealed damage; None if there is none.

    Args:
        data: the content of a file.
        path: the file, for the message.

    Raises:
        InputError: it cannot be decoded at all.
    """
    image, said = _decoded(data)
    if image is None:
        raise InputError(f"{path} is not an image, or a damaged one: restore the file")
    if said:
        return said
    # FFmpeg does not support all forms of JPEG: if it refuses the data in any mode, that is no evidence.
    strict = {"err_detect": "explode"}
    if data.startswith(b"\xff\xd8") and not _ffmpeg_decodes(data, strict) and _ffmpeg_decodes(data, {}):
        return "more data in a block than fits"
    return None


def _ffmpeg_decodes(data: bytes, options: dict[str, str]) -> bool:
    context = av.CodecContext.create("mjpeg", "r")
    context.options = {"lowres": "3", **options}  # 1/8 of the size is faster, and still reads all data
    try:
        return bool(context.decode(av.Packet(data)) + context.decode(None))
    except av.error.FFmpegError:
        return False


def _decoded(data: bytes) -> tuple[np.ndarray | None, str]:
    """Decodes the image at 1/8 of its size, None if it fails, and returns libjpeg's first warning.

    OpenCV writes libjpeg's warnings to the standard error stream of the process, and no other Python library exposes
    them. Output of other threads in the meantime is passed on.
    """
    with _LOCK:
        if sys.stderr is not None:
            sys.stderr.flush()
        scratch = _scratch()
        try:
            stderr = os.dup(2)
        except OSError:  # a process without that stream
            return _imdecode(data), ""
        os.dup2(scratch.descriptor, 2)
        try:
            image = _imdecode(data)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        words = scratch.new()
    warnings, others = [], []
    for line in words.decode(errors="replace").splitlines(keepends=True):
        (warnings if line.startswith((*_WARNINGS, "libpng")) else others).append(line)
    if others:
        os.write(2, "".join(others).encode())
    found = [line.strip() for line in warnings if _HARMLESS not in line]
    return image, found[0] if found else ""


def _imdecode(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) if data else None
    except cv2.error:  # a size in the header beyond OpenCV's limit
        return None


class _Scratch:
    """A file in memory, or without a name, for the lifetime of the process.

    It is never emptied: a line of another thread that was incomplete when the stream was restored comes with the next.
    """

    def __init__(self):
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("libjpeg")
        else:
            self.descriptor, name = tempfile.mkstemp()
            os.unlink(name)
        self._seen = 0

    def new(self) -> bytes:
        """Returns what was written since the last call."""
        words = os.pread(self.descriptor, os.fstat(self.descriptor).st_size - self._seen, self._seen)
        self._seen += len(words)
        return words


@functools.cache
def _scratch() -> _Scratch:
    return _Scratch()

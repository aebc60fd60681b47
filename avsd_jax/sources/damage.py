"""Damage inside of JPEG images: found by decoding them, counted, and refused beyond a tolerance.

Headers and file ends say nothing of what lies between, and decoders conceal what they cannot read: the image has the
right size and garbage in it. No decoder notices all of it. OpenCV's libjpeg notices that data is left over or missing,
FFmpeg that a block has too many coefficients; what neither notices is a valid code of another image.
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

# Share of a video's images that may be damaged: more is refused, fewer are named.
TOLERANCE = 0.01

# How libjpeg's warnings on damaged data begin; its others are about colours and versions.
_WARNINGS = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression", "Invalid SOS")
_HARMLESS = "bad ICC"
_SHOWN = 5
_LOCK = threading.Lock()


class Tally:
    """Counts the damaged among a video's images.

    Args:
        total: number of images.
        kind: what they are, such as "frames".
    """

    def __init__(self, total: int, kind: str):
        self._allowed = int(TOLERANCE * total)
        self._total = total
        self._kind = kind
        self._damaged: list[Path] = []

    def look(self, path: Path, data: bytes) -> None:
        """Looks at the content of an image file; only JPEG can be damaged and decoded all the same.

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
        """Says how many are damaged, and which."""
        if self._damaged:
            logging.warning(
                "%s: %d of %d %s are damaged inside and stored as they are: %s",
                self._damaged[0].parent,
                len(self._damaged),
                self._total,
                self._kind,
                some((path.name for path in self._damaged), _SHOWN, ", "),
            )


def check_image(path: Path) -> None:
    """Decodes an image file whole.

    Raises:
        InputError: it cannot be read, is not an image, or is damaged inside.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
    Tally(1, "files").look(path, data)


def concealed(data: bytes, path: Path) -> str | None:
    """Returns what decoders say of JPEG data that they decode only by concealing damage; None if there is none.

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
    # FFmpeg does not know all forms of JPEG: what it refuses in any case says nothing.
    strict = {"err_detect": "explode"}
    if data.startswith(b"\xff\xd8") and not _ffmpeg_decodes(data, strict) and _ffmpeg_decodes(data, {}):
        return "more data in a block than it has room for"
    return None


def _ffmpeg_decodes(data: bytes, options: dict[str, str]) -> bool:
    context = av.CodecContext.create("mjpeg", "r")
    context.options = {"lowres": "3", **options}  # an eighth of the size is quicker, and reads all data
    try:
        return bool(context.decode(av.Packet(data)) + context.decode(None))
    except av.error.FFmpegError:
        return False


def _decoded(data: bytes) -> tuple[np.ndarray | None, str]:
    """The image at an eighth of its size, None if there is none; and libjpeg's first warning.

    OpenCV leaves libjpeg's warnings to the standard error stream of the process, and no other library of Python hands
    them out. What other threads write there meanwhile is passed on.
    """
    with _LOCK:
        if sys.stderr is not None:
            sys.stderr.flush()
        scratch = _scratch()
        try:
            stderr = os.dup(2)
        except OSError:  # a process without the stream
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
    except cv2.error:  # a header that asks for more than OpenCV gives
        return None


class _Scratch:
    """A file in memory, or without a name, for as long as the process lives.

    It is never emptied: another thread's line that was under way when the stream was given back comes with the next.
    """

    def __init__(self):
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("libjpeg")
        else:
            self.descriptor, name = tempfile.mkstemp()
            os.unlink(name)
        self._seen = 0

    def new(self) -> bytes:
        """What was written since this was last asked."""
        words = os.pread(self.descriptor, os.fstat(self.descriptor).st_size - self._seen, self._seen)
        self._seen += len(words)
        return words


@functools.cache
def _scratch() -> _Scratch:
    return _Scratch()

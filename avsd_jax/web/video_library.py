"""The videos that a server shows: those of a folder, and those that were uploaded.

A video has an id, made of its place in the folder or of the content of an upload, and never a path: what a browser
sends is looked up, not opened. Before a file is shown or predicted, FFmpeg must have found a video in it.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread

from avsd_jax.common.atomic_files import make_folder
from avsd_jax.common.safe_paths import is_text
from avsd_jax.common.wording import printable
from avsd_jax.errors import InputError, storage_error
from avsd_jax.media.reading import VideoInfo, open_media, probe
from avsd_jax.prediction.map_writers import fitting_name

SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".vob"),
        *(".3gp", ".3g2", ".wmv", ".asf", ".flv", ".ogv", ".mxf", ".gif"),
    )
)
# Formats that hold a video. Others are pictures, and playlists, whose files or addresses FFmpeg would read.
_FORMATS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,gif,dv,ivf"
_UPLOADS, _STAGED = "uploads", ".upload-"
# Videos that are listed of a folder.
MOST = 5000
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Video:
    """A video file.

    Attributes:
        id: made of letters, digits and `-`.
        name: its path below the folder, with slashes, or the name it was uploaded by.
        path: the file.
        uploaded: whether it came through the browser.
        size: bytes.
        changed: time of the last change, in nanoseconds.
    """

    id: str
    name: str
    path: Path
    uploaded: bool
    size: int
    changed: int

    @property
    def stamp(self) -> str:
        """The state of the file: another one if it was replaced."""
        return f"{self.size}-{self.changed}"

    @property
    def state_name(self) -> str:
        """The name of files that are made of the video in its present state."""
        return hashlib.sha256(f"{self.id} {self.stamp}".encode()).hexdigest()[:16]


class TooLarge(InputError):
    """An upload of more bytes than the server takes."""


class VideoLibrary:
    """The videos of a server.

    Args:
        out: the server's own folder; uploads go there.
        folder: of videos, with its subfolders, or None.
        max_upload: bytes that one upload may have.
    """

    def __init__(self, out: Path, folder: Path | None, max_upload: int):
        self._folder = None if folder is None else folder.resolve()
        self._uploads = out.resolve() / _UPLOADS
        self.max_upload = max_upload
        self._infos: dict[tuple[str, str], VideoInfo | InputError] = {}
        self._paths: dict[str, Path] = {}
        self._lock = threading.Lock()
        for left in self._uploads.glob(f"{_STAGED}*"):  # of a server that was killed
            shutil.rmtree(left, ignore_errors=True)

    def videos(self) -> list[Video]:
        """Returns all videos, sorted by name: the uploaded ones first."""
        return [*self._uploaded(), *self._in_folder()]

    def get(self, video_id: str) -> Video | None:
        """Returns the video of an id; None if there is none (any more)."""
        if video_id.startswith("u-"):
            return self._upload(video_id.removeprefix("u-"))
        path = self._paths.get(video_id)
        if path is None:  # another page may have seen it first
            self.videos()
            path = self._paths.get(video_id)
        return None if path is None else self._of_folder(path)

    def info(self, video: Video) -> VideoInfo:
        """Returns what `avsd_jax.media.reading.probe` says of a video; each state of a file is read once.

        Raises:
            InputError: the file holds no video that can be read.
        """
        key = (video.id, video.stamp)
        with self._lock:
            found = self._infos.get(key)
        if found is None:
            try:
                found = checked(video.path)
            except InputError as error:
                found = InputError(str(error).replace(str(video.path), printable(video.name)))
            with self._lock:
                self._infos[key] = found
        if isinstance(found, InputError):
            raise found
        return found

    async def upload(self, name: str, length: int | None, chunks: AsyncIterator[bytes]) -> Video:
        """Takes an upload; the same content again is the same video.

        It is written to a hidden folder and moved when all of it is there and is a video, so that nothing is left of
        one that fails, or whose browser is closed.

        Args:
            name: the file's name on the other side.
            length: bytes that the browser announced, or None.
            chunks: the content.

        Raises:
            TooLarge: it has more bytes than `max_upload`.
            InputError: it holds no video that can be read, or is not complete.
            StorageError: the disk is full or read-only.
        """
        name = clean_name(name)
        self._check_size(name, length or 0)
        make_folder(self._uploads)
        staged = self._uploads / f"{_STAGED}{secrets.token_hex(8)}"
        try:
            staged.mkdir()
            target = staged / fitting_name(staged, Path(name).stem, Path(name).suffix)
            digest = await self._receive(target, name, length, chunks)
            with _named(target, name):
                await anyio.to_thread.run_sync(checked, target)
            return await anyio.to_thread.run_sync(self._keep, staged, target, digest)
        except OSError as error:
            raise storage_error(error, self._uploads) or error from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _check_size(self, name: str, size: int) -> None:
        if size > self.max_upload:
            raise TooLarge(
                f"{printable(name)} is larger than {self.max_upload / 1e6:g} MB: put it into the folder of "
                "videos, or start the server with a larger --max_upload"
            )

    async def _receive(self, target: Path, name: str, length: int | None, chunks: AsyncIterator[bytes]) -> str:
        """Writes the content to a file; returns its SHA-256."""
        digest, size = hashlib.sha256(), 0
        async with await anyio.open_file(target, "xb") as file:
            async for chunk in chunks:
                size += len(chunk)
                self._check_size(name, size)  # whatever was announced
                digest.update(chunk)
                await file.write(chunk)
        if not size or (length is not None and size != length):
            raise InputError(f"{printable(name)} did not arrive completely ({size} bytes): send it again")
        return digest.hexdigest()

    def _keep(self, staged: Path, target: Path, digest: str) -> Video:
        folder = self._uploads / digest[:16]
        with self._lock:
            if not folder.exists():
                os.rename(staged, folder)
        return next(video for video in self._uploaded() if video.path.parent == folder)

    def _uploaded(self) -> list[Video]:
        names = os.listdir(self._uploads) if self._uploads.is_dir() else ()
        found = [video for name in names if (video := self._upload(name)) is not None]
        return sorted(found, key=lambda video: video.name)

    def _upload(self, name: str) -> Video | None:
        folder = self._uploads / name
        if not name.isalnum() or not folder.is_dir():
            return None
        return next(
            (_video(f"u-{name}", path.name, path, True) for path in sorted(folder.iterdir()) if path.name[0] != "."),
            None,
        )

    def _in_folder(self) -> list[Video]:
        found = [] if self._folder is None else list(itertools.islice(self._walk(), MOST))
        self._paths = {video.id: video.path for video in found}
        return found

    def _walk(self) -> Iterator[Video]:
        for parent, folders, files in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                if Path(file).suffix.lower() in SUFFIXES and file[0] != "." and is_text(f"{parent}/{file}"):
                    video = self._of_folder(Path(parent, file))
                    if video is not None:
                        yield video

    def _of_folder(self, path: Path) -> Video | None:
        """Returns a video of the folder; None for what a link leads to elsewhere, and for our own files."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError):  # a link that leads to itself
            return None
        if not real.is_relative_to(self._folder) or real.is_relative_to(self._uploads.parent):
            return None
        name = path.relative_to(self._folder).as_posix()
        return _video(f"f-{hashlib.sha256(name.encode()).hexdigest()[:16]}", name, path, False)


def _video(video_id: str, name: str, path: Path, uploaded: bool) -> Video | None:
    """Returns a video, or None if its file is gone or is no file."""
    with contextlib.suppress(OSError):
        state = path.stat()
        if path.is_file():
            return Video(video_id, name, path, uploaded, state.st_size, state.st_mtime_ns)
    return None


def clean_name(name: str) -> str:
    """Returns the name of an uploaded file as the name of one here: any script, but no folders and nothing hidden."""
    name = name.replace("\\", "/").rpartition("/")[2]
    name = "".join(c for c in name.encode(errors="ignore").decode() if c.isprintable()).strip().lstrip(".")
    stem, suffix = os.path.splitext(name)
    return f"{stem or 'video'}{suffix if suffix.lower() in SUFFIXES else f'{suffix}.mp4' if suffix else '.mp4'}"


def checked(path: Path) -> VideoInfo:
    """Returns what `avsd_jax.media.reading.probe` says of a file if it is a video by its content.

    Raises:
        InputError: it is not, whatever its name is, or cannot be read.
    """
    open_media(path, _FORMATS).close()
    return probe(path)


@contextlib.contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Calls a file by the name that the user gave it in messages."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(path), printable(name))) from error

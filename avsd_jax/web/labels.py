"""What the server holds for the page Label: prepared videos, and the annotations that are being edited."""

import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int8

from avsd_jax.errors import InputError, StorageError
from avsd_jax.labelling import annotation, preparation
from avsd_jax.labelling.annotation import Annotation
from avsd_jax.labelling.preparation import Prepared
from avsd_jax.media.exact_frames import ExactFrames
from avsd_jax.media.reading import VideoInfo
from avsd_jax.web.video_library import Video

_LABELS, _PREPARED, PROPOSALS = "labels", "prepared", "proposals"
# Videos whose decoders are open, and journals.
_MOST_VIDEOS, _MOST_JOURNALS = 4, 64

_T = TypeVar("_T")


class _Closed(Exception):
    """The server ends."""


class _Preparation:
    """A video that is being prepared, and how far that is."""

    def __init__(self) -> None:
        self.done, self.phase, self.error = 0, "reading the frames", ""


class Labels:
    """The labels in `out/labels/<video>/<annotator>.jsonl`, and the prepared videos in `out/prepared`.

    Args:
        out: the server's own folder.
        videos: returns the videos that there are: what was prepared of others, or of another state, is removed.
    """

    def __init__(self, out: Path, videos: Callable[[], Iterable[Video]]):
        self._folder = out.resolve() / _LABELS
        self._prepared_folder = out.resolve() / _PREPARED
        self._videos = videos
        self._guard = threading.Lock()
        # One file is read at a time: several would take each other's memory and time.
        self._turn = threading.Lock()
        self._closed = False
        self._preparations: dict[str, _Preparation] = {}
        self._prepared: OrderedDict[str, tuple[Prepared, ExactFrames]] = OrderedDict()
        self._annotations: OrderedDict[Path, Annotation] = OrderedDict()
        preparation.remove_unfinished(self._prepared_folder)
        self._remove_stale()

    # -- videos -------------------------------------------------------------------------------------------------------

    def status(self, video: Video, info: VideoInfo) -> dict[str, Any]:
        """Returns whether a video is prepared, as plain values; begins with it if it is not.

        Raises:
            InputError: it cannot be prepared.
        """
        if self.prepared(video) is not None:
            return {"state": "ready"}
        with self._guard:
            running = self._preparations.get(video.state_name)
            if running is not None and running.error:
                del self._preparations[video.state_name]  # the next time is another try
                raise InputError(running.error)
            if running is None:
                running = self._preparations[video.state_name] = _Preparation()
                threading.Thread(target=self._prepare, args=(video, info, running), daemon=True).start()
            total = info.num_frames if running.phase == "reading the frames" else None
            return {"state": "preparing", "phase": running.phase, "done": running.done, "total": total}

    def _prepare(self, video: Video, info: VideoInfo, running: _Preparation) -> None:
        def progress(done: int, audio: bool) -> None:
            if self._closed:
                raise _Closed
            running.done, running.phase = done, "reading the audio" if audio else "reading the frames"

        try:
            with self._turn:
                self._remove_stale()  # first: it may have been prepared in another state, and makes room
                preparation.prepare(self._prepared_folder / video.state_name, info, progress)
            with self._guard:
                del self._preparations[video.state_name]
        except _Closed:
            pass
        except (InputError, StorageError) as error:
            running.error = str(error).replace(str(video.path), video.name)
        except Exception as error:
            running.error = f"{video.name} cannot be prepared ({type(error).__name__}): the terminal shows the error"
            raise

    def _remove_stale(self) -> None:
        """Removes what was prepared of videos that are not there any more, or have another state now."""
        if not preparation.finished(self._prepared_folder):
            return
        present = {video.state_name for video in self._videos()}
        # Within the guard: nobody opens meanwhile what is removed.
        with self._guard:
            for folder in preparation.finished(self._prepared_folder):
                if folder.name not in present:
                    if folder.name in self._prepared:
                        self._prepared.pop(folder.name)[1].close()
                    shutil.rmtree(folder, ignore_errors=True)

    def prepared(self, video: Video) -> tuple[Prepared, ExactFrames] | None:
        """Returns a prepared video and its frames by number; None if it is not prepared."""
        with self._guard:
            key = video.state_name
            if key not in self._prepared:
                found = preparation.load(self._prepared_folder / key)
                if found is None:
                    return None
                self._prepared[key] = found, ExactFrames(video.path, found.index)
                while len(self._prepared) > _MOST_VIDEOS:
                    self._prepared.popitem(last=False)[1][1].close()
            self._prepared.move_to_end(key)
            return self._prepared[key]

    # -- labels -------------------------------------------------------------------------------------------------------

    def folder(self, video: Video) -> Path:
        """Returns the folder of a video's labels, which need not exist."""
        return self._folder / video.id

    def annotators(self, video: Video) -> list[str]:
        """Returns who has labelled a video."""
        return list(annotation.journals(self.folder(video)))

    def with_annotation(
        self, video: Video, annotator: str, found: Prepared, use: Callable[[Annotation], _T], *, create: bool = True
    ) -> _T | None:
        """Returns what a function returns for an annotator's labels; None if there are none and `create` is not set.

        Args:
            video: the video.
            annotator: name of the person.
            found: the video, prepared.
            use: the function.
            create: whether to begin a journal where there is none.

        Raises:
            InputError: the name is none, or the journal is damaged or of another video.
            StorageError: the disk is full or read-only.
        """
        with self._guard:
            path = annotation.journal_of(self.folder(video), annotator)
            of_video = len(found.index.times), found.digest
            held = self._annotations.get(path)
            if held is not None and not held.is_of(*of_video):  # the video was replaced by another one
                self._annotations.pop(path).close()
            if path not in self._annotations:
                if not create and not path.exists():
                    return None
                self._annotations[path] = Annotation(path, video.name, annotator, *of_video)
                while len(self._annotations) > _MOST_JOURNALS:
                    self._annotations.popitem(last=False)[1].close()
            self._annotations.move_to_end(path)
            # Within the guard: the journal must not be closed for another one meanwhile.
            return use(self._annotations[path])

    def labels(self, video: Video, found: Prepared) -> dict[str, Int8[np.ndarray, " n"]]:
        """Returns the labels of all annotators of a video who have labelled a frame; per frame -1, 0, 1 or 2.

        Raises:
            InputError: a journal is damaged or of another video.
        """
        made = {
            name: self.with_annotation(video, name, found, lambda opened: opened.labels)
            for name in self.annotators(video)
        }
        return {name: labels for name, labels in made.items() if (labels >= 0).any()}

    def close(self) -> None:
        """Closes all files."""
        self._closed = True
        with self._guard:
            for opened in self._annotations.values():
                opened.close()
            self._annotations.clear()
            for _, frames in self._prepared.values():
                frames.close()
            self._prepared.clear()

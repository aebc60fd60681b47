"""Batches on the devices before they are needed: a thread joins the clips and copies them while the devices compute."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

Batch = Mapping[str, np.ndarray]

# Batches that wait on the devices. One would do if all took the same time to prepare.
_AHEAD = 2


class Feed:
    """An iterator over (batch, placed batch), prepared ahead by a thread; a context that ends it.

    Joining the clips of a batch and starting their copy takes the host as long as a GPU takes for a step.

    Args:
        batches: batches in host memory. An exception of theirs is raised where its batch is asked for.
        place: copies one to the devices, where steps read it.
    """

    def __init__(self, batches: Iterator[Batch], place: Callable[[Batch], Any]):
        self._batches, self._place = batches, place
        self._ready: queue.Queue[tuple[Batch | None, Any]] = queue.Queue(_AHEAD)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        while self._thread.is_alive():  # it may wait for room
            self._drain()
            self._thread.join(0.05)
        self._drain()
        getattr(self._batches, "close", lambda: None)()

    def __iter__(self) -> Iterator[tuple[Batch, Any]]:
        return self

    def __next__(self) -> tuple[Batch, Any]:
        batch, placed = self._ready.get()
        if batch is not None:
            return batch, placed
        self._ready.put((batch, placed))  # the iterator stays at its end
        raise placed

    def _run(self) -> None:
        try:
            for batch in self._batches:
                if self._ends.is_set():
                    return
                self._ready.put((batch, self._place(batch)))
            end: BaseException = StopIteration()
        except BaseException as error:  # __next__ raises it
            end = error
        self._ready.put((None, end))

    def _drain(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._ready.get_nowait()

"""Events of a job, from the process that works on it to the server."""

import json
import time
from typing import Any, TextIO

_EVERY_SECONDS = 0.1


class Report:
    """Writes events as lines of JSON.

    Args:
        events: the file.
    """

    def __init__(self, events: TextIO):
        self._events = events
        self._last = 0.0

    def send(self, **event: Any) -> None:
        """Writes an event; see `avsd_jax.web.worker`."""
        self._events.write(json.dumps(event) + "\n")
        self._events.flush()

    def phase(self, words: str, total: int | None = None) -> None:
        """Says what begins."""
        self.send(phase=words, done=0, total=total)

    def progress(self, done: int, total: int | None) -> None:
        """Says how far it is, at most ten times a second."""
        now = time.monotonic()
        if now - self._last >= _EVERY_SECONDS:
            self._last = now
            self.send(done=done, total=total)

"""Requests to stop (SIGTERM, Ctrl-C), heeded by all processes of a run at the same step."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType

import jax
import numpy as np
from jax.experimental import multihost_utils

# Exit status of a command that was asked to stop and has saved its state (EX_TEMPFAIL: give it again).
PREEMPTED = 75

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A launcher hands on what a terminal has sent to its processes already: within this time, in s, that is one request.
_SAME_REQUEST = 0.2


class Preempted(BaseException):
    """The run was asked to stop; its state is saved.

    Like KeyboardInterrupt it is no error: where any error is caught, such as while a damaged step is read, it passes.
    """


class Preemption:
    """Context in which the first SIGTERM or Ctrl-C asks to save and end, and a second one ends the process at once.

    Signals are seen by a thread of their own: the main thread may be in a long compilation, where Python calls no
    handler. Outside of the main thread, where Python does not let signals be handled, nothing is changed.
    """

    def __init__(self) -> None:
        self._asked: float | None = None  # when
        self._on_exit = contextlib.ExitStack()

    def __enter__(self) -> "Preemption":
        if threading.current_thread() is threading.main_thread():
            self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._on_exit.close()

    def _listen(self) -> None:
        heard, sent = socket.socketpair()
        sent.setblocking(False)  # as Python demands
        before = signal.set_wakeup_fd(sent.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(heard,), name="signals", daemon=True)
        watcher.start()
        # In reverse order: the signals are given back first, the thread ends when its socket is closed.
        self._on_exit.callback(watcher.join)
        self._on_exit.callback(sent.close)
        self._on_exit.callback(signal.set_wakeup_fd, before)
        for number in _SIGNALS:
            # None is a handler that was not set from Python, such as the one of jax.distributed.
            previous = signal.signal(number, self._note) or signal.SIG_DFL
            self._on_exit.callback(signal.signal, number, previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Takes the place of the default, which kills; `_watch` does the work."""

    def _watch(self, heard: socket.socket) -> None:
        with heard:
            while numbers := heard.recv(1):
                now = time.monotonic()
                if self._asked is None:
                    self._asked = now
                elif now - self._asked > _SAME_REQUEST:
                    os.write(2, b"\nleft at once, as asked twice: the steps saved before are whole\n")
                    os._exit(128 + numbers[0])

    def asked(self) -> bool:
        """Returns whether this process was asked to stop."""
        return self._asked is not None

    def reached(self) -> bool:
        """Returns whether any process of the run was asked to stop; every process answers alike.

        All of them have to call it, after the same steps.
        """
        if jax.process_count() == 1:
            return self.asked()
        return bool(multihost_utils.process_allgather(np.array(self.asked())).any())


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Context in which SIGTERM raises `Preempted`: for work of which nothing needs to be saved first."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Preempted("stopped as asked; the same command continues from what is saved")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop) or signal.SIG_DFL
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def leave_on_signals(status: int) -> None:
    """From now on a signal to stop ends the process at once with `status`: all is saved, only its end is to come."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: os._exit(status))

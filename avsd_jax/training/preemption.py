"""Requests to stop (SIGTERM, Ctrl-C), followed by all processes of a run at the same step."""

import contextlib
import functools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from avsd_jax.common.parallel import AXIS, make_mesh

# Exit status of a command that was stopped by a signal and has saved its state (EX_TEMPFAIL: run it again).
PREEMPTED = 75

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A launcher forwards a signal that the terminal has sent to its processes already: within this time, in seconds,
# both count as one request.
_SAME_REQUEST = 0.2


class Preempted(BaseException):
    """The run was stopped by a signal; its state is saved.

    Like KeyboardInterrupt it is not an Exception, so handlers of any error (as of damaged steps) do not catch it.

    Args:
        message: for the user.
        together: whether all processes of the job stop at this point.
    """

    def __init__(self, message: str, together: bool = False):
        super().__init__(message)
        self.together = together


class Preemption:
    """Context in which the first SIGTERM or Ctrl-C requests a save and exit, and a second one exits at once.

    A separate thread receives the signals: the main thread may be in a long compilation, where Python calls no
    handler. Outside of the main thread, where Python cannot handle signals, the context has no effect.
    """

    def __init__(self) -> None:
        self._asked: float | None = None  # when
        self._answer: jax.Array | None = None
        self._on_exit = contextlib.ExitStack()

    def __enter__(self) -> "Preemption":
        if threading.current_thread() is threading.main_thread():
            self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._on_exit.close()

    def _listen(self) -> None:
        received, sent = socket.socketpair()
        sent.setblocking(False)  # set_wakeup_fd requires it
        before = signal.set_wakeup_fd(sent.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(received,), name="signals", daemon=True)
        watcher.start()
        # In reverse order: the signal handlers are restored first; the thread ends when its socket is closed.
        self._on_exit.callback(watcher.join)
        self._on_exit.callback(sent.close)
        self._on_exit.callback(signal.set_wakeup_fd, before)
        for number in _SIGNALS:
            # None is a handler that was not set from Python, such as that of jax.distributed.
            previous = signal.signal(number, self._note) or signal.SIG_DFL
            self._on_exit.callback(signal.signal, number, previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Replaces the default handler, which kills; `_watch` does the work."""

    def _watch(self, signals: socket.socket) -> None:
        with signals:
            # Those that came together, as `timeout` sends two, are one request.
            while numbers := signals.recv(64):
                now = time.monotonic()
                if self._asked is None:
                    self._asked = now
                elif now - self._asked > _SAME_REQUEST:
                    os.write(2, b"\nended at once by a second signal: earlier checkpoints are intact\n")
                    os._exit(128 + numbers[0])

    def asked(self) -> bool:
        """Returns whether this process was asked to stop."""
        return self._asked is not None

    def reached(self) -> bool:
        """Returns whether any process of the run was asked to stop; the same in every process.

        All of them must call it, after the same steps. In a job of several processes the answer is that of the call
        before: it was computed between two steps, so that no process waits for the latest one here.
        """
        if jax.process_count() == 1:
            return self.asked()
        before, self._answer = self._answer, _any_process(self.asked())
        return before is not None and bool(before)

    def reached_by_now(self) -> bool:
        """Returns what `reached` does, of this moment; waits for the devices."""
        return self.asked() if jax.process_count() == 1 else bool(_any_process(self.asked()))


def _any_process(flag: bool) -> jax.Array:
    """Returns whether any process of the job gave True: an array that may not be computed yet."""
    spread, any_of = _across_processes()
    return any_of(jax.make_array_from_process_local_data(spread, np.full(jax.local_device_count(), flag)))


@functools.cache
def _across_processes() -> tuple[NamedSharding, Callable[[jax.Array], jax.Array]]:
    """Returns how one flag of every device is placed, and the compiled "any" of them."""
    mesh = make_mesh()
    spread, everywhere = NamedSharding(mesh, PartitionSpec(AXIS)), NamedSharding(mesh, PartitionSpec())
    return spread, jax.jit(jnp.any, out_shardings=everywhere)


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Makes SIGTERM raise `Preempted` within the context: for work without state to save."""

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
    """Makes SIGTERM and Ctrl-C end the process at once with `status` from now on: everything is saved."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: os._exit(status))

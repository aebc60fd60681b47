"""What the worker processes of a command have in common."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator

_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started within it compute with one thread, unless the user's environment says otherwise.

    There is one per core, and in each of them BLAS would start as many threads again. It counts them when it is
    loaded, before a pool's initializer runs: only what a process inherits comes in time.
    """
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def end_with_parent() -> None:
    """Ends this worker when its parent is killed: the pool itself would leave it waiting for ever."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

"""Settings of the worker processes of a command."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator

_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Makes processes that are started within it use one thread, unless the user's environment says otherwise.

    There is one process per core, and in each of them BLAS would start as many threads again. It decides when it is
    loaded, before the initializer of a pool runs, so only inherited settings are early enough.
    """
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def end_with_parent() -> None:
    """Ends this worker when its parent is killed: the pool itself would leave it waiting forever."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

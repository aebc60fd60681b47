"""What the worker processes of a command have in common."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Ends this worker when its parent is killed: the pool itself would leave it waiting for ever."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

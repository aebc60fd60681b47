"""A disk that is full, for one process and a moment."""

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Context in which no file of this process grows beyond `size` bytes: a write says "File too large"."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

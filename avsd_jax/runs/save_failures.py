"""A save that fails is reported once, though orbax saves by threads and coroutines that report it, too."""

import contextlib
import logging as std_logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from absl import logging


def _awaited(record: std_logging.LogRecord) -> bool:
    return "exception was never retrieved" not in record.getMessage()


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """Suppresses the messages of orbax's threads about a save that fails within the context, which is raised anyway."""

    def told_by_others(record: std_logging.LogRecord) -> bool:
        return record.levelno < std_logging.ERROR or "orbax" not in record.pathname

    def unraisable(failure: Any) -> None:
        # From tensorstore's writes that end after the first one failed.
        if str(failure.exc_value) != "Event loop is closed":
            before(failure)

    logger, before = logging.get_absl_logger(), sys.unraisablehook
    logger.addFilter(told_by_others)
    sys.unraisablehook = unraisable
    try:
        yield
    except Exception:
        # Unawaited tasks report it when they are garbage-collected, possibly at interpreter exit.
        std_logging.getLogger("asyncio").addFilter(_awaited)
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        raise
    finally:
        logger.removeFilter(told_by_others)
        sys.unraisablehook = before

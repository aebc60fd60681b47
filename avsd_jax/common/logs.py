"""What a command says: on the screen what a person wants to know, in a log file everything.

A command works within `shown`, which sets the screen up. `kept_in` adds the file for as long as a folder is worked in;
what was logged before goes into it, too, so that a command that is refused writes nothing. Outside of `shown`, as in a
notebook, the logging of Python stays as it is.
"""

import contextlib
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from pathlib import Path

import absl.logging
from tqdm import tqdm

FILE = "log.txt"

# Its records are for the screen, whatever their level; those of libraries, and absl's, are from WARNING on.
_OURS = logging.getLogger("avsd_jax")
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(module)s:%(lineno)d: %(message)s"

_early: list[logging.handlers.MemoryHandler] = []  # within `shown`: the records before the first file


class _Screen(logging.Handler):
    """Prints lines on stderr, above the bars that stand there."""

    def emit(self, record: logging.LogRecord) -> None:
        begin = "warning: " if record.levelno >= logging.WARNING and self.formatter is None else ""
        tqdm.write(begin + self.format(record), file=sys.stderr)


class _File(logging.FileHandler):
    """A log file, for want of which no run ends: a full disk is said by what matters."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is Python's
        pass


class _Once:
    """Lets pass what the package says to the user, and each warning when it comes for the first time."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return record.name == _OURS.name
        message = record.getMessage()
        if message in self._seen:
            return False
        self._seen.add(message)
        return True


@contextlib.contextmanager
def shown(verbose: bool = False) -> Iterator[None]:
    """Context in which stages and warnings are printed on stderr, or with `verbose` every record from INFO on."""
    screen, early = _Screen(), logging.handlers.MemoryHandler(capacity=0, flushLevel=logging.CRITICAL + 1)
    if verbose:
        screen.setFormatter(logging.Formatter(_FORMAT))
    else:
        screen.addFilter(_Once())
    # A library that logs while it is imported leaves a handler that prints everything.
    printing = [h for h in logging.root.handlers if type(h) is logging.StreamHandler]
    for handler in printing:
        logging.root.removeHandler(handler)
    level, absl_level = logging.root.level, absl.logging.get_verbosity()
    logging.root.setLevel(logging.INFO)
    absl.logging.set_verbosity(absl.logging.INFO)
    logging.captureWarnings(True)
    for handler in (screen, early):
        logging.root.addHandler(handler)
    _early.append(early)
    try:
        yield
    finally:
        _early.clear()
        for handler in (screen, early):
            logging.root.removeHandler(handler)
            handler.close()
        for handler in printing:
            logging.root.addHandler(handler)
        logging.captureWarnings(False)
        logging.root.setLevel(level)
        absl.logging.set_verbosity(absl_level)


def stage(text: str, process: int = 0) -> None:
    """Says which part of the work begins: the first process of a job on the screen, the others in their log files."""
    (logging.root if process else _OURS).info(text, stacklevel=2)


@contextlib.contextmanager
def kept_in(folder: str | Path, process: int = 0) -> Iterator[None]:
    """Context in which all records, with those before, are appended to `folder/log.txt`.

    Args:
        folder: of the run; made if missing.
        process: number of this process in its job; the first one's file has none in its name.
    """
    if not _early:
        yield
        return
    path = Path(folder) / (f"log_{process}.txt" if process else FILE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _File(path, encoding="utf-8")
    except OSError:  # what has to be written there says so itself
        yield
        return
    file.setFormatter(logging.Formatter(_FORMAT))
    logging.root.addHandler(file)
    logging.root.removeHandler(_early[0])
    _early[0].setTarget(file)
    _early[0].flush()  # into the first folder; empty from then on
    try:
        yield
    finally:
        logging.root.removeHandler(file)
        file.close()

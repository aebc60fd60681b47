"""Output of a command: stages and warnings on the screen, every record in a log file.

A command runs within `shown`, which sets up the screen. `kept_in` adds the file while the command works in a folder;
earlier records are written to it, too, so that a refused command writes nothing. Outside of `shown`, as in a notebook,
Python's logging is unchanged.
"""

import contextlib
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from pathlib import Path

import absl.logging
from tqdm import tqdm

from avsd_jax.errors import InputError

FILE = "log.txt"

# Its records are shown at any level; those of libraries, and absl's, from WARNING on.
_OURS = logging.getLogger("avsd_jax")
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(module)s:%(lineno)d: %(message)s"

_early: list[logging.handlers.MemoryHandler] = []  # within `shown`: the records before the first file


class _Screen(logging.Handler):
    """Prints lines on stderr, above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        begin = "warning: " if record.levelno >= logging.WARNING and self.formatter is None else ""
        tqdm.write(begin + self.format(record), file=sys.stderr)


class _File(logging.FileHandler):
    """A log file whose errors do not end a run: a full disk is reported by the other writers."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, the name is Python's
        pass


class _Once:
    """Passes the package's records for the user, and each warning once."""

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
    """Prints stages and warnings on stderr within the context, or with `verbose` every record from INFO on."""
    screen, early = _Screen(), logging.handlers.MemoryHandler(capacity=0, flushLevel=logging.CRITICAL + 1)
    if verbose:
        screen.setFormatter(logging.Formatter(_FORMAT))
    else:
        screen.addFilter(_Once())
    # A library that logs during its import leaves a handler that prints everything.
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
    """Announces a stage: the first process of a job on the screen, the others in their log files."""
    (logging.root if process else _OURS).info(text, stacklevel=2)


@contextlib.contextmanager
def kept_in(folder: str | Path, process: int = 0) -> Iterator[None]:
    """Appends all records within the context, and earlier ones, to `folder/log.txt`.

    If it ends by InputError and the folder holds nothing else, the file is removed: refused work leaves nothing.

    Args:
        folder: of the run; made if missing.
        process: number of this process in its job; the first one's file has none in its name.
    """
    if not _early:
        yield
        return
    path = Path(folder) / (f"log_{process}.txt" if process else FILE)
    made = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _File(path, encoding="utf-8")
    except OSError:  # other writers report it
        yield
        return
    file.setFormatter(logging.Formatter(_FORMAT))
    logging.root.addHandler(file)
    logging.root.removeHandler(_early[0])
    _early[0].setTarget(file)
    _early[0].flush()  # into the first folder; empty afterwards
    refused = False
    try:
        yield
    except BaseException as error:
        logging.info("ended by %s: %s", type(error).__name__, error, exc_info=not isinstance(error, InputError))
        refused = isinstance(error, InputError)
        raise
    finally:
        logging.root.removeHandler(file)
        file.close()
        if refused and not any(_of_the_work(other, path) for other in path.parent.iterdir()):
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: it is needed
                for each in made:
                    each.rmdir()


def _of_the_work(file: Path, log: Path) -> bool:
    """Returns whether a file is neither the log nor a lock."""
    return file != log and not file.name.startswith(".")

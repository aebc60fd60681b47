"""Work on Apache Beam: a call for each element, by what is made once in every process of the workers.

Elements, and what is made, are pickled; results are plain values, which the workers write as JSON into a hidden folder
that all of them share with this process. A process computes one element at a time. Nothing of Beam is imported before
it is asked for.
"""

import contextlib
import functools
import io
import json
import logging
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from avsd_jax.common.atomic_files import make_folder, write_json
from avsd_jax.errors import InputError, StorageError

_RESULT, _BAD_INPUT, _STORAGE = "result", "bad input", "storage"

# Of Beam's flags, the one that decides what its workers log.
_LEVEL = "--default_sdk_harness_log_level"

_made: dict[bytes, Callable[[Any], Any]] = {}
_one_at_a_time = threading.Lock()


class Lost(NamedTuple):
    """An element without a result, and why."""

    why: str


def flags(text: str | None) -> list[str] | None:
    """Returns the flags of `--beam_pipeline_options=runner=NAME,...`, with or without dashes; None if not given."""
    if text is None:
        return None
    return [f"--{option.strip().removeprefix('--')}" for option in text.split(",") if option.strip()]


def pipeline_options(flags: Sequence[str] | None) -> Any:
    """Returns Beam's options for its flags, such as ["--runner=FlinkRunner"]; None without flags.

    Raises:
        InputError: Beam is not installed, there is no such runner, or a flag has a wrong value.
    """
    if flags is None:
        return None
    with _silenced():
        try:
            from apache_beam.options.pipeline_options import PipelineOptions
        except ImportError as error:
            raise InputError('Beam is not installed: run `pip install "avsd-jax[beam]"`') from error
        options = PipelineOptions(list(flags))
        told = io.StringIO()
        try:
            with contextlib.redirect_stderr(told):
                options.get_all_options()
        except SystemExit as error:  # it prints its usage, of hundreds of lines
            reason = (told.getvalue().strip().splitlines() or [""])[-1].partition("error: ")[2]
            raise InputError(f"--beam_pipeline_options: {reason or 'a flag is wrong'}: correct it") from error
        _check_runner(options)
        return options


def _check_runner(options: Any) -> None:
    """Raises InputError if there is no such runner, which a pipeline would tell by failing."""
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners.runner import PipelineRunner, create_runner

    name = options.view_as(StandardOptions).runner
    if name is None:
        return
    try:
        if not isinstance(create_runner(name), PipelineRunner):
            raise TypeError("it is no PipelineRunner")
    except Exception as error:  # of Beam, or of the module that a name with dots leads to
        raise InputError(
            f"--beam_pipeline_options: there is no runner {name} ({_last_line(error).rstrip('.')}): correct its name, "
            "or install what it needs"
        ) from error


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keeps Beam's chatter of levels below ERROR from the screen: what failed, the caller tells."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def run(make: Callable[[], Callable[[Any], Any]], items: Sequence[Any], flags: Sequence[str], folder: Path) -> list:
    """Computes a function of every item on Beam; returns the results in order, `Lost` for those without.

    Args:
        make: makes the function, in each process of the workers once; it is pickled.
        items: are pickled.
        flags: of Beam; without any its DirectRunner computes in this process.
        folder: on a file system that all workers have under this name; created if missing.

    Raises:
        InputError: Beam is not installed, or the function raised it; of several the first one in order.
        StorageError: the function raised it.
    """
    if not any(flag.startswith(_LEVEL) for flag in flags):
        flags = [*flags, f"{_LEVEL}=ERROR"]
    options = pipeline_options(flags)
    if not items:
        return []
    with _silenced():
        import apache_beam

    make_folder(folder)
    place = Path(tempfile.mkdtemp(prefix=".beam-", dir=folder)).absolute()
    place.chmod(0o777)  # workers of a cluster may be other users
    why = "its worker ended without a result: see the log of the runner"
    try:
        call = functools.partial(_call, pickle.dumps(make), str(place))
        elements = [(number, pickle.dumps(item)) for number, item in enumerate(items)]
        try:
            with _silenced(), apache_beam.Pipeline(options=options) as pipeline:
                # Otherwise a runner may give all elements to one worker.
                spread = pipeline | apache_beam.Create(elements) | apache_beam.Reshuffle()
                _ = spread | "call" >> apache_beam.Map(call)
        except Exception as error:  # of the runner, or of a worker that was killed; each runner has its own
            logging.debug("Beam", exc_info=True)
            why = f"the pipeline of Beam failed ({type(error).__name__}: {_last_line(error)})"
        return [_result(place / f"{number}.json", why) for number in range(len(items))]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[-1]


def _call(make: bytes, folder: str, element: tuple[int, bytes]) -> None:
    """Computes an element in a worker and writes its result."""
    number, item = element
    with _one_at_a_time:
        try:
            if make not in _made:
                _made.clear()
                _made[make] = pickle.loads(make)()
            told = {_RESULT: _made[make](pickle.loads(item))}
        except InputError as error:
            told = {_BAD_INPUT: str(error)}
        except StorageError as error:
            told = {_STORAGE: str(error)}
        write_json(Path(folder) / f"{number}.json", told)


def _result(file: Path, why: str) -> Any:
    try:
        told = json.loads(file.read_text())
    except FileNotFoundError:
        return Lost(why)
    if _BAD_INPUT in told:
        raise InputError(told[_BAD_INPUT])
    if _STORAGE in told:
        raise StorageError(told[_STORAGE])
    return told[_RESULT]

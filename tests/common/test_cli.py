"""Every command's door: what a user can fix is one line and an exit status."""

import errno
import io
import subprocess
import sys

import pytest

from avsd_jax.common import atomic_files, cli
from avsd_jax.errors import InputError, StorageError, storage_error


def raising(error: BaseException):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("no video x: give one"), 2, "error: no video x: give one"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "maps/1.png"), 1, "maps/1.png cannot be written"),
        (OSError(errno.EROFS, "Read-only file system", "run"), 1, "Read-only file system"),
        (RuntimeError("INTERNAL: tensorstore: No space left on device"), 1, "No space left on device"),
        (ZeroDivisionError("stop"), 7, "error: stop"),
    ],
)
def test_an_error_of_the_user_or_the_machine_is_one_line_and_a_status(capsys, error, status, words):
    assert cli.run(raising(error), statuses={ZeroDivisionError: 7}) == status
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_names_that_the_output_cannot_encode_are_escaped(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert cli.run(lambda: print("caf\u00e9/\udcff")) == 0
    assert written.getvalue() == b"caf\\xe9/\\udcff\n"


def test_a_bug_stays_a_traceback():
    with pytest.raises(AttributeError):
        cli.run(raising(AttributeError("x")))


def test_the_cause_of_an_error_says_that_the_disk_is_full():
    error = ValueError("saving failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "run/checkpoints")
    assert isinstance(storage_error(error), StorageError)
    assert storage_error(ValueError("something else")) is None


def test_a_full_disk_leaves_no_partial_file(tmp_path):
    def fill(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"scores.json cannot be written"):
        atomic_files.write(tmp_path / "scores.json", fill)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_traceback():
    code = "from avsd_jax.common import cli; raise SystemExit(cli.run(lambda: [print(i) for i in range(100000)] and 0))"
    done = subprocess.run(
        f"{sys.executable} -c '{code}' | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
    assert done.stderr == ""

"""Atomic creation of folders: what remains after errors, kills and signals, and which targets are refused."""

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from avsd_jax.common import staging
from avsd_jax.errors import InputError, StorageError
from avsd_jax.runs.checkpoint import save_variables


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_the_block_ends_and_not_before(tmp_path):
    with staging.new_folder(tmp_path / "a/out") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "a/out").exists()
    assert _names(tmp_path / "a") == ["out"]
    assert _names(tmp_path / "a/out") == ["file"]


def test_an_error_leaves_nothing_not_even_the_folders_above(tmp_path):
    def fail(error):
        with staging.new_folder(tmp_path / "a/b/out") as folder:
            (folder / "file").write_text("x")
            raise error

    with pytest.raises(KeyError):
        fail(KeyError("x"))
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    with pytest.raises(StorageError, match="a/b/out cannot be written"):
        fail(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(InputError, match="Permission denied"):
        fail(OSError(errno.EACCES, "Permission denied"))
    assert _names(tmp_path) == []


def test_leftovers_of_dead_processes_go_and_all_else_stays(tmp_path):
    for name in (".out-0123abcd.partial", ".other-0123abcd.partial", ".out-original", ".out-backups"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
    private = tmp_path / ".out-k3_x9abc"  # as versions before left it
    private.mkdir(mode=0o700)
    (private / "config.json").write_text("{}")
    with staging.new_folder(tmp_path / "out") as living:
        staging.remove_leftovers(tmp_path / "out")
        assert living.is_dir()
    assert _names(tmp_path) == [".other-0123abcd.partial", ".out-backups", ".out-original", "out"]


def test_of_two_at_a_time_the_first_to_end_wins_and_the_other_is_told(tmp_path):
    def both():
        with staging.new_folder(tmp_path / "out"), staging.new_folder(tmp_path / "out") as second:
            (second / "second").write_text("x")

    with pytest.raises(InputError, match="out cannot be written"):
        both()
    assert _names(tmp_path) == ["out"]
    assert _names(tmp_path / "out") == ["second"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("file", "is a file"),
        ("file/x/y", "file is a file"),
        ("full", "is not empty"),
        ("link", "is a link to"),
        ("dangling", "is a link to"),
        ("loop", "is a link to"),
        ("loop/x", "cannot be"),
        ("n" * 300, "File name too long"),
        (".", "not empty|runs in"),
    ],
)
def test_targets_that_cannot_be_are_one_sentence(tmp_path, monkeypatch, target, message):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/kept").write_text("")
    (tmp_path / "empty").mkdir()
    for name, to in {"link": "empty", "dangling": "nowhere", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(tmp_path / to)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path / "empty")

    def make(target):
        with staging.new_folder(target):
            pass

    with pytest.raises(InputError, match=message) as caught:
        make("." if target == "." else tmp_path / target)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_signals(tmp_path, number, status):
    code = f"""
        import time
        from avsd_jax.common import staging
        with staging.new_folder({str(tmp_path / "a/out")!r}):
            print("ready", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        staging.remove_leftovers(tmp_path / "a/out")
        assert len(_names(tmp_path / "a")) == 1, "what a living process works on was removed"
        process.send_signal(number)
        _, complaint = process.communicate()
    assert process.returncode == status
    if number == signal.SIGTERM:
        assert complaint == "error: stopped by SIGTERM\n"
        assert _names(tmp_path) == []
    else:
        assert len(_names(tmp_path / "a")) == 1
        with staging.new_folder(tmp_path / "a/out"):
            pass
        assert _names(tmp_path / "a") == ["out"]


def test_a_model_that_the_disk_cannot_hold_is_one_sentence_and_leaves_nothing(tmp_path, capfd):
    hook, limits = sys.unraisablehook, resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).standard_normal((1000, 1000)).astype(np.float32)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(StorageError, match="out cannot be written"):
            save_variables(tmp_path / "out", {"model_name": "vinet"}, {"params": {"kernel": noise}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.unraisablehook = hook
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr().err == ""

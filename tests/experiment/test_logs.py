"""What a run prints, and what its log file holds."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import absl.logging
import pytest

from avsd_jax.common import logs
from avsd_jax.errors import InputError

ROOT = Path(__file__).parents[2]

CONFIG = """
from ml_collections import ConfigDict
from tiny_run import add_extra_models, tiny_config


def get_config():
    add_extra_models()
    rows = {"base": {"label": "", "effort": 0.5}, "plain": {"label": "AV", "init": "base"}}
    changes = {"total_steps": 4, "warmup_steps": 0, "eval_stride": 20}
    return tiny_config(%r, rows=tuple(rows), row_changes=ConfigDict(rows), **changes)
"""


@pytest.mark.slow
def test_a_run_prints_what_a_person_wants_and_logs_the_rest(tmp_path: Path, tiny_data_dir: Path) -> None:
    (tmp_path / "config.py").write_text(CONFIG % str(tiny_data_dir))
    workdir = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "avsd_jax.main", f"--config={tmp_path / 'config.py'}", f"--workdir={workdir}"],
        cwd=ROOT,
        # One device, for which a step compiles soonest.
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/helpers'}", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stderr.splitlines() if line.strip() and "|" not in line]  # no bars
    assert printed == [
        *("checking the configuration", "training 1 of 2: base", "training 2 of 2: AV", "scoring 1 of 1: AV")
    ]
    assert "loss=" in done.stderr
    assert done.stderr.count("\n") + done.stdout.count("\n") < 40
    assert "INFO" not in done.stderr + done.stdout
    assert done.stdout.splitlines()[-1] == f"report: {workdir / 'report.md'}"
    log = (workdir / logs.FILE).read_text()
    assert "INFO avsd_jax run:" in log
    assert log.count("Saving checkpoint at step") >= 2, "orbax says so"
    assert "training step compiled in" in log


def test_a_warning_is_printed_once_and_logged_always(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    before = logging.root.level, logging.root.handlers[:], absl.logging.get_verbosity()
    with logs.shown():
        absl.logging.warning("early %d", 1)
        assert not list(tmp_path.iterdir())
        with logs.kept_in(tmp_path), warnings.catch_warnings():
            warnings.simplefilter("always")
            absl.logging.warning("early %d", 1)
            absl.logging.info("of a library")
            logs.stage("stage")
            warnings.warn("by Python", stacklevel=1)
        with logs.kept_in(tmp_path / "second", process=3):
            logs.stage("second stage", process=3)
    assert (logging.root.level, logging.root.handlers, absl.logging.get_verbosity()) == before
    shown = capsys.readouterr().err.splitlines()
    assert shown[:2] == ["warning: early 1", "stage"]
    assert shown[2].startswith("warning: ")
    assert "by Python" in shown[2]
    assert "second stage" not in shown
    log = (tmp_path / logs.FILE).read_text()
    assert log.count("WARNING absl test_logs") == log.count("early 1") == 2
    assert "INFO absl test_logs" in log
    assert "of a library" in log
    assert "by Python" in log
    assert "second stage" in (tmp_path / "second/log_3.txt").read_text()
    assert not (tmp_path / "second" / logs.FILE).exists()


def test_refused_work_leaves_no_log(tmp_path: Path) -> None:
    def work(folder: Path, *begun: str) -> None:
        with logs.shown(), logs.kept_in(folder):
            logs.stage("begins")
            for name in begun:
                (folder / name).write_text("")
            raise InputError("no")

    for folder, begun in (("refused", (".lock",)), ("broken off", ("config.json",))):
        with pytest.raises(InputError):
            work(tmp_path / folder, *begun)
        assert (tmp_path / folder / logs.FILE).exists() == (folder == "broken off")


def test_verbose_prints_everything_and_outside_nothing_changes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with logs.shown(verbose=True):
        absl.logging.info("of a library")
    assert "INFO absl" in capsys.readouterr().err
    with logs.kept_in(tmp_path):
        absl.logging.info("not kept")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with logs.shown(), logs.kept_in(tmp_path / "file"):
        logs.stage("goes on")
    assert capsys.readouterr().err == "goes on\n"

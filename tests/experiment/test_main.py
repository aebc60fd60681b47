"""The user's journey: one command trains the rows of a comparison, scores them and writes the report."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import devices
import jax
import numpy as np
import pytest
from held_folder import HOLD
from ml_collections import ConfigDict
from tiny_run import add_extra_models, tiny_config

from avsd_jax import main
from avsd_jax.errors import InputError
from avsd_jax.experiment import command_line, run
from avsd_jax.runs import temperature
from avsd_jax.runs.checkpoint import load_for_inference, saved_steps
from avsd_jax.runs.run_folder import LOCK_FILE
from avsd_jax.training import loop

ROOT = pathlib.Path(__file__).parents[2]
ROWS = {
    "base": {"label": "", "effort": 0.5},
    "plain": {"label": "AV", "init": "base"},
    "star": {"label": "AV*", "init": "base", "learning_rate": 0.01},
    "oracle": {"label": "AV#", "weights": "star", "model": {"gate": "labels"}},
    "mixed": {"label": "mixed", "weights": "plain", "init_parts": {"Conv_1": "star"}},
}


def test_one_command_trains_scores_and_reports(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_extra_models()
    devices.train_on_one(monkeypatch)
    config = tiny_config(tiny_data_dir, rows=tuple(ROWS), row_changes=ConfigDict(ROWS), total_steps=4, eval_stride=13)
    record = main.run(config, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(record))
    assert [row["label"] for row in record["rows"]] == ["AV", "AV*", "AV#", "mixed"]
    for row in record["rows"]:
        assert set(row["conditions"]) == {"real", "silent", "shuffled", "noise"}
        counts = row["conditions"]["real"]["counts"]
        assert counts["frames"]["all"] >= counts["frames"]["consistent"] + counts["frames"]["inconsistent"] > 0
    markdown = (tmp_path / "report.md").read_text()
    for word in ("AV# is gated by the labels.", "NSS", "s-AUC", "Inconsistent", "shuffled"):
        assert word in markdown
    assert (tmp_path / "panel.png").stat().st_size > 1000
    plain, star, mixed = (load_for_inference(tmp_path / name)[1] for name in ("plain", "star", "mixed"))
    plain["params"]["Conv_1"] = star["params"]["Conv_1"]
    jax.tree.map(np.testing.assert_array_equal, mixed, plain)
    # What is assembled is saved under its step, once; after more training it is another model, which nobody calibrated.
    calibration = temperature.write(tmp_path / "mixed", {"temperature": 2.0, "step": 4})
    main.run(config, tmp_path, "train")
    assert calibration.exists()
    assert saved_steps(tmp_path / "mixed") == [4]
    # Scoring again, without training, gives the same numbers.
    again = main.run(config, tmp_path, "eval")
    for old, new in zip(record["rows"], again["rows"], strict=True):
        assert old["conditions"]["real"]["scores"] == new["conditions"]["real"]["scores"]
    (tmp_path / "mixed/checkpoints/4/training").mkdir()
    with pytest.raises(InputError, match="was trained to step 4, and 'mixed' is put together from other rows"):
        main.run(config, tmp_path, "train")
    (tmp_path / "mixed/checkpoints/4/training").rmdir()
    longer = config.copy_and_resolve_references().unlock()
    longer.total_steps = 5
    main.run(longer, tmp_path, "train")
    assert not calibration.exists()
    assert saved_steps(tmp_path / "mixed") == [5]


@pytest.mark.filterwarnings("ignore:the load_module")  # by which ml_collections reads a configuration
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/avinet.py:large"], "unknown variant 'large'.*paper, star, oracle, demo"),
        (
            ["--config=configs/avinet.py:demo", "--config.totl_steps=3"],
            "no field 'totl_steps': did you mean 'total_steps'",
        ),
        (["--config=configs/avinet.py:demo", "--config.nonsense=1"], "has no field 'nonsense': its file lists"),
        (["--config=configs/avinet.py:demo", "--totl_steps=3"], "unrecognized arguments: --totl_steps=3"),
        (["--config=configs/none.py"], "no configuration file configs/none.py.*configs/avinet.py"),
    ],
)
def test_bad_command_lines_are_one_clear_error(
    tmp_path: pathlib.Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(ROOT)
    assert main.main([f"--workdir={tmp_path / 'run'}", *arguments]) == 2
    check_error(capsys.readouterr().err, message)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.slow
def test_a_command_that_fails_later_ends_with_one_clear_error_too(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "avsd_jax.main", f"--workdir={tmp_path / 'run'}", "--config=configs/avinet.py"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    check_error(done.stderr, "diem.*configs/avinet.py:demo")
    assert not list(tmp_path.rglob("*.json"))


def check_error(printed: str, message: str) -> None:
    last = printed.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "Traceback" not in printed
    assert re.search(message, last), last


def test_a_run_that_was_stopped_ends_with_75(capsys: pytest.CaptureFixture) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    def stopped() -> None:
        raise loop.Preempted("stopped after step 3 as asked; the same command continues from there")

    try:
        assert command_line.stoppable(stopped) == 75
        assert command_line.stoppable(lambda: signal.raise_signal(signal.SIGTERM)) == 75
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)
    assert "stopped after step 3 as asked" in capsys.readouterr().err
    assert command_line.stoppable(lambda: None) == 0


def test_a_second_run_in_a_folder_is_refused_and_scoring_is_not(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "scoring_store", lambda config: None)
    monkeypatch.setattr(run, "_train_and_score", lambda config, workdir, rows, mode: {"mode": mode})
    add_extra_models()
    config = tiny_config("data")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / LOCK_FILE)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use by process 7"):
            main.run(config, tmp_path)
        assert main.run(config, tmp_path, "eval") == {"mode": "eval"}
        other.kill()
    assert main.run(config, tmp_path, "train") == {"mode": "train"}

"""The user's journey: one command trains the rows of a comparison, scores them and writes the report."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from ml_collections import ConfigDict
from tiny_run import add_extra_models, tiny_config

from avsd_jax import main

ROOT = pathlib.Path(__file__).parent.parent
ROWS = {
    "base": {"label": "", "effort": 0.5},
    "plain": {"label": "AV", "init": "base"},
    "star": {"label": "AV*", "init": "base", "learning_rate": 0.01},
    "oracle": {"label": "AV#", "weights": "star", "model": {"gate": "labels"}},
}


def test_one_command_trains_scores_and_reports(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    add_extra_models()
    config = tiny_config(tiny_data_dir, rows=tuple(ROWS), row_changes=ConfigDict(ROWS), total_steps=4, eval_stride=8)
    record = main.run(config, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(record))
    assert [row["label"] for row in record["rows"]] == ["AV", "AV*", "AV#"]
    for row in record["rows"]:
        assert set(row["conditions"]) == {"real", "silent", "shuffled", "noise"}
        counts = row["conditions"]["real"]["counts"]
        assert counts["frames"]["all"] >= counts["frames"]["consistent"] + counts["frames"]["inconsistent"] > 0
    markdown = (tmp_path / "report.md").read_text()
    for word in ("AV#", "NSS", "s-AUC", "Inconsistent", "shuffled"):
        assert word in markdown
    assert (tmp_path / "panel.png").stat().st_size > 1000
    # Scoring again, without training, gives the same numbers.
    again = main.run(config, tmp_path, "eval")
    for old, new in zip(record["rows"], again["rows"], strict=True):
        assert old["conditions"]["real"]["scores"] == new["conditions"]["real"]["scores"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/avinet.py:large"], "unknown variant 'large'.*paper, demo"),
        (["--config=configs/avinet.py:demo", "--config.totl_steps=3"], "totl_steps"),
        (["--config=configs/none.py"], "no configuration file configs/none.py.*configs/avinet.py"),
        (["--config=configs/avinet.py"], "diem.*configs/avinet.py:demo"),
    ],
)
def test_bad_command_lines_are_one_clear_error(tmp_path: pathlib.Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "avsd_jax.main", f"--workdir={tmp_path / 'run'}", *arguments]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert re.search(message, last), last
    assert not list(tmp_path.rglob("*.json"))

"""Table IV: which rows there are, what is computed, and what a row without scores says."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import stavis_files
import tiny_run
from config_files import CONFIGS, load

from avsd_jax import datasets
from avsd_jax.batch import model_inputs
from avsd_jax.config.base import base
from avsd_jax.data import pipeline
from avsd_jax.errors import InputError
from avsd_jax.evaluation import published
from avsd_jax.runs.checkpoint import NO_VARIABLES, save_variables
from avsd_jax.runs.components import Inference
from avsd_jax.runs.stores import scoring_store
from avsd_jax.training.score import evaluate
from benchmarks import table4, table4_rows

TINY = "sounding_shapes/tiny"


def test_the_rows_are_the_surveys_and_ours() -> None:
    rows = table4_rows.table_rows()
    assert [row.method for row in rows if row.model not in table4_rows.OURS] == [
        row.method for row in published.table4("DIEM")
    ]
    assert [row.method for row in rows[:5]] == ["ITTI", "GBVS", "SBF", "AWS-D", "gbvs_av"]
    by_method = {row.method: row for row in rows}
    assert by_method["STAViS"].command("C") == (
        "python -m avsd_jax.convert --model=stavis --checkpoint=FILE --out=C/stavis"
    )
    assert by_method["AViNet*"].command("C") == (
        "python -m avsd_jax.main --config=configs/avinet.py:star --workdir=C/avinet_star --mode=train"
    )
    assert by_method["STANet#"].folders == ("stanet_oracle", "stanet_star")
    assert [row.method for row in table4_rows.select("stavis,GBVS")] == ["GBVS", "STAViS", "STAViS*", "STAViS#"]
    for row in (row for row in rows if row.exists and row.learned):  # every command names what there is
        trained = re.search(r"--config=configs/(\w+)\.py:(\w+)", row.command("C"))
        assert trained is None or trained[2] in load(CONFIGS / f"{trained[1]}.py").VARIANTS, row.command("C")
    with pytest.raises(InputError, match="has no row 'vinet': choose among the models itti, gbvs"):
        table4_rows.select("vinet")


@pytest.fixture
def _tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Table IV with two models that compile in a second: one without weights, one with a gate."""
    tiny_run.add_extra_models()
    monkeypatch.setitem(table4_rows.MODELS, "ITTI", "bright")
    monkeypatch.setitem(table4_rows.MODELS, "STAViS", "tiny_gated")
    monkeypatch.setattr(table4_rows, "GATED", ("tiny_gated",))


def arguments(data_dir: Path, out: Path, **given: Any) -> argparse.Namespace:
    usual = {"dataset": TINY, "split": None, "data_dir": str(data_dir), "checkpoints": None, "protocol": None}
    usual |= {"models": "bright,tiny_gated", "stride": 7, "limit": 0, "out": str(out)}
    return argparse.Namespace(**usual | given)


@pytest.fixture
def checkpoints(_tiny_models: None, tiny_data_dir: Path, tmp_path: Path) -> Path:
    """A folder with weights of the model that the labels gate."""
    config = base("tiny_gated")
    config.model.gate = "labels"
    config.update(dataset=TINY, data_dir=str(tiny_data_dir), test_split="test", frame_size=(32, 32))
    parts = Inference.from_config(config)
    batch = next(iter(pipeline.eval_batches(scoring_store(config), parts.spec, batch_size=2)))
    variables = parts.model.init(jax.random.key(0), jax.device_put(model_inputs(batch)))
    save_variables(tmp_path / "weights" / "tiny_gated_oracle", config, jax.device_get(variables))
    return tmp_path / "weights"


def test_rows_are_scored_as_main_scores_them_or_say_what_they_need(
    checkpoints: Path, tiny_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = arguments(tiny_data_dir, tmp_path / "out", checkpoints=str(checkpoints))
    text = table4.run(given)
    record = json.loads((tmp_path / "out" / "table4.json").read_text())
    assert (tmp_path / "out" / "table4.md").read_text() == text
    rows = {row["method"]: row for row in record["rows"]}
    assert list(rows) == ["ITTI", "STAViS", "STAViS*", "STAViS#"]
    assert record["protocol"]["name"] == "native"

    config = base("bright")
    config.update(dataset=TINY, data_dir=str(tiny_data_dir), test_split="test", eval_stride=7)
    real = evaluate(config, Inference.from_config(config), NO_VARIABLES)["real"]
    own = rows["ITTI"]["datasets"]["sounding_shapes"]
    for key in ("scores", "intervals", "counts"):
        assert own[key] == json.loads(json.dumps(real[key])), key
    assert own["ms"] > 0
    assert own["frame_size"] == [32, 32]
    assert rows["STAViS#"]["datasets"]["sounding_shapes"]["counts"] == own["counts"]
    assert rows["STAViS"]["datasets"] == {}
    assert "configs/tiny_gated.py:star" in rows["STAViS*"]["needs"]
    assert f"- STAViS* needs {rows['STAViS*']['needs']}" in text
    assert rows["STAViS*"]["needs"].endswith(f"--workdir={checkpoints / 'tiny_gated_star'} --mode=train`")
    assert "### Consistent frames" in text
    assert "survey's CC" not in text, "the published values are of other datasets"

    monkeypatch.setattr(table4, "score_frames", None)  # nothing is scored again
    assert table4.run(given) == text
    with pytest.raises(TypeError):
        table4.run(arguments(tiny_data_dir, tmp_path / "out", stride=5))


def test_wrong_weights_are_refused_before_anything_is_scored(
    checkpoints: Path, tiny_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table4, "score_frames", None)
    given = arguments(tiny_data_dir, tmp_path / "out", checkpoints=str(checkpoints))
    (checkpoints / "tiny_gated_oracle").rename(checkpoints / "tiny_gated")
    with pytest.raises(InputError, match="holds tiny_gated with gate=labels, and STAViS is tiny_gated with gate="):
        table4.run(given)
    (checkpoints / "tiny_gated").rename(checkpoints / "tiny_gated_star")
    (checkpoints / "tiny_gated").mkdir()
    with pytest.raises(InputError, match="test is not a trained model"):
        table4.run(given)
    with pytest.raises(InputError, match="no folder .*nowhere: give --checkpoints"):
        table4.run(arguments(tiny_data_dir, tmp_path / "out", checkpoints=str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="datasets diem, avad, .* are not built"):
        table4.run(arguments(tiny_data_dir, tmp_path / "out", dataset="six"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("_tiny_models")
def test_the_surveys_datasets_are_scored_by_its_protocol_beside_its_values(tmp_path: Path) -> None:
    for name in ("diem", "coutrot1"):
        stavis_files.write_set(tmp_path / "files", name)
        datasets.build(name, tmp_path / "data", manual_dir=tmp_path / "files")
    given = arguments(tmp_path / "data", tmp_path / "out", dataset="diem,coutrot1", models="bright", stride=2)
    text = table4.run(given)
    record = json.loads((tmp_path / "out" / "table4.json").read_text())
    assert record["protocol"]["name"] == "stavis"
    assert record["splits"] == ["test_1", "test_2", "test_3"]
    (row,) = record["rows"]
    assert row["published"]["diem"] == published.table4("diem")[0].scores
    for own in row["datasets"].values():
        assert own["counts"]["videos"]["all"] == 1
        assert own["counts"]["frames"]["all"] == 3 * 2, "frames 8 and 10 of each split: the first 8 are not scored"
    scores = [own["scores"]["all"]["CC"] for own in row["datasets"].values()]
    assert row["mean"]["scores"]["all"]["CC"] == pytest.approx(np.mean(scores))
    assert f"| {published.table4('diem')[0].scores['NSS']:.3f} |" in text
    assert "## Mean over 2 datasets, all frames" in text
    mean = np.mean([published.table4(name)[0].scores["CC"] for name in ("diem", "coutrot1")])
    assert f" {mean:.3f} |" in text

"""The benchmarks run, and sum up what they should."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avsd_jax.errors import InputError
from avsd_jax.media.reading import probe
from benchmarks import datasets as datasets_benchmark
from benchmarks import gate_cost, gating
from benchmarks import image_models as image_models_benchmark
from benchmarks import metrics as metrics_benchmark
from benchmarks import models as models_benchmark
from benchmarks.video_files import write_video


def fake_record(value: float) -> dict:
    scores = {group: dict.fromkeys(gating.METRICS, value) for group in gating.GROUPS}
    rows = [("V", None), ("AV", None), ("AV*", {"accuracy": value / 10}), ("AV#", {"accuracy": None})]

    def row(rank: int, label: str, avc: dict | None) -> dict:
        one = {"all": {"CC": value * rank}, "consistent": {"CC": None}, "inconsistent": {"CC": 0.5}}
        two = {"all": {"CC": value * rank + 1}, "consistent": {"CC": value + rank}, "inconsistent": {"CC": 0.5}}
        real = {"scores": scores, "avc": avc, "videos": {"one": one, "two": two}}
        return {"label": label, "conditions": {"real": real}}

    return {"rows": [row(rank, *named) for rank, named in enumerate(rows)]}


def test_gating_gives_mean_and_sample_deviation_over_seeds() -> None:
    summary = gating.summarise([fake_record(v) for v in (1.0, 2.0, 3.0)])
    assert summary["V"]["consistent"]["CC"] == [2.0, 1.0]
    assert summary["AV*"]["avc_accuracy"] == [pytest.approx(0.2), pytest.approx(0.1)]
    assert "avc_accuracy" not in summary["V"]
    assert "avc_accuracy" not in summary["AV#"]
    lines = gating.table(summary).splitlines()
    assert lines[2].startswith("| V | 2.000 ± 1.000 |")
    assert lines[4].endswith("| 0.200 ± 0.100 |")


def test_gating_gives_differences_with_intervals_over_videos() -> None:
    found = {(c["claim"], c["group"]): c for c in gating.claims([fake_record(v) for v in (1.0, 2.0)])}
    # Both videos differ by the seed's value, in each pair of neighbouring rows.
    assert found["AV* - AV", "all"] == {
        **{"claim": "AV* - AV", "group": "all", "difference": 1.5},
        "interval": [1.5, 1.5],
    }
    assert found["AV - V", "consistent"]["difference"] == 1.0
    assert found["AV - V", "consistent"]["interval"] is None, "one video is no sample"
    assert found["V - AV", "inconsistent"]["difference"] == 0
    assert "AV - AV with another video's audio" not in [claim for claim, _ in found]
    assert "+1.500 [+1.500, +1.500]" in gating.claims_table(list(found.values()))
    fewer = {"rows": [row for row in fake_record(1.0)["rows"] if row["label"] != "AV*"]}
    assert {claim["claim"] for claim in gating.claims([fewer])} == {"AV - V", "V - AV"}


@pytest.mark.filterwarnings("ignore:the load_module")  # by which ml_collections reads a configuration
def test_gating_takes_each_models_demo() -> None:
    for model in gating.MODELS:
        args = gating.parse([f"--model={model}", "--seeds=0", "--config.batch_size=3"])
        assert (args.config.model_name, args.config.batch_size) == (model, 3)
        assert (str(args.workdir), args.seeds) == (f"runs/gating_{model}", [0])
    args = gating.parse(["--config=configs/stavis.py:demo", "--workdir=here"])
    assert (args.config.model_name, str(args.workdir), args.seeds) == ("stavis", "here", [0, 1, 2])
    with pytest.raises(InputError, match="--model: invalid choice: 'deep'"):
        gating.parse(["--model=deep"])


@pytest.mark.slow
def test_metrics_are_timed_only_where_all_agree() -> None:
    maps = metrics_benchmark.make_maps(1, 16, 24, 30)
    runs = metrics_benchmark.runs_of(maps, metrics_benchmark.ROW, "pysaliency is not here")
    metrics_benchmark.check(runs, metrics_benchmark.ROW)
    times = metrics_benchmark.measure(runs, rounds=1)
    assert set(times) == {"ours, batch", "ours, one map", "NumPy"}
    evaluate = metrics_benchmark.checked_evaluate_runs(maps, ("AUC-J", "CC"))
    assert {name: run().dtype for name, (run, _) in evaluate.items()} == dict.fromkeys(
        metrics_benchmark.EVALUATE, np.dtype(np.float64)
    )
    lines = metrics_benchmark.table([{"metric": "row of five", "fixations": 30, "ms": times}]).splitlines()
    assert lines[2].startswith("| row of five | 30 | ")
    wrong = runs | {"NumPy": (lambda: np.asarray(runs["NumPy"][0]()) + 0.01, 1)}
    with pytest.raises(AssertionError, match="AUC-J, NumPy"):
        metrics_benchmark.check(wrong, metrics_benchmark.ROW)


def test_datasets_are_built_and_read_in_every_form(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"LENGTH": 40, "SIZE": (160, 160), "CHUNKS": (16, 64), "STRIDES": (8,), "COMPARED": 1, "_POOL": 2}
    for name, value in small.items():
        monkeypatch.setattr(datasets_benchmark, name, value)
    monkeypatch.setattr(datasets_benchmark.os, "cpu_count", lambda: 1)
    results = datasets_benchmark.run(frames=120, reads=2, work_dir=tmp_path)
    assert (results["videos"], results["frames"], list(results["builds"])) == (3, 120, [1])
    assert results["builds"][1]["processor_seconds"] > 0
    names = [form["storage"] for form in results["storage"]]
    assert names == ["chunks of 16", "chunks of 64", "clips of 32, one from each 8 frames"]
    assert all(form["bytes"] >= 1 << 16 for form in results["storage"])
    assert all(form["undecoded_clips_per_second"] > 0 < form["clips_per_second"] for form in results["storage"])


def test_a_model_is_measured_without_recorded_outputs() -> None:
    network = next(n for n in models_benchmark.NETWORKS if n.model == "soundnet8")
    row = models_benchmark.measure(dataclasses.replace(network, options={"width": 0.1}), None, repeats=1)
    assert row["parity"] is None
    assert row["ms"] > 0
    assert 0.02 < row["parameters_m"] < 0.05
    assert row["input"] == {"audio": [70560]}
    line = models_benchmark.table([row]).splitlines()[2]
    assert line.startswith(f"| soundnet8 |  |  | {row['parameters_m']:.2f} | {row['gflop']:.2f} |")


def test_flops_are_those_of_convolutions_and_products() -> None:
    def program(x: jax.Array, kernel: jax.Array, y: jax.Array) -> jax.Array:
        # 8 x 8 outputs of 6 channels, each of 3 x 3 taps and 4 / 2 channels; then twice 5 products of 7 numbers.
        convolved = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
        )
        return convolved.sum() + jax.lax.scan(lambda carry, _: (carry + (y @ y[0]).sum(), None), 0.0, length=2)[0]

    jaxpr = jax.make_jaxpr(program)(jnp.zeros((1, 8, 8, 4)), jnp.zeros((3, 3, 2, 6)), jnp.zeros((5, 7)))
    assert models_benchmark.flops(jaxpr.jaxpr) == 2 * (8 * 8 * 6 * 3 * 3 * 2 + 2 * 5 * 7)


@pytest.mark.filterwarnings("ignore:the load_module")
def test_the_cost_of_the_gate_is_that_of_the_same_round(tmp_path: pathlib.Path) -> None:
    rows = gate_cost.table({"plain": [1.0, 2.0, 1.0], "gated": [1.1, 2.2, 1.5]}, frames=10).splitlines()
    assert rows[2:] == [
        "| plain | 100.0 | 1.000 | 1.000 to 1.000 |",
        "| gated | 150.0 | 1.100 | 1.100 to 1.500 |",
    ]
    args = gate_cost.parse(["--every=0.25,0", "--size=64x48", "--frames=3"])
    assert (args.every, args.size, args.config.model_name) == ([0.25, 0.0], (64, 48), "avinet")
    for wrong in ("--size=64", "--every=often"):
        with pytest.raises(InputError, match=wrong.partition("=")[0]):
            gate_cost.parse([wrong])
    info = probe(write_video(tmp_path / "video.mp4", 5, 64, 48))
    assert (info.num_frames, info.fps, info.width, info.audio is None) == (5, 25.0, 64, False)


def test_image_models_are_timed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVSD_SHARED", raising=False)
    row = {"GBVS, fast=True": image_models_benchmark.ROWS["GBVS, fast=True"]}
    monkeypatch.setattr(image_models_benchmark, "ROWS", row)
    assert image_models_benchmark.main(["--size=20x12", "--timed_runs=1"]) == 0
    assert "| GBVS, fast=True |  |  | " in capsys.readouterr().out
    assert image_models_benchmark.main(["--size=20"]) == 2
    assert "640x360" in capsys.readouterr().err

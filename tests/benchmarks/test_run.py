"""The runner of benchmarks: turns, rows, the page, and what a machine without our packages can import."""

import dataclasses
import inspect
import json
import pathlib
import subprocess
import sys
import types
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from avsd_jax.errors import InputError
from avsd_jax.training import program
from avsd_jax.training.step import make_train_step
from benchmarks import machine, measure, networks, page, run
from benchmarks.cases import training_step, video

ROOT = pathlib.Path(__file__).parents[2]


def test_runs_take_turns_and_ratios_are_paired_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])

    def lasting(name: str, seconds: list[float]) -> measure.Run:
        left = iter([9.0, *seconds])

        def call() -> str:
            order.append(name)
            clock[0] += next(left)
            return name

        return measure.Run(call, wait=lambda result: None, units=2, headline=f"{name}'s line")

    runs = {"ours": lasting("ours", [1, 2, 4]), "peer": lasting("peer", [3, 4, 4])}
    setting = measure.Setting(rounds=3)
    ours, peer, missing = measure.compare(
        setting, "title", runs, unit="clip", against="peer", not_run={"other": "needs torch"}
    )
    assert order == ["ours", "peer", "ours", "peer", "peer", "ours", "ours", "peer"]
    assert ours.ms == (1000, 500, 2000)
    assert ours.ratio == (2, 1, 3)
    assert (ours.against, ours.rounds, ours.headline) == ("peer", 3, "ours's line")
    assert peer.ratio is None
    assert missing == measure.Row("title", "other", not_run="needs torch")
    for row in (ours, peer, missing):
        assert measure.Row.from_json(json.loads(json.dumps(row.to_json()))) == row
    # A group that has used up its time ends after the least number of rounds.
    short = dataclasses.replace(setting, rounds=9, budget=1.0)
    assert len(measure.take_turns(short, {"one": lasting("one", [5] * 9)})["one"]) == short.least == 3


def test_a_short_run_is_repeated_within_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])

    def tick() -> None:
        clock[0] += 0.01

    seconds = measure.take_turns(measure.Setting(rounds=2), {"run": measure.Run(tick)})["run"]
    assert seconds == pytest.approx([0.01, 0.01])


def test_huge_pages_are_withheld_in_the_turns_of_runs_that_ask_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[object] = []
    monkeypatch.setattr(measure, "_withhold", events.append)
    runs = {"PyTorch": measure.Run(lambda: events.append("call"))}
    assert measure.with_huge_pages(runs, "PyTorch") == {}, "this process has none"
    monkeypatch.setattr(measure.huge_pages, "asked_for", lambda: True)
    monkeypatch.setattr(measure, "TURN", 0.0)
    setting, other = measure.Setting(rounds=1), measure.with_huge_pages(runs, "PyTorch")
    measure.take_turns(setting, runs)
    assert events == [True, "call", False] * 2
    events.clear()
    assert list(measure.take_turns(setting, other)) == ["PyTorch, huge pages"]
    assert events == ["call", "call"]


def test_programs_tell_their_compile_time_and_memory() -> None:
    found = measure.compiled(lambda x: x @ x, jnp.ones((64, 64)))
    assert found.call(jnp.ones((64, 64)))[0, 0] == 64
    assert found.seconds > 0
    assert found.values["memory MB"] >= 2 * 64 * 64 * 4 / 1e6


def fake_case(name: str, rows: object) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__doc__ = "A fake case.\n\nIts text."
    module.rows = rows
    return module


@pytest.mark.slow
def test_a_case_that_fails_costs_no_other(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(setting: measure.Setting):
        yield measure.Row("a group", "before", values={"error": 1e-6})
        raise RuntimeError("broken\nby design")

    def sound(setting: measure.Setting):
        spread = measure.Spread(2.0, 1.0, 3.0)
        yield measure.Row("times", "ours", "clip", spread, "peer", spread, 3, headline="the fastest")
        yield measure.Row("times", "peer", "clip", spread)
        yield measure.Row("times", "none", not_run="needs av")

    for name, rows in (("broken", broken), ("sound", sound)):
        monkeypatch.setitem(sys.modules, f"benchmarks.cases.{name}", fake_case(name, rows))
    monkeypatch.setattr(run, "available", lambda: ["broken", "sound"])
    out, written = tmp_path / "cpu.json", tmp_path / "page.md"
    assert run.main(["--quick", "--device=cpu", f"--out={out}"]) == 1
    printed = capsys.readouterr().out
    assert "| before | 1.0e-06 |" in printed
    assert "| ours | 2 (1–3) | 2 (1–3) |" in printed
    assert run.main([f"--page={written}", "--render", str(out)]) == 0
    text = written.read_text()
    assert "| the fastest | 2 ms a clip, 2 x peer | not measured |" in text
    assert "GPU**: not measured" in text
    assert "| none | not run: needs av |  |" in text
    assert text.count("Its text.") == 2
    # With a record of a GPU, too.
    record = json.loads(out.read_text())
    record["setting"]["device"] = "gpu"
    both = page.render([json.loads(out.read_text()), record])
    assert "| the fastest | 2 ms a clip, 2 x peer | 2 ms a clip, 2 x peer |" in both
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    assert run.main(["--device=cpu", "--cases=sound", "--publish", f"--page={written}"]) == 0
    assert "| the fastest |" in written.read_text()
    assert [path.name for path in run.RESULTS.iterdir()] == ["cpu.json"]
    monkeypatch.setattr(sys.modules["benchmarks.cases.broken"], "QUICK", False, raising=False)
    assert (run.chosen(quick=True), run.chosen(quick=False)) == (["sound"], ["broken", "sound"])
    # Cases may be measured in parts.
    assert run.main(["--device=cpu", "--cases=broken", "--publish", f"--page={written}"]) == 1
    assert "| the fastest |" in written.read_text()
    assert "| broken (not run: RuntimeError" in written.read_text()
    assert run.main(["--quick", "--device=cpu", "--cases=broken", "--publish", f"--page={written}"]) == 1
    assert "| the fastest |" not in written.read_text()
    with pytest.raises(InputError, match="second record"):
        run.load([out, out])
    assert run.main(["--cases=none"]) == 2
    (tmp_path / "other.json").write_text("[]")
    assert run.main(["--render", str(tmp_path / "other.json")]) == 2


def test_the_machine_is_recorded() -> None:
    record = machine.record()
    assert record["cores"] > 0
    assert set(record["versions"]) >= {"jax", "jaxlib", "flax", "optax"}
    assert page.machine_line(record | {"commit": ""}).endswith(f"{record['date']}.")


def beyond(allowed: tuple[str, ...]) -> set[str]:
    """The importable names of installed packages that neither these nor their dependencies bring."""
    kept, queue = set(), list(allowed)
    while queue:
        name = canonicalize_name(queue.pop())
        if name in kept:
            continue
        kept.add(name)
        try:
            needs = map(Requirement, metadata.requires(name) or ())
        except metadata.PackageNotFoundError:
            continue
        queue += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    owners = metadata.packages_distributions()
    return {name for name, own in owners.items() if not kept & {canonicalize_name(one) for one in own}}


def test_cases_need_jax_flax_and_optax_alone() -> None:
    refused = beyond(("jax", "flax", "optax", "torch")) - {"avsd_jax", "benchmarks", "configs", "datasets_tfds"}
    assert refused >= {"jaxtyping", "ml_collections", "av", "cv2", "clu", "grain", "tensorflow_datasets", "einops"}
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(refused)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
from benchmarks import bare, measure, run
import importlib
assert bare.MISSING == ["jaxtyping", "ml_collections"], bare.MISSING
assert measure.optional("jaxtyping") is None
for name in run.available():
    importlib.import_module(f"benchmarks.cases.{{name}}")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_page_is_the_rendering_of_the_records() -> None:
    """`python -m benchmarks.run --publish` makes both."""
    records = run.load(sorted((ROOT / run.RESULTS).glob("*.json")))
    assert (ROOT / run.PAGE).read_text() == page.render(records)


def test_networks_draw_what_both_sides_read() -> None:
    for network in networks.NETWORKS:
        small = dataclasses.replace(network, shapes={name: (2,) * len(x) for name, x in network.shapes.items()})
        batch = small.batch(3)
        assert {name: x.shape[0] for name, x in batch.items()} == dict.fromkeys(network.shapes, 3)
        assert [len(x) for x in network.peer_inputs(batch)] == [3] * len(batch)
    model, batch = networks.NETWORKS[0].model(width=0.05, clip_size=8), {"video": np.zeros((1, 8, 32, 32, 3), "f4")}
    drawn = networks.variables(model, batch)
    stats = drawn["batch_stats"]["backbone"]["base1_0"]["bn_s"]
    assert (stats["mean"] == 0).all()
    assert (stats["var"] == 1).all()
    assert jax.tree.structure(drawn) == jax.tree.structure(dict(jax.eval_shape(model.init, jax.random.key(0), batch)))


def test_the_training_step_is_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arguments fit; it is traced, not compiled."""

    class Tiny(networks.Network):
        def model(self, **options):
            return super().model(width=0.05, clip_size=8)

    def traced(model, optimizer, terms, executor, dtype, remat, arguments):
        given = inspect.signature(program.compiled_step).bind(
            model, optimizer, terms, executor, dtype, remat, arguments
        )
        assert given.arguments["remat"] is False
        step = make_train_step(model, optimizer, terms, compute_dtype=dtype, remat=remat)
        state, metrics = jax.eval_shape(step, *arguments)
        assert metrics["loss"].shape == ()
        return program.Program(lambda *_: (state, {"loss": 1.0}), {})

    monkeypatch.setattr(training_step, "compiled_step", traced)
    monkeypatch.setattr(training_step, "memory_of", lambda _: 1.0)
    tiny = Tiny(**{**vars(networks.NETWORKS[0]), "shapes": {"video": (8, 32, 32, 3)}})
    setting = measure.Setting(quick=True)
    batch = training_step.batch_of(tiny, setting)
    made = training_step.our_run(tiny, batch, "a headline", "a peer")
    assert made.call() == made.call() == 1.0
    assert (made.units, made.against, made.headline) == (1, "a peer", "a headline")
    assert set(made.values) == {"compile s", "memory MB"}


def test_maps_of_videos_are_compared() -> None:
    rng = np.random.default_rng(0)
    exact = list(rng.random((4, 4, 6), np.float32))
    found = video._error([x + np.float32(0.1) * x.max() for x in exact[:3]], exact)
    assert found["frames"] == 3
    assert found["largest difference"] == pytest.approx(0.1, rel=0.05)
    assert found["CC"] == pytest.approx(1)

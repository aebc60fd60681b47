"""The case of scaling: collective bytes from HLO, shares of the work, and the page of plots."""

import itertools
import json
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

from avsd_jax.common.parallel import AXIS, make_mesh
from benchmarks import collectives, measure, scaling_page
from benchmarks.cases import scaling


def test_collective_bytes_are_those_of_a_compiled_program() -> None:
    mesh = make_mesh(jax.devices()[:2])
    split = jax.ShapeDtypeStruct((4, 6, 5), np.float32, sharding=NamedSharding(mesh, PartitionSpec(AXIS)))
    total = jax.jit(lambda x: x.sum(axis=0), out_shardings=NamedSharding(mesh, PartitionSpec()))
    assert collectives.collective_bytes(total.lower(split).compile().as_text()) == [6 * 5 * 4]


def test_collectives_of_several_results_and_in_two_parts() -> None:
    program = """
  %all-reduce.1 = (f32[3,3,64]{2,1,0}, bf16[7]{0}, f32[]) all-reduce(%a, %b, %c), channel_id=1
  %all-gather-start = f32[8]{0} all-gather-start(%d), dimensions={0}
  %all-gather-done = f32[8]{0} all-gather-done(%all-gather-start)
  %sum = f32[100]{0} add(%all-reduce.1, %e)
"""
    assert collectives.collective_bytes(program) == [3 * 3 * 64 * 4 + 7 * 2 + 4, 8 * 4]


def test_rows_and_page_of_scaling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs = [
        collectives.Program(executor, devices, 2_000_000 * (devices > 1), 3, 1_000_000, 8 / devices)._asdict()
        for executor in ("jit", "pmap")
        for devices in (1, 4)
    ]
    lines = "\n".join(map(json.dumps, programs))
    done = types.SimpleNamespace(returncode=0, stdout=lines, stderr="")
    monkeypatch.setattr(scaling.subprocess, "run", lambda *given, **options: done)
    sizes = itertools.count(1)

    def instant(sweep: scaling.Sweep, point: scaling.Point, seed: int) -> measure.Run:
        return measure.Run(lambda: None, values={sweep.along: next(sizes)})

    monkeypatch.setattr(scaling, "our_run", instant)
    monkeypatch.setattr(measure, "TURN", 0)
    rows = list(scaling.rows(measure.Setting(quick=True, rounds=1)))
    assert [row.name for row in rows[:2]] == ["8 frames", "16 frames"]
    rows = [*rows[:-1], *scaling.data_parallel(measure.Setting())]
    last = rows[-1].values
    assert (last["moved / gradients"], last["share of one device's"]) == (2, 0.25)

    case = {"title": "Scaling", "text": "Text.", "rows": [row.to_json() for row in rows]}
    machine = {"cores": 1, "processor": "CPU", "memory_gb": 1, "python": "3", "versions": {}, "switches": {}}
    machine |= {"date": "today", "commit": ""}
    scaling_page.write({"cases": {"scaling": case}, "machine": machine}, tmp_path / "scaling.md")
    assert "](scaling.png)" in (tmp_path / "scaling.md").read_text()
    assert len(scaling_page.plots(rows)) == 5
    with Image.open(tmp_path / "scaling.png") as sheet:
        assert sheet.height > 3 * 400
    # A process that fails is a row, and not the end of the benchmark.
    failed = types.SimpleNamespace(returncode=1, stdout="", stderr="Traceback\nerror: no memory")
    monkeypatch.setattr(scaling.subprocess, "run", lambda *given, **options: failed)
    (row,) = scaling.data_parallel(measure.Setting())
    assert row.not_run == "error: no memory"

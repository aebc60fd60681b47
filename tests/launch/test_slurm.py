"""A run of one process continues with two, started by launch/slurm.sbatch through a stand-in for srun."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from tiny_run import HELPERS, ROOT, add_extra_models, tiny_config

from avsd_jax.common.parallel import make_mesh
from avsd_jax.runs.checkpoint import load_for_inference, saved_steps
from avsd_jax.training import loop
from avsd_jax.training.metric_writer import read_scalars

SHIMS = pathlib.Path(__file__).parent / "shims"
# Plain SGD: Adam would blow up the rounding of gradients that are almost zero.
CHANGES = {"optimizer": "sgd", "learning_rate": 0.05, "compilation_cache": ""}
CONFIG = """
from tiny_run import add_extra_models, tiny_config

def get_config(variant=""):
    add_extra_models()
    return tiny_config({data!r}, total_steps=100_000, checkpoint_every=100_000, **{changes!r})
"""


def free_job() -> int:
    """A number of a job whose coordinator's port, which jax derives from it, is free."""
    for job in range(os.getpid() % 4096, os.getpid() % 4096 + 4096):
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", 65535 - 4095 + job % 4096)):
                return job
    raise AssertionError("no port is free")


def train(data: pathlib.Path, workdir: pathlib.Path, steps: int) -> None:
    config = tiny_config(data, total_steps=steps, **CHANGES)
    loop.train(config, workdir, mesh=make_mesh(jax.devices()[:1]))


@pytest.mark.slow
def test_a_run_continues_with_two_processes_and_stops_with_both(
    tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path
) -> None:
    add_extra_models()
    one, two = tmp_path / "one", tmp_path / "two"
    train(tiny_data_dir, one, 3)
    shutil.copytree(one, two)
    for name in ("srun", "scontrol"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(SHIMS / ("srun" if name == "srun" else "record"))
    (tmp_path / "tiny.py").write_text(CONFIG.format(data=str(tiny_data_dir), changes=CHANGES))
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PYTHONPATH": f"{ROOT}:{HELPERS}",
        "SHIM_LOG": str(tmp_path / "log"),
        "SLURM_JOB_ID": str(free_job()),
        "XLA_FLAGS": "",
    }
    with (tmp_path / "output").open("w+") as output:
        command = ["launch/slurm.sbatch", str(tmp_path / "tiny.py"), str(two), "--mode=train"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while read_scalars(two / "metrics.jsonl")[-1]["step"] < 4:
            assert process.poll() is None, (tmp_path / "output").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids = (tmp_path / "log").read_text().split()
        os.kill(int(pids[1]), signal.SIGTERM)  # of one of the two; Slurm tells all
        status = process.wait(timeout=60)
        output.seek(0)
        printed = output.read()
    assert status == 75, printed
    assert printed.count("as asked; the same command continues") == 2
    assert f"scontrol requeue {environment['SLURM_JOB_ID']}\n" in (tmp_path / "log").read_text()
    last = saved_steps(two)[-1]
    assert 4 <= last < 300
    train(tiny_data_dir, one, last)
    losses = [{line["step"]: line["loss"] for line in read_scalars(run / "metrics.jsonl")} for run in (one, two)]
    np.testing.assert_allclose(losses[1][4], losses[0][4], rtol=1e-6)
    variables = (jax.tree.leaves(load_for_inference(run)[1]) for run in (one, two))
    for a, b in zip(*variables, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)

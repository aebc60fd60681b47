"""Joining a job where there is one, and leaving it."""

import os
import pathlib
import re
import subprocess
import sys
import threading
from typing import Any

import jax
import pytest

from avsd_jax import main
from avsd_jax.common import cluster
from avsd_jax.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]
VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "KUBERNETES_SERVICE_HOST")


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each call of jax that would join a job."""
    for name in (*VARIABLES, "JOB_COMPLETION_INDEX", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    made = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: made.append(given))
    monkeypatch.setattr(cluster, "_joined", False)
    return made


def identity(call: dict[str, Any]) -> tuple:
    return tuple(call.get(name) for name in ("coordinator_address", "num_processes", "process_id"))


def test_manual_names_the_job_by_options_or_by_the_environment(calls: list, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.join("manual", "host:1", 4, 0)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "other:2")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    cluster.join("manual", process_id=0)
    cluster.join()  # launch/local.py sets these
    assert [identity(call) for call in calls] == [("host:1", 4, 0), ("other:2", 2, 0), ("other:2", 2, 1)]
    assert {call["cluster_detection_method"] for call in calls} == {"deactivate"}
    assert all(call["heartbeat_timeout_seconds"] <= 30 for call in calls), "the others end within a minute"
    cluster.join("off")
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (("manual",), {}, "lacks --coordinator .*, --num_processes .*, --process_id"),
        (("manual", "host:1", 2), {}, "lacks --process_id .or JAX_PROCESS_ID"),
        (("manual", "host:1", 2, 2), {}, "--process_id=2 is none of 2 processes"),
        (("manual", "host", 2, 1), {}, "--coordinator=host is no HOST:PORT"),
        (("manual", "host:65536", 2, 1), {}, "--coordinator=host:65536 is no HOST:PORT"),
        (("manual", "host:1", 2), {"JAX_PROCESS_ID": "one"}, "JAX_PROCESS_ID=one is no number"),
        (("auto", None, 2), {}, "--num_processes needs --distributed=manual"),
        (("off", "host:1", None, 0), {}, "--coordinator, --process_id needs --distributed=manual"),
    ],
)
def test_a_job_that_is_not_named_well_is_bad_input(
    arguments: tuple, environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, calls: list
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=words):
        cluster.join(*arguments)
    assert calls == []


def test_auto_joins_what_jax_finds_and_leaves_a_machine_of_its_own_alone(
    calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.join()
    assert identity(calls.pop()) == (None, None, None)
    for name, value in (("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("SLURM_STEP_NUM_TASKS", "1")):
        monkeypatch.setenv(name, value)
        cluster.join()
        monkeypatch.delenv(name)
    assert calls == []
    # As jax itself answers, here.
    monkeypatch.undo()
    cluster.join()
    with pytest.raises(InputError, match="cannot be joined .*before any JAX calls"):
        cluster.join("manual", "localhost:1", 2, 0)
    assert not cluster._joined


def test_one_that_waits_says_so_and_gives_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    left = threading.Event()
    monkeypatch.setattr(cluster, "_NOTICE", 0.01)
    monkeypatch.setattr(cluster.os, "_exit", lambda status: left.set())
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: left.wait(20))
    cluster.join("manual", "host:1", 2, 0, patience=1)
    waits, error = capsys.readouterr().err.splitlines()
    assert waits == "waiting for the other processes of the job, up to 1 s"
    assert error.startswith("error: not all processes of the job came within 1 s: start every one")


def test_a_failed_process_of_a_job_leaves_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def lost() -> int:  # jax raises a ValueError where a collective is called as a function
        raise ValueError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer [::1]:7\nmore")

    def broken() -> int:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    with pytest.raises(ValueError, match="Gloo"):  # alone: a bug
        cluster.leaving_at_once(lost, keep=(0, 75))
    assert cluster.leaving_at_once(lambda: 2, keep=(0, 75)) == 2
    left = []
    monkeypatch.setattr(cluster, "_in_a_job", lambda: True)
    monkeypatch.setattr(cluster, "_LAST_WORDS", 0)
    monkeypatch.setattr(cluster.os, "_exit", left.append)
    assert [cluster.leaving_at_once(lambda status=status: status, keep=(0, 75)) for status in (0, 75, 2)] == [0, 75, 2]
    assert left == [2]
    capsys.readouterr()
    cluster.leaving_at_once(lost, keep=(0, 75))
    printed = capsys.readouterr().err
    assert printed.startswith(
        "error: another process of the job has ended or is out of reach (UNKNOWN: Gloo all-reduce"
    )
    assert printed.count("\n") == 1
    cluster.leaving_at_once(broken, keep=(0, 75))
    assert "Traceback" in capsys.readouterr().err
    assert left == [2, 1, 1]


def test_a_check_adds_up_a_number_of_every_device(capsys: pytest.CaptureFixture) -> None:
    assert main.main(["--check", "--config=configs/avinet.py", "--config.seed=1", "--workdir=runs/a"]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        rf"^process 0 of 1 on \S+: {jax.device_count()} of {jax.device_count()} devices \(cpu\)$", printed, re.M
    )
    assert f"psum over {jax.device_count()} devices: {sum(range(jax.device_count() + 1))}, right" in printed
    assert main.main(["--check", "--distributed=manual"]) == 2
    assert main.main(["--check", "--distributed=perhaps"]) == 2
    assert main.main(["--check", "--cordinator=host:1"]) == 2
    assert main.main(["--config=configs/avinet.py:demo", "--workdir=gs://bucket/run"]) == 2
    assert "gs://bucket/run is no folder" in capsys.readouterr().err


def test_a_check_of_two_processes() -> None:
    environment = os.environ | {"XLA_FLAGS": ""}
    command = [sys.executable, "launch/local.py", "--nproc=2", "--devices_per_proc=4", "--", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    # Lines of the network library come between.
    for i in range(2):
        assert re.search(rf"process {i} of 2 on \S+: 4 of 8 devices \(cpu\)$", done.stdout, re.M)
    assert done.stdout.count("psum over 8 devices: 36, right") == 1

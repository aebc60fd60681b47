"""What the scripts of launch/ would run is what they run, and is what the recorded sessions and the README show."""

import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from shell_scripts import LAUNCH, ROOT, run, stand_in

SESSIONS = [*sorted((pathlib.Path(__file__).parent / "golden").glob("*.txt")), LAUNCH / "README.md"]


def commands(session: pathlib.Path) -> list[tuple[str, str]]:
    """The commands of a recorded session, or of the console blocks of a page, and what they print."""
    text = session.read_text()
    if session.suffix == ".md":
        text = "".join(re.findall(r"^```console\n(.*?)^```", text, re.M | re.S))
    parts = re.split(r"^\$ (.*)\n", text, flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the scripts, and stand-ins for what they call."""
    shutil.copytree(LAUNCH, tmp_path / "launch")
    stand_in(tmp_path, "gcloud", "gcsfuse", "git", "mkdir", "python3", "rm", "scontrol", "srun", "tail", "tar")
    stand_in(tmp_path, ".venv/bin/python")
    return tmp_path


@pytest.fixture
def tools(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the scripts, where all commands but those of clouds are themselves."""
    shutil.copytree(LAUNCH, tmp_path / "launch")
    stand_in(tmp_path, "gcloud", by="bucket")
    return tmp_path


@pytest.mark.parametrize("session", SESSIONS, ids=lambda path: path.stem)
def test_a_dry_run_prints_what_would_be_run(session: pathlib.Path, place: pathlib.Path) -> None:
    for line, expected in commands(session):
        words = shlex.split(line)
        if words[0] == "python":
            words[0], where = sys.executable, ROOT
        else:
            where = place
        done = run(where, words, PATH=os.environ["PATH"])
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected, line
        # Processes are started in the background, or by Python: other tests do so.
        if "--dry-run" not in words or re.search(r"local\.py|worker\.sh --dry-run (start|stop)", line):
            continue
        log = place / "log"
        log.unlink(missing_ok=True)
        words.remove("--dry-run")
        (place / "data/logs").mkdir(parents=True, exist_ok=True)
        done = run(place, words)
        assert done.returncode == 0, done.stderr
        ran, shown = log.read_text().splitlines(), expected.splitlines()
        if "build" in words:  # all at once
            ran, shown = sorted(ran), sorted(shown)
        assert ran == shown, line


def test_scripts_parse_and_a_wrong_call_shows_how_to_use_them(place: pathlib.Path) -> None:
    scripts = [*LAUNCH.glob("*.sh"), LAUNCH / "slurm.sbatch"]
    assert len(scripts) >= 5
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
        if script.name == "common.sh":
            continue
        assert os.access(script, os.X_OK)
        done = run(place, [f"launch/{script.name}"])
        assert done.returncode == 2, script
        assert (
            f"  launch/{script.name} --dry-run" in done.stderr or f"  launch/{script.name} [--dry-run]" in done.stderr
        )
        assert "set -euo" not in done.stderr


@pytest.mark.parametrize(
    ("action", "variables", "words"),
    [
        (["check"], {"ZONE": "", "TPU": ""}, "error: set ZONE TPU\n"),
        (["create", "--yes"], {"RUNTIME": ""}, "error: set RUNTIME\n"),
        (["sync"], {"BUCKET": ""}, "error: set BUCKET\n"),
        (["create"], {}, "error: create needs --yes\n"),
        (["delete"], {}, "error: delete needs --yes\n"),
        (["run"], {}, "error: run needs the options of python -m avsd_jax.main\n"),
        (["run", "--config=configs/avinet.py", "--dry-run"], {}, "error: --dry-run comes first\n"),
        (["check", "--spot"], {}, "error: unknown argument --spot\n"),
    ],
)
def test_nothing_is_spent_by_mistake(
    action: list[str], variables: dict[str, str], words: str, place: pathlib.Path
) -> None:
    done = run(place, ["launch/tpu_pod.sh", *action], **variables)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (place / "log").exists()
    if action == ["create"]:
        assert "a v5litepod-32 (on demand) in us-west4-a for the project my-project" in done.stderr


def test_scripts_work_from_another_folder(place: pathlib.Path) -> None:
    done = run(place / "launch", ["./worker.sh", "begin"])
    assert (done.returncode, "launch/worker.sh [--dry-run] start" in done.stderr) == (2, True)
    (place / "shims/git").unlink()
    (place / "shims/git").write_text('#!/bin/sh\npwd >"$SHIM_LOG"\n')
    (place / "shims/git").chmod(0o755)
    where = {"PATH": f"{place / 'shims'}:{os.environ['PATH']}", "SHIM_LOG": str(place / "log")}
    run(place / "shims", ["../launch/tpu_pod.sh", "sync"], **where)
    assert (place / "log").read_text().splitlines()[0] == str(place), "the commit of another repository is copied"
    done = run(place / "shims", ["../launch/datasets.sh", "build", "raw", "data"], **where)
    assert (done.returncode, ".venv/bin/python is missing" in done.stderr) == (2, True)


def test_a_job_that_was_preempted_is_queued_again_and_no_other(place: pathlib.Path) -> None:
    for status in (0, 1, 75):
        (place / "log").unlink(missing_ok=True)
        command = ["launch/slurm.sbatch", "configs/avinet.py", "runs/a"]
        done = run(place, command, SHIM_STATUS=str(status), SLURM_JOB_ID="7")
        assert done.returncode == status
        assert ("scontrol requeue 7\n" in (place / "log").read_text()) == (status == 75)


def test_datasets_reach_the_hosts_with_their_shared_files(tools: pathlib.Path) -> None:
    for name in ("avad", "diem"):
        (tools / f"data/{name}").mkdir(parents=True)
        (tools / f"data/{name}/train_1").write_text(name)
        (tools / f"data/{name}/train_2").hardlink_to(tools / f"data/{name}/train_1")
    for action, folder, bucket in (("push", "data", "gs://my-bucket"), ("fetch", "other", "my-bucket")):
        command = ["launch/datasets.sh", action, folder, bucket]
        done = run(tools, command, DATASETS="avad diem", SHIM_BUCKET=str(tools / "bucket"))
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tools / "bucket/my-bucket/datasets").iterdir()) == ["avad.tar", "diem.tar"]
    assert sorted(path.name for path in (tools / "other").iterdir()) == ["avad", "diem"]
    assert (tools / "other/diem/train_2").read_text() == "diem"
    assert (tools / "other/diem/train_1").samefile(tools / "other/diem/train_2")


def test_a_build_that_fails_is_named(tools: pathlib.Path) -> None:
    done = run(tools, ["launch/datasets.sh", "build", "raw", "data"], DATASETS="avad diem", PYTHON="false")
    assert done.returncode == 1
    assert re.findall(r"^error: (\w+) ended with status 1: see data/logs/", done.stderr, re.M) == ["avad", "diem"]


# As a preempted training: it saves for a while after SIGTERM, and leaves with status 75.
TRAINS = """#!{python}
import signal, sys, time
def stop(number, frame):
    time.sleep(0.5)
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("training", *sys.argv[1:], flush=True)
time.sleep(60)
"""


def test_a_host_starts_shows_and_stops_its_process(tools: pathlib.Path) -> None:
    fake = tools / "trains"
    fake.write_text(TRAINS.format(python=sys.executable))
    fake.chmod(0o755)
    worker = ["launch/worker.sh"]
    assert "ended with status unknown" in run(tools, [*worker, "stop"], PYTHON=str(fake)).stdout
    started = run(tools, [*worker, "start", "--workdir=bucket/a b"], PYTHON=str(fake))
    assert started.returncode == 0, started.stderr
    log = tools / ".job/log"
    deadline = time.monotonic() + 60
    while "training" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert log.read_text() == "training -m avsd_jax.main --workdir=bucket/a b\n"
    again = run(tools, [*worker, "start", "--workdir=x"], PYTHON=str(fake))
    assert again.returncode == 2
    assert "runs process" in again.stderr
    stopped = run(tools, [*worker, "stop"], PYTHON=str(fake))
    assert stopped.stdout.endswith("ended with status 75\n"), (stopped, log.read_text())
    assert log.read_text().endswith("saved\n")
    # One that was killed, by hand or with its machine, does not stand in the way.
    run(tools, [*worker, "start", "--workdir=x"], PYTHON=str(fake))
    os.kill(int((tools / ".job/pid").read_text()), signal.SIGKILL)
    time.sleep(0.1)
    assert "ended with status unknown" in run(tools, [*worker, "stop"], PYTHON=str(fake)).stdout

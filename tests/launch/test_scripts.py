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

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
LAUNCH = ROOT / "launch"
SESSIONS = [*sorted((HERE / "golden").glob("*.txt")), LAUNCH / "README.md"]
STANDS_FOR = (
    "gcloud",
    "gcsfuse",
    "git",
    "kubectl",
    "mkdir",
    "python3",
    "rm",
    "sbatch",
    "scontrol",
    "sky",
    "srun",
    "tar",
)
STANDS_FOR += ("tail", ".venv/bin/python")
SETTING = {"PROJECT": "my-project", "ZONE": "us-west4-a", "TPU": "pod", "BUCKET": "my-bucket", "TMPDIR": "/tmp"}
SETTING |= {"ACCELERATOR": "v5litepod-32", "RUNTIME": "v2-alpha-tpuv5-lite"}


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
    for name in STANDS_FOR:
        shim = tmp_path / (name if "/" in name else f"shims/{name}")
        shim.parent.mkdir(parents=True, exist_ok=True)
        shim.symlink_to(HERE / "shims/record")
    return tmp_path


def run(place: pathlib.Path, command: list[str], shims: bool = False, **variables: str) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], "SHIM_LOG": str(place / "log")} | SETTING
    if shims:
        environment["PATH"] = f"{place / 'shims'}:{environment['PATH']}"
    environment |= {name: value for name, value in variables.items() if value}
    environment = {name: value for name, value in environment.items() if variables.get(name, value)}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda path: path.stem)
def test_a_dry_run_prints_what_would_be_run(session: pathlib.Path, place: pathlib.Path) -> None:
    for line, expected in commands(session):
        words = shlex.split(line)
        if words[0] == "python":
            words[0], where = sys.executable, ROOT
        else:
            where = place
        done = run(where, words)
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected, line
        # Processes are started in the background, or by Python: other tests do so.
        if "--dry-run" not in words or re.search(r"local\.py|worker\.sh --dry-run (start|stop)", line):
            continue
        log = place / "log"
        log.unlink(missing_ok=True)
        words.remove("--dry-run")
        (place / "data/logs").mkdir(parents=True, exist_ok=True)
        done = run(place, words, shims=True)
        assert done.returncode == 0, done.stderr
        assert sorted(log.read_text().splitlines()) == sorted(expected.splitlines()), line


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
        (["check", "--spot"], {}, "error: unknown argument --spot\n"),
    ],
)
def test_nothing_is_spent_by_mistake(
    action: list[str], variables: dict[str, str], words: str, place: pathlib.Path
) -> None:
    done = run(place, ["launch/tpu_pod.sh", *action], shims=True, **variables)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (place / "log").exists()
    if action == ["create"]:
        assert "a v5litepod-32 (on demand) in us-west4-a for the project my-project" in done.stderr


def test_a_job_that_was_preempted_is_queued_again_and_no_other(place: pathlib.Path) -> None:
    for status in (0, 1, 75):
        (place / "log").unlink(missing_ok=True)
        command = ["launch/slurm.sbatch", "configs/avinet.py", "runs/a"]
        done = run(place, command, shims=True, SHIM_STATUS=str(status), SLURM_JOB_ID="7")
        assert done.returncode == status
        assert ("scontrol requeue 7\n" in (place / "log").read_text()) == (status == 75)


def test_datasets_reach_the_hosts_with_their_shared_files(place: pathlib.Path) -> None:
    for name in ("avad", "diem"):
        (place / f"data/{name}").mkdir(parents=True)
        (place / f"data/{name}/train_1").write_text(name)
        (place / f"data/{name}/train_2").hardlink_to(place / f"data/{name}/train_1")
    (place / "cloud").mkdir()
    (place / "cloud/gcloud").symlink_to(HERE / "shims/bucket")
    variables = {
        "DATASETS": "avad diem",
        "SHIM_BUCKET": str(place / "bucket"),
        "PATH": f"{place / 'cloud'}:/usr/bin:/bin",
    }
    for action, folder in (("push", "data"), ("fetch", "other")):
        done = run(place, ["launch/datasets.sh", action, folder, "my-bucket"], **variables)
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (place / "bucket/my-bucket/datasets").iterdir()) == ["avad.tar", "diem.tar"]
    assert sorted(path.name for path in (place / "other").iterdir()) == ["avad", "diem"]
    assert (place / "other/diem/train_2").read_text() == "diem"
    assert (place / "other/diem/train_1").samefile(place / "other/diem/train_2")


def test_a_build_that_fails_is_named(place: pathlib.Path) -> None:
    command = ["launch/datasets.sh", "build", "raw", "data"]
    (place / "data/logs").mkdir(parents=True)
    done = run(place, command, shims=True, DATASETS="avad diem", SHIM_STATUS="0", PYTHON="false")
    assert done.returncode == 1
    assert done.stderr.count("ended with status 1: see data/logs/") == 2


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


def test_a_host_starts_shows_and_stops_its_process(place: pathlib.Path) -> None:
    fake = place / "trains"
    fake.write_text(TRAINS.format(python=sys.executable))
    fake.chmod(0o755)
    worker = ["launch/worker.sh"]
    assert "ended with status unknown" in run(place, [*worker, "stop"], PYTHON=str(fake)).stdout
    started = run(place, [*worker, "start", "--workdir=bucket/a b"], PYTHON=str(fake))
    assert started.returncode == 0, started.stderr
    log = place / ".job/log"
    deadline = time.monotonic() + 20
    while "training" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert log.read_text() == "training -m avsd_jax.main --workdir=bucket/a b\n"
    again = run(place, [*worker, "start", "--workdir=x"], PYTHON=str(fake))
    assert again.returncode == 2
    assert "runs process" in again.stderr
    stopped = run(place, [*worker, "stop"], PYTHON=str(fake))
    assert stopped.stdout.endswith("ended with status 75\n"), (stopped, log.read_text())
    assert log.read_text().endswith("saved\n")
    # One that was killed, by hand or with its machine, does not stand in the way.
    run(place, [*worker, "start", "--workdir=x"], PYTHON=str(fake))
    os.kill(int((place / ".job/pid").read_text()), signal.SIGKILL)
    time.sleep(0.1)
    assert "ended with status unknown" in run(place, [*worker, "stop"], PYTHON=str(fake)).stdout

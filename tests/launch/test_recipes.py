"""The recipes that other programs read (sbatch, SkyPilot, Kubernetes, Docker) ask for what the command expects."""

import pathlib
import re
import subprocess
import sys

import pytest
import yaml
from shell_scripts import LAUNCH, ROOT, run, stand_in

from avsd_jax.training.preemption import PREEMPTED

RENDERED = LAUNCH / "gke_jobset.yaml"


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder whose Python and uv only record how they were called."""
    stand_in(tmp_path, ".venv/bin/python", "uv")
    return tmp_path


def render(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "launch.render", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_slurm_starts_a_process_for_every_gpu() -> None:
    text = (LAUNCH / "slurm.sbatch").read_text()
    header = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.M))
    # jax gives each process the one device of its number on the node.
    assert header["ntasks-per-node"] == header["gpus-per-node"]
    assert "--gpu-bind=none" in text
    assert header["signal"] == "TERM@180"
    assert {"requeue", "open-mode"} <= set(header)
    assert text.index("#SBATCH") < text.index("\nset -euo"), "sbatch reads the header up to the first command"


def test_the_jobset_in_the_folder_is_what_its_first_lines_say() -> None:
    comment, _, text = RENDERED.read_text().partition("apiVersion")
    arguments = re.sub(r"^#|\\$", "", comment, flags=re.M).split()
    assert arguments[:5] == ["Made", "by", "python", "-m", "launch.render"]
    assert render(*arguments[5:]).stdout == "apiVersion" + text


@pytest.mark.parametrize(
    ("kind", "hosts", "limits"),
    [
        (["--tpu=tpu-v5-lite-podslice:4x8"], 8, {"google.com/tpu": 4}),
        (["--tpu=tpu-v6e-slice:2x4", "--chips_per_host=8"], 1, {"google.com/tpu": 8}),
        (["--tpu=tpu-v6e-slice:1x1"], 1, {"google.com/tpu": 1}),
        (["--tpu=tpu-v5p-slice:2x2x4"], 4, {"google.com/tpu": 4}),
        (["--gpu=nvidia-h100-80gb:8", "--hosts=3"], 3, {"nvidia.com/gpu": 8}),
    ],
)
def test_a_jobset_has_a_pod_on_every_host_and_only_preemption_is_no_failure(
    kind: list[str], hosts: int, limits: dict[str, int]
) -> None:
    made = yaml.safe_load(render("--image=IMAGE", *kind, "--", "--config=c.py", "--workdir=/runs/a b").stdout)
    (of_hosts,) = made["spec"]["replicatedJobs"]
    job = of_hosts["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert (job["completions"], job["parallelism"], job["completionMode"]) == (hosts, hosts, "Indexed")
    assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert container["resources"]["limits"] == limits
    module, *options = container["args"]
    assert (module, options[:2]) == ("avsd_jax.main", ["--config=c.py", "--workdir=/runs/a b"])
    if "nvidia.com/gpu" in limits:
        port = container["ports"][0]["containerPort"]
        first = f"{made['metadata']['name']}-{of_hosts['name']}-0-0.{made['spec']['network']['subdomain']}:{port}"
        manual = ["--distributed=manual", f"--coordinator={first}", f"--num_processes={hosts}"]
        assert options[2:] == [*manual, "--process_id=$(JOB_COMPLETION_INDEX)"]
    else:
        assert options[2:] == ["--distributed=auto"]
    codes = [rule["onExitCodes"]["values"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert codes == [[PREEMPTED]]
    policy = made["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 3
    assert [rule["action"] for rule in policy["rules"]] == ["RestartJobSetAndIgnoreMaxRestarts"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tpu=v5litepod-32"], "is no ACCELERATOR:TOPOLOGY"),
        (["--tpu=tpu-v6e-slice:0x4"], "is no ACCELERATOR:TOPOLOGY"),
        (["--gpu=nvidia-h100-80gb:0"], "is no ACCELERATOR:COUNT"),
        (["--tpu=tpu-v6e-slice:2x3"], "no multiple of 4 chips"),
        (["--tpu=tpu-v6e-slice:2x4", "--hosts=2"], "--hosts belongs to --gpu"),
        (["--gpu=l4:1", "--name=My_Run"], "is no name in Kubernetes"),
        (["--gpu=l4:1", "--hosts=0"], "begin at 1"),
    ],
)
def test_a_jobset_that_cannot_be_is_one_line(arguments: list[str], words: str) -> None:
    done = render("--image=I", *arguments, "--", "--config=c.py")
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("nodes", "extra"), [(1, "tpu"), (2, "cuda")])
def test_skypilot_starts_the_command_on_every_node(nodes: int, extra: str, place: pathlib.Path) -> None:
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [PREEMPTED]
    assert [name for name, value in task["envs"].items() if value is None] == ["BUCKET"]
    environment = {name: str(value) for name, value in task["envs"].items() if value is not None} | {
        "EXTRA": extra,
        "OPTIONS": "--config.seed=1 --mode=train",
        "SKYPILOT_NODE_IPS": "\n".join(f"10.0.0.{i}" for i in range(1, nodes + 1)),
        "SKYPILOT_NODE_RANK": str(nodes - 1),
        "SKYPILOT_NUM_NODES": str(nodes),
    }
    done = run(place, ["bash", "-c", task["run"]], **environment)
    assert done.returncode == 0, done.stderr
    job = "--distributed=manual --coordinator=10.0.0.1:8476 --num_processes=2 --process_id=1"
    expected = ".venv/bin/python -m avsd_jax.main --config=configs/avinet.py --workdir=/bucket/runs/avinet "
    expected += f"{job if nodes > 1 else '--distributed=off'} --config.seed=1 --mode=train\n"
    assert (place / "log").read_text() == expected
    subprocess.run(["bash", "-n", "-c", task["setup"]], check=True)


def test_the_image_installs_what_the_lock_file_has_for_an_accelerator(place: pathlib.Path) -> None:
    text = (LAUNCH / "Dockerfile").read_text()
    step = re.search(r"^RUN (case .*?esac)", text, re.M | re.S)[1].replace("\\\n", "\n")
    for accelerator in ("cpu", "cuda", "tpu", "rocm"):
        (place / "log").unlink(missing_ok=True)
        done = run(place, ["sh", "-c", step], ACCELERATOR=accelerator)
        if accelerator == "rocm":
            assert (done.returncode, done.stderr) == (2, "error: ACCELERATOR=rocm is none of cpu, cuda, tpu\n")
            continue
        extra = " --extra train" + ("" if accelerator == "cpu" else f" --extra {accelerator}")
        assert (place / "log").read_text() == f"uv sync --frozen --no-dev --no-cache --no-install-project{extra}\n"
        project = (ROOT / "pyproject.toml").read_text()
        assert all(f"\n{name} = [" in project for name in extra.split()[1::2])
    for copied in re.findall(r"^COPY (.*) \S+$", text, re.M):
        assert all((ROOT / name).exists() for name in copied.split())

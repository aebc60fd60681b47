"""Several processes on one machine: their logs, their exit statuses, and what becomes of them when one is stopped."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

LAUNCH = pathlib.Path(__file__).parents[2] / "launch/local.py"

# Waits for SIGTERM or SIGINT, takes half a second to save, and leaves as a preempted training does.
SAVES = """
import os, signal, sys, time
def stop(number, frame):
    time.sleep(0.5)
    print("saved after", signal.Signals(number).name, flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
time.sleep(60)
"""


def launch(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(LAUNCH), *arguments], capture_output=True, text=True, timeout=60, check=False)


def start(code: str, count: int = 2) -> subprocess.Popen:
    command = [str(LAUNCH), str(count), sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ready = [process.stdout.readline() for _ in range(count)]
    assert sorted(ready) == [f"[{i}] ready\n" for i in range(count)]
    return process


def ranked(*cases: str) -> list[str]:
    """A command in which process i does the i-th of some things."""
    code = f"import os, sys, time, signal; exec({list(cases)!r}[int(os.environ['JAX_PROCESS_ID'])])"
    return [sys.executable, "-c", code]


def test_every_process_knows_who_it_is_and_where_all_meet_and_its_lines_are_told_apart() -> None:
    show = "print(*(os.environ['JAX_' + k] for k in ('PROCESS_ID', 'NUM_PROCESSES', 'COORDINATOR_ADDRESS')))"
    done = launch("2", *ranked(show, show + "; print('warned', file=sys.stderr)"))
    assert done.returncode == 0
    lines = sorted(done.stdout.splitlines())
    assert [line[:9] for line in lines] == ["[0] 0 2 1", "[1] 1 2 1"]
    assert len({line.split()[-1] for line in lines}) == 1
    assert done.stderr == "[1] warned\n"
    again = launch("1", *ranked(show))
    assert again.stdout.split()[-1] != lines[0].split()[-1], "each job has a port of its own"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((0, 0), 0), ((75, 75), 75), ((0, 75), 75), ((3, 0), 3), ((0, 2), 2), ((75, 3), 3)],
)
def test_the_status_is_the_worst_and_that_of_preemption_passes_through(statuses: tuple, expected: int) -> None:
    assert launch("2", *ranked(*(f"sys.exit({s})" for s in statuses))).returncode == expected


def test_one_process_that_dies_ends_the_others() -> None:
    began = time.monotonic()
    done = launch("3", *ranked("time.sleep(60)", "os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(60)"))
    assert done.returncode == 128 + signal.SIGKILL
    assert time.monotonic() - began < 20


def test_one_that_does_not_listen_is_killed_after_a_while(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    quick = tmp_path / "local.py"
    quick.write_text(LAUNCH.read_text().replace("GRACE = 30.0", "GRACE = 1.0"))
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    command = [sys.executable, str(quick), "2", *ranked(deaf, "time.sleep(1); sys.exit(4)")]
    assert subprocess.run(command, timeout=30, check=False).returncode == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_goes_to_all_and_the_launcher_waits_until_they_have_saved(number: signal.Signals) -> None:
    process = start(SAVES)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert sorted(out.splitlines()) == [f"[{i}] saved after {number.name}" for i in range(2)]
    assert process.returncode == 75
    assert "Traceback" not in err


def test_ctrl_c_at_the_terminal_reaches_each_process_once() -> None:
    command = [str(LAUNCH), "2", sys.executable, "-c", SAVES]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for _ in range(2):
        process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out.count("saved after SIGINT") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["0", "true"], "'0' is no number of processes: give 1 to 256"),
        (["two", "true"], "'two' is no number of processes"),
        (["-1", "true"], "-1"),
        (["--nproc=2.5", "--", "true"], "'2.5' is no number of processes"),
        (["2"], "the command is missing"),
        ([], "the number of processes is missing"),
        (["2", "/nowhere/program"], "/nowhere/program cannot be run (No such file or directory)"),
        (["2", "--dry-run", "--config=configs/avinet.py"], "--dry-run comes first"),
        (["--nproc=1", "--devices_per_proc=0", "true"], "'0' is no number of devices"),
    ],
)
def test_a_command_line_that_cannot_be_run_is_one_line(arguments: list[str], words: str) -> None:
    done = launch(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_fake_devices_are_asked_for_and_options_alone_are_those_of_the_training() -> None:
    show = "print(os.environ['JAX_PLATFORMS'], os.environ['XLA_FLAGS'].split()[-1])"
    done = launch("--nproc=1", "--devices_per_proc=4", "--", *ranked(show))
    assert done.stdout == "[0] cpu --xla_force_host_platform_device_count=4\n"
    spec = importlib.util.spec_from_file_location("local", LAUNCH)
    local = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(local)
    options = ["--config=configs/avinet.py", "--workdir=runs/two"]
    module = [sys.executable, "-m", "avsd_jax.main"]
    assert local.parse(["2", *options]) == (2, None, [*module, *options, "--distributed=manual"], False)
    assert local.parse(["--nproc=2", "--", *options]) == (2, None, [*module, *options, "--distributed=manual"], False)


def test_a_progress_bar_is_shown_as_it_grows() -> None:
    done = launch("1", *ranked(r"print('a\rb\rc', end='')"))
    assert done.stdout == "[0] a\n[0] b\n[0] c\n"  # text mode reads carriage returns as line ends

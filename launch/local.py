#!/usr/bin/env python3
"""Runs a command as N processes of one job on this machine, to test a launch before using a pod.

    launch/local.py 2 python -m avsd_jax.main --config=configs/avinet.py:demo --workdir=runs/two
    launch/local.py --nproc=2 --devices_per_proc=4 -- --config=configs/avinet.py:demo --workdir=runs/two

The second form gives each process that many fake CPU devices; options without a command are those of avsd_jax.main.
`--dry-run` prints what would be run.

Each line of a process is printed with its number as a prefix. SIGTERM, SIGHUP and Ctrl-C are passed to every process,
and the launcher waits for them. If one process fails, the others are ended. The exit status is 0 if all succeed, 75 if
the job was preempted and saved, else that of the first process that failed (128 + signal if one killed it), and 2 for a
command line that cannot be run.
"""

import argparse
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO

PREEMPTED, BAD_INPUT = 75, 2
MAX_PROCESSES = 256
# Seconds until the remaining processes are killed after one has failed.
GRACE = 30.0
_POLL = 0.1
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Job:
    """The processes of one job.

    Args:
        command: of each process.
        environments: of each.
    """

    def __init__(self, command: Sequence[str], environments: Sequence[dict[str, str]]):
        self._received: list[int] = []
        self._killed: set[int] = set()
        self.processes: list[subprocess.Popen] = []
        self._readers: list[threading.Thread] = []
        lock = threading.Lock()
        for number in _FORWARDED:
            signal.signal(number, lambda received, frame: self._received.append(received))
        for rank, environment in enumerate(environments):
            # A separate session, so that Ctrl-C at the terminal reaches it only once, from here.
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
            self.processes.append(process)
            for source, sink in ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)):
                reader = threading.Thread(target=copy_lines, args=(source, sink, f"[{rank}] ".encode(), lock))
                reader.daemon = True
                reader.start()
                self._readers.append(reader)

    def wait(self) -> int:
        """Waits for all processes and returns the job's exit status."""
        failure, deadline, told = 0, None, False
        while running := [process for process in self.processes if process.poll() is None]:
            while self._received:
                send(running, self._received.pop(0))
                told = True
            failure = failure or self._failure()
            if deadline is None and (failure or self._preempted()):
                deadline = time.monotonic() + GRACE
                # The processes of a preempted job save together, which a second signal would interrupt.
                if failure and not told:
                    send(running, signal.SIGTERM)
            if deadline is not None and time.monotonic() > deadline:
                self._killed.update(process.pid for process in running)
                send(running, signal.SIGKILL)
            time.sleep(_POLL)
        for reader in self._readers:
            reader.join(timeout=5)  # a grandchild may hold the pipe open
        return failure or self._failure() or (PREEMPTED if self._preempted() else 0)

    def _failure(self) -> int:
        """Returns the status of a process that failed by itself; 0 if none did."""
        ended = [status(p.returncode) for p in self.processes if p.returncode and p.pid not in self._killed]
        return next((code for code in ended if code != PREEMPTED), 0)

    def _preempted(self) -> bool:
        return any(process.returncode == PREEMPTED for process in self.processes)


def send(processes: Sequence[subprocess.Popen], number: int) -> None:
    """Sends a signal to processes, some of which may have ended."""
    for process in processes:
        process.send_signal(number)


def status(returncode: int) -> int:
    """Returns the exit status of a process as a shell does."""
    return 128 - returncode if returncode < 0 else returncode


def copy_lines(source: BinaryIO, sink: BinaryIO, prefix: bytes, lock: threading.Lock) -> None:
    """Copies lines, each with a prefix; a carriage return, as in a progress bar, also ends a line."""
    held = b""
    while chunk := source.read1(65536):
        *lines, held = re.split(rb"(?<=[\r\n])", held + chunk)
        write(sink, [prefix + line for line in lines if line.strip()], lock)
    if held.strip():
        write(sink, [prefix + held + b"\n"], lock)


def write(sink: BinaryIO, lines: Sequence[bytes], lock: threading.Lock) -> None:
    """Writes whole lines; a reader that has exited must not stop the processes."""
    with lock:
        try:
            sink.writelines(lines)
            sink.flush()
        except OSError:
            pass


def free_port() -> int:
    """Returns an unused port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def variables(count: int, devices: int | None, port: int | str) -> list[dict[str, str]]:
    """Returns what each process finds in its environment: the coordinator's address, the number of processes, its rank.

    Args:
        count: of processes.
        devices: fake CPU devices of each; None for the real ones.
        port: of the coordinator on this machine, where the environment names none.
    """
    address = os.environ.get("JAX_COORDINATOR_ADDRESS", f"127.0.0.1:{port}")
    shared = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    if devices is not None:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        shared |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags.strip()}
    return [shared | {"JAX_PROCESS_ID": str(i)} for i in range(count)]


def count_of(what: str, most: int) -> Callable[[str], int]:
    """Returns an argument type: a whole number from 1 to `most`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number of {what}: give 1 to {most}")
        return int(text)

    return parse


class Parser(argparse.ArgumentParser):
    """A parser with one-line error messages."""

    def error(self, message: str) -> None:
        """Prints the message and exits with status 2."""
        self.exit(BAD_INPUT, f"error: {message} (usage: launch/local.py PROCESSES COMMAND [ARGUMENT ...])\n")


def parse(argv: Sequence[str]) -> tuple[int, int | None, list[str], bool]:
    """Parses the number of processes, the number of fake devices of each, the command, and whether to print it only."""
    parser = Parser(
        "launch/local.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--nproc", type=count_of("processes", MAX_PROCESSES), help="number of processes")
    parser.add_argument("--devices_per_proc", type=count_of("devices", 1024), help="fake CPU devices of each")
    parser.add_argument("--dry-run", action="store_true", help="only print the command of each process")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="[PROCESSES] COMMAND [ARGUMENT ...]")
    given = parser.parse_args(argv)
    count, command = given.nproc, given.command
    if count is None:
        if not command or command[0] == "--":
            parser.error("the number of processes is missing")
        try:
            count = count_of("processes", MAX_PROCESSES)(command[0])
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))
        command = command[1:]
    command = command[1:] if command[:1] == ["--"] else command
    if not command:
        parser.error("the command is missing")
    if command[0].startswith("--"):
        if "--dry-run" in command:
            parser.error("--dry-run comes first")
        command = [sys.executable, "-m", "avsd_jax.main", *command, "--distributed=manual"]
    return count, given.devices_per_proc, command, given.dry_run


def main(argv: Sequence[str]) -> int:
    """Runs a command line; returns the exit status."""
    count, devices, command, dry_run = parse(argv)
    if dry_run:
        for own in variables(count, devices, "PORT"):
            print(shlex.join([*(f"{name}={value}" for name, value in own.items()), *command]))
        return 0
    try:
        return Job(command, [os.environ | own for own in variables(count, devices, free_port())]).wait()
    except (FileNotFoundError, PermissionError) as error:
        print(f"error: {command[0]} cannot be run ({error.strerror}): correct the command", file=sys.stderr)
        return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

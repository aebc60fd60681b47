"""One request to stop is heeded at the next step, a second one at once."""

import hashlib
import os
import signal
import threading
import time

import pytest

from avsd_jax.training import preemption
from avsd_jax.training.preemption import Preempted, Preemption, sigterm_raises


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_handlers_come_back(number: int) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with Preemption() as requests:
        assert not requests.reached()
        os.kill(os.getpid(), number)
        wait_for(requests.reached)
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_second_signal_leaves_at_once_and_an_echo_of_the_first_does_not(monkeypatch, capfd) -> None:
    left = []
    monkeypatch.setattr(preemption.os, "_exit", left.append)
    with Preemption() as requests:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # as a launcher hands it on
        wait_for(requests.reached)
        time.sleep(0.25)
        assert left == []
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: left)
    assert left == [128 + signal.SIGTERM]
    assert capfd.readouterr().err.strip().count("\n") == 0


def test_a_signal_is_seen_while_the_main_thread_calls_no_handler() -> None:
    seen = []

    def ask() -> None:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(requests.asked)
        seen.append(time.monotonic())

    with Preemption() as requests:
        thread = threading.Thread(target=ask)
        thread.start()
        # As a compilation does, it leaves the interpreter to other threads and itself heeds no signal.
        hashlib.pbkdf2_hmac("sha256", b"", b"", 1_500_000)
        done = time.monotonic()
        thread.join()
    assert seen[0] < done


def test_where_nothing_needs_saving_sigterm_raises() -> None:
    with pytest.raises(Preempted, match="same command continues"), sigterm_raises():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_outside_of_the_main_thread_nothing_is_changed() -> None:
    asked = []

    def use() -> None:
        with Preemption() as requests, sigterm_raises():
            asked.append(requests.reached())

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert asked == [False]

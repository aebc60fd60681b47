"""Jobs in a process of its own: order, progress, the end of a process, cancelling."""

import sys
from collections.abc import Iterator

import pytest
from web_server import waited

from avsd_jax.web.jobs import CANCELLED, DONE, FAILED, MOST_WAITING, RUNNING, WAITING, Job, Jobs

WORKER = """
import json, os, sys, time
for line in sys.stdin:
    kind = json.loads(line)["kind"]
    print(json.dumps({"phase": "working", "done": 1, "total": 2}), flush=True)
    if kind == "wait":
        time.sleep(60)
    if kind == "crash":
        os._exit(3)
    if kind == "kill":
        os.kill(os.getpid(), 9)
    if kind == "text":
        print("no JSON", flush=True)
    done = {"state": "done", "result": {"process": os.getpid()}}
    print(json.dumps(done if kind == "good" else {"state": "failed", "error": "bad input"}), flush=True)
"""


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    found = Jobs((sys.executable, "-c", WORKER))
    yield found
    found.close()


def submit(jobs: Jobs, kind: str, key: str) -> Job:
    return jobs.submit(key, {"kind": kind}, {"video": "u-1"})


def test_jobs_are_done_in_order_by_one_process(jobs: Jobs) -> None:
    first, second, third = (submit(jobs, kind, key) for kind, key in (("good", "a"), ("bad", "b"), ("good", "c")))
    waited(lambda: third.ended)
    assert [job.state for job in jobs.all()] == [DONE, FAILED, DONE]
    assert first.result == third.result
    assert second.error == "bad input"
    said = first.described()
    assert (said["video"], said["kind"], said["done"], said["total"]) == ("u-1", "good", 1, 2)
    assert submit(jobs, "good", "a") is not first  # it has ended


def test_two_pages_watch_one_job(jobs: Jobs) -> None:
    running, other = submit(jobs, "wait", "a"), submit(jobs, "good", "b")
    waited(lambda: running.state == RUNNING and running.done)
    assert other.state == WAITING
    assert submit(jobs, "wait", "a") is running
    assert submit(jobs, "good", "b") is other
    jobs.cancel(other)
    assert other.state == CANCELLED
    last = submit(jobs, "good", "c")
    jobs.cancel(running)
    jobs.cancel(running)
    waited(lambda: last.state == DONE)  # by another process
    assert running.state == CANCELLED


@pytest.mark.parametrize(("kind", "how"), [("crash", "ended"), ("kill", "was killed"), ("text", "ended")])
def test_a_process_that_ends_fails_its_job_alone(jobs: Jobs, kind: str, how: str) -> None:
    broken, next_ = submit(jobs, kind, "a"), submit(jobs, "good", "b")
    waited(lambda: next_.ended)
    assert (broken.state, next_.state) == (FAILED, DONE)
    assert f"worked on it {how}" in broken.error
    assert "try again" in broken.error


def test_too_many_jobs_are_refused(jobs: Jobs) -> None:
    first = submit(jobs, "wait", "first")
    waited(lambda: first.state == RUNNING)  # it no longer waits
    for number in range(MOST_WAITING):
        submit(jobs, "good", str(number))
    with pytest.raises(OverflowError, match="too many jobs wait"):
        submit(jobs, "good", "one more")

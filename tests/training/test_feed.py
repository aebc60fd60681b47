"""Batches are placed ahead of the steps, and what goes wrong with one is raised where it is asked for."""

import itertools
import threading

import numpy as np
import pytest

from avsd_jax.training.feed import Feed


def batches(until: int | None = None):
    for number in itertools.count():
        if number == until:
            raise ValueError("damaged")
        yield {"n": np.array(number)}


def test_batches_come_in_order_and_ahead_of_who_takes_them() -> None:
    placed, two = [], threading.Event()

    def place(batch):
        placed.append(int(batch["n"]))
        if len(placed) == 3:
            two.set()
        return -batch["n"]

    with Feed(batches(), place) as feed:
        assert two.wait(10), "nothing was asked for yet"
        assert [(int(batch["n"]), int(value)) for batch, value in itertools.islice(feed, 5)] == [
            (n, -n) for n in range(5)
        ]
        assert len(placed) <= 5 + 3
    assert not [thread for thread in threading.enumerate() if thread.name == "feed"]


def test_an_error_is_raised_at_its_batch() -> None:
    with Feed(batches(until=1), lambda batch: batch) as feed:
        assert next(feed)[0]["n"] == 0
        for _ in range(2):
            with pytest.raises(ValueError, match="damaged"):
                next(feed)
    with Feed(iter(()), lambda batch: batch) as feed:
        assert list(feed) == []

"""Clips that are moved on by a fixed number of frames, through a stream that computes what they share once."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from flax import linen as nn

from avsd_jax.prediction.batches import PLACE
from avsd_jax.prediction.clip_stream import FIRST
from avsd_jax.prediction.grid_gate import Forward
from avsd_jax.runs.components import explained
from avsd_jax.runs.streaming import Stream, make_stream


class SeriesStreams:
    """The streams of a model, which are compiled once, and each of which is lent to one video at a time.

    Args:
        model: the network.
        variables: of it.
    """

    def __init__(self, model: nn.Module, variables: Any):
        self._model, self._variables = model, variables
        self._free: dict[tuple[int, int], list[Stream | None]] = {}

    @contextlib.contextmanager
    def lent(self, advance: int, batch_size: int) -> Iterator[Stream | None]:
        """Lends a stream, see `avsd_jax.runs.streaming.make_stream`; None if there can be none.

        Raises:
            InputError: the variables are those of another model.
        """
        free = self._free.setdefault((advance, batch_size), [])
        if free:
            stream = free.pop()
        else:
            stream = make_stream(self._model, self._variables, advance, batch_size=batch_size)
        try:
            yield stream
        finally:
            free.append(stream)


def with_series(forward: Forward, stream: Stream | None, model: nn.Module) -> Forward:
    """Returns a function for `in_batches` that gives series of clips to a stream and other clips to `forward`."""
    if stream is None:
        return forward

    def either(variables: Any, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        rest = dict(batch)
        place = rest.pop(PLACE, "")
        if not place:
            return forward(variables, rest)
        with explained(model):
            return stream.start(rest) if place == FIRST else stream.step(rest.pop("video"), rest)

    return either

"""A stream of clips through a compiled model, in batches, or one by one where a state passes between them."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from avsd_jax.errors import InputError
from avsd_jax.prediction.clip_stream import FIRST, Clip
from avsd_jax.runs.sequence import in_frame_order

# The entry of a batch that holds its clips' place in a series, see `avsd_jax.prediction.clip_stream.Clip`.
PLACE = "place"


def in_batches(
    forward: Callable[..., dict[str, jax.Array]],
    variables: Any,
    clips: Iterable[Clip],
    batch_size: int,
    *,
    overlap: bool = True,
    alone: int | None = None,
) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
    """Yields the numbers of a batch's frames and what the model gives for them, in order.

    Args:
        forward: called with the variables and a batch of `batch_size` clips; the last clip fills up the last batch.
            Clips with a place in a series come in batches of their own, which have the entry PLACE and are not filled.
        variables: of the model.
        clips: its inputs.
        batch_size: clips per batch.
        overlap: whether the next batch is begun before this one is read; otherwise nothing is held back.
        alone: clips per batch outside of a series, `batch_size` by default.

    Yields:
        Frame numbers, no more than `batch_size`, and arrays whose first rows are of these frames.

    Raises:
        InputError: a batch size below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: give 1 or more")
    waiting = None
    alone = batch_size if alone is None else alone
    for batch in _grouped(clips, batch_size, alone):
        place = batch[0].place
        rows = batch if place else batch + batch[-1:] * (alone - len(batch))
        inputs: dict[str, Any] = {key: np.stack([clip.inputs[key] for clip in rows]) for key in rows[0].inputs}
        running = [clip.index for clip in batch], forward(variables, inputs | ({PLACE: place} if place else {}))
        if not overlap:
            yield _on_host(*running)
            continue
        # The devices compute this batch while the host reads the previous one and decodes the next.
        if waiting is not None:
            yield _on_host(*waiting)
        waiting = running
    if waiting is not None:
        yield _on_host(*waiting)


def _grouped(clips: Iterable[Clip], batch_size: int, alone: int) -> Iterator[list[Clip]]:
    """Yields clips of the same place in a series together; the first one of a series is alone."""
    group: list[Clip] = []
    for clip in clips:
        if group and clip.place != group[0].place:
            yield group
            group = []
        group.append(clip)
        if len(group) == (batch_size if clip.place else alone) or clip.place == FIRST:
            yield group
            group = []
    if group:
        yield group


def in_order(
    forward: Callable[..., dict[str, Any]], clips: Iterable[Clip], phases: int = 1, *, overlap: bool = True
) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
    """Yields the numbers of the frames of each clip and their maps, in order; a video of frames mapped in sequence.

    Args:
        forward: called with the next clip of each phase, as `avsd_jax.runs.sequence.SequenceForward` is; at the end of
            a video the last clip takes the place of those that are missing.
        clips: of one video, from its first frame on, of each phase in turn.
        phases: sequences that the frames are, see `avsd_jax.data.clip_spec.ClipSpec`.
        overlap: whether the next clips are begun before these are read; otherwise nothing is held back.

    Yields:
        As `in_batches`; clips of which no map is asked for give none.
    """
    waiting = None
    clips = iter(clips)
    while batch := list(itertools.islice(clips, phases)):
        rows = batch + batch[-1:] * (phases - len(batch))
        inputs = {key: np.stack([clip.inputs[key] for clip in rows]) for key in rows[0].inputs}
        running = batch, forward(inputs, first=batch[0].index == 0)
        if not overlap:
            yield _of_frames(*running)
            continue
        # The device computes these clips while the host reads the previous ones and decodes the next.
        if waiting is not None:
            yield _of_frames(*waiting)
        waiting = running
    if waiting is not None:
        yield _of_frames(*waiting)


def _of_frames(clips: list[Clip], outputs: dict[str, Any]) -> tuple[list[int], dict[str, np.ndarray]]:
    """Returns the frames that are asked for of the clips of all phases, and their outputs, in the order of time."""
    frames = sorted(frame for clip in clips for frame in clip.frames)
    rows = [frame - clips[0].index for frame in frames]
    return frames, {key: in_frame_order(np.asarray(value))[rows] for key, value in outputs.items()}


def _on_host(indices: list[int], outputs: dict[str, jax.Array | np.ndarray]) -> tuple[list[int], dict[str, np.ndarray]]:
    return indices, {key: np.asarray(value) for key, value in outputs.items()}


def probability_of(logits: Float[np.ndarray, " 2"]) -> float:
    """Returns the probability of class 1, consistent, from a classifier's two logits."""
    no, yes = logits.astype(np.float64)
    return float(np.exp(-np.logaddexp(0.0, no - yes)))


def check_finite(values: Float[np.ndarray, "..."], source: str | Path, index: int) -> None:
    """Raises InputError, which names the model's source and the frame, if a model gave a value that is not finite."""
    if not np.isfinite(values).all():
        raise InputError(f"{source} gives values that are not finite (frame {index}): train it again")

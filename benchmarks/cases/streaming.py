"""Sliding windows, per frame, without files.

Random weights and frames at the published sizes; windows follow each other at a frame's distance, four computed at
once. "streamed" computes what neighbouring windows have in common once and equals the model called with each window,
"each window alone"; "every second frame" leaves out every other window, and a frame counts half. The error is that of
the last map, relative to its largest value.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.measure import Row, Run, Setting, compare, optional
from benchmarks.networks import NETWORKS, Network, variables

QUICK = False
COUNT = 4
PEER = "PyTorch eager"


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of each network."""
    if not optional("ml_collections"):
        yield Row("Sliding windows", "ours", not_run="needs ml_collections")
        return
    for network in NETWORKS:
        if network.name in setting.pick(("vinet", "avinet", "stavis"), ("stavis",)):
            yield from _rows(network, setting)


def _rows(network: Network, setting: Setting) -> Iterator[Row]:
    from avsd_jax.runs.components import make_forward

    model, batch = network.model(), network.batch(1, setting.seed)
    drawn = variables(model, batch, setting.seed)
    given = jax.device_put((drawn, batch))
    forward = make_forward(model)
    runs = {"ours, each window alone": Run(lambda: forward(*given)["saliency"], against=PEER)}
    for title, advance in (("streamed", 1), ("streamed, every second frame", 2)):
        runs[f"ours, {title}"] = _stream(network, model, drawn, forward, advance, setting.seed)
    if optional("torch"):
        from benchmarks.peers import modes

        eager = modes.modes(setting.device, with_compile=False)[0]
        runs[PEER] = modes.forward_run(network.peer, network.peer_inputs(batch), setting.device, eager)
    yield from compare(setting, f"{network.title}, sliding", runs, unit="frame", against=PEER)


def _stream(network: Network, model: Any, drawn: Any, forward: Any, advance: int, seed: int) -> Run:
    """Returns the run of a stream, and the error of its maps after two batches."""
    from avsd_jax.runs.streaming import make_stream

    stream = make_stream(model, drawn, advance, batch_size=COUNT)
    batch, size = network.batch(1, seed), COUNT * advance
    frames = np.random.default_rng(seed + 1).standard_normal((2, COUNT, advance, *batch["video"].shape[2:]), np.float32)
    rest = {key: np.repeat(value, COUNT, axis=0) for key, value in batch.items() if key != "video"}
    stream.start(batch)
    found = [stream.step(part, rest)["saliency"] for part in frames][-1][-1]
    video = np.concatenate([batch["video"][0], frames.reshape(2 * size, *batch["video"].shape[2:])])
    expected = forward(drawn, {**batch, "video": video[None, -batch["video"].shape[1] :]})["saliency"][0]
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    return Run(
        lambda: stream.step(frames[0], rest)["saliency"],
        units=size,
        values={"error of the map": error},
        headline=f"{network.name}: sliding" if advance == 1 else "",
    )

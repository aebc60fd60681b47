"""Handling of non-finite training steps: nothing of them is saved, and the message gives the fix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class NonFiniteLossError(RuntimeError):
    """The loss or the new state became NaN or infinite; the message names step, clips and last good checkpoint."""


def check_finite(metrics: Mapping[str, Any], step: int, clips: Sequence[str], checkpointer: Any) -> None:
    """Raises NonFiniteLossError on NaN or infinity, before the state of that step can be saved.

    Args:
        metrics: of the step in host memory: `loss`; `finite`, whether the gradients and each part of the new state are
            all finite; and `damaged`, whether each entry of the batch is not.
        step: number of updates done.
        clips: the clips of the step, as "video:frame".
        checkpointer: knows the last saved step.
    """
    bad = [name for name, good in metrics["finite"].items() if not good]
    if np.isfinite(metrics["loss"]) and not bad:
        return
    parts = " and the ".join(bad)
    what = f"NaN or infinity in the {parts}" if np.isfinite(metrics["loss"]) else f"loss is {metrics['loss']}"
    good = checkpointer.latest_step()
    saved = "no checkpoint was saved before" if good is None else f"the last good checkpoint is step {good}"
    damaged = [name for name, bad in metrics["damaged"].items() if bad]
    advice = _advice(damaged, None if good is None else checkpointer.run_folder)
    raise NonFiniteLossError(f"{what} at step {step} on the clips (video:frame) {', '.join(clips)}; {saved}; {advice}")


def _advice(damaged: Sequence[str], run_folder: Path | None) -> str:
    """Returns the fix after a non-finite step; `run_folder` holds an earlier checkpoint, or is None."""
    if damaged:
        return f"the clips' {' and '.join(damaged)} hold NaN or infinity: correct the dataset"
    advice = "lower learning_rate or set clip_norm"
    if run_folder is None:
        return f"{advice}, and give the command again"
    return (
        f"{advice}, which makes another run: give another --workdir, and --config.init={run_folder} to start from that "
        "checkpoint"
    )

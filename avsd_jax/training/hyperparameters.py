"""Numbers that differ from run to run or from step to step: arguments of the compiled training step.

So a second seed, another learning rate or a longer run need no compilation.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import struct
from ml_collections import ConfigDict

# Learning rates are computed for this many steps at once, so that transfers from the device are rare.
_BLOCK = 1024


@struct.dataclass
class Hyperparameters:
    """Scalars of one step, as NumPy values outside of the program.

    Attributes:
        seed: of the dropout masks, folded with the step, uint32.
        learning_rate: of this step.
        clip_norm: largest norm of the gradients; read if the optimiser clips.
        ema_update: share of the new parameters in their running average, 1 - `ema_decay`; read if one is kept.
        weights: of the terms of the loss, by name.
        rho: share of the saliency part, see `losses.total`.
        side_weight: weight of the side maps (see `losses.side_schedule`); None if they are not trained.
    """

    seed: Any
    learning_rate: Any
    clip_norm: Any
    ema_update: Any
    weights: dict[str, Any]
    rho: Any
    side_weight: Any = None


def hyperparameters_by_step(config: ConfigDict, parts: Any) -> Callable[[int], Hyperparameters]:
    """Builds the function from the number of completed updates to the hyperparameters of the next one.

    Args:
        config: of the run.
        parts: its `avsd_jax.runs.components.Components`, not imported here: with them comes the whole data stack, and
            the training step needs none of it.
    """
    constant = Hyperparameters(
        seed=np.uint32(config.seed),
        learning_rate=None,
        clip_norm=np.float32(config.clip_norm),
        ema_update=np.float32(1.0 - config.ema_decay),
        weights={name: np.float32(parts.losses[name]) for name in parts.terms},
        rho=np.float32(parts.rho),
    )
    rates, side_weight = _Blocks(parts.schedule), parts.side_weight
    return lambda step: constant.replace(
        learning_rate=rates(step), side_weight=None if side_weight is None else np.float32(side_weight(step))
    )


class _Blocks:
    """A schedule, computed for a block of steps at a time."""

    def __init__(self, schedule: Callable[[Any], Any]):
        self._schedule = jax.vmap(schedule)
        self._first, self._rates = 0, np.zeros(0, np.float32)

    def __call__(self, step: int) -> np.float32:
        if not self._first <= step < self._first + len(self._rates):
            self._first = step - step % _BLOCK
            steps = np.arange(self._first, self._first + _BLOCK, dtype=np.int32)
            self._rates = np.asarray(self._schedule(steps), np.float32)
        return self._rates[step - self._first]

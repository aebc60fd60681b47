"""A model that maps every frame of a clip, run over the clips of a video in their order.

The frames of a video are one sequence, or several ones that are interleaved (`ClipSpec.phases` of
`avsd_jax.data.clip_spec`): these are the rows of a batch, each with its own state.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped


class SequenceForward:
    """Runs a model on one clip after the other and hands its state on; clips stay on the device until they are read.

    Args:
        forward: of `avsd_jax.runs.components.make_forward`.
        variables: of the model, placed.
        carries: whether the model has a state (`Network.carries`).
    """

    def __init__(self, forward: Callable[..., dict[str, jax.Array]], variables: Any, carries: bool):
        self._forward, self._variables, self._carries = forward, variables, carries
        self._start: Any = None
        self._state: Any = None

    def __call__(self, inputs: Mapping[str, Any], first: bool) -> dict[str, jax.Array]:
        """Returns what the model gives for the next clip of each phase: `saliency` [phases, t, h, w].

        Args:
            inputs: the model's entries of a batch of these clips.
            first: whether they begin their video: the state is zero there.
        """
        if self._carries and self._start is None:
            shapes = jax.eval_shape(self._forward, self._variables, dict(inputs))["carry"]
            # As an argument from the first clip on, so that one program is compiled.
            self._start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        state = {"carry": self._start if first else self._state} if self._carries else {}
        output = dict(self._forward(self._variables, {**inputs, **state}))
        self._state = output.pop("carry", None)
        return output


def in_frame_order(values: Shaped[np.ndarray, "phases t ..."]) -> Shaped[np.ndarray, "n ..."]:
    """Returns what there is of consecutive frames, from what there is of the clips of all phases."""
    return values.swapaxes(0, 1).reshape(-1, *values.shape[2:])


def by_phase(values: Shaped[np.ndarray, "n ..."], phases: int) -> Shaped[np.ndarray, "phases t ..."]:
    """Returns the inverse of `in_frame_order`."""
    return values.reshape(-1, phases, *values.shape[1:]).swapaxes(0, 1)

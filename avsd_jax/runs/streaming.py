"""Prediction from sliding windows of a video, what neighbouring windows have in common being computed once.

The maps equal those of the model called with each window, up to rounding. See `avsd_jax.nn.sliding_encoder`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.common.compiler import compiler_options
from avsd_jax.nn.sliding_encoder import SlidingEncoder
from avsd_jax.runs.components import PREDICTION_KEYS

# Windows that follow each other in memory before the rings are rewound, in batches.
_SPARE_BATCHES = 2


def make_stream(
    model: nn.Module, variables: Mapping[str, Any], advance: int = 1, *, batch_size: int = 4
) -> "Stream | None":
    """Builds the prediction of windows that follow each other at a fixed distance.

    Args:
        model: the network.
        variables: of it.
        advance: frames between two windows.
        batch_size: windows computed at once.

    Returns:
        None if this model cannot be streamed, or if such windows have nothing in common.
    """
    sliding = model.sliding()
    if sliding is None:
        return None
    encoder = SlidingEncoder(
        sliding.layers, sliding.joins, model.clip_size, advance, batch_size, _SPARE_BATCHES * batch_size
    )
    return Stream(model, variables, encoder, sliding.fold, advance) if encoder.is_shared else None


class Stream:
    """The state of one video between its windows; `make_stream` builds it.

    Args:
        model: the network, which takes the entry `taps` of a batch.
        variables: of it.
        encoder: what computes them.
        fold: from the variables to the encoder's weights; called when the first video starts.
        advance: frames between two windows.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        encoder: SlidingEncoder,
        fold: Callable[[Mapping[str, Any]], Any],
        advance: int,
    ):
        self._variables, self._weights = jax.device_put(variables), None
        self._fold = jax.jit(fold)
        self._encoder, self._advance = encoder, advance
        self._rings: Any = None
        self._frame: tuple[int, ...] = ()
        self._position = 0

        def predict(
            variables: Any, weights: Any, rings: Any, position: Any, rest: Any, frame: tuple[int, ...]
        ) -> dict[str, jax.Array]:
            with model.at_precision():
                taps = encoder.windows(weights, rings, position)
            # A model reads no more of the video than its shape.
            video = jnp.zeros((encoder.count, model.clip_size, *frame))
            output = model.apply(variables, {**rest, "video": video, "taps": taps}, train=False)
            return {key: output[key] for key in PREDICTION_KEYS if key in output}

        def push(weights: Any, rings: Any, position: Any, frames: Any) -> Any:
            with model.at_precision():
                return encoder.push(weights, rings, position, frames)

        self._push = jax.jit(push, donate_argnums=1, compiler_options=compiler_options())
        self._rewind = jax.jit(encoder.rewind, donate_argnums=0)
        self._predict = jax.jit(predict, static_argnames="frame", compiler_options=compiler_options())

    def start(self, batch: Mapping[str, Any]) -> dict[str, Array]:
        """Forgets all frames and predicts a window from its own.

        Args:
            batch: of one clip, as the model takes it.

        Returns:
            The model's outputs that a prediction reads, [1, ...].
        """
        if self._weights is None:
            self._weights = self._fold(self._variables)
        rest = {key: value for key, value in batch.items() if key != "video"}
        video = np.asarray(batch["video"])[0]
        # The frames in front are those of windows that are not asked for.
        size = self._encoder.count * self._advance
        before = -len(video) % size
        video = np.concatenate([np.repeat(video[:1], before, axis=0), video])
        frame = jax.ShapeDtypeStruct(video.shape[1:], jax.dtypes.canonicalize_dtype(video.dtype))
        self._frame = video.shape[1:]
        self._rings, self._position = self._encoder.empty(self._weights, frame), 0
        for chunk in np.split(video, len(video) // size):
            self._add(chunk, self._encoder.count)
        rest = jax.tree.map(lambda x: np.repeat(np.asarray(x), self._encoder.count, axis=0), rest)
        return {key: value[-1:] for key, value in self._outputs(self._position, rest).items()}

    def step(self, frames: Float[np.ndarray | Array, "n a h w 3"], rest: Mapping[str, Any]) -> dict[str, Array]:
        """Predicts the windows that follow.

        Args:
            frames: of each of n windows those that the one before does not have.
            rest: the other entries of the batch, [n, ...].

        Returns:
            The model's outputs that a prediction reads, [n, ...].
        """
        count = self._encoder.count
        parts = []
        for first in range(0, len(frames), count):
            part = np.asarray(frames[first : first + count])
            number = len(part)
            self._add(_filled(part, count).reshape(-1, *part.shape[2:]), number)
            given = jax.tree.map(
                lambda x, first=first: _filled(np.asarray(x)[first : first + count], count), dict(rest)
            )
            parts.append(
                {key: value[:number] for key, value in self._outputs(self._position - number + count, given).items()}
            )
        return parts[0] if len(parts) == 1 else jax.tree.map(lambda *x: jnp.concatenate(x), *parts)

    def _add(self, frames: Float[np.ndarray, "m h w 3"], number: int) -> None:
        """Adds the frames of as many windows as the encoder computes, of which `number` are kept."""
        if self._position + self._encoder.count > self._encoder.spare:
            self._rings, self._position = self._rewind(self._rings, np.int32(self._position)), 0
        self._rings = self._push(self._weights, self._rings, np.int32(self._position + self._encoder.count), frames)
        self._position += number

    def _outputs(self, position: int, rest: Mapping[str, Any]) -> dict[str, jax.Array]:
        return self._predict(self._variables, self._weights, self._rings, np.int32(position), rest, self._frame)


def _filled(x: np.ndarray, count: int) -> np.ndarray:
    """Repeats the last row until there are `count`."""
    return np.concatenate([x, np.repeat(x[-1:], count - len(x), axis=0)]) if len(x) < count else x

"""Prediction from sliding windows of a video."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn

Stream = Any


def make_stream(
    model: nn.Module, variables: Mapping[str, Any], advance: int = 1, *, exact: bool = True, batch_size: int = 4
) -> Stream | None:
    """Returns None: no model can be streamed."""
    del model, variables, advance, exact, batch_size
    return None

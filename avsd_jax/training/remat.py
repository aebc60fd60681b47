"""Recomputation in the backward pass: the blocks of a network keep their inputs alone, which needs less memory.

A block is a module whose class says `recomputed = True`, such as an inception block of S3D or a bottleneck of a ResNet:
what lies between two of them is small, or read by a later layer anyway. Blocks inside of a block are parts of it.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from flax import linen as nn


def recomputed_blocks() -> contextlib.AbstractContextManager[None]:
    """Returns the context in which a model is applied so that its blocks are computed again in the backward pass.

    Values and gradients stay the same; a step takes up to a third more operations.
    """
    within = False

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        nonlocal within
        block = getattr(context.module, "recomputed", False) and context.method_name == "__call__"
        if within or not block:
            return call(*args, **kwargs)
        x, *options = args
        within = True
        try:
            return nn.remat(lambda module, x: module(x, *options, **kwargs))(context.module, x)
        finally:
            within = False

    return nn.intercept_methods(intercept)

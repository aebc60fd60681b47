"""Trainings that compile soon: on one of the eight devices of the tests, or with less optimisation."""

from typing import Any

import jax
import pytest
from drawn import FAST_COMPILE

from avsd_jax.common import parallel
from avsd_jax.common.parallel import make_mesh
from avsd_jax.training import loop


def train_on_one(patch: pytest.MonkeyPatch) -> None:
    """Lets trainings that choose their devices themselves use the first one alone."""
    patch.setattr(loop, "make_mesh", lambda: make_mesh(jax.devices()[:1]))


def compile_steps_fast(patch: pytest.MonkeyPatch) -> None:
    """Compiles the steps of trainings as `drawn.fast_jit` does: for networks of which no other test trains an equal."""
    usual: dict[str, Any] = parallel.compiler_options()
    patch.setattr(parallel, "compiler_options", lambda: usual | FAST_COMPILE)

"""Trainings that compile soon: on one of the eight devices of the tests."""

import jax
import pytest

from avsd_jax.common.parallel import make_mesh
from avsd_jax.training import loop


def train_on_one(patch: pytest.MonkeyPatch) -> None:
    """Lets trainings that choose their devices themselves use the first one alone."""
    patch.setattr(loop, "make_mesh", lambda: make_mesh(jax.devices()[:1]))

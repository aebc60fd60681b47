"""Marks of tests that take long."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def slow_except(values: Iterable[Any], quick: Container[Any]) -> list[Any]:
    """Values for `parametrize`; those that are not among the quick ones are for the slow tests."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]

"""The options of XLA's compiler for the programs of networks."""

import functools
from collections.abc import Mapping
from typing import Any

import jax


def compiler_options() -> dict[str, str]:
    """Returns the non-default XLA options for compiling a network, for training and for inference.

    On a CPU, XLA passes convolutions, sums and chains of elementwise operations to YNNPACK, which runs some of them on
    one core, and others more slowly than the code that XLA had before: on two cores a training step of ViNet takes 1.5
    times as long with it, a forward pass of STAViS 1.3 times. Versions of XLA without the option are left unchanged.
    """
    return _cpu_options() if jax.default_backend() == "cpu" else {}


@functools.cache
def _cpu_options() -> dict[str, str]:
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    return options if are_known(options) else {}


def are_known(options: Mapping[str, Any]) -> bool:
    """Returns whether this version of XLA has all of these options; it compiles a program to find out."""
    try:
        jax.jit(lambda: 0, compiler_options=dict(options))()
    except jax.errors.JaxRuntimeError:
        return False
    return True

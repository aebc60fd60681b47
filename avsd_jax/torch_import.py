"""Weights published for PyTorch, as Flax variables: the public names of `avsd_jax.torch_weights.variables`."""

from avsd_jax.torch_weights.variables import options, to_variables

__all__ = ["options", "to_variables"]

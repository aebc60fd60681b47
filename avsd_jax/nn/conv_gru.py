"""A convolutional GRU with 1 x 1 kernels, by which STANet blends a fused feature with the plain one."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class ConvGRU(nn.Module):
    """One GRU step at every location of a map; the state has the channels of the output."""

    @nn.compact
    def __call__(self, y: Float[Array, "b h w i"], state: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Returns the new state.

        Args:
            y: input.
            state: previous state.
        """

        def gate(name: str, state: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
            return nn.Conv(state.shape[-1], (1, 1), name=name)(jnp.concatenate([y, state], axis=-1))

        update = nn.sigmoid(gate("update_gate", state))
        reset = nn.sigmoid(gate("reset_gate", state))
        new = jnp.tanh(gate("out_gate", state * reset))
        return state * (1 - update) + new * update

"""The receptive field block by which STANet's first classifiers reduce the backbone's channels."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class RFB(nn.Module):
    """Four concatenated branches of increasing receptive field, and a shortcut; the only activation is the last.

    Attributes:
        features: channels of every branch and of the output.
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w c"]:
        """Returns the reduced map; height and width stay."""
        branches = [self._branch(x, number, reach) for number, reach in enumerate((1, 3, 5, 7))]
        joined = nn.Conv(self.features, (3, 3), name="conv_cat")(jnp.concatenate(branches, axis=-1))
        return nn.relu(joined + nn.Conv(self.features, (1, 1), name="conv_res")(x))

    def _branch(self, x: Float[Array, "b h w i"], number: int, reach: int) -> Float[Array, "b h w c"]:
        x = nn.Conv(self.features, (1, 1), name=f"branch{number}_0")(x)
        if reach == 1:
            return x
        x = nn.Conv(self.features, (1, reach), name=f"branch{number}_1")(x)
        x = nn.Conv(self.features, (reach, 1), name=f"branch{number}_2")(x)
        return nn.Conv(self.features, (3, 3), kernel_dilation=reach, name=f"branch{number}_3")(x)

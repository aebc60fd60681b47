"""STANet's spatial gate: one number per location, from attention among all locations of a map."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class SelfGate(nn.Module):
    """Self-attention over locations with a single output channel.

    Attributes:
        gate_name: name of the last convolution, which differs between releases.
    """

    gate_name: str = "gate"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
        """Returns the weight of each location, in (0, 1)."""
        height, width, channels = x.shape[1:]

        def project(features: int, name: str) -> Float[Array, "b n d"]:
            return nn.Conv(features, (1, 1), name=name)(x).reshape(len(x), -1, features)

        f, g = (project(max(1, channels // 2), name) for name in ("projf", "projg"))  # one tag has one channel
        h = project(channels, "projh")
        # The official softmax runs over the first index: each location j distributes its weight over all locations i.
        attention = nn.softmax(jnp.einsum("bic,bjc->bij", f, g), axis=1)
        out = jnp.einsum("bic,bij->bjc", h, attention)
        out = out.reshape(len(x), height, width, channels)
        return nn.sigmoid(nn.Conv(1, (1, 1), use_bias=False, name=self.gate_name)(out))

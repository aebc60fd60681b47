"""ViNet's decoder (Jain et al., "ViNet: pushing the limits of visual modality for audio-visual saliency
prediction", IROS 2021).

Each step convolves, doubles height and width bilinearly, and concatenates an encoder tap *on the time axis*, decoder
features first. Temporal kernels equal their strides, so time shrinks by mixing neighbours of the joint
sequence.
"""

from collections.abc import Mapping
from types import MappingProxyType

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.errors import InputError
from avsd_jax.nn.conv3d import Conv3D, Lowering
from avsd_jax.nn.resize import upsample_2x
from avsd_jax.nn.width import scaled

CLIP_SIZES = (8, 16, 32, 48)
# The convolutions behind each tap, by their distance from the deepest, and the time steps that each reads at once.
JOINS = {"y1": ("convtsp2_0", 3), "y2": ("convtsp3_0", 5), "y3": ("convtsp4_0", 5)}


class Decoder(nn.Module):
    """ViNet's decoder.

    Attributes:
        clip_size: frames of the clip that the features come from: 8, 16, 32 or 48; it determines the last layers.
        num_skips: number of taps that are used, deepest first (the official `num_hier`), 0 to 3.
        width: multiplies the channel counts.
        lowering: see `avsd_jax.nn.conv3d.conv3d`.
    """

    clip_size: int = 32
    num_skips: int = 3
    width: float = 1.0
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(
        self,
        dec_in: Float[Array, "b t h w c"],
        y1: Float[Array, "b t1 h1 w1 c1"],
        y2: Float[Array, "b t2 h2 w2 c2"],
        y3: Float[Array, "b t3 h3 w3 c3"],
        sums: Mapping[str, Float[Array, "b _ _ _ _"]] = MappingProxyType({}),
    ) -> dict[str, Float[Array, "b ..."]]:
        """Decodes features to one map.

        Args:
            dec_in: [B, T/8, H/32, W/32, C], the encoder's y0 or a fused feature in its place.
            y1, y2, y3: the encoder's taps.
            sums: by the name of a convolution its last outputs, of a tap alone and before the ReLU, if they are known
                already; the tap then has the slices for the others.

        Returns:
            dec1, dec2, dec3 [B, T/8, H', W', C], the features after the first three upsamplings (H/16, H/8,
            H/4), and logits [B, H, W].

        Raises:
            InputError: clip_size or num_skips is not one of those above, or the features do not fit
                clip_size.
        """
        if self.clip_size not in CLIP_SIZES:
            raise InputError(f"clip_size is {self.clip_size}: choose one of {', '.join(map(str, CLIP_SIZES))}")
        if self.num_skips not in range(4):
            raise InputError(f"num_skips is {self.num_skips}: choose 0, 1, 2 or 3")
        if dec_in.shape[1] != self.clip_size // 8:
            raise InputError(
                f"the decoder got {dec_in.shape[1]} time steps where clip_size={self.clip_size} "
                f"makes {self.clip_size // 8}: give clips of clip_size frames"
            )

        def conv(x: jnp.ndarray, features: int, time: int, name: str) -> jnp.ndarray:
            """Applies ReLU(conv) with kernel (time, 3, 3) and stride (time, 1, 1)."""
            layer = Conv3D(features, (time, 3, 3), (time, 1, 1), (0, 1, 1), lowering=self.lowering, name=name)
            y = layer(x)
            return nn.relu(jnp.concatenate([y, sums[name]], axis=1) if name in sums else y)

        def join(x: jnp.ndarray, tap: jnp.ndarray, level: int) -> jnp.ndarray:
            return jnp.concatenate([x, tap], axis=1) if level <= self.num_skips else x

        def last(x: jnp.ndarray, name: str) -> jnp.ndarray:
            return Conv3D(
                1,
                (1, 1, 1),
                use_bias=True,
                lowering=self.lowering,
                kernel_init=nn.initializers.lecun_normal(),
                name=name,
            )(x)

        # Without a tap there are no extra time steps to reduce.
        times = [kernel if level < self.num_skips else 1 for level, kernel in enumerate((3, 5, 5))]
        dec1 = upsample_2x(conv(dec_in, y1.shape[-1], 1, "convtsp1_0"))
        dec2 = upsample_2x(conv(join(dec1, y1, 1), y2.shape[-1], times[0], "convtsp2_0"))
        dec3 = upsample_2x(conv(join(dec2, y2, 2), y3.shape[-1], times[1], "convtsp3_0"))
        x = upsample_2x(conv(join(dec3, y3, 3), scaled(64, self.width), times[2], "convtsp4_0"))
        x = conv(x, scaled(32, self.width), 1 if self.clip_size == 8 else 2, "convtsp4_3")
        # Officially the next layer, a pointwise one, follows on upsampling. They can be exchanged, also with a bias, as
        # the weights of upsampling sum to 1: the layer then has a quarter of the pixels.
        if self.clip_size <= 16:
            logits = upsample_2x(last(x, "convtsp4_6"))
        else:
            k = self.clip_size // 16
            # Only the 48-frame model has a bias here.
            x = Conv3D(
                scaled(32, self.width),
                (k, 1, 1),
                (k, 1, 1),
                use_bias=self.clip_size == 48,
                lowering=self.lowering,
                name="convtsp4_6",
            )(x)
            logits = last(nn.relu(upsample_2x(x)), "convtsp4_8")
        return {"dec1": dec1, "dec2": dec2, "dec3": dec3, "logits": logits[:, 0, :, :, 0]}

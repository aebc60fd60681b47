"""AVE-Net (Arandjelovic & Zisserman, "Objects that sound", ECCV 2018): the distance of image and audio.

L3-Net's encoders and front end, two embeddings of unit length, and their Euclidean distance, which one dense layer
classifies. Layers and names follow the public PyTorch port (kyuyeonpooh/objects-that-sound, BSD-3); there class 0 means
"corresponds", here class 1 does, and the import swaps the two.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.models.classifiers import l3net
from avsd_jax.nn.vggsound import l2_normalise
from avsd_jax.nn.width import scaled


class Classifier(l3net.Classifier):
    """AVE-Net; with the default options the network and front end of the public port.

    The attributes are those of `avsd_jax.models.classifiers.l3net.Classifier`.
    """

    @nn.compact
    def __call__(
        self, frames: Float[Array, "b n h w 3"], audio: Float[Array, "b f m"], train: bool = False
    ) -> Float[Array, "b 2"]:
        """Returns the logits of inconsistent (class 0) and consistent (class 1).

        Args:
            frames: [B, 1, H, W, 3], ImageNet-normalised RGB.
            audio: [B, F, N], a spectrogram from `front_end`.
            train: use and update batch statistics.

        Raises:
            InputError: more than one frame, or an unknown `audio_encoder`.
        """
        image, audio = self.encode(frames, audio, train)
        distance = euclidean(self._embed(image, "img"), self._embed(audio, "aud"))
        # With the wrong initial sign the network learns to push corresponding pairs apart.
        kernel = lambda *_: jnp.array([[1.0, -1.0]])  # noqa: E731
        return nn.Dense(2, kernel_init=kernel, bias_init=lambda *_: jnp.array([-1.0, 1.0]), name="fc3")(
            distance[:, None]
        )

    def _embed(self, x: Float[Array, "b c"], name: str) -> Float[Array, "b d"]:
        """Projects an encoder's embedding into the space where image and audio are compared, at unit length."""
        features = scaled(128, self.width)
        x = nn.relu(nn.Dense(features, name=f"{name}_fc1")(x))
        return l2_normalise(nn.Dense(features, name=f"{name}_fc2")(x))


def euclidean(x: Float[Array, "b d"], y: Float[Array, "b d"]) -> Float[Array, " b"]:
    """Returns |x - y|, with a gradient of zero instead of NaN where both are equal."""
    square = jnp.sum(jnp.square(x - y), axis=-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)

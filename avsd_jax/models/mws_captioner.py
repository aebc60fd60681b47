"""MWS's caption network (Zeng et al., "Multi-source weak supervision for saliency detection", CVPR 2019).

The pipeline has no captions: as it is, the model maps images with imported weights. To train it, a caller adds the
entry `captions` to the batches; the loss is `captions`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from avsd_jax.models.common.mws_layers import MWSNetwork
from avsd_jax.nn.width import scaled


class LSTM(nn.Module):
    """A recurrent layer with PyTorch's variables: `weight_ih_l0` [4 H, I], `weight_hh_l0` [4 H, H] and two biases.

    Attributes:
        hidden: H.
    """

    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n i"]) -> Float[Array, "b n h"]:
        """Returns the output at each step; the gates are in PyTorch's order: input, forget, cell, output."""
        spread = nn.initializers.uniform(2 / self.hidden**0.5)
        shapes = {"weight_ih_l0": (x.shape[-1],), "weight_hh_l0": (self.hidden,), "bias_ih_l0": (), "bias_hh_l0": ()}

        def drawn(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return spread(key, shape) - 1 / self.hidden**0.5

        given = {name: self.param(name, drawn, (4 * self.hidden, *shape)) for name, shape in shapes.items()}
        seen = x @ given["weight_ih_l0"].T + given["bias_ih_l0"] + given["bias_hh_l0"]

        def step(state: tuple[jax.Array, jax.Array], now: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            cell, out = state
            i, f, g, o = jnp.split(now + out @ given["weight_hh_l0"].T, 4, axis=-1)
            cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
            out = nn.sigmoid(o) * jnp.tanh(cell)
            return (cell, out), out

        start = jnp.zeros((len(x), self.hidden), seen.dtype)
        return jnp.moveaxis(jax.lax.scan(step, (start, start), jnp.moveaxis(seen, 1, 0))[1], 0, 1)


class Decoder(nn.Module):
    """Predicts each word of a caption from the image and the words before.

    Attributes:
        words: size of the vocabulary.
        hidden: channels of the recurrent layer.
    """

    words: int
    hidden: int

    @nn.compact
    def __call__(self, image: Float[Array, "b d"], captions: Int[Array, "b l"]) -> Float[Array, "b l v"]:
        """Returns the logits of each word; in captions, -1 follows the last word."""
        embedded = nn.Embed(self.words, image.shape[-1], name="embed")(jnp.maximum(captions[:, :-1], 0))
        read = jnp.concatenate([image[:, None], embedded.astype(image.dtype)], axis=1)
        return nn.Dense(self.words, name="linear")(LSTM(self.hidden, name="lstm")(read))


class Model(MWSNetwork):
    """PNet: captions of what a map lets through.

    Attributes:
        words: size of the vocabulary; 0 for the encoder alone, which maps images.
        others: see the base.
    """

    words: int = 0

    @nn.compact
    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Maps the foreground of each image, and predicts its caption if the batch has one.

        Args:
            batch: {"video": [B, 1, H, W, 3]}, ImageNet-normalised RGB; captions [B, L], numbers of words, -1 after the
                last; other keys are ignored.
            train: use and update batch statistics, unless they are frozen.

        Returns:
            grid_logits [B, h, w]; except in training saliency [B, H, W] in [0, 1] and logits [B, H, W]; with captions
            word_logits [B, L, words].

        Raises:
            InputError: no video, several frames, an image of less than 16 pixels, or an unknown pool.
        """
        output, pooled = self.encode(self.images(batch), train)
        if self.words and ("captions" in batch or self.is_initializing()):
            captions = batch.get("captions", jnp.zeros((len(pooled), 1), jnp.int32))
            output["word_logits"] = Decoder(self.words, scaled(512, self.width), name="decoder")(pooled, captions)
        return output

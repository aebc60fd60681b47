"""The networks that the cases of forward passes and training steps measure, with random weights and inputs."""

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from avsd_jax import models

Shape = tuple[int, ...]
Batch = Mapping[str, np.ndarray]


def _video_channels_first(video: np.ndarray) -> np.ndarray:
    return video.transpose(0, 4, 1, 2, 3)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that has a peer of its name in `benchmarks/peers`.

    Attributes:
        name: module of `avsd_jax.models`.
        title: as printed.
        shapes: of the batch's entries, without the axis of clips.
        for_peer: from these to the peer's inputs, in PyTorch's order.
        gflop: of a forward pass of a clip.
        gpu_clips: in a batch on a GPU; on a CPU there is one.
    """

    name: str
    title: str
    shapes: Mapping[str, Shape]
    for_peer: Mapping[str, Callable[[np.ndarray], np.ndarray]]
    gflop: float
    gpu_clips: int = 8

    def batch(self, clips: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Draws a batch of so many clips."""
        rng = np.random.default_rng(seed)
        return {name: rng.standard_normal((clips, *shape), np.float32) for name, shape in self.shapes.items()}

    def model(self, **options: Any) -> nn.Module:
        """Builds our model."""
        return models.create(self.name, **options)

    def peer(self) -> Any:
        """Builds PyTorch's network, which needs PyTorch."""
        return importlib.import_module(f"benchmarks.peers.{self.name}").Network()

    def peer_inputs(self, batch: Batch) -> list[np.ndarray]:
        """Returns the peer's inputs for a batch."""
        return [ordered(batch[name]) for name, ordered in self.for_peer.items()]


_VIDEO = {"video": _video_channels_first}

NETWORKS = (
    Network("vinet", "ViNet, 32 frames of 224x384", {"video": (32, 224, 384, 3)}, _VIDEO, 229.32),
    Network(
        "avinet",
        "AViNet, 32 frames of 224x384 and 70560 samples",
        {"video": (32, 224, 384, 3), "audio": (70560,)},
        _VIDEO | {"audio": lambda x: x[:, None, :, None]},
        229.59,
    ),
    Network(
        "stavis",
        "STAViS, 16 frames of 112x112 and 35280 samples",
        {"video": (16, 112, 112, 3), "audio": (35280,)},
        _VIDEO | {"audio": lambda x: x[:, None, None]},
        19.56,
        32,
    ),
    Network(
        "stanet",
        "STANet, 3 frames of 356x356 and a spectrogram",
        {"video": (3, 356, 356, 3), "spectrogram": (257, 48)},
        {"video": lambda x: x.transpose(0, 1, 4, 2, 3), "spectrogram": lambda x: x[:, None]},
        265.51,
    ),
)

# Of the live case alone: it maps frames as they come.
UNISAL = Network(
    "unisal", "UNISAL", {"video": (12, 224, 384, 3)}, {"video": lambda x: x.transpose(0, 1, 4, 2, 3)}, 12 * 2.33
)


def variables(model: nn.Module, batch: Batch, seed: int = 0) -> dict[str, Any]:
    """Draws variables of a model, such that activations keep their size from layer to layer.

    The last norm of each residual block is small, as the sum would double in every block.
    """
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    shapes = jax.eval_shape(model.init, rngs, dict(batch))
    rng = np.random.default_rng(seed)

    def draw(path: tuple[Any, ...], like: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(like.shape) > 1:
            spread = math.sqrt(2 * like.shape[-1] / math.prod(like.shape))
            return spread * rng.standard_normal(like.shape, np.float32)
        value = 0.2 if path[-1].key == "scale" and path[-2].key == "bn3" else float(path[-1].key in ("scale", "var"))
        return np.full(like.shape, value, np.float32)

    return jax.tree_util.tree_map_with_path(draw, dict(shapes))

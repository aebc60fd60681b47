"""UNISAL (Droste, Jiao and Noble, "Unified image and video saliency modeling", ECCV 2020): small, and of any size.

    frame ─> MobileNetV2 ─┬─ 1x [h/32], Gaussian priors ─> post_cnn ─> x ─┬─────────────────────── + ─> x2 ─┐
                          │                                               └─> GRU over the frames ─┘        │
                          ├─ 2x [h/16] ─> skip_2x ────────────────────────────── join, upsampling_2 <───────┘
                          └─ 4x [h/8] ─> skip_4x ─────────────────────── join, post_upsampling_2 <─ x2 ─┘
                                  map [h/8] ─> repeated to [h] ─> 41 x 41 smoothing ─> log-softmax

The GRU's state passes from clip to clip; images bypass the GRU. Norms, priors, the last convolution and the smoothing
exist once for each domain. The names of the parts are those of the released checkpoint.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import Network
from avsd_jax.nn.domain_norm import Norms
from avsd_jax.nn.gaussian_priors import first_gaussians, gaussian_maps
from avsd_jax.nn.mobilenet_v2 import INIT, ConvNormRelu6, InvertedResidual, MobileNetV2
from avsd_jax.nn.phase_smoothing import RepeatedSmoothing
from avsd_jax.nn.resize import resize_bilinear, upsample_2x
from avsd_jax.nn.separable_gru import SeparableGRU
from avsd_jax.nn.width import scaled

# The released checkpoint's, by their names in it; the last is of images.
DOMAINS = ("DHF1K", "Hollywood", "UCFSports", "SALICON")
IMAGES = "SALICON"

# The trunk's stride, and that of the map before it is enlarged.
_STRIDE, _MAP_STRIDE = 32, 8

# Of the datasets of which all videos are read at one size, whatever theirs, by domain.
_SIZES = {"Hollywood": (224, 416), "UCFSports": (256, 384)}
# The only size that videos of DHF1K have.
_DHF1K_SOURCE, _DHF1K_SIZE = (360, 640), (224, 384)
# Sides and areas of all other sizes, in strides.
_SIDES, _LEAST, _MOST = range(7, 14), 100, 120

Encoded = dict[str, Float[Array, "n _ _ _"]]


class Skip(nn.Module):
    """A skip connection: a 1 x 1 convolution to twice the channels, dropout of whole channels, and one to fewer.

    Attributes:
        features: output channels.
        norms: its batch norms.
        dropout: share of the channels that training drops.
    """

    features: int
    norms: Norms
    dropout: float

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"], train: bool = False) -> Float[Array, "n h w o"]:
        """Applies the layers."""
        x = ConvNormRelu6(2 * x.shape[-1], self.norms, name="expansion")(x, train)
        x = nn.Dropout(self.dropout, broadcast_dims=(1, 2))(x, deterministic=not train)
        return _Reduction(self.features, self.norms, name="reduction")(x, train)


class _Reduction(nn.Module):
    features: int
    norms: Norms

    @nn.compact
    def __call__(self, x: Float[Array, "n h w i"], train: bool) -> Float[Array, "n h w o"]:
        x = nn.Conv(self.features, (1, 1), kernel_init=INIT, name="conv_0")(x)
        return self.norms.create("conv_1")(x, use_running_average=not train)


class Model(Network):
    """UNISAL; the released network at width 1, for frames of any size in multiples of 32.

    Attributes:
        clip_size: frames of a clip, all of which are mapped; 12 in the published training.
        domain: whose norms, priors, last convolution and smoothing are used: "DHF1K" for videos in general, "SALICON"
            for images.
        domains: all domains that there are variables of.
        static: whether frames bypass the GRU; by default those of the domain of images, and, as in the released code,
            a clip of one frame without a state.
        target_size: height and width of the maps; by default those of the frames.
        width: multiplies every channel count but the input's, the priors' and the outputs'.
        skip_dropout: share of the channels of skip connections that training drops.
        dropout: of the GRU's state, see `avsd_jax.nn.separable_gru`.
        trunk_statistics: whether training normalises the trunk by batch statistics; published: by those of its
            pretraining, always.
        axis_name: the pmap axis over which batch statistics are averaged.
        fit_ratio: whether a video or picture is predicted at the size of `input_size`, not at the configured one.
    """

    clip_size: int = 12
    domain: str = "DHF1K"
    domains: tuple[str, ...] = DOMAINS
    static: bool | None = None
    target_size: tuple[int, int] | None = None
    width: float = 1.0
    skip_dropout: float = 0.6
    dropout: float = 0.2
    trunk_statistics: bool = False
    axis_name: str | None = None
    fit_ratio: bool = True
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"sampler": "sequence", "preprocessing": "unisal", "frame_size": (224, 384)}
    )

    @property
    def num_maps(self) -> int:
        """Returns the number of frames: every one has a map."""
        return self.clip_size

    @property
    def carries(self) -> bool:
        """Returns whether the GRU is used."""
        return not (self.domain == IMAGES if self.static is None else self.static)

    def fitted_size(self, shown: tuple[int, int], configured: tuple[int, int]) -> tuple[int, int]:
        """Returns the size of a video's or picture's frames; see `input_size`."""
        return input_size(shown, self.domain) if self.fit_ratio else configured

    def still(self) -> "Model":
        """Returns the model of single pictures: of the domain of images, if there is one."""
        domain = IMAGES if IMAGES in self.domains else self.domain
        return self.clone(clip_size=1, static=True, domain=domain)

    def setup(self) -> None:
        """Creates all parts, those of each domain too."""
        if self.domain not in self.domains:
            raise InputError(f"unknown domain {self.domain!r} of unisal: choose one of {', '.join(self.domains)}")
        # PyTorch's momenta of 0.1 and 0.01.
        momentum = 0.9 if self.domain == IMAGES else 0.99
        norms = Norms(momentum, self.axis_name, self.domain, tuple(self.domains))
        features = scaled(256, self.width)
        self.cnn = MobileNetV2(Norms(0.9, self.axis_name), self.width)
        self.post_cnn = InvertedResidual(features, Norms(0.99, self.axis_name), expand=1)
        self.rnn = SeparableGRU(features, norms, self.dropout)
        self.post_rnn = ConvNormRelu6(features, norms)
        self.skip_2x = Skip(scaled(128, self.width), norms, self.skip_dropout)
        self.skip_4x = Skip(scaled(64, self.width), norms, self.skip_dropout)
        self.upsampling_2 = InvertedResidual(scaled(128, self.width), norms, expand=2)
        self.post_upsampling_2 = InvertedResidual(scaled(64, self.width), norms, expand=2)
        for name in map(str.lower, self.domains):
            setattr(self, f"_gaussians_{name}", self.param(f"coarse_gaussians_{name}", first_gaussians))
            setattr(self, f"adaptation_{name}", nn.Conv(1, (1, 1)))
            setattr(self, f"smoothing_{name}", RepeatedSmoothing(_MAP_STRIDE))

    def __call__(self, batch: Mapping[str, Any], train: bool = False) -> dict[str, Any]:
        """Predicts a map for each frame.

        Args:
            batch: {"video": [B, T, H, W, 3]}, as `avsd_jax.data.preprocessing.unisal` makes them; optionally
                {"carry": ...}, what the clip before returned.
            train: apply dropout, use and update batch statistics.

        Returns:
            log_density [B, T, h, w], the logarithm of a density of sum 1; saliency [B, T, h, w], the density over its
            largest value; logits before the log-softmax; unless the GRU is bypassed, carry, its state after the last
            frame.

        Raises:
            InputError: height or width is no multiple of 32, or an unknown domain.
        """
        encoded = self.encode(batch, train)
        x, carry = self.recur(encoded["x"], batch, train)
        output = self.decode(x, encoded, train)
        return output if carry is None else output | {"carry": carry}

    def encode(self, batch: Mapping[str, Any], train: bool = False) -> dict[str, Float[Array, "b t _ _ _"]]:
        """Returns the features of each frame: x [B, T, H/32, W/32, 256], and skip_2x and skip_4x of larger sizes."""
        video = read(batch, "video")
        if video.ndim != 5:
            raise InputError(f"video has shape {video.shape}: give unisal [b t h w 3]")
        height, width = video.shape[2:4]
        if height % _STRIDE or width % _STRIDE:
            raise InputError(f"frames have {height}x{width} pixels: give unisal multiples of {_STRIDE}")
        return self._each_frame(Model._encode_frames, video, train)

    def _encode_frames(self, frames: Float[Array, "n h w 3"], train: bool) -> Encoded:
        taps = self.cnn(frames, train and self.trunk_statistics)
        x = taps["1x"]
        priors = gaussian_maps(getattr(self, f"_gaussians_{self.domain.lower()}"), x.shape[1:3]).astype(x.dtype)
        x = jnp.concatenate([x, jnp.broadcast_to(priors, (len(x), *priors.shape))], axis=-1)
        return {
            "x": self.post_cnn(x, train),
            "skip_2x": self.skip_2x(taps["2x"], train),
            "skip_4x": self.skip_4x(taps["4x"], train),
        }

    def recur(
        self, x: Float[Array, "b t h w c"], batch: Mapping[str, Any], train: bool = False
    ) -> tuple[Float[Array, "b t h w c"], Float[Array, "b h w c"] | None]:
        """Adds what the GRU makes of the features and those before; returns its state, too, None for images."""
        state = batch.get("carry")
        alone = self.static is None and x.shape[1] == 1 < self.clip_size and state is None
        if not self.is_initializing() and (alone or not self.carries):
            return x, None
        hidden, state = self.rnn(x, state, train)
        return x + self.post_rnn(hidden.reshape(-1, *hidden.shape[2:]), train).reshape(x.shape), state

    def decode(
        self, x: Float[Array, "b t h w c"], encoded: dict[str, Float[Array, "b t _ _ _"]], train: bool = False
    ) -> dict[str, Float[Array, "b t h2 w2"]]:
        """Returns saliency, logits and log_density of each frame, from its feature and its skip connections."""
        given = {"x": x, "skip_2x": encoded["skip_2x"], "skip_4x": encoded["skip_4x"]}
        return self._each_frame(Model._decode_frames, given, train)

    def _decode_frames(self, given: Encoded, train: bool) -> dict[str, Float[Array, "n h w"]]:
        x = jnp.concatenate([_double(given["x"]), given["skip_2x"]], axis=-1)
        x = _double(self.upsampling_2(x, train))
        x = self.post_upsampling_2(jnp.concatenate([x, given["skip_4x"]], axis=-1), train)
        names = [name.lower() for name in self.domains] if self.is_initializing() else []
        for name in [*names, self.domain.lower()]:
            maps = getattr(self, f"adaptation_{name}")(x)[..., 0].astype(jnp.float32)
            maps = getattr(self, f"smoothing_{name}")(maps)
        if self.target_size is not None:
            maps = resize_bilinear(maps[..., None], tuple(self.target_size))[..., 0]
        highest = jnp.max(maps, axis=(1, 2), keepdims=True)
        over = maps - highest
        saliency = jnp.exp(over)
        log_density = over - jnp.log(jnp.sum(saliency, axis=(1, 2), keepdims=True))
        return {"saliency": saliency, "logits": maps, "log_density": log_density}

    def _each_frame(self, function: Callable[..., Any], tree: Any, train: bool) -> Any:
        """Applies a method to all frames, arrays [B, T, ...]; the method gets and returns [N, ...].

        At inference on a CPU it gets one frame after the other, whose features stay in the cache: a batch of them takes
        1.6 times as long.
        """
        clips, frames = jax.tree.leaves(tree)[0].shape[:2]
        flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)
        if train or self.is_initializing() or clips * frames == 1 or jax.default_backend() != "cpu":
            out = function(self, flat, train)
        else:

            def one(model: Model, nothing: tuple[()], frame: Any) -> tuple[tuple[()], Any]:
                return nothing, jax.tree.map(
                    lambda a: a[0], function(model, jax.tree.map(lambda a: a[None], frame), False)
                )

            over = nn.scan(one, variable_broadcast=("params", "batch_stats"), split_rngs={"params": False})
            out = over(self, (), flat)[1]
        return jax.tree.map(lambda a: a.reshape(clips, frames, *a.shape[1:]), out)


def input_size(shown: tuple[int, int], domain: str = "DHF1K") -> tuple[int, int]:
    """Returns the (height, width) at which UNISAL reads frames of `shown` = (height, width).

    Videos of the datasets of its training have sizes of their own. Any other video or image gets the size whose ratio
    of the sides is nearest to its own, among those with sides of 7 to 13 times 32 and 100 to 120 times 32 x 32 pixels.
    """
    if domain == "DHF1K" and tuple(shown) == _DHF1K_SOURCE:
        return _DHF1K_SIZE
    if domain in _SIZES:
        return _SIZES[domain]
    ratio = shown[0] / shown[1]
    pairs = [(rows, columns) for rows in _SIDES for columns in _SIDES if _LEAST <= rows * columns <= _MOST]
    rows, columns = min(pairs, key=lambda pair: abs(pair[0] / pair[1] - ratio))
    return rows * _STRIDE, columns * _STRIDE


def _double(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    return upsample_2x(x[None])[0]

"""AAM's decoder: upsampling stages and a head that a sentence conditions, with features in hyperbolic space.

Tensors are channels last. Two of its operations are published on tensors [B, C, H, W] where they were made for vectors
in the last axis, which there is the width: see `SpatialOperator`.
"""

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.nn import lorentz
from avsd_jax.nn.conv2d import Conv2D, Deconv2D
from avsd_jax.nn.depthwise import DepthwiseConv2D
from avsd_jax.nn.dinov3 import LayerNorm
from avsd_jax.nn.resize import resize_bilinear

# Lengths of tangent vectors: before a map to points, and between two maps.
_MOST_NORM, _MOST_TANGENT = 8.0, 10.0
_MOST_VALUE = 1e6
_SCALES = 3

# How much of the half angle of a sentence's cone its frames may lie off.
_FRAME_SHARE = 0.8

Sentence = Float[Array, "b s"]
Point = Float[Array, "b d"]


def group_norm(groups: int, name: str) -> nn.GroupNorm:
    """Returns a group norm with PyTorch's epsilon."""
    return nn.GroupNorm(groups, epsilon=1e-5, use_fast_variance=False, name=name)


class Map(nn.Module):
    """Maps between tangent vectors at the origin and points, with a learned curvature and a factor on the vectors.

    Attributes:
        size: of the vectors, which decides about the factor at first.
    """

    size: int

    def setup(self) -> None:
        """Creates both logarithms."""
        self.curv = self.param("curv", nn.initializers.zeros, ())
        self.alpha = self.param("alpha", nn.initializers.constant(-0.5 * math.log(self.size)), ())

    def curvature(self) -> Float[Array, ""]:
        """Returns the curvature."""
        return lorentz.curvature_of(self.curv)

    def to_points(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """Returns points, in float32."""
        scaled = x.astype(jnp.float32) * lorentz.factor_of(self.alpha)
        return lorentz.exp_map0(lorentz.bounded(scaled, _MOST_NORM), self.curvature())

    def to_tangent(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """Returns tangent vectors, without the factor."""
        return lorentz.log_map0(x, self.curvature())


class ConditionGate(nn.Module):
    """A factor for each channel from the distance of a sentence's point to the origin."""

    features: int

    @nn.compact
    def __call__(self, radius: Float[Array, "b 1"]) -> Float[Array, "b c"]:
        """Returns factors in (0, 1)."""
        hidden = nn.silu(nn.Dense(64, name="mlp_0")(radius))
        return nn.sigmoid(nn.Dense(self.features, name="mlp_2")(hidden))


class ScaleGate(nn.Module):
    """Weights of the branches of a `SpatialOperator` from a sentence, and from its point's distances to anchors.

    Attributes:
        size: of points.
    """

    size: int

    @nn.compact
    def __call__(self, sentence: Sentence, point: Point) -> tuple[Float[Array, "b k"], Float[Array, "b 1"]]:
        """Returns the weights of the three branches, and the point's distance to the origin."""
        places = Map(self.size, name="map")
        hidden = nn.gelu(nn.Dense(128, name="scale_mlp_1")(LayerNorm(name="scale_mlp_0")(sentence)), approximate=False)
        weights = nn.softplus(nn.Dense(_SCALES, name="scale_mlp_3")(hidden))
        spread = nn.initializers.normal(self.size**-0.5)
        anchors = places.to_points(self.param("scale_anchors_tan", spread, (_SCALES, self.size)))
        distances = lorentz.distance(point[:, None], anchors[None], places.curvature())[..., 0]
        near = nn.softmax(-distances).astype(weights.dtype)
        return weights * (1 + near), lorentz.distance_to_origin(point, places.curvature())


class SpatialOperator(nn.Module):
    """Moves a feature through hyperbolic space, where a sentence scales it, and mixes it at three ranges.

    Attributes:
        clamped_column: raise the left column of pixels of each channel to at least 1 / sqrt(c) + 1e-4. That is what the
            published code does; the bound was made for the time component of a vector.
        width_norms: bound the length of each row of each channel, as published, and not that of each pixel's vector.
    """

    clamped_column: bool = True
    width_norms: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], point: Point, weights: Float[Array, "b k"]
    ) -> Float[Array, "b h w c"]:
        """Returns the mixed branches.

        Args:
            x: feature.
            point: of the sentence.
            weights: of the branches, see `ScaleGate`.
        """
        size, dtype = x.shape[-1], x.dtype
        places = Map(size, name="map")
        radius = lorentz.distance_to_origin(point, places.curvature())
        gate = 0.5 * jnp.tanh(ConditionGate(size, name="cond_gate")(radius))[:, None, None]
        tangent = places.to_tangent(self._sane(places.to_points(x), places.curvature()))
        tangent = self._bounded(tangent) * (1 + gate)
        tangent = places.to_tangent(self._sane(places.to_points(tangent), places.curvature())).astype(dtype)
        near = nn.Conv(size, (1, 1), name="op0_1")(DepthwiseConv2D(name="op0_0")(tangent))
        wider = nn.Conv(size, (1, 1), name="op1_1")(_at_every_second(DepthwiseConv2D(name="op1_0"), tangent))
        whole = nn.Conv(size, (1, 1), name="op2_proj_1")(jnp.mean(tangent, axis=(1, 2), keepdims=True))
        parts = [nn.silu(part) * weights[:, i, None, None, None] for i, part in enumerate((near, wider, whole))]
        return nn.Conv(size, (1, 1), name="mix")(parts[0] + parts[1] + parts[2])

    def _sane(self, points: Float[Array, "b h w c"], curvature: Float[Array, ""]) -> Float[Array, "b h w c"]:
        if self.clamped_column:
            left = jnp.maximum(points[:, :, :1], 1 / jnp.sqrt(curvature) + 1e-4)
            points = jnp.concatenate([left, points[:, :, 1:]], axis=2)
        return jnp.clip(points, -_MOST_VALUE, _MOST_VALUE)

    def _bounded(self, tangent: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        if not self.width_norms:
            return lorentz.bounded(tangent, _MOST_TANGENT)
        return lorentz.bounded(tangent.swapaxes(2, 3), _MOST_TANGENT).swapaxes(2, 3)


def _at_every_second(
    convolve: Callable[[Float[Array, "n h2 w2 c"]], Float[Array, "n h2 w2 c"]], x: Float[Array, "b h w c"]
) -> Float[Array, "b h w c"]:
    """Dilates a convolution by two: it is applied to the pixels of every second row and column alone, four times."""
    b, h, w, c = x.shape
    rows, columns = (h + 1) // 2, (w + 1) // 2
    x = jnp.pad(x, [(0, 0), (0, 2 * rows - h), (0, 2 * columns - w), (0, 0)])
    x = x.reshape(b, rows, 2, columns, 2, c).transpose(2, 4, 0, 1, 3, 5).reshape(4 * b, rows, columns, c)
    y = convolve(x).reshape(2, 2, b, rows, columns, c).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(b, 2 * rows, 2 * columns, c)[:, :h, :w]


class UpsampleStage(nn.Module):
    """Doubles a feature's size; a sentence shifts and scales its channels, and decides how it is mixed.

    Attributes:
        features: of the output.
        size: of points.
        clamped_column, width_norms: see `SpatialOperator`.
    """

    features: int
    size: int
    clamped_column: bool = True
    width_norms: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], sentence: Sentence, point: Point) -> Float[Array, "b h2 w2 o"]:
        """Maps [B, h, w, I] to [B, 2h, 2w, features]."""
        x = group_norm(8, "norm")(Deconv2D(self.features, 2, 2, name="up_conv")(x))
        style = nn.Dense(2 * self.features, name="style_mlp_1")(nn.silu(sentence))[:, None, None]
        gamma, beta = jnp.split(style, 2, axis=-1)
        x = x * (1 + gamma) + beta
        weights, radius = ScaleGate(self.size, name="scale_gate")(sentence, point)
        mixed = SpatialOperator(self.clamped_column, self.width_norms, name="ms_op")(x, point, weights)
        share = (0.1 + 0.4 * jnp.clip(radius, 0, 1))[:, None, None].astype(x.dtype)
        return nn.relu(x + share * mixed)


class SqueezeExcite(nn.Module):
    """A factor for each channel from all channels' means.

    Attributes:
        hidden: features between its two layers.
    """

    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Scales the channels."""
        mean = jnp.mean(x, axis=(1, 2), keepdims=True)
        hidden = nn.relu(nn.Dense(self.hidden, use_bias=False, name="fc_0")(mean))
        return x * nn.sigmoid(nn.Dense(x.shape[-1], use_bias=False, name="fc_2")(hidden))


class Joined(nn.Module):
    """Joins a feature with a level of the trunk, enlarged to its size.

    Attributes:
        reduction: channels over those between the layers of its squeeze and excitation.
    """

    reduction: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], level: Float[Array, "b h2 w2 k"]) -> Float[Array, "b h w c"]:
        """Returns a feature of the shape of `x`."""
        size = x.shape[-1]
        larger = resize_bilinear(level, x.shape[1:3])
        y = Conv2D(size, name="fuse_0")(jnp.concatenate([x, larger], axis=-1))
        y = nn.silu(group_norm(8, "fuse_1")(y))
        return SqueezeExcite(size // self.reduction, name="se")(y)


class Head(nn.Module):
    """The map's logits: a convolution, Gaussians that the sentence places, and a mixed version of the convolution's.

    Attributes:
        size: of points.
        gaussians: number of Gaussians.
        clamped_column, width_norms: see `SpatialOperator`.
    """

    size: int
    gaussians: int = 6
    clamped_column: bool = True
    width_norms: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], sentence: Sentence, point: Point) -> Float[Array, "b h w 1"]:
        """Returns logits at the size of `x`."""
        logits = nn.Conv(1, (3, 3), name="final_conv")(x)
        places = Map(self.size, name="global_map")
        prior, radius = self._prior(x, places, sentence, point)
        weights, _ = ScaleGate(self.size, name="scale_gate")(sentence, point)
        mixed = SpatialOperator(self.clamped_column, self.width_norms, name="ms_op")(logits, point, weights)
        share = (0.2 + 0.5 * jnp.clip(radius, 0, 1))[:, None, None].astype(x.dtype)
        return logits + 0.5 * prior.astype(x.dtype) + share * mixed

    def _prior(
        self, x: Float[Array, "b h w c"], places: Map, sentence: Sentence, point: Point
    ) -> tuple[Float[Array, "b h w 1"], Float[Array, "b 1"]]:
        """Returns the sum of the Gaussians, and the sentence's distance to the origin."""
        shape = nn.Dense(4 * self.gaussians, name="shape_predictor_2")(
            nn.relu(nn.Dense(128, name="shape_predictor_0")(sentence))
        )
        shape = nn.sigmoid(shape.reshape(-1, self.gaussians, 4).astype(jnp.float32))
        centre, spread = shape[..., :2], shape[..., 2:] * 0.5 + 0.05
        seen = places.to_points(nn.Dense(self.size, use_bias=False, name="img_to_hyp_tan")(jnp.mean(x, axis=(1, 2))))
        curvature = places.curvature()
        radius = lorentz.distance_to_origin(point, curvature)
        known = [places.to_tangent(seen), places.to_tangent(point), lorentz.distance(seen, point, curvature)]
        known = jnp.concatenate([*known, lorentz.distance_to_origin(seen, curvature), radius], axis=-1).astype(x.dtype)
        hidden = nn.gelu(nn.Dense(256, name="amp_mlp_1")(LayerNorm(name="amp_mlp_0")(known)), approximate=False)
        heights = nn.sigmoid(nn.Dense(self.gaussians, name="amp_mlp_3")(hidden)).astype(jnp.float32)
        along = [
            jnp.exp(-jnp.square(jnp.linspace(0, 1, size) - centre[..., i, None]) / (2 * spread[..., i, None] ** 2))
            for i, size in ((0, x.shape[2]), (1, x.shape[1]))
        ]
        return jnp.einsum("bg,bgw,bgh->bhw", heights, *along)[..., None], radius


class Decoder(nn.Module):
    """The whole: three stages, each joined with a level of the trunk, and the head.

    Attributes:
        channels: after the first layer; half, a quarter and an eighth after the stages.
        size: of points.
        clamped_column, width_norms: see `SpatialOperator`.
    """

    channels: int = 256
    size: int = 128
    clamped_column: bool = True
    width_norms: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], levels: Sequence[Float[Array, "b _ _ _"]], sentence: Sentence
    ) -> tuple[Float[Array, "b h2 w2 1"], dict[str, Float[Array, " b"]]]:
        """Decodes features.

        Args:
            x: the deepest level.
            levels: the three before it, the deepest first.
            sentence: embeddings.

        Returns:
            Logits at eight times the size; text_distance, from the image's point to the sentence's, and
            text_entailment, the mean of the angles, radians, by which the image lies off the sentence's cone and the
            sentence off that of an anchor.
        """
        point, trained = self._points(x, sentence)
        quirks = {"clamped_column": self.clamped_column, "width_norms": self.width_norms}
        x = nn.silu(group_norm(32, "start_proj_1")(Conv2D(self.channels, name="start_proj_0")(x)))
        for stage, level in enumerate(levels, 1):
            features = self.channels // 2**stage
            x = UpsampleStage(features, self.size, name=f"decoder_stage{stage}", **quirks)(x, sentence, point)
            x = Joined(32 // 2**stage, name=f"join{stage}")(x, level)
        return Head(self.size, name="decoder_out", **quirks)(x, sentence, point), trained

    def _points(
        self, x: Float[Array, "b h w c"], sentence: Sentence
    ) -> tuple[Float[Array, "b d"], dict[str, Float[Array, " b"]]]:
        """Returns the sentence's point, in float32, and what the losses train."""
        curvature = lorentz.curvature_of(self.param("curv", nn.initializers.zeros, ()))
        small = nn.initializers.constant(-0.5 * math.log(self.size))
        factors = {name: lorentz.factor_of(self.param(f"{name}_alpha", small, ())) for name in ("visual", "textual")}
        anchor = self.param("none_anchor_tan", nn.initializers.zeros, (1, self.size)).astype(jnp.float32)
        seen = nn.Dense(self.size, use_bias=False, name="visual_proj")(jnp.mean(x, axis=(1, 2)))
        told = nn.Dense(self.size, use_bias=False, name="textual_proj")(sentence)
        image = lorentz.exp_map0(factors["visual"] * seen.astype(jnp.float32), curvature)
        text = lorentz.exp_map0(factors["textual"] * told.astype(jnp.float32), curvature)
        none = jnp.broadcast_to(lorentz.exp_map0(factors["textual"] * anchor, curvature), text.shape)
        off = lorentz.beyond_cone(text, image, curvature, _FRAME_SHARE)
        off = 0.5 * (off + lorentz.beyond_cone(none, text, curvature, 1.0))
        distance = lorentz.distance(image, text, curvature)
        return text, {"text_distance": distance[:, 0], "text_entailment": off[:, 0]}

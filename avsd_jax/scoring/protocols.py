"""Evaluation protocols as data: every choice that determines a published saliency score, in one record.

The definition of a metric determines a number only together with the processing of the prediction before it and of
the scores after it. `Protocol` lists these choices; three combinations have names:

  stavis  the protocol of STAViS's evaluation code, by which the survey's Table IV was computed
  vinet   ViNet's variant of it: no blur in the evaluation (its inference blurs), missing frames count as zero
  native  ours: maps as the model gives them, every frame, averages over videos and over frames
  avimos  that of the challenges AIM 2024 and NTIRE 2026, for their datasets: repeated fixations count as often

A result states its protocol, with all choices written out. Another protocol is
`dataclasses.replace(protocols.get("stavis"), name="mine", unscored_start=0)`.
"""

import dataclasses
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, UInt8
from PIL import Image

from avsd_jax.data.preprocessing import vinet
from avsd_jax.errors import InputError
from avsd_jax.metrics import METRICS
from avsd_jax.metrics.maps import is_constant, min_max
from avsd_jax.metrics.resize import apply_matrices, bicubic_matrix, gaussian_matrix
from avsd_jax.scoring import event_scores

TABLE_METRICS = ("CC", "SIM", "NSS", "AUC-J", "s-AUC")
"""The five metrics of the published tables, in the order in which their code computes them."""


ALL_METRICS = (*METRICS, "AUC-B", "IG", "IG-pysaliency", "EMD")
"""All available metrics: those of the protocols, AUC-Borji, the information gain over a centred Gaussian in both
conventions, and the earth mover's distance."""


@dataclass(frozen=True)
class Protocol:
    """The choices that determine a score; each is a field, none is hidden in code.

    Attributes:
        name: of the protocol in results.
        metrics: the metrics, in the order of tables.
        definitions: of metrics and resize: "mit", those of the MATLAB code and its bicubic filter, at fixated pixels;
            "avimos", those of `avsd_jax.scoring.event_scores`, at every fixation, with the density at its full depth.
        enlarge: maps given as arrays are resized to the frame's size (OpenCV bilinear) and blurred there (11 x 11,
            sigma 2) before they are rounded. Maps read from images are assumed to be processed already.
        rounding: 8-bit rounding of maps given as arrays, after min-max normalisation to 0..255: "none"; "down", as
            STAViS writes its images; "up", as ViNet does.
        jpeg_quality: of the JPEG round trip of maps given as arrays; 0: none.
        stretch: maps are min-max normalised to [0, 1] before anything else; a constant map has no score.
        blur_sigma: standard deviation, in the prediction's pixels, of a Gaussian blur of 2 ceil(3 sigma) + 1 taps with
            mirrored edges; 0: none.
        smooth_sigma: standard deviation, in the ground truth's pixels, of a blur after that; 0: none.
        clip: whether the resized map is clipped to its previous range (a cubic filter overshoots).
        constant: a constant map: "nan", no score at all; "metrics", the value of each metric.
        pool: negatives of the s-AUC, without the pixels fixated in the frame: "same_video", the pixels fixated at any
            time of the video; "other_videos", those fixated at any time of the split's other videos, rescaled to the
            size of this one.
        s_auc_bins: 11 for the published binned statistic, None for exact ranks.
        empty_density: a frame whose density is zero everywhere: "metrics", SIM (and KL) count it as 0, as in the MATLAB
            code; "nan", it has no score.
        unscored_start: frames at the start of each video that are not scored.
        missing: a frame without prediction: "dropped", or "zero", it counts as 0 in every metric.
        nan: frames without a score because of their map: "dropped", omitted from the mean of the metric, as in the
            published code; "worst", they count as the worst value (`undefined_scores.worst_score`); "error", they
            are refused. Frames without a score because of their ground truth (no fixations) are always omitted.
        averages: the reported means, in order: "video", the mean over a video's frames, then over
            videos, unweighted; "frame", the mean over all frames.
        mean_of_splits: datasets whose splits are scored by one model each and averaged split by split; elsewhere the
            videos of all splits are pooled.
    """

    name: str
    metrics: tuple[str, ...] = TABLE_METRICS
    definitions: str = "mit"
    enlarge: bool = False
    rounding: str = "none"
    jpeg_quality: int = 0
    stretch: bool = False
    blur_sigma: float = 0.0
    smooth_sigma: float = 0.0
    clip: bool = False
    constant: str = "nan"
    pool: str = "same_video"
    s_auc_bins: int | None = 11
    empty_density: str = "metrics"
    unscored_start: int = 0
    missing: str = "dropped"
    nan: str = "dropped"
    averages: tuple[str, ...] = ("video",)
    mean_of_splits: tuple[str, ...] = ("diem",)

    def __post_init__(self):
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            for item in value if isinstance(value, tuple) else (value,):
                if item not in choices:
                    raise InputError(f"protocol {field} {item!r}: choose one of {', '.join(map(str, choices))}")
        if self.definitions == "avimos":
            self._check_events()

    def _check_events(self) -> None:
        other = [name for name in self.metrics if name not in event_scores.METRICS]
        if other:
            choices = ", ".join(event_scores.METRICS)
            raise InputError(f"protocol {self.name!r} does not define {', '.join(other)}: choose of {choices}")
        if self.blur_sigma or self.smooth_sigma or self.clip:
            raise InputError(f"protocol {self.name!r} neither blurs nor clips maps: choose another one for that")

    def as_record(self) -> dict[str, Any]:
        """Returns all choices as plain values, and in words `resize`, `s_auc` and `average`."""
        bins = "exact ranks" if self.s_auc_bins is None else f"{self.s_auc_bins} bins"
        kernel = "opencv_bilinear" if self.definitions == "avimos" else "matlab_bicubic"
        clipped = ", clipped to the prediction's range" if self.clip else ""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        return plain | {
            "kernel": kernel,
            "resize": f"{_KERNELS[kernel]} to the density's size{clipped}",
            "s_auc": f"{bins}, negatives: {POOLS[self.pool]}, whole pool",
            "average": "; and ".join(_AVERAGES[average] for average in self.averages).replace(
                "NaN dropped", "NaN of a map counted as the worst value" if self.nan == "worst" else "NaN dropped"
            ),
        }

    def encoding(self) -> str:
        """Describes in words how `encode` processes maps given as arrays."""
        steps = ["enlarged to the frame's size and blurred"] * self.enlarge
        steps += [f"rounded {self.rounding} to 8 bits"] * (self.rounding != "none")
        steps += [f"a JPEG of quality {self.jpeg_quality}"] * bool(self.jpeg_quality)
        return "arrays, " + (", ".join(steps) or "as they are")

    def keeps_ranks(self, size: tuple[int, int], truth: tuple[int, int]) -> bool:
        """Returns whether maps of a size (height, width) reach the metrics with the same order of pixel values."""
        return size == truth and not self.blur_sigma and not self.smooth_sigma

    def joins_by_mean(self, dataset: str) -> bool:
        """Returns whether the splits of a dataset (`name` or `name/config`) are averaged rather than pooled."""
        return dataset.partition("/")[0].lower() in self.mean_of_splits


# ---------------------------------------------------------------------------------------------------------------------
# On the host: the encoding of a map as an image file
# ---------------------------------------------------------------------------------------------------------------------


def encode(
    prediction: Num[np.ndarray, "h w"], frame_size: tuple[int, int], protocol: Protocol
) -> Num[np.ndarray, "H W"]:
    """Encodes a map given as an array as the protocol's image files would.

    Args:
        prediction: the map of a model, of any scale.
        frame_size: (height, width) of the video's frames.
        protocol: defines the encoding.

    Returns:
        8-bit levels if the protocol rounds, else the array.
    """
    if protocol.enlarge:
        prediction = vinet.Preprocessing().smooth(prediction.astype(np.float32), frame_size)
    prediction = ROUNDINGS[protocol.rounding](prediction)
    return jpeg_round_trip(prediction, protocol.jpeg_quality) if protocol.jpeg_quality else prediction


def round_down(x: Num[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Returns floor((x - min) * 255 / (max - min)), as STAViS writes maps; a constant map becomes 0."""
    # Scaled by a power of two first, which changes no level, so that any scale fits float32.
    x = np.ldexp(x.astype(np.float64), -np.frexp(np.abs(x).max())[1]).astype(np.float32)
    low, spread = x.min(), x.max() - x.min()
    if not spread > 0:  # also if the map has a NaN
        return np.zeros(x.shape, np.uint8)
    return ((x - low) * np.float32(255) / spread).astype(np.uint8)


def jpeg_round_trip(levels: UInt8[np.ndarray, "h w"], quality: int) -> UInt8[np.ndarray, "h w"]:
    """Encodes a grey image as JPEG and decodes it (by Pillow, as the official code does)."""
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


ROUNDINGS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "down": round_down,
    "up": vinet.min_max_image,
}

_KERNELS = {"matlab_bicubic": "MATLAB bicubic", "opencv_bilinear": "OpenCV bilinear"}
_AVERAGES = {
    "video": "frame -> video (NaN dropped) -> dataset (unweighted mean over videos)",
    "frame": "over all frames (NaN dropped)",
}
POOLS = {
    "same_video": "the same video's other fixations",
    "other_videos": "the other videos' fixations, stretched to the same size",
}
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "metrics": ALL_METRICS,
    "definitions": ("mit", "avimos"),
    "rounding": tuple(ROUNDINGS),
    "constant": ("nan", "metrics"),
    "pool": tuple(POOLS),
    "empty_density": ("metrics", "nan"),
    "missing": ("dropped", "zero"),
    "nan": ("dropped", "worst", "error"),
    "averages": tuple(_AVERAGES),
}

# ---------------------------------------------------------------------------------------------------------------------
# On the device: from the prediction's plane to the ground truth's
# ---------------------------------------------------------------------------------------------------------------------


def to_ground_truth(
    prediction: Float[Array, "*b h w"], size: tuple[int, int], protocol: Protocol
) -> Float[Array, "*b H W"]:
    """Converts predictions to the input of the metrics as the protocol defines it; differentiable, for use under jit.

    Blur, resize and blur are linear and separable, so together they are one matrix per axis.

    Args:
        prediction: maps of any scale, `[..., h, w]`.
        size: (H, W) of the ground truth.
        protocol: defines the conversion.

    Returns:
        `[..., H, W]`; NaN everywhere if the prediction is constant and the protocol gives that no score.
    """
    x = min_max(prediction) if protocol.stretch else prediction
    native = x
    if x.shape[-2:] != size or protocol.blur_sigma or protocol.smooth_sigma:  # else both matrices are the identity
        rows, columns = (_matrix(old, new, protocol) for old, new in zip(x.shape[-2:], size, strict=True))
        native = apply_matrices(x, rows, columns)
    if protocol.clip and native is not x:
        native = jnp.clip(native, x.min(axis=(-2, -1), keepdims=True), x.max(axis=(-2, -1), keepdims=True))
    if protocol.constant == "nan":
        native = jnp.where(is_constant(prediction)[..., None, None], jnp.nan, native)
    return native


def _matrix(old: int, new: int, protocol: Protocol) -> Float[np.ndarray, "new old"]:
    before, after = _blur_matrix(old, protocol.blur_sigma), _blur_matrix(new, protocol.smooth_sigma)
    return after @ bicubic_matrix(old, new) @ before


def _blur_matrix(size: int, sigma: float) -> Float[np.ndarray, "size size"]:
    return gaussian_matrix(size, float(sigma)) if sigma else np.eye(size)


# ---------------------------------------------------------------------------------------------------------------------
# Named protocols
# ---------------------------------------------------------------------------------------------------------------------

STAVIS = Protocol("stavis", rounding="down", jpeg_quality=75, stretch=True, blur_sigma=2.0, unscored_start=8)
VINET = Protocol("vinet", enlarge=True, rounding="up", jpeg_quality=100, constant="metrics", missing="zero")
NATIVE = Protocol("native", METRICS, clip=True, empty_density="nan", averages=("video", "frame"))
AVIMOS = Protocol("avimos", event_scores.METRICS, definitions="avimos", stretch=True, constant="metrics")
PROTOCOLS = {protocol.name: protocol for protocol in (NATIVE, STAVIS, VINET, AVIMOS)}


def get(name: str) -> Protocol:
    """Returns the protocol of that name.

    Raises:
        InputError: there is none; the message lists the existing ones.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

"""Scores per frame of predicted maps: the only place where maps are compared with their ground truth.

The evaluator of training and the command line both stream their maps through a `Scorer`, which holds a chunk of them
at a time, so that memory does not grow with the length of a video.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num, Shaped, UInt8

from avsd_jax import metrics
from avsd_jax.data.store import VideoStore
from avsd_jax.metrics.levels import LEVEL_METRICS, MOST_PIXELS, score_levels
from avsd_jax.metrics.maps import is_constant, over_maps
from avsd_jax.metrics.ranks import is_levels, take
from avsd_jax.scoring import event_scores
from avsd_jax.scoring.extra_metrics import extra_scores
from avsd_jax.scoring.ground_truth import GroundTruth
from avsd_jax.scoring.protocols import NATIVE, Protocol, encode, to_ground_truth

# Pixels of ground truth scored by one call: enough to amortise the call, few enough for memory at 1080p.
_CHUNK_PIXELS = 1 << 23
_CHUNK_MAPS = 32
# Bytes. XLA copies an array that begins elsewhere.
_ALIGNED = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Predicted:
    """The map of a frame to be scored, with metadata of the frame.

    Attributes:
        video, frame: identify the frame in the store.
        values: the map at any size; whole numbers are levels of an image and represent value / greatest value.
        label: 1 consistent, 0 inconsistent, -1 unlabelled.
        stored: the map was read from an image file, and is therefore encoded already.
        gate: whether the audio-visual stream was used; None without a gate.
        margin: the classifier's logit of "consistent" minus that of "inconsistent"; None without one.
    """

    video: int
    frame: int
    values: Num[np.ndarray, "h w"]
    label: int = -1
    stored: bool = False
    gate: bool | None = None
    margin: float | None = None


class Scorer:
    """Scores maps by a protocol.

    Args:
        store: the split, with the ground truth at its own size.
        protocol: the processing of maps, and the metrics.
        precision: "float32" or "float64", of all computations; some accelerators do not support the latter. Scores of
            events are always computed in float64, on the host.
    """

    def __init__(self, store: VideoStore, protocol: Protocol = NATIVE, precision: str = "float32"):
        self.store = store
        self.protocol = protocol
        self.precision = precision
        self._double = precision == "float64"
        self._of_events = protocol.definitions == "avimos"
        self._truth = GroundTruth(store, self._of_events)

    @property
    def truth(self) -> GroundTruth:
        """Returns the ground truth that maps are scored against."""
        return self._truth

    def stream(self, maps: Iterable[Predicted]) -> Iterator[tuple[Predicted, dict[str, float]]]:
        """Scores a stream of maps; yields each with {metric: value}, in order, NaN if there is none."""
        chunk: list[Predicted] = []
        for row in map(self._encoded, maps):
            if chunk and (len(chunk) == self._chunk_size(chunk[0]) or self._kind(row) != self._kind(chunk[0])):
                yield from zip(chunk, self._score(chunk), strict=True)
                chunk = []
            chunk.append(row)
        if chunk:
            yield from zip(chunk, self._score(chunk), strict=True)

    def truth_digest(self, video: int) -> str:
        """Returns a digest of the ground truth of a video; see `GroundTruth.digest`."""
        return self._truth.digest(video)

    def possible(self, video: int, frames: Sequence[int]) -> dict[int, frozenset[str]]:
        """Returns the metrics that the ground truth of each frame allows, for a map that is not degenerate.

        A metric that is undefined but possible is so because of the prediction.
        """
        size = self.store.videos[video]
        ramp = np.linspace(0, 1, size.map_height * size.map_width, dtype=np.float32)
        ramp = ramp.reshape(size.map_height, size.map_width)
        rows = self.stream(Predicted(video, frame, ramp, stored=True) for frame in frames)
        return {row.frame: frozenset(m for m, value in values.items() if not np.isnan(value)) for row, values in rows}

    def scored_map(self, row: Predicted) -> Float[np.ndarray, "H W"]:
        """Returns the map as the metrics read it, at the size of its ground truth."""
        if self._of_events:
            return event_scores.to_ground_truth(self._encoded(row).values, self._size(row))
        with jax.enable_x64(self._double or jax.config.jax_enable_x64):
            values = _as_unit(jnp.asarray(self._encoded(row).values), self._double)
            return np.asarray(to_ground_truth(values, self._size(row), self.protocol))

    def _encoded(self, row: Predicted) -> Predicted:
        """Encodes the map as the protocol's image files do, and converts it to a type that the metrics take."""
        values = row.values
        if not row.stored:
            index = self.store.videos[row.video]
            values = encode(values, (index.height, index.width), self.protocol)
        values = as_levels(values)
        if values.dtype not in (np.uint8, np.uint16, np.float64):
            values = values.astype(np.float32)
        if values is row.values:
            return row
        return Predicted(row.video, row.frame, values, row.label, True, row.gate, row.margin)

    def _size(self, row: Predicted) -> tuple[int, int]:
        index = self.store.videos[row.video]
        return index.map_height, index.map_width

    def _kind(self, row: Predicted) -> tuple:
        """Returns the properties that the maps of a chunk share, so that they use one compiled program."""
        return row.values.shape, row.values.dtype, self._size(row)

    def _chunk_size(self, row: Predicted) -> int:
        height, width = self._size(row)
        return max(1, min(_CHUNK_MAPS, _CHUNK_PIXELS // (height * width)))

    def _score(self, chunk: Sequence[Predicted]) -> list[dict[str, float]]:
        """Computes all metrics of a chunk, padded to full length so that every chunk uses one compiled program."""
        length = self._chunk_size(chunk[0])
        where = [(row.video, row.frame) for row in chunk]
        if self._of_events:
            return [
                event_scores.score(row.values, self._truth.density(*w), self._truth.events(*w), self.protocol.metrics)
                for row, w in zip(chunk, where, strict=True)
            ]
        fixations = stacked([self._truth.fixations(*w) for w in where], length)
        most = max(32, int(fixations.sum(axis=(1, 2)).max()))
        with jax.enable_x64(self._double or jax.config.jax_enable_x64):
            values = score_maps(
                stacked([row.values for row in chunk], length),
                stacked([self._truth.density(*w) for w in where], length),
                fixations,
                stacked([self._truth.pool(*w, self.protocol.pool) for w in where], length),
                protocol=self.protocol,
                double=self._double,
                max_fixations=1 << (most - 1).bit_length(),
            )
        columns = {name: np.asarray(values[name], float) for name in self.protocol.metrics}
        return [{name: float(v[i]) for name, v in columns.items()} for i in range(len(chunk))]


def stacked(maps: Sequence[Shaped[np.ndarray, "h w"]], length: int) -> Shaped[np.ndarray, "b h w"]:
    """Stacks maps, and zeros up to a length, so that JAX on a CPU reads the array where it is: at a multiple of 64."""
    shape, dtype = (length, *maps[0].shape), maps[0].dtype
    memory = np.empty(math.prod(shape) * dtype.itemsize + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    found = memory[start : memory.size - _ALIGNED + start].view(dtype).reshape(shape)
    np.stack(maps, out=found[: len(maps)])
    found[len(maps) :] = 0
    return found


def as_levels(values: Num[np.ndarray, "h w"]) -> Num[np.ndarray, "h w"]:
    """Returns the levels of an image that was stored as other numbers; a map that is not an image is unchanged.

    An image of 8 bits is recognised by its values, all of which are k or, correctly rounded, k / 255 (of 16 bits:
    k / 65535), so that its scores do not depend on the kind of file.
    """
    if values.dtype in (np.uint8, np.uint16) or values.dtype.kind not in "iuf" or not values.size:
        return values
    scales = ((1, np.uint8), (255, np.uint8), (65535, np.uint16))
    for scale, dtype in scales if values.dtype.kind == "f" else scales[:1]:
        # A few values first: they exclude nearly every other map.
        if _are_levels(values.ravel()[:64], scale, dtype) and _are_levels(values, scale, dtype):
            return np.rint(values * np.float64(scale)).astype(dtype)
    return values


def _are_levels(values: Num[np.ndarray, "..."], scale: int, dtype: type) -> bool:
    highest = np.iinfo(dtype).max / scale
    low, high = values.min(), values.max()
    # A map of one value is not taken for an image; NaN is not a level.
    if not (low >= 0 and high <= highest) or (values.ndim > 1 and low == high):
        return False
    levels = np.rint(values * np.float64(scale))
    if values.dtype.kind == "f":
        levels = levels.astype(values.dtype) / values.dtype.type(scale)
    return np.array_equal(levels, values)


def _as_unit(values: Num[Array, "*b h w"], double: bool) -> Float[Array, "*b h w"]:
    """Converts the levels of an image to numbers in [0, 1]; other numbers are unchanged.

    The quotients are looked up: XLA multiplies by the reciprocal of a constant, which is wrong in the last digit for 24
    of 256 levels and moves levels across the thresholds of the s-AUC.
    """
    dtype = np.float64 if double else np.float32
    if jnp.issubdtype(values.dtype, jnp.integer):
        return take(jnp.asarray(_quotients(np.iinfo(values.dtype).max, dtype)), values.astype(jnp.int32))
    return values.astype(dtype)


@functools.cache
def _quotients(highest: int, dtype: type) -> Float[np.ndarray, " levels"]:
    """Returns each level divided by the highest, correctly rounded."""
    return np.arange(highest + 1, dtype=dtype) / dtype(highest)


@functools.partial(jax.jit, static_argnames=("protocol", "double", "max_fixations"))
def score_maps(
    values: Num[Array, "b h w"],
    density: UInt8[Array, "b H W"],
    fixations: Bool[Array, "b H W"],
    pool: Bool[Array, "b H W"],
    *,
    protocol: Protocol,
    double: bool,
    max_fixations: int,
) -> dict[str, Float[Array, " b"]]:
    """Computes all metrics of a batch of maps, each resized to its ground truth and scored while it is in the cache."""
    of_one = functools.partial(_score_map, protocol=protocol, double=double, max_fixations=max_fixations)
    return over_maps(of_one, values, density, fixations, pool)


def _score_map(
    values: Num[Array, "h w"],
    density: UInt8[Array, "H W"],
    fixations: Bool[Array, "H W"],
    pool: Bool[Array, "H W"],
    *,
    protocol: Protocol,
    double: bool,
    max_fixations: int,
) -> dict[str, Float[Array, ""]]:
    dtype = jnp.dtype(jnp.float64 if double else jnp.float32)
    keeps_ranks = protocol.keeps_ranks(values.shape, density.shape)
    if keeps_ranks and not protocol.stretch and not is_levels(values):
        given = native = values if double else values.astype(dtype)
    else:
        given = _as_unit(values, double)
        # A constant map without scores is left out of account until there are scores: that costs no pass over the map.
        native = to_ground_truth(given, density.shape, dataclasses.replace(protocol, constant="metrics"))
    levels = values if is_levels(values) and keeps_ranks else None
    names = [name for name in protocol.metrics if name in metrics.METRICS]
    whole = ()
    if double and values.dtype == jnp.uint8 and keeps_ranks and not protocol.stretch and values.size <= MOST_PIXELS:
        whole = [name for name in names if name in LEVEL_METRICS]
    others = tuple(name for name in names if name not in whole)
    # No metric depends on the scale of the density.
    scores = metrics.score(native, density, fixations, pool, max_fixations, others, levels, dtype)
    if whole:
        of_level = _quotients(np.iinfo(values.dtype).max, np.float64)
        scores |= score_levels(values, density, fixations, pool, of_level, max_fixations, whole)
    native = native.astype(dtype)
    scores |= extra_scores(protocol.metrics, native, density.astype(dtype), fixations)
    if "s-AUC" in scores and protocol.s_auc_bins != 11:
        scores["s-AUC"] = metrics.s_auc(native, fixations, pool, bins=protocol.s_auc_bins, max_fixations=max_fixations)
    if protocol.constant == "nan":
        undefined = is_constant(given, dtype)
        scores = {name: jnp.where(undefined, jnp.nan, value) for name, value in scores.items()}
    if protocol.empty_density == "nan":
        empty = density.max() == 0
        scores = {name: jnp.where(empty, jnp.nan, value) for name, value in scores.items()}
    return scores

"""From predicted maps to scores per frame: the one place where maps meet their ground truth.

Training's evaluator and the command line both stream their maps through a `Scorer`; it holds a chunk of them at a
time, so that memory does not grow with a video's length.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num, UInt8

from avsd_jax import metrics
from avsd_jax.data.store import VideoStore
from avsd_jax.evaluators.ground_truth import GroundTruth
from avsd_jax.protocols import NATIVE, Protocol, encode, to_ground_truth

# Pixels of ground truth scored by one call: enough to hide the call, little enough to hold at 1080p.
_CHUNK_PIXELS = 1 << 23
_CHUNK_MAPS = 32


@dataclass(frozen=True, eq=False)
class Predicted:
    """A frame's map on its way to a score, with what else is known of the frame.

    Attributes:
        video, frame: which frame of the store it is.
        values: the map at any size; whole numbers are levels of a picture and stand for value / greatest value.
        label: 1 consistent, 0 inconsistent, -1 unlabelled.
        stored: the map was read from a picture file, and so has been through the protocol's encoding.
        gate: whether the audio-visual flow was used; None without a gate.
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
        protocol: what is done to maps, and which metrics.
        precision: "float32" or "float64", of everything computed; the second does not exist on some accelerators.
    """

    def __init__(self, store: VideoStore, protocol: Protocol = NATIVE, precision: str = "float32"):
        self.store = store
        self.protocol = protocol
        self._double = precision == "float64"
        self._truth = GroundTruth(store)

    def stream(self, maps: Iterable[Predicted]) -> Iterator[tuple[Predicted, dict[str, float]]]:
        """Scores maps as they come; yields each with {metric: value}, in their order, NaN where there is none."""
        chunk: list[Predicted] = []
        for row in map(self._encoded, maps):
            if chunk and (len(chunk) == self._chunk_size(chunk[0]) or self._kind(row) != self._kind(chunk[0])):
                yield from zip(chunk, self._score(chunk), strict=True)
                chunk = []
            chunk.append(row)
        if chunk:
            yield from zip(chunk, self._score(chunk), strict=True)

    def possible(self, video: int, frames: Sequence[int]) -> dict[int, frozenset[str]]:
        """Returns which metrics exist at each frame for a map that is not degenerate: its ground truth allows them.

        A metric that is undefined but possible is so because of the prediction.
        """
        size = self.store.videos[video]
        ramp = np.linspace(0, 1, size.map_height * size.map_width, dtype=np.float32)
        ramp = ramp.reshape(size.map_height, size.map_width)
        rows = self.stream(Predicted(video, frame, ramp, stored=True) for frame in frames)
        return {row.frame: frozenset(m for m, value in values.items() if not np.isnan(value)) for row, values in rows}

    def scored_map(self, row: Predicted) -> Float[np.ndarray, "H W"]:
        """The map as the metrics see it, at the size of its ground truth."""
        with jax.enable_x64(self._double or jax.config.jax_enable_x64):
            values = _as_unit(jnp.asarray(self._encoded(row).values), self._double)
            return np.asarray(to_ground_truth(values, self._size(row), self.protocol))

    def _encoded(self, row: Predicted) -> Predicted:
        """The map as it comes back from the protocol's picture files; of a type that the metrics take."""
        values = row.values
        if not row.stored:
            index = self.store.videos[row.video]
            values = encode(values, (index.height, index.width), self.protocol)
        if values.dtype not in (np.uint8, np.uint16, np.float64):
            values = values.astype(np.float32)
        if values is row.values:
            return row
        return Predicted(row.video, row.frame, values, row.label, True, row.gate, row.margin)

    def _size(self, row: Predicted) -> tuple[int, int]:
        index = self.store.videos[row.video]
        return index.map_height, index.map_width

    def _kind(self, row: Predicted) -> tuple:
        """What the maps of a chunk share: one program serves them all."""
        return row.values.shape, row.values.dtype, self._size(row)

    def _chunk_size(self, row: Predicted) -> int:
        height, width = self._size(row)
        return max(1, min(_CHUNK_MAPS, _CHUNK_PIXELS // (height * width)))

    def _score(self, chunk: Sequence[Predicted]) -> list[dict[str, float]]:
        """All metrics of a chunk; padded to full length so that one program serves every chunk."""
        length = self._chunk_size(chunk[0])

        def stack(maps: Iterable[np.ndarray]) -> np.ndarray:
            full = np.stack(list(maps))
            return np.pad(full, [(0, length - len(full)), (0, 0), (0, 0)])

        where = [(row.video, row.frame) for row in chunk]
        fixations = stack(self._truth.fixations(*w) for w in where)
        most = max(32, int(fixations.sum(axis=(1, 2)).max()))
        with jax.enable_x64(self._double or jax.config.jax_enable_x64):
            values = _score_maps(
                stack(row.values for row in chunk),
                stack(self._truth.density(*w) for w in where),
                fixations,
                stack(self._truth.pool(*w) for w in where),
                protocol=self.protocol,
                double=self._double,
                max_fixations=1 << (most - 1).bit_length(),
            )
        columns = {name: np.asarray(values[name], float) for name in self.protocol.metrics}
        return [{name: float(v[i]) for name, v in columns.items()} for i in range(len(chunk))]


def _as_unit(values: Num[Array, "*b h w"], double: bool) -> Float[Array, "*b h w"]:
    """Levels of a picture as numbers in [0, 1]; numbers as they are."""
    dtype = jnp.float64 if double else jnp.float32
    if jnp.issubdtype(values.dtype, jnp.integer):
        return values.astype(dtype) / jnp.iinfo(values.dtype).max
    return values.astype(dtype)


@functools.partial(jax.jit, static_argnames=("protocol", "double", "max_fixations"))
def _score_maps(
    values: Num[Array, "b h w"],
    density: UInt8[Array, "b H W"],
    fixations: Bool[Array, "b H W"],
    pool: Bool[Array, "b H W"],
    *,
    protocol: Protocol,
    double: bool,
    max_fixations: int,
) -> dict[str, Float[Array, "b"]]:
    prediction = _as_unit(values, double)
    native = to_ground_truth(prediction, density.shape[1:], protocol)
    truth = density.astype(native.dtype) / 255
    scores = metrics.score(native, truth, fixations, pool, max_fixations, names=protocol.metrics)
    if "s-AUC" in scores and protocol.s_auc_bins != 11:
        scores["s-AUC"] = metrics.s_auc(native, fixations, pool, bins=protocol.s_auc_bins, max_fixations=max_fixations)
    if protocol.empty_density == "nan":
        empty = density.max(axis=(1, 2)) == 0
        scores = {name: jnp.where(empty, jnp.nan, value) for name, value in scores.items()}
    return scores

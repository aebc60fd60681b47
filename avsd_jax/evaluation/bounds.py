"""Reference scores: chance and the centre of the image as lower bounds, one human against the others above.

All three are scored on the same frames as the model, by the same protocol, and averaged in the same way.

  chance     a map that does not depend on the video. NSS, CC and the AUCs: the exact expectation of a map of
             independent random values without ties: 0, 0, 1/2, and for AUC-Judd 1/2 + 1/2 / (n + 1) with n fixated
             pixels, because MIT's curve rises over each fixation. SIM, KL, EMD, information gain: a uniform map.
  centre     a Gaussian at the centre whose standard deviation is a quarter of each side (`extra_metrics.centre_map`).
  one human  leave one out: the fixations of a viewer as a density map, scored against the fixations of the others and
             their density map; the mean over viewers. Only if the dataset distinguishes viewers.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from avsd_jax import metrics
from avsd_jax.common.byte_cache import ByteCache
from avsd_jax.data import density
from avsd_jax.data.store import VideoStore
from avsd_jax.scoring.extra_metrics import centre_map
from avsd_jax.scoring.scorer import Predicted, Scorer

NAMES = ("chance", "centre", "one human")
HOW = {
    "chance": "exact expectation of random values (NSS, CC, AUCs); a uniform map (SIM, KL, EMD, information gain)",
    "centre": "a Gaussian at the centre, its standard deviation a quarter of each side",
    "one human": (
        "each viewer's fixations against those of the others, mean over viewers; both as Gaussians of one degree of "
        "visual angle where it is known, else of 3 % of the width"
    ),
}
_EPSILON = 2.0**-52  # of the MIT benchmark's code
_CACHE_BYTES = 64 << 20

Scores = dict[str, list[float | None]]


def of_video(scorer: Scorer, video: int, frames: Sequence[int]) -> dict[str, Scores | None]:
    """Computes the bounds of a video's frames: by bound and metric a value per frame, None if there is none.

    Args:
        scorer: of the store and protocol.
        video: its number.
        frames: their numbers.

    Returns:
        The scores; the entry of "one human" is None if the dataset does not distinguish two viewers.
    """
    found = {
        "chance": _chance(scorer, video, frames),
        "centre": _centre(scorer, video, frames),
        "one human": _one_human(scorer, video, frames),
    }
    names = scorer.protocol.metrics
    return {
        bound: None if rows is None else {m: [_plain(row.get(m, np.nan)) for row in rows] for m in names}
        for bound, rows in found.items()
    }


def summary(
    rows: Sequence[Mapping[str, Any]],
    results: Mapping[tuple[str, str], Mapping[str, Any]],
    names: Sequence[str],
    summarise: Callable[[list[dict[str, Any]]], Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Returns the bounds of an evaluation.

    Args:
        rows: of all frames, as `score_files.write` takes them; the scored ones count.
        results: by split and video, the result of `of_video` under `bounds`, and `frames`.
        names: the metrics of the protocol.
        summarise: computes the averages of rows.

    Returns:
        By bound `how`; and `scores` and `frame_scores` (as of the model, with `intervals`) and `frames`, how many have
        the bound; or `missing`, the reason why there is none.
    """
    scored = [row for row in rows if row["status"] == "scored"]
    places = {key: {frame: i for i, frame in enumerate(result["frames"])} for key, result in results.items()}
    found: dict[str, dict[str, Any]] = {}
    for bound in NAMES:
        found[bound] = {"how": HOW[bound]}
        lacking = sorted({video for (_, video), r in results.items() if r["frames"] and r["bounds"][bound] is None})
        if lacking:
            found[bound]["missing"] = (
                f"the dataset does not distinguish two or more viewers in {len(lacking)} of "
                f"{len({video for _, video in results})} videos, such as {lacking[0]}"
            )
            continue
        own = []
        for row in scored:
            key = row["split"], row["video"]
            values = {m: results[key]["bounds"][bound][m][places[key][row["frame"]]] for m in names}
            own.append({k: row[k] for k in ("split", "video", "frame", "label", "status")} | values)
        averages = summarise(own)
        found[bound] |= {k: averages[k] for k in ("scores", "frame_scores", "intervals") if k in averages}
        found[bound]["frames"] = sum(any(row[m] is not None for m in names) for row in own)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The three bounds: scores per frame
# ---------------------------------------------------------------------------------------------------------------------


def _chance(scorer: Scorer, video: int, frames: Sequence[int]) -> list[dict[str, float]]:
    possible = scorer.possible(video, frames)
    found = []
    for frame in frames:
        fixated, truth = scorer.truth.fixations(video, frame), scorer.truth.density(video, frame)
        found.append({m: chance(m, fixated, truth) for m in scorer.protocol.metrics if m in possible[frame]})
    return found


def chance(metric: str, fixated: Bool[np.ndarray, "h w"], truth: UInt8[np.ndarray, "h w"]) -> float:
    """Returns the score of an uninformative map; see the module.

    Args:
        metric: one of `protocols.ALL_METRICS`.
        fixated: the fixated pixels.
        truth: the density map.
    """
    if metric in ("NSS", "CC"):
        return 0.0
    if metric in ("s-AUC", "AUC-B"):
        return 0.5
    if metric == "AUC-J":
        return 0.5 + 0.5 / (int(fixated.sum()) + 1)
    uniform = 1 / truth.size
    if metric == "SIM":
        return float(np.minimum(uniform, _shares(truth.astype(float) - truth.min())).sum())
    if metric == "KL":
        q = _shares(truth.astype(float))
        return float((q * np.log(_EPSILON + q / (uniform + _EPSILON))).sum())
    centre = centre_map(truth.shape)
    if metric == "IG":
        known = _shares((centre - centre.min()) / (centre.max() - centre.min()))
        return float((np.log2(uniform + _EPSILON) - np.log2(known + _EPSILON))[fixated].mean())
    flat = np.ones(truth.shape)
    with jax.enable_x64(True):
        if metric == "IG-pysaliency":
            return float(metrics.information_gain(flat, fixated, centre, convention="pysaliency"))
        return float(metrics.emd(flat, truth.astype(float)))


def _shares(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    total = values.sum()
    return values / total if total > 0 else values


def _centre(scorer: Scorer, video: int, frames: Sequence[int]) -> list[dict[str, float]]:
    known = scorer.store.videos[video]
    values = centre_map((known.map_height, known.map_width))
    return [found for _, found in scorer.stream(Predicted(video, frame, values, stored=True) for frame in frames)]


def _one_human(scorer: Scorer, video: int, frames: Sequence[int]) -> list[dict[str, float]] | None:
    """Computes the mean over the viewers of frames with at least two; None if viewers are not distinguished."""
    if scorer.store.videos[video].num_viewers < 2:
        return None
    found: dict[int, list[dict[str, float]]] = {frame: [] for frame in frames}
    for viewer in range(scorer.store.videos[video].num_viewers):
        others = _Others(scorer.store, viewer)
        own = Scorer(others, scorer.protocol, scorer.precision)
        for row, values in own.stream(others.maps(video, frames)):
            found[row.frame].append(values)
    return [
        {m: _mean([values[m] for values in each]) for m in scorer.protocol.metrics} if each else {}
        for each in found.values()
    ]


class _Others(VideoStore):
    """The videos of a store without one of the viewers.

    Args:
        store: it distinguishes viewers.
        viewer: the viewer to leave out.
    """

    def __init__(self, store: VideoStore, viewer: int):
        self.name, self.videos, self.parts = store.name, store.videos, store.parts
        self._store, self._viewer = store, viewer
        self.derived = ByteCache(_CACHE_BYTES)

    def viewer_rows(self, video: int, index: int) -> Float32[np.ndarray, "n 3"]:
        rows = self._store.viewer_rows(video, index)
        return rows[rows[:, 0] != self._viewer]

    def fixations(self, video: int, index: int) -> Float32[np.ndarray, "n 2"]:
        return self.viewer_rows(video, index)[:, 1:]

    def density(self, video: int, index: int) -> UInt8[np.ndarray, "h w"]:
        """Returns a density map of the other viewers' fixations."""
        return self._density(video, self.fixations(video, index))

    def density_levels(self, video: int, index: int) -> UInt8[np.ndarray, "h w"]:
        """Returns the same as `density`: there are no deeper maps."""
        return self.density(video, index)

    def maps(self, video: int, frames: Sequence[int]) -> Iterator[Predicted]:
        """Yields the viewer's own density map of each frame with fixations of this viewer and another one."""
        for frame in frames:
            rows = self._store.viewer_rows(video, frame)
            own = rows[:, 0] == self._viewer
            if own.any() and not own.all():
                yield Predicted(video, frame, self._density(video, rows[own, 1:]), stored=True)

    def _density(self, video: int, points: Float32[np.ndarray, "n 2"]) -> UInt8[np.ndarray, "h w"]:
        known = self.videos[video]
        sigma = _sigma(self.name, known.map_width)
        return density.density_map(points, (known.map_height, known.map_width), sigma)


@functools.cache
def _sigma(name: str, width: int) -> float:
    return density.sigma_of(name.split()[0].partition("/")[0], width)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

"""Metrics and negatives on request: against plain NumPy, and against the functions themselves."""

import dataclasses

import numpy as np
import pytest
from videos import memory_store

from avsd_jax import metrics
from avsd_jax.data import schema
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.scoring import extra_metrics, protocols
from avsd_jax.scoring.ground_truth import GroundTruth
from avsd_jax.scoring.protocols import NATIVE, STAVIS
from avsd_jax.scoring.scorer import Predicted, Scorer


def source(name: str, size: tuple[int, int], seed: int) -> schema.SourceVideo:
    rng = np.random.default_rng(seed)
    points = [(frame, 0, rng.integers(size[1]), rng.integers(size[0])) for frame in (0, 1) for _ in range(12)]
    return schema.SourceVideo(
        video_id=name,
        fps=25.0,
        num_frames=2,
        height=size[0],
        width=size[1],
        frames=[schema.encode_jpeg(np.zeros((*size, 3), np.uint8))] * 2,
        density=[schema.encode_png(rng.integers(0, 255, size, np.uint8)) for _ in range(2)],
        fixations=np.array(points, np.float32),
        num_viewers=1,
        avc_label=np.ones(2, np.int8),
        audio=np.zeros(1000, np.int16),
        sample_rate=22050,
    )


@pytest.fixture(scope="module")
def store() -> VideoStore:
    return memory_store([source("a", (40, 64), 0), source("b", (20, 32), 1), source("c", (40, 64), 2)])


def test_all_metrics_are_scored_on_request(store: VideoStore) -> None:
    protocol = extra_metrics.with_metrics(NATIVE, "all")
    assert protocol.metrics == protocols.ALL_METRICS
    extra = dataclasses.replace(protocol, metrics=protocols.ALL_METRICS[len(metrics.METRICS) :])
    scorer = Scorer(store, extra, "float64")
    picture = np.random.default_rng(5).integers(1, 255, (40, 64), np.uint8)
    ((_, found),) = scorer.stream([Predicted(0, 0, picture, stored=True)])
    x, hit = picture / 255, scorer._truth.fixations(0, 0)
    y, w = (np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2) for n in x.shape)
    centre = np.outer(y, w)

    def mit(x: np.ndarray) -> np.ndarray:
        x = (x - x.min()) / (x.max() - x.min())
        return np.log2(x / x.sum() + 2.0**-52)

    assert found["IG"] == pytest.approx((mit(x) - mit(centre))[hit].mean(), abs=1e-11)
    theirs = [np.log2((m + 1e-20) / (m + 1e-20).sum()) for m in (x, centre)]
    assert found["IG-pysaliency"] == pytest.approx((theirs[0] - theirs[1])[hit].mean(), abs=1e-11)
    bins = np.sum([(x - x.min()) / (x.max() - x.min()) >= i * 0.1 for i in range(11)], axis=0)
    borji = (bins[hit][:, None] > bins.ravel()) + 0.5 * (bins[hit][:, None] == bins.ravel())
    assert found["AUC-B"] == pytest.approx(borji.mean(), abs=1e-12)
    truth = store.density(0, 0) / 255
    assert found["EMD"] == pytest.approx(float(metrics.emd(x, truth)), rel=1e-4)
    # A map and a truth without a score have none here either.
    ((_, constant),) = scorer.stream([Predicted(0, 0, np.full((40, 64), 7, np.uint8), stored=True)])
    assert all(np.isnan(value) for value in constant.values())


def test_metrics_are_named_in_any_case_added_or_refused() -> None:
    assert extra_metrics.with_metrics(STAVIS, None) == STAVIS
    assert extra_metrics.with_metrics(STAVIS, "ig, cc").metrics == ("IG", "CC")
    assert extra_metrics.with_metrics(STAVIS, ["CC", "AUC-B"]).metrics == ("CC", "AUC-B")
    added = extra_metrics.with_metrics(STAVIS, "+CC,IG")
    assert added.metrics == (*STAVIS.metrics, "IG")
    assert dataclasses.replace(added, metrics=STAVIS.metrics) == STAVIS
    for wrong in ("AUC", "", "+", "CC,IGG"):
        with pytest.raises(InputError, match="choose of NSS, CC, .*, EMD, joined by commas"):
            extra_metrics.with_metrics(STAVIS, wrong)
    with pytest.raises(InputError, match="name one twice"):
        extra_metrics.with_metrics(STAVIS, "CC,cc")


def test_the_pool_of_other_videos_is_their_fixations_stretched(store: VideoStore) -> None:
    truth = GroundTruth(store)
    expected = np.zeros((20, 32), bool)
    for video in (0, 2):
        for frame in (0, 1):
            for x, y in store.fixations(video, frame):  # twice as wide and high: two pixels become one
                expected[int(y // 2), int(x // 2)] = True
    expected &= ~truth.fixations(1, 0)
    np.testing.assert_array_equal(truth.pool(1, 0, "other_videos"), expected)
    assert not np.array_equal(truth.pool(1, 0), expected)
    protocol = extra_metrics.with_pool(NATIVE, "other_videos")
    assert protocol.name == "native, pool=other_videos"
    assert "the other videos' fixations" in protocol.as_record()["s_auc"]
    assert extra_metrics.with_pool(NATIVE, "same_video") == NATIVE
    narrow = dataclasses.replace(protocol, metrics=("s-AUC",))
    picture = np.random.default_rng(5).random((20, 32))
    ((_, found),) = Scorer(store, narrow, "float64").stream([Predicted(1, 0, picture)])
    unit = (picture - picture.min()) / np.ptp(picture)
    bins = np.sum([unit >= i * 0.1 for i in range(11)], axis=0)
    a, b = bins[truth.fixations(1, 0)][:, None], bins[expected]
    assert found["s-AUC"] == pytest.approx(np.mean((a > b) + 0.5 * (a == b)), abs=1e-12)

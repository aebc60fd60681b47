"""The evaluator against scores computed frame by frame, on a store in memory."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit
from videos import memory_store

from avsd_jax import metrics
from avsd_jax.data import schema
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.scoring.evaluator import SaliencyEvaluator, audit
from avsd_jax.scoring.groups import classifier_scores, rank_auc, with_macro
from avsd_jax.scoring.protocols import NATIVE, to_ground_truth

SIZES = {"a": (24, 32), "b": (24, 32), "c": (18, 20)}
FRAMES = {"a": 12, "b": 7, "c": 6}
LABELS = {"a": [1] * 6 + [0] * 6, "b": [0, 0, -1, 1, 1, 1, 1], "c": [0] * 6}


def video(name: str) -> schema.SourceVideo:
    """Blobs of density with points around them; frame 1 has no fixations."""
    rng = np.random.default_rng(ord(name))
    height, width = SIZES[name]
    y, x = np.mgrid[:height, :width]
    density, rows = [], []
    for frame in range(FRAMES[name]):
        cx, cy = rng.uniform(4, width - 4), rng.uniform(4, height - 4)
        blob = 255 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18)
        density.append(schema.encode_png((blob if frame != 1 else 0 * blob).astype(np.uint8)))
        if frame != 1:
            points = np.clip(rng.normal((cx, cy), 2, (5, 2)), 0, (width - 1, height - 1))
            rows += [(frame, viewer, *point) for viewer, point in enumerate(points)]
    image = schema.encode_jpeg(rng.integers(0, 255, (height, width, 3)).astype(np.uint8))
    return schema.SourceVideo(
        video_id=name,
        fps=10.0,
        num_frames=FRAMES[name],
        height=height,
        width=width,
        frames=[image] * FRAMES[name],
        density=density,
        fixations=np.array(rows, np.float32),
        num_viewers=5,
        avc_label=np.array(LABELS[name], np.int8),
        audio=np.zeros(100, np.int16),
        sample_rate=100,
    )


@pytest.fixture(scope="module")
def store() -> VideoStore:
    return memory_store([video(name) for name in SIZES])


def batches(store: VideoStore, batch_size: int = 8, stride: int = 1) -> Iterator[dict[str, np.ndarray]]:
    where = [(v, f) for v, index in enumerate(store.videos) for f in range(0, index.num_frames, stride)]
    for i in range(0, len(where), batch_size):
        rows = where[i : i + batch_size]
        mask = np.arange(batch_size) < len(rows)
        rows += [rows[-1]] * (batch_size - len(rows))
        yield {
            "video_index": np.array([v for v, _ in rows], np.int32),
            "frame_index": np.array([f for _, f in rows], np.int32),
            "avc_label": np.array([store.avc_label(v)[f] for v, f in rows], np.int32),
            "mask": mask,
        }


def guess(video: int, frame: int) -> np.ndarray:
    """A prediction of the model's size that depends on the frame alone."""
    return np.random.default_rng([video, frame]).random((16, 16), np.float32) + 0.1


def predict(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
    where = list(zip(batch["video_index"].tolist(), batch["frame_index"].tolist(), strict=True))
    margin = np.array([np.sin(3 * v + f) for v, f in where])
    return {
        "saliency": np.stack([guess(*w) for w in where]),
        "avc_logits": np.stack([0 * margin, margin], axis=1),
        "gate": margin > 0,
    }


def expected_scores(store: VideoStore) -> dict[tuple[int, int], dict[str, float]]:
    """Frame by frame, from points and the single metrics."""
    scores = {}
    for v, index in enumerate(store.videos):
        size = (index.map_height, index.map_width)
        marked = np.zeros((index.num_frames, *size), bool)
        for f in range(index.num_frames):
            for x, y in store.fixations(v, f):
                if 0 <= round(float(x)) < size[1] and 0 <= round(float(y)) < size[0]:
                    marked[f, round(float(y)), round(float(x))] = True
        for f in range(index.num_frames):
            pool = marked.any(axis=0) & ~marked[f]
            found = score(guess(v, f), store.density(v, f) / np.float32(255), marked[f], pool)
            # A frame without fixations has no score, even if a metric would give it one.
            scores[v, f] = {m: float(found[m]) if marked[f].any() else np.nan for m in metrics.METRICS}
    return scores


@fast_jit
def score(pred: jax.Array, density: jax.Array, marked: jax.Array, pool: jax.Array) -> dict[str, jax.Array]:
    return metrics.score(to_ground_truth(pred, density.shape, NATIVE), density, marked, pool)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [5, 64])
def test_averages_frames_over_videos_by_group(store: VideoStore, batch_size: int) -> None:
    record = SaliencyEvaluator(store).run(predict, batches(store, batch_size))
    frames = expected_scores(store)
    wanted = {"all": (1, 0, -1), "consistent": (1,), "inconsistent": (0,)}
    for group, labels in wanted.items():
        for metric in metrics.METRICS:
            per_video = []
            for name, own in zip(SIZES, range(3), strict=True):
                values = [frames[own, f][metric] for f in range(FRAMES[name]) if LABELS[name][f] in labels]
                if not np.isnan(values).all():
                    per_video.append(np.nanmean(values))
                    np.testing.assert_allclose(record["videos"][name][group][metric], per_video[-1], rtol=1e-4)
            np.testing.assert_allclose(record["scores"][group][metric], np.mean(per_video), rtol=1e-4)

    assert record["counts"] == {
        "videos": {"all": 3, "consistent": 2, "inconsistent": 3},
        "frames": {"all": 25, "consistent": 10, "inconsistent": 14},
        "unlabelled": 1,
    }
    # Frame 1 of each video has no fixation.
    assert record["nan"]["all"] == dict.fromkeys(metrics.METRICS, 3)
    sim = np.array([s["SIM"] for s in frames.values()])
    np.testing.assert_allclose(record["frame_scores"]["all"]["SIM"], np.nanmean(sim), rtol=1e-4)
    assert "c" in record["videos"]
    assert "consistent" not in record["videos"]["c"]
    plain = {k: v for k, v in record.items() if k != "examples"}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_classifier_and_gate(store: VideoStore) -> None:
    record = SaliencyEvaluator(store).run(predict, batches(store, stride=2))["avc"]
    where = [(v, f) for v, name in enumerate(SIZES) for f in range(0, FRAMES[name], 2)]
    labels = np.array([store.avc_label(v)[f] for v, f in where])
    margin = np.array([np.sin(3 * v + f) for v, f in where])
    known = labels >= 0
    truth, right = labels[known] == 1, (margin[known] > 0) == (labels[known] == 1)
    assert record["labelled"] == known.sum()
    assert record["accuracy"] == pytest.approx(right.mean())
    assert record["balanced_accuracy"] == pytest.approx((right[truth].mean() + right[~truth].mean()) / 2)
    assert record["majority_baseline"] == pytest.approx(max(truth.mean(), 1 - truth.mean()))
    assert record["auc"] == pytest.approx(np.mean(margin[known][truth][:, None] > margin[known][~truth]))
    probability = 1 / (1 + np.exp(-margin[known]))
    bins = np.floor(probability * 15).astype(int)
    apart = [abs(sum(probability[bins == k] - truth[bins == k])) for k in range(15)]
    assert record["ece"] == pytest.approx(sum(apart) / known.sum())
    assert record["gate_open"]["all"] == pytest.approx((margin > 0).mean())
    assert record["gate_open"]["consistent"] == pytest.approx((margin[labels == 1] > 0).mean())


def test_classifier_scores_that_do_not_exist() -> None:
    assert classifier_scores(np.array([1, 0]), None, None) is None
    unlabelled = classifier_scores(np.array([-1, -1]), np.zeros(2), None)
    assert unlabelled["labelled"] == 0
    assert unlabelled["accuracy"] is unlabelled["ece"] is None
    assert unlabelled["majority_baseline"] is None
    one_kind = classifier_scores(np.array([1, 1]), np.array([1.0, -1.0]), np.array([True, False]))
    assert (one_kind["accuracy"], one_kind["balanced_accuracy"], one_kind["auc"]) == (0.5, None, None)
    assert one_kind["gate_open"] == {"all": 0.5, "consistent": 0.5, "inconsistent": None}
    assert rank_auc(np.array([1.0, 1.0, 2.0]), np.array([True, False, True])) == 0.75


def test_macro_accuracy_is_the_mean_over_datasets() -> None:
    joined = {"accuracy": 0.9}
    assert with_macro(joined) == {"accuracy": 0.9, "macro_accuracy": 0.9}
    each = {"a": {"accuracy": 1.0}, "b": {"accuracy": 0.5}, "unlabelled": {"accuracy": None}, "ungated": None}
    assert with_macro(joined, each)["macro_accuracy"] == 0.75
    assert with_macro(None) is None
    assert with_macro({"accuracy": None})["macro_accuracy"] is None


def test_predictions_are_brought_to_the_ground_truth() -> None:
    pred = jnp.asarray(guess(0, 0))
    sharp, soft = (dataclasses.replace(NATIVE, smooth_sigma=sigma) for sigma in (0.0, 2.0))
    for protocol in (sharp, soft):
        native = to_ground_truth(pred, (33, 47), protocol)
        assert native.shape == (33, 47)
        assert native.min() >= pred.min()
        assert native.max() <= pred.max()
    assert native.std() < to_ground_truth(pred, (33, 47), sharp).std()
    np.testing.assert_array_equal(to_ground_truth(pred, (16, 16), sharp), pred)
    assert np.isnan(to_ground_truth(jnp.full((16, 16), 0.3), (33, 47), sharp)).all()


def test_a_constant_prediction_has_no_score(store: VideoStore) -> None:
    def flat(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {"saliency": np.full((len(batch["mask"]), 16, 16), 0.3, np.float32)}

    record = SaliencyEvaluator(store).run(flat, batches(store))
    assert set(record["scores"]["all"].values()) == {None}
    assert record["avc"] is None
    assert record["nan"]["all"]["CC"] == 25


def test_audit_scores_each_sound(store: VideoStore) -> None:
    heard = []

    def make_batches(condition: str) -> Iterator[dict[str, Any]]:
        heard.append(condition)
        return ({**batch, "silent": condition == "silent"} for batch in batches(store))

    def hearing(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {"saliency": predict(batch)["saliency"] ** (3 if batch["silent"] else 1)}

    records = audit(SaliencyEvaluator(store), hearing, make_batches, ("real", "silent"))
    assert heard == ["real", "silent"]
    assert records["silent"]["protocol"]["audio"] == "silent"
    assert records["real"]["scores"]["all"]["CC"] != records["silent"]["scores"]["all"]["CC"]
    deaf = audit(SaliencyEvaluator(store), predict, make_batches, ("real", "silent"))
    assert deaf["real"]["scores"] == deaf["silent"]["scores"]


def test_examples_are_the_middles_of_stretches(store: VideoStore) -> None:
    shown = SaliencyEvaluator(store, examples=2).run(predict, batches(store, stride=2))["examples"]
    assert [(e.video_id, e.frame, e.label) for e in shown] == [
        ("a", 2, 1),
        ("b", 4, 1),
        ("a", 8, 0),
        ("c", 2, 0),
    ]
    first = shown[0]
    assert first.prediction.shape == first.density.shape == first.image.shape[:2] == (24, 32)
    np.testing.assert_array_equal(first.density, store.density(0, 2))
    assert first.gate == (np.sin(2) > 0)
    assert first.probability == pytest.approx(1 / (1 + np.exp(-np.sin(2))))
    assert set(first.scores) == set(metrics.METRICS)


def test_nothing_to_score_is_said(store: VideoStore) -> None:
    with pytest.raises(InputError, match="no frame to score"):
        SaliencyEvaluator(store).run(predict, [])

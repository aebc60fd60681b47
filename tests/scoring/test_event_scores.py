"""Protocol `avimos`: equal to the definition of the challenges' script, transcribed plainly; repeated points count."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from videos import memory_store, source_video

from avsd_jax import evaluate
from avsd_jax.data import schema
from avsd_jax.errors import InputError
from avsd_jax.scoring import event_scores, protocols
from avsd_jax.scoring.evaluator import SaliencyEvaluator
from avsd_jax.scoring.ground_truth import GroundTruth
from avsd_jax.scoring.scorer import Predicted, Scorer

SIZE = (54, 96)


def by_definition(prediction: np.ndarray, density: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """The four scores, step by step; points are rows (y, x)."""

    def unit(levels: np.ndarray) -> np.ndarray:
        levels = levels.astype(float)
        return (levels - levels.min()) / (levels.max() - levels.min() + np.finfo(np.float32).eps)

    q = unit(density)
    p = cv2.resize(unit(prediction), q.shape[::-1])
    zp, zq = ((m - np.mean(m)) / (np.std(m) + 1e-7) for m in (p, q))
    n = len(points)
    columns = {tuple(points[:, 0]), tuple(points[:, 1])}  # numpy.unique along axis 1 of [n, 2]
    negatives = p.size + (n - len(columns)) - n
    hits, false = [0.0], [0.0]
    for i, threshold in enumerate(sorted((p[y, x] for y, x in points), reverse=True), 1):
        hits.append(i / n)
        false.append(((p >= threshold).sum() - i) / negatives)
    return {
        "CC": (zp * zq).sum() / np.sqrt((zp**2).sum() * (zq**2).sum() + 1e-7),
        "SIM": np.minimum(p / (p.sum() + 1e-7), q / (q.sum() + 1e-7)).sum(),
        "NSS": np.mean([zp[y, x] for y, x in points]),
        "AUC-J": np.trapezoid([*hits, 1.0], [*false, 1.0]),
    }


def drawn(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth map of 16 bits, of which only 10 are used."""
    x = cv2.GaussianBlur(np.random.default_rng(seed).random(size), (0, 0), 4)
    return (np.rint((x - x.min()) / np.ptp(x) * 1023) * 64).astype(np.uint16)


def points_of(seed: int, count: int = 70) -> np.ndarray:
    """Rows (y, x), most of them several times, some at neighbours."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.array(SIZE) // 2, (count // 3, 2)).repeat(3, axis=0)[rng.permutation(count // 3 * 3)]


PREDICTIONS = {
    "same size, 16 bits": lambda: drawn(1),
    "8 bits": lambda: (drawn(2) >> 8).astype(np.uint8),
    "smaller": lambda: drawn(3, (28, 40)),
    "larger": lambda: (drawn(4, (90, 130)) >> 8).astype(np.uint8),
    "two levels": lambda: (drawn(5) > 30000).astype(np.uint8),
    "constant": lambda: np.full(SIZE, 7, np.uint8),
}


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize(
    "points", [points_of(0), points_of(1)[:1], np.repeat(np.arange(5), 2).repeat(2).reshape(-1, 2)]
)
def test_scores_are_those_of_the_definition(kind: str, points: np.ndarray) -> None:
    prediction, density = PREDICTIONS[kind](), drawn(9)
    found = event_scores.score(prediction, density, points[:, ::-1])
    assert found == pytest.approx(by_definition(prediction, density, points), rel=1e-12, abs=1e-12)


def test_arrays_of_any_scale_score_as_an_image_of_16_bits_would() -> None:
    levels, density, points = drawn(1), drawn(9), points_of(0)[:, ::-1]
    expected = event_scores.score(levels, density, points)
    for scale, offset in ((1.0, 0.0), (1e-9, 0.0), (2.0**40, -1.0), (1e300, 0.0)):
        assert event_scores.score(levels * scale + offset, density, points) == pytest.approx(expected, rel=1e-9)
    assert event_scores.score(np.full(SIZE, 0.3), density, points)["CC"] == 0
    assert np.isnan(list(event_scores.score(np.full(SIZE, np.nan), density, points).values())).all()


def watched(repeats: int = 1) -> schema.SourceVideo:
    """Four frames with maps of 16 bits and repeated points; nobody looked at the last one."""
    rows = [(frame, -1, x, y) for frame in range(3) for y, x in points_of(frame).repeat(repeats, axis=0)]
    return dataclasses.replace(
        source_video("a", num_frames=4, size=SIZE),
        density=[schema.encode_png(drawn(10 + frame)) for frame in range(4)],
        fixations=np.array(rows, np.float32),
        num_viewers=0,
    )


def test_the_protocol_scores_frames_of_a_store() -> None:
    store = memory_store([watched()])
    scorer = Scorer(store, protocols.AVIMOS)
    maps = [(drawn(20 + frame, (28, 40)) >> 8).astype(np.uint8) for frame in range(4)]
    found = [values for _, values in scorer.stream(Predicted(0, i, m, stored=True) for i, m in enumerate(maps))]
    for frame, (values, prediction) in enumerate(zip(found[:3], maps, strict=False)):
        expected = by_definition(prediction, drawn(10 + frame), points_of(frame))
        assert values == pytest.approx(expected, rel=1e-12)
    assert np.isnan(list(found[3].values())).all()
    assert scorer.possible(0, [0, 3]) == {0: frozenset(event_scores.METRICS), 3: frozenset()}
    assert scorer.scored_map(Predicted(0, 0, maps[0], stored=True)).shape == SIZE
    # Of the frames of a video, then of the videos.
    batch = {"video_index": np.zeros(4, int), "frame_index": np.arange(4), "avc_label": np.full(4, -1)}
    evaluator = SaliencyEvaluator(store, protocol=protocols.AVIMOS, examples=1)
    record = evaluator.run(lambda b: {"saliency": np.stack(maps) / np.float32(255)}, [batch])
    for metric in event_scores.METRICS:
        mean = np.mean([values[metric] for values in found[:3]])
        assert record["scores"]["all"][metric] == pytest.approx(mean, rel=1e-12)
    assert record["protocol"]["kernel"] == "opencv_bilinear"


def test_repeats_belong_to_the_ground_truth_of_this_protocol_alone() -> None:
    once, twice = (memory_store([watched(repeats)]) for repeats in (1, 2))
    assert GroundTruth(once).digest(0) == GroundTruth(twice).digest(0)
    assert GroundTruth(once, of_events=True).digest(0) != GroundTruth(twice, of_events=True).digest(0)
    assert GroundTruth(once).density(0, 0).dtype == np.uint8
    assert len(GroundTruth(twice).events(0, 0)) == 2 * len(points_of(0))
    row = Predicted(0, 0, drawn(1), stored=True)
    for protocol, same in ((protocols.NATIVE, True), (protocols.AVIMOS, False)):
        ((_, a),), ((_, b),) = (Scorer(store, protocol, "float64").stream([row]) for store in (once, twice))
        assert (a == b) == same


def test_what_the_protocol_does_not_define_is_refused(tmp_path, capsys: pytest.CaptureFixture) -> None:
    record = protocols.AVIMOS.as_record()
    assert json.loads(json.dumps(record)) == record
    assert record["resize"] == "OpenCV bilinear to the density's size"
    with pytest.raises(InputError, match="protocol 'avimos' neither blurs nor clips maps"):
        dataclasses.replace(protocols.AVIMOS, smooth_sigma=2.0)
    for option, message in (
        ("--metrics=+KL", "does not define KL: choose of CC"),
        ("--bounds", "--bounds are not def"),
    ):
        where = [f"--predictions={tmp_path}", "--dataset=avimos", f"--data_dir={tmp_path}", "--protocol=avimos"]
        assert evaluate.main([*where, option]) == 2
        assert message in capsys.readouterr().err

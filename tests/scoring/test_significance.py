"""Verdicts of a comparison: p-values against signs written out, and how often a verdict is false."""

import itertools

import numpy as np
import pytest
from slow import slow_except

from avsd_jax.scoring import significance
from avsd_jax.scoring.paired import paired_differences
from avsd_jax.scoring.significance import holm, sign_flip_p, smallest_p
from avsd_jax.scoring.summary import Frames, Table


@pytest.mark.parametrize("videos", [1, 2, 6, 9])
def test_p_is_the_share_of_signs_with_as_large_a_gap(videos: int) -> None:
    parts = np.random.default_rng(videos).normal(0.4, 1, videos)
    sums = [abs(np.dot(signs, parts)) for signs in itertools.product([-1, 1], repeat=videos)]
    assert sign_flip_p(parts) == pytest.approx(np.mean(np.array(sums) >= abs(parts.sum()) * (1 - 1e-9)))
    assert sign_flip_p(np.abs(parts)) == pytest.approx(smallest_p(videos))
    assert sign_flip_p(np.concatenate([parts, np.zeros(3)])) == sign_flip_p(parts)


def test_equal_parts_tie_and_no_part_tells_nothing() -> None:
    # 0.1 + 0.2 is not 0.3, and yet the patterns tie.
    assert sign_flip_p(np.array([0.1, 0.2, -0.3])) == 1
    assert sign_flip_p(np.full(6, 0.1)) == pytest.approx(2 / 64)
    assert (sign_flip_p(np.zeros(4)), sign_flip_p(np.zeros(0))) == (1, 1)


def test_drawn_signs_agree_with_counted_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = np.random.default_rng(1).normal(0.5, 1, 18)
    exact = sign_flip_p(parts)
    monkeypatch.setattr(significance, "EXACT_VIDEOS", 10)
    assert sign_flip_p(parts) == pytest.approx(exact, abs=4 * np.sqrt(exact / significance.DRAWS))
    assert sign_flip_p(parts + 100) > 0  # the pattern seen is one of them


def test_holm_is_as_published() -> None:
    # Worked by hand: 0.01 * 4, 0.02 * 3, 0.03 * 2, and 0.04 is not below the one before.
    found = holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02})
    assert found == {"d": pytest.approx(0.06), "a": pytest.approx(0.04)} | dict.fromkeys("cb", pytest.approx(0.06))
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1, "b": 1}
    assert holm({}) == {}


def evaluations(videos: int, metrics: int, rng: np.random.Generator, gap: float = 0.0) -> tuple[Frames, Frames]:
    """Two models on one frame per video; differences are skewed towards neither and have heavy tails."""
    column, names = np.arange(videos), [f"m{i}" for i in range(metrics)]
    zero = np.zeros(videos, int)
    gaps = gap + 0.05 * rng.standard_t(3, videos)  # metrics of one frame go together
    a = {name: gaps + 0.01 * rng.standard_normal(videos) for name in names}
    frames = [Frames(zero, column, zero, zero - 1, s) for s in (a, dict.fromkeys(names, np.zeros(videos)))]
    return frames[0], frames[1]


@pytest.mark.parametrize("videos", slow_except([2, 3, 6, 10, 32], [2, 6]))
def test_no_difference_is_rarely_a_verdict(videos: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "interval", lambda *_: None)  # the intervals decide nothing, and take most of the time
    monkeypatch.setattr(significance, "DRAWS", 2000)
    significance._signs.cache_clear()
    rng, runs = np.random.default_rng(videos), 200
    false = {1: 0, 4: 0}
    for metrics in false:
        for _ in range(runs):
            found = paired_differences(*evaluations(videos, metrics, rng), "video", False)["groups"]["all"]
            false[metrics] += any(entry["better"] for entry in found.values())
    significance._signs.cache_clear()
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert max(false.values()) / runs <= (limit if videos > 5 else 0)


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(0)
    found = [paired_differences(*evaluations(12, 1, rng, gap=0.1), "video", False) for _ in range(20)]
    assert sum(f["groups"]["all"]["m0"]["better"] == "a" for f in found) >= 16


@pytest.mark.parametrize("average", ["video", "frame"])
@pytest.mark.parametrize("by_split", [True, False])
def test_parts_of_videos_add_up_to_the_mean(average: str, by_split: bool) -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 5, (3, 6))
    table = Table(rng.normal(size=(3, 6)) * (counts > 0), counts)
    parts = table.parts(average, by_split)
    assert parts.shape == (6,)
    assert parts.sum() == pytest.approx(table.mean(average, by_split)[0])
    without = Table(table.sums * [0, 1, 1, 1, 1, 1], counts)
    assert parts[0] == pytest.approx(table.mean(average, by_split)[0] - without.mean(average, by_split)[0])


def test_a_video_of_three_splits_counts_once() -> None:
    part, video = np.repeat(np.arange(3), 7), np.tile(np.arange(7), 3)
    zero = np.zeros(21, int)
    a, b = (Frames(part, video, zero, zero - 1, {"CC": np.full(21, value) + 0.01 * video}) for value in (0.5, 0.4))
    found = paired_differences(a, b, "video", True)["groups"]["all"]["CC"]
    assert found["videos"] == {"a": 7, "b": 0, "even": 0}
    assert found["p"] == pytest.approx(2**-6)
    assert found["better"] == "a"

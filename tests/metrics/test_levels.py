"""Maps that are levels of an image: quotients, thresholds and ranks are exact, whatever file held them."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import pytest
from videos import memory_store

from avsd_jax import metrics
from avsd_jax.data import schema
from avsd_jax.scoring.protocols import NATIVE, VINET
from avsd_jax.scoring.scorer import Predicted, Scorer, _as_unit, score_maps

SIZE = (24, 32)


@pytest.fixture(scope="module")
def scorers() -> Callable[..., Scorer]:
    """Scorers of one frame with many fixations, of which half are the pool."""
    rng = np.random.default_rng(3)
    points = rng.permutation(SIZE[0] * SIZE[1])[:120]
    rows = [(i // 60, 0, point % SIZE[1], point // SIZE[1]) for i, point in enumerate(points)]
    video = schema.SourceVideo(
        video_id="a",
        fps=25.0,
        num_frames=2,
        height=SIZE[0],
        width=SIZE[1],
        frames=[schema.encode_jpeg(np.zeros((*SIZE, 3), np.uint8))] * 2,
        density=[schema.encode_png(rng.integers(0, 255, SIZE, np.uint8)) for _ in range(2)],
        fixations=np.array(rows, np.float32),
        num_viewers=1,
        avc_label=np.ones(2, np.int8),
        audio=np.zeros(1000, np.int16),
        sample_rate=22050,
    )
    store = memory_store([video])
    return lambda protocol=NATIVE, precision="float64": Scorer(store, protocol, precision)


def matlab_s_auc(picture: np.ndarray, scorer: Scorer) -> float:
    """The expectation of AUC_shuffled over its draws, of an image read as level / 255, with Octave's 0:0.1:1."""
    x = picture / 255
    x = (x - x.min()) / (x.max() - x.min())
    reached = np.sum([x >= i * 0.1 for i in range(11)], axis=0)
    a = reached[scorer._truth.fixations(0, 0)][:, None]
    b = reached[scorer._truth.pool(0, 0)][None]
    return np.mean((a > b) + 0.5 * (a == b))


def score(scorer: Scorer, values: np.ndarray, stored: bool = True) -> dict[str, float]:
    ((_, found),) = scorer.stream([Predicted(0, 0, values, stored=stored)])
    return found


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("double", [True, False])
def test_every_level_is_the_exact_quotient(bits: int, double: bool) -> None:
    dtype = np.float64 if double else np.float32
    levels = np.arange(2**bits, dtype=f"uint{bits}").reshape(-1, 64)
    with jax.enable_x64(double):
        found = jax.jit(_as_unit, static_argnums=1)(levels, double)
    np.testing.assert_array_equal(found, levels.astype(dtype) / dtype(2**bits - 1))


@pytest.mark.parametrize("seed", range(6))
def test_a_picture_at_the_size_of_its_truth_has_matlabs_shuffled_auc(seed: int, scorers: Callable) -> None:
    rng = np.random.default_rng(seed)
    # Few levels, on the thresholds and next to them, all of them or between two others.
    low, high = [(0, 255), (0, 255), (0, 250), (5, 255), (17, 201), (1, 254)][seed]
    chosen = np.concatenate([np.round(low + (high - low) * np.arange(11) / 10), rng.integers(low, high, 8)])
    picture = rng.choice(chosen, SIZE).astype(np.uint8)
    picture[0, :2] = low, high
    scorer = scorers(dataclasses.replace(NATIVE, metrics=("s-AUC",)))
    expected = matlab_s_auc(picture, scorer)
    assert score(scorer, picture)["s-AUC"] == pytest.approx(expected, abs=1e-13)
    vinet = scorers(dataclasses.replace(VINET, metrics=("s-AUC",)))
    assert score(vinet, picture)["s-AUC"] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("precision", [pytest.param("float64", marks=pytest.mark.slow), "float32"])
def test_the_same_levels_score_the_same_from_every_file(precision: str, scorers: Callable) -> None:
    picture = np.random.default_rng(1).choice([0, 51, 102, 153, 154, 204, 255], SIZE).astype(np.uint8)
    forms = {
        "16 bits": (picture.astype(np.uint16) * 257, True),
        "uint8 array": (picture, False),
        "float64 array": (picture / 255, False),
        "float32 array": ((picture / np.float32(255)), False),
        "whole numbers": (picture.astype(np.float32), False),
        "int64": (picture.astype(np.int64), False),
        "16 bits as float32": ((picture.astype(np.uint16) * 257) / np.float32(65535), False),
    }
    scorer = scorers(dataclasses.replace(NATIVE, metrics=("CC", "AUC-J", "s-AUC")), precision)
    expected = score(scorer, picture)
    for name, (values, stored) in forms.items():
        found = score(scorer, values, stored)
        assert found["s-AUC"] == expected["s-AUC"], name
        assert found == pytest.approx(expected, abs=1e-12 if precision == "float64" else 1e-6), name
    other = score(scorer, (picture / 255) ** 2, False)  # no levels of an image: scored as it is
    assert other["AUC-J"] == pytest.approx(expected["AUC-J"], abs=1e-6)
    assert other["s-AUC"] != expected["s-AUC"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [np.uint8, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_whole_numbers_and_float32_ranks_give_the_scores_of_float64_maps(kind: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    given = (rng.random((6, 48, 64)) ** 3 * 255).astype(np.uint8)
    density = (rng.random(given.shape) ** 3 * 255).astype(np.uint8)
    given[0], density[1], given[2], density[2], given[3] = 0, 0, 7, 9, np.maximum(given[3], 3)
    values = given if kind is np.uint8 else (given + rng.random(given.shape)).astype(kind)
    hit, pool = (rng.random((2, *given.shape)) < [[[[0.01]]], [[[0.2]]]]) & (np.arange(6) != 4)[:, None, None]
    for constant in ("metrics", "nan"):
        protocol = dataclasses.replace(NATIVE, constant=constant, empty_density="metrics")
        with jax.enable_x64(True):
            found = score_maps(values, density, hit, pool, protocol=protocol, double=True, max_fixations=64)
            quotients = values / np.float64(255 if kind is np.uint8 else 1)
            expected = metrics.score(quotients, density / 255, hit, pool, 64)
        undefined = [np.ptp(x) == 0 and constant == "nan" for x in values]
        for name, value in expected.items():
            wanted = np.where(undefined, np.nan, value)
            np.testing.assert_allclose(found[name], wanted, rtol=0, atol=1e-10, err_msg=f"{name}, {constant}")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("fixations", [1, 200])
def test_ranks_of_levels_are_those_of_their_quotients(dtype: type, fixations: int) -> None:
    rng = np.random.default_rng(fixations)
    levels = rng.integers(0, [9, np.iinfo(dtype).max][fixations > 1], (3, 48, 64)).astype(dtype)
    hit = np.zeros((3, 48 * 64), bool)
    hit[:, rng.permutation(48 * 64)[:fixations]] = True
    hit = hit.reshape(levels.shape)
    with jax.enable_x64(True):
        quotients = levels / np.iinfo(dtype).max
        of_levels = np.asarray(metrics.auc_judd(levels, hit))
        np.testing.assert_allclose(of_levels, metrics.auc_judd(quotients, hit), rtol=0, atol=1e-15)
        np.testing.assert_array_equal(metrics.auc_judd(levels, hit, 256), of_levels)
        density = rng.random(levels.shape)
        plain = metrics.score(quotients, density, hit, ~hit, names=("AUC-J", "CC"))
        given = metrics.score(quotients, density, hit, ~hit, names=("AUC-J", "CC"), levels=levels)
    for name, value in plain.items():
        np.testing.assert_allclose(given[name], value, rtol=0, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("kind", ["smooth", "close", "plateau", "one level apart"])
def test_float64_ranks_see_the_last_bit(kind: str) -> None:
    rng = np.random.default_rng(0)
    x = {
        "smooth": rng.random((64, 96)),
        "close": 0.5 + rng.integers(0, 50, (64, 96)) * 2.0**-52,
        "plateau": np.maximum(rng.normal(size=(64, 96)), 0),
        "one level apart": np.nextafter(0.3, rng.integers(0, 2, (64, 96))),
    }[kind]
    x[0, 0] = 0.9
    for n in (30, 300):
        hit = np.zeros(x.size, bool)
        hit[rng.permutation(x.size)[:n]] = True
        positive, negative = x.ravel()[hit], x.ravel()[~hit]
        order = np.sort(negative)
        wins = np.searchsorted(order, positive, "left") + np.searchsorted(order, positive, "right")
        lowest = positive.min()
        k = np.sum(positive == lowest)
        bonus = np.mean(negative > lowest) + k / (k + 1) * np.mean(negative == lowest)
        expected = wins.mean() / 2 / len(negative) + 0.5 / n * bonus
        with jax.enable_x64(True):
            for bound in (None, 512):
                found = metrics.auc_judd(x, hit.reshape(x.shape), bound)
                assert float(found) == pytest.approx(expected, abs=1e-14), bound


def test_a_map_without_values_has_no_scores_whatever_its_levels() -> None:
    rng = np.random.default_rng(0)
    hit, pool = rng.random((2, 1, 24, 32)) < 0.05
    nothing, levels = np.full(hit.shape, np.nan), np.full(hit.shape, 9, np.uint8)
    scores = metrics.score(nothing, rng.random(hit.shape), hit, pool, levels=levels)
    assert all(np.isnan(value).all() for value in scores.values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_map_with_one_pixel_that_is_no_number_has_no_scores(dtype: type) -> None:
    rng = np.random.default_rng(0)
    hit, pool = rng.random((2, 1, 64, 96)) < 0.05
    values = rng.random(hit.shape).astype(dtype)
    values[0, 8, 9] = np.nan
    scores = metrics.score(values, rng.random(hit.shape).astype(dtype), hit, pool)
    assert {name for name, value in scores.items() if not np.isnan(value).all()} == set()

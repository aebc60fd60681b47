"""Laws of the metrics, on drawn maps of one small size."""

import functools
from collections.abc import Callable

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from avsd_jax import metrics

scores = jax.jit(metrics.score)
exact = jax.jit(functools.partial(metrics.s_auc, bins=None))
fixation_map = jax.jit(metrics.fixation_map, static_argnums=1)
bounded = jax.jit(functools.partial(metrics.score, max_fixations=16))
SIZE = (12, 16)
PIXELS = SIZE[0] * SIZE[1]
FEW = 16

law = hypothesis.settings(max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def levels(top: int = 9) -> st.SearchStrategy[np.ndarray]:
    """Maps with ties, never constant."""
    return hnp.arrays(np.int64, SIZE, elements=st.integers(0, top), fill=st.nothing()).filter(
        lambda x: x.min() < x.max()
    )


def smooth() -> st.SearchStrategy[np.ndarray]:
    """Maps of many values, some of them tied."""
    return st.builds(lambda seed: np.random.default_rng(seed).integers(0, 2000, SIZE) / 1000, seeds)


def maps() -> st.SearchStrategy[np.ndarray]:
    return levels() | smooth()


def flags(most: int = PIXELS - 1) -> st.SearchStrategy[np.ndarray]:
    """Between 1 and `most` marked pixels."""

    def mark(count: int, seed: int) -> np.ndarray:
        return (np.random.default_rng(seed).permutation(PIXELS) < count).reshape(SIZE)

    return st.builds(mark, st.integers(1, most), seeds)


def matlab_auc_judd(pred: np.ndarray, fixations: np.ndarray) -> float:
    """The staircase, written out; for maps without ties."""
    values = np.sort(pred[fixations])[::-1]
    n, total = len(values), pred.size
    rate = [(0.0, 0.0)]
    rate += [((np.sum(pred >= t) - i) / (total - n), i / n) for i, t in enumerate(values, start=1)]
    fp, tp = np.transpose([*rate, (1.0, 1.0)])
    return float(np.trapezoid(tp, fp))


@law
@hypothesis.given(seeds, flags())
def test_auc_judd_is_the_staircase(seed: int, fixations: np.ndarray) -> None:
    pred = np.random.default_rng(seed).permutation(PIXELS).reshape(SIZE)
    found = scores(pred.astype(np.float32), pred, fixations, fixations)["AUC-J"]
    np.testing.assert_allclose(found, matlab_auc_judd(pred, fixations), atol=1e-6)


@law
@hypothesis.given(levels(), flags(), flags())
def test_shuffled_auc_is_the_share_of_pairs_won(pred: np.ndarray, fixations: np.ndarray, pool: np.ndarray) -> None:
    a, b = pred[fixations][:, None], pred[pool][None]
    pairs = np.mean((a > b) + 0.5 * (a == b))
    np.testing.assert_allclose(exact(pred.astype(np.float32), fixations, pool), pairs, atol=1e-6)
    # 0, the middles of tenths, and 1 lie one to a bin.
    full = np.where(pred == pred.min(), 0, np.where(pred == pred.max(), 10, pred + 0.5)).astype(np.float32) / 10
    a, b = full[fixations][:, None], full[pool][None]
    binned = scores(full, full, fixations, pool)["s-AUC"]
    np.testing.assert_allclose(binned, np.mean((a > b) + 0.5 * (a == b)), atol=1e-6)


@law
@hypothesis.given(levels(), flags(), flags(), hnp.arrays(np.int64, 10, elements=st.integers(1, 50)))
def test_increasing_transforms_leave_ranks(
    pred: np.ndarray, fixations: np.ndarray, pool: np.ndarray, steps: np.ndarray
) -> None:
    stretched = np.cumsum(steps)[pred].astype(np.float32)
    pred = pred.astype(np.float32)
    one, other = (scores(x, pred, fixations, pool)["AUC-J"] for x in (pred, stretched))
    assert one == other or (np.isnan(one) and np.isnan(other))
    assert exact(pred, fixations, pool) == exact(stretched, fixations, pool)


@law
@hypothesis.given(maps(), maps(), flags(), st.floats(0.01, 100), st.floats(-10, 10))
def test_affine_maps_leave_correlation_and_scanpath(
    pred: np.ndarray, density: np.ndarray, fixations: np.ndarray, scale: float, shift: float
) -> None:
    hypothesis.assume(abs(shift) < 100 * scale * np.ptp(pred))  # else float32 forgets the map
    density = density.astype(np.float32)
    one = scores(pred.astype(np.float32), density, fixations, fixations)
    moved = (scale * pred + shift).astype(np.float32)
    other = scores(moved, density, fixations, fixations)
    for name in ("CC", "NSS", "SIM"):
        np.testing.assert_allclose(other[name], one[name], atol=5e-4)
    flipped = scores(-moved, density, fixations, fixations)
    np.testing.assert_allclose(flipped["CC"], -one["CC"], atol=5e-4)


@law
@hypothesis.given(maps(), maps(), flags())
def test_equal_maps_and_bounds(pred: np.ndarray, density: np.ndarray, fixations: np.ndarray) -> None:
    pred, density = pred.astype(np.float32), density.astype(np.float32)
    same = scores(pred, pred, fixations, fixations)
    for name, value in {"CC": 1, "SIM": 1, "KL": 0, "s-AUC": 0.5}.items():
        np.testing.assert_allclose(same[name], value, atol=1e-5)
    other = scores(pred, density, fixations, fixations)
    assert -1e-5 <= other["SIM"] <= 1 + 1e-5
    assert abs(other["CC"]) <= 1 + 1e-5
    assert other["KL"] >= -1e-5
    assert 0 <= other["AUC-J"] <= 1


@law
@hypothesis.given(maps(), maps(), flags(FEW), flags())
def test_a_wider_bound_changes_nothing(
    pred: np.ndarray, density: np.ndarray, fixations: np.ndarray, pool: np.ndarray
) -> None:
    given = (pred.astype(np.float32), density.astype(np.float32), fixations, pool)
    for name, value in bounded(*given).items():
        np.testing.assert_allclose(value, scores(*given)[name], atol=1e-6, err_msg=name)


@law
@hypothesis.given(seeds, st.integers(0, FEW))
def test_padding_a_list_of_fixations_changes_nothing(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    pred, density = rng.random((2, *SIZE), np.float32)
    points = rng.uniform(-2, 14, (FEW, 2)).astype(np.float32)
    known = rng.permutation(FEW) < count
    padded = fixation_map(points, SIZE, known)
    column, row = np.floor(points[known].T + 0.5).astype(int)
    inside = (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0])
    alone = np.zeros(SIZE, bool)
    alone[row[inside], column[inside]] = True
    np.testing.assert_array_equal(padded, alone)
    one, other = scores(pred, density, padded, ~padded), scores(pred, density, alone, ~alone)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@law
@hypothesis.given(seeds)
def test_order_of_frames_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pred, density = rng.random((2, 4, *SIZE), np.float32)
    fixations, pool = rng.random((2, 4, *SIZE)) < 0.1
    order = rng.permutation(4)
    one = scores(pred, density, fixations, pool)
    other = scores(pred[order], density[order], fixations[order], pool[order])
    for name, values in one.items():
        np.testing.assert_array_equal(np.asarray(values)[order], other[name], err_msg=name)


def everything(
    pred: jax.Array, density: jax.Array, fixations: jax.Array, pool: jax.Array, bound: int | None = 24
) -> dict[str, jax.Array]:
    """All metrics that run on a device, the density being the baseline, too."""
    others = {"IG": metrics.information_gain(pred, fixations, density), "AUC-B": metrics.auc_borji(pred, fixations)}
    return metrics.score(pred, density, fixations, pool, bound) | others


@pytest.mark.parametrize(
    "wrap", [lambda f: f, jax.vmap, pytest.param(lambda f: jax.jit(jax.vmap(f)), marks=pytest.mark.slow)]
)
def test_batches_are_loops(wrap: Callable) -> None:
    rng = np.random.default_rng(0)
    pred, density = rng.random((2, 2, 2, *SIZE), np.float32)
    fixations, pool = rng.random((2, 2, 2, *SIZE)) < 0.05

    batched = wrap(everything)(pred, density, fixations, pool)
    assert {values.shape for values in batched.values()} == {(2, 2)}
    single_scores = jax.jit(everything)
    for i in np.ndindex(2, 2):
        single = single_scores(pred[i], density[i], fixations[i], pool[i])
        for name, values in batched.items():
            np.testing.assert_allclose(values[i], single[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("bound", [pytest.param(8, marks=pytest.mark.slow), None])
@hypothesis.settings(max_examples=3)
@hypothesis.given(levels(), maps(), flags(8), flags())
def test_compiled_is_not_compiled(
    bound: int | None, pred: np.ndarray, density: np.ndarray, fixations: np.ndarray, pool: np.ndarray
) -> None:
    given = (pred.astype(np.float32), density.astype(np.float32), fixations, pool)
    compiled = everything(*given, bound)
    with jax.disable_jit():
        plain = everything(*given, bound)
    for name, value in compiled.items():
        np.testing.assert_allclose(plain[name], value, rtol=1e-5, atol=1e-6, err_msg=name)

"""Metrics against values of the MATLAB code, against definitions written out, and against their own laws."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import FAST_COMPILE
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from avsd_jax import metrics
from avsd_jax.metrics.resize import bicubic_matrix, gaussian_matrix, resize_bicubic

GOLDEN_NAMES = {
    "NSS": "NSS",
    "CC": "CC",
    "SIM": "SIM",
    "KL": "KL",
    "AUC-J": "AUCJ_expect",
    "s-AUC": "sAUC_expect",
    "s-AUC exact": "sAUC_exact",
}
# In float32 a value exactly on a multiple of 0.1 may fall on either side of the threshold.
ON_THRESHOLDS = ("ties_grid_0.1", "uint8_36x48", "uint8_112x160")


def golden_tolerance(dtype: type, name: str, case: str, expected: float) -> float:
    if dtype is np.float64:
        return 1e-12 if "AUC" in name else 1e-10
    if name == "NSS":
        return 2e-5 + 2e-5 * abs(expected)
    if name == "KL":
        return (1e-3 if case in ("ties_2levels", "ties_relu_zeros", "pred_zero") else 2e-5) * abs(expected) + 1e-6
    return 1e-6 if "AUC" in name else 5e-6


@functools.partial(jax.jit, compiler_options=FAST_COMPILE)
def all_scores(pred: jax.Array, density: jax.Array, fixations: jax.Array, pool: jax.Array) -> dict[str, jax.Array]:
    exact = metrics.s_auc(pred, fixations, pool, bins=None)
    return metrics.score(pred, density, fixations, pool) | {"s-AUC exact": exact}


def golden_cases(shared: Path) -> Iterator[tuple[list[dict], list[np.ndarray]]]:
    """The parity cases, those of one size together."""
    cases = json.loads((shared / "parity/metrics/golden.json").read_text())["cases"]
    arrays = np.load(shared / "parity/metrics/golden.npz")
    for size in sorted({tuple(case["hw"]) for case in cases}):
        same = [case for case in cases if tuple(case["hw"]) == size]
        names = [case["name"] for case in same]
        yield (
            same,
            [np.stack([arrays[f"{n}/{key}"] for n in names]) for key in ("pred", "den", "fix", "shuf")],
        )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_golden_cases(shared: Path, dtype: type) -> None:
    checked = 0
    with jax.enable_x64(dtype is np.float64):
        for cases, (pred, density, fixations, pool) in golden_cases(shared):
            found = all_scores(pred.astype(dtype), density.astype(dtype), fixations, pool)
            for name, key in GOLDEN_NAMES.items():
                assert found[name].dtype == dtype
                for case, value in zip(cases, np.asarray(found[name]), strict=True):
                    if dtype is np.float32 and name == "s-AUC" and case["name"] in ON_THRESHOLDS:
                        continue
                    expected = float(case["numpy"][key])
                    tolerance = golden_tolerance(dtype, name, case["name"], expected)
                    np.testing.assert_allclose(
                        value, expected, rtol=0, atol=tolerance, err_msg=f"{case['name']} {name}"
                    )
                    checked += 1
    assert checked >= 40 * 7 - 3


def test_golden_resize(shared: Path) -> None:
    arrays = np.load(shared / "parity/metrics/golden.npz")
    with jax.enable_x64(True):
        source = jnp.asarray(arrays["noise_36x48/pred"], jnp.float64)
        for name in ("rs_up", "rs_down", "rs_mixed"):
            expected = arrays[f"resize/{name}"]
            np.testing.assert_allclose(resize_bicubic(source, expected.shape), expected, atol=1e-14)
    for video in range(3):
        post, resized = (arrays[f"video/v{video}/t0_{key}"] for key in ("post", "resized"))
        np.testing.assert_allclose(resize_bicubic(jnp.asarray(post), resized.shape), resized, atol=1e-6)


def test_resize_and_blur_keep_constants_and_mirror_edges() -> None:
    for matrix in (bicubic_matrix(7, 20), bicubic_matrix(20, 7), gaussian_matrix(9, 2.0)):
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-14)
    np.testing.assert_array_equal(bicubic_matrix(5, 5), np.eye(5))
    taps = np.exp(-(np.arange(-6, 7) ** 2) / 8)
    row = gaussian_matrix(9, 2.0)[0] * taps.sum()
    np.testing.assert_allclose(row[:3], [taps[6] + taps[5], taps[7] + taps[4], taps[8] + taps[3]])


NAN = float("nan")
DEGENERATE = {
    # what: pred, density, fixations, pool -> NSS, CC, SIM, KL, AUC-J, s-AUC
    "nothing to see": ("ramp", "zero", "none", "all", (NAN, NAN, 0, 0, NAN, NAN)),
    "constant prediction": ("half", "ramp", "two", "all", (NAN, NAN, NAN, None, 0.5 + 0.5 / 3, NAN)),
    "constant but for noise": ("noise", "ramp", "two", "all", (NAN, NAN, NAN, None, NAN, NAN)),
    "zero prediction": ("zero", "ramp", "two", "all", (NAN, NAN, 0, None, 0.5 + 0.5 / 3, NAN)),
    "constant density": ("ramp", "half", "two", "all", (None, NAN, NAN, None, None, None)),
    "every pixel fixated": ("ramp", "ramp", "all", "two", (0, 1, 1, 0, NAN, None)),
    "no pool": ("ramp", "ramp", "two", "none", (None, 1, 1, 0, None, NAN)),
    "NaN prediction": ("nan", "ramp", "two", "all", (NAN, NAN, NAN, NAN, NAN, NAN)),
    "negative prediction": ("minus", "ramp", "two", "all", (None, 1, 1, NAN, None, None)),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_frames(case: str) -> None:
    ramp = np.arange(48, dtype=np.float32).reshape(6, 8) / 47
    two = np.zeros((6, 8), bool)
    two[2, 3] = two[4, 4] = True
    maps = {
        "ramp": ramp,
        "minus": ramp - 0.5,
        "zero": 0 * ramp,
        "half": 0 * ramp + 0.5,
        "noise": 0.5 + 1e-7 * ramp,
        "nan": np.where(ramp > 0.9, np.nan, ramp),
        "two": two,
        "none": two & False,
        "all": two | True,
    }
    *inputs, expected = DEGENERATE[case]
    found = small_scores(*(maps[name] for name in inputs))
    for name, value in zip(metrics.METRICS, expected, strict=True):
        if value is None:
            assert np.isfinite(found[name]), name
        else:
            np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


small_scores = jax.jit(metrics.score)
small_exact = jax.jit(functools.partial(metrics.s_auc, bins=None))
SIZE = (6, 8)
PIXELS = SIZE[0] * SIZE[1]


def levels(top: int = 9) -> st.SearchStrategy[np.ndarray]:
    """Maps with ties, never constant."""
    return hnp.arrays(np.int64, SIZE, elements=st.integers(0, top)).filter(lambda x: x.min() < x.max())


def flags() -> st.SearchStrategy[np.ndarray]:
    """Between 1 and 47 marked pixels."""
    counts = st.integers(1, PIXELS - 1)
    seeds = st.integers(0, 2**32 - 1)

    def mark(count: int, seed: int) -> np.ndarray:
        return (np.random.default_rng(seed).permutation(PIXELS) < count).reshape(SIZE)

    return st.builds(mark, counts, seeds)


law = hypothesis.settings(max_examples=40, deadline=None)


def matlab_auc_judd(pred: np.ndarray, fixations: np.ndarray) -> float:
    """The staircase, written out; for maps without ties."""
    values = np.sort(pred[fixations])[::-1]
    n, total = len(values), pred.size
    rate = [(0.0, 0.0)]
    rate += [((np.sum(pred >= t) - i) / (total - n), i / n) for i, t in enumerate(values, start=1)]
    fp, tp = np.transpose([*rate, (1.0, 1.0)])
    return float(np.trapezoid(tp, fp))


@law
@hypothesis.given(st.integers(0, 2**32 - 1), flags())
def test_auc_judd_is_the_staircase(seed: int, fixations: np.ndarray) -> None:
    pred = np.random.default_rng(seed).permutation(PIXELS).reshape(SIZE)
    found = small_scores(pred.astype(np.float32), pred, fixations, fixations)["AUC-J"]
    np.testing.assert_allclose(found, matlab_auc_judd(pred, fixations), atol=1e-6)


@law
@hypothesis.given(levels(), flags(), flags())
def test_shuffled_auc_is_the_share_of_pairs_won(pred: np.ndarray, fixations: np.ndarray, pool: np.ndarray) -> None:
    a, b = pred[fixations][:, None], pred[pool][None]
    pairs = np.mean((a > b) + 0.5 * (a == b))
    np.testing.assert_allclose(small_exact(pred.astype(np.float32), fixations, pool), pairs, atol=1e-6)
    # Levels 0, 1, ..., 10 of 10 lie one to a bin.
    hypothesis.assume(pred.min() == 0)
    full = np.where(pred == pred.max(), 10, pred).astype(np.float32) / 10
    a, b = full[fixations][:, None], full[pool][None]
    binned = small_scores(full, full, fixations, pool)["s-AUC"]
    np.testing.assert_allclose(binned, np.mean((a > b) + 0.5 * (a == b)), atol=1e-6)


@law
@hypothesis.given(levels(), flags(), flags(), hnp.arrays(np.int64, 10, elements=st.integers(1, 50)))
def test_increasing_transforms_leave_ranks(
    pred: np.ndarray, fixations: np.ndarray, pool: np.ndarray, steps: np.ndarray
) -> None:
    stretched = np.cumsum(steps)[pred].astype(np.float32)
    pred = pred.astype(np.float32)
    assert (
        small_scores(pred, pred, fixations, pool)["AUC-J"] == (small_scores(stretched, pred, fixations, pool)["AUC-J"])
    )
    assert small_exact(pred, fixations, pool) == small_exact(stretched, fixations, pool)


@law
@hypothesis.given(levels(), levels(), flags(), st.floats(0.01, 100), st.floats(-10, 10))
def test_affine_maps_leave_correlation_and_scanpath(
    pred: np.ndarray, density: np.ndarray, fixations: np.ndarray, scale: float, shift: float
) -> None:
    hypothesis.assume(abs(shift) < 100 * scale)  # else float32 forgets the map
    one = small_scores(pred.astype(np.float32), density, fixations, fixations)
    moved = (scale * pred + shift).astype(np.float32)
    other = small_scores(moved, density, fixations, fixations)
    for name in ("CC", "NSS", "SIM"):
        np.testing.assert_allclose(other[name], one[name], atol=2e-4)
    flipped = small_scores(-moved, density, fixations, fixations)
    np.testing.assert_allclose(flipped["CC"], -one["CC"], atol=2e-4)


@law
@hypothesis.given(levels(), levels(), flags())
def test_equal_maps_and_bounds(pred: np.ndarray, density: np.ndarray, fixations: np.ndarray) -> None:
    same = small_scores(pred.astype(np.float32), pred, fixations, fixations)
    for name, value in {"CC": 1, "SIM": 1, "KL": 0, "s-AUC": 0.5}.items():
        np.testing.assert_allclose(same[name], value, atol=1e-5)
    other = small_scores(pred.astype(np.float32), density, fixations, fixations)
    assert -1e-6 <= other["SIM"] <= 1 + 1e-6
    assert abs(other["CC"]) <= 1 + 1e-6
    assert other["KL"] >= -1e-5
    assert 0 <= other["AUC-J"] <= 1


@pytest.mark.parametrize("wrap", [lambda f: f, jax.vmap, jax.jit])
def test_batches_are_loops(wrap: Callable) -> None:
    rng = np.random.default_rng(0)
    pred, density = rng.random((2, 2, 3, *SIZE), np.float32)
    fixations, pool = rng.random((2, 2, 3, *SIZE)) < 0.2
    batched = wrap(metrics.score)(pred, density, fixations, pool)
    for name, values in batched.items():
        assert values.shape == (2, 3)
        for i in np.ndindex(2, 3):
            single = small_scores(pred[i], density[i], fixations[i], pool[i])[name]
            np.testing.assert_allclose(values[i], single, rtol=1e-5, atol=1e-6, err_msg=name)


def test_bound_on_fixations_changes_nothing_or_is_loud() -> None:
    rng = np.random.default_rng(0)
    pred, fixations = rng.random((16, 16), np.float32), rng.random((16, 16)) < 0.1
    count = int(fixations.sum())
    free = metrics.auc_judd(pred, fixations)
    for bound in (count, 200):
        assert metrics.auc_judd(pred, fixations, bound) == free
    assert np.isnan(metrics.auc_judd(pred, fixations, count - 1))
    counts = fixations * rng.integers(1, 5, fixations.shape)
    assert metrics.nss(pred, counts) == metrics.nss(pred, fixations)
    assert metrics.nss(pred.astype(np.float16), fixations).dtype == jnp.float32

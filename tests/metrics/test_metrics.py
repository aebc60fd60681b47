"""Metrics against values of the MATLAB code and of pysaliency, and frames that have no score."""

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit, forward_jit

from avsd_jax import metrics
from avsd_jax.errors import InputError
from avsd_jax.metrics import ranks
from avsd_jax.metrics.maps import _BATCH as BATCH
from avsd_jax.metrics.maps import check_shapes, over_maps
from avsd_jax.metrics.resize import apply_matrices, bicubic_matrix, gaussian_matrix

# Ours -> the name of the value in the parity file.
NUMPY_NAMES = {
    "NSS": "NSS",
    "CC": "CC",
    "SIM": "SIM",
    "KL": "KL",
    "IG": "IG",
    "AUC-J": "AUCJ_expect",
    "AUC-B": "AUCB_expect",
    "s-AUC": "sAUC_expect",
    "s-AUC exact": "sAUC_exact",
}
PYSALIENCY_NAMES = {"NSS": "NSS", "CC": "CC", "SIM": "SIM", "KL": "KL_default", "IG": "IG"}
# Deterministic in MATLAB's code as it ran in Octave; and drawn there: ours -> (mean and deviation of a call, calls).
OCTAVE_NAMES = ("NSS", "CC", "SIM", "KL", "IG")
OCTAVE_DRAWN = {"AUC-J": ("AUCJ_jitter", 40), "AUC-B": ("AUCB", 12), "s-AUC": ("sAUC", 16)}


def golden_tolerance(dtype: type, name: str) -> dict[str, float]:
    if dtype is np.float64:
        return {"rtol": 0, "atol": 1e-12 if "AUC" in name else 1e-10}
    return {"rtol": 1e-5, "atol": 1e-5}


# Nine sizes are compiled, so all metrics share one loop over maps. The laws are tested with optimisation.
@forward_jit
def all_scores(
    pred: jax.Array, density: jax.Array, fixations: jax.Array, pool: jax.Array, base: jax.Array
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Both conventions; a bound where one holds, since a list of fixations and a search compile separately."""
    few = 200 if pred.shape[-2:] != (36, 48) else None

    def of_one(
        pred: jax.Array, density: jax.Array, fixations: jax.Array, pool: jax.Array, base: jax.Array
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        mit = metrics.score(pred, density, fixations, pool, few) | {
            "IG": metrics.information_gain(pred, fixations, base),
            "AUC-B": metrics.auc_borji(pred, fixations),
            "s-AUC exact": metrics.s_auc(pred, fixations, pool, None, few),
        }
        pysaliency = {
            "NSS": metrics.nss(pred, fixations, "pysaliency"),
            "CC": metrics.cc(pred, density, "pysaliency"),
            "SIM": metrics.sim(pred, density, "pysaliency"),
            "KL": metrics.kl(pred, density, "pysaliency"),
            "IG": metrics.information_gain(pred, fixations, base, "pysaliency"),
        }
        return mit, pysaliency

    return over_maps(of_one, pred, density, fixations, pool, base)


def golden_cases(shared: Path, at_least: int = 1) -> Iterator[tuple[list[dict], list[np.ndarray]]]:
    """The parity cases, those of one size together; sizes of fewer cases than `at_least` are left out."""
    cases = json.loads((shared / "parity/metrics/golden.json").read_text())["cases"]
    arrays = np.load(shared / "parity/metrics/golden.npz")
    for size in sorted({tuple(case["hw"]) for case in cases}):
        same = [case for case in cases if tuple(case["hw"]) == size]
        if len(same) < at_least:
            continue
        names = [case["name"] for case in same]
        keys = ("pred", "den", "fix", "shuf", "base")
        yield same, [np.stack([arrays[f"{n}/{key}"] for n in names]) for key in keys]


@pytest.mark.parametrize("dtype", [pytest.param(np.float64, marks=pytest.mark.slow), np.float32])
def test_golden_cases(shared: Path, dtype: type) -> None:
    # Every size is a compilation. What a size alone can break is seen in float64; in float32 the largest groups do.
    num_cases, at_least = (40, 1) if dtype is np.float64 else (20, 9)
    checked = 0
    with jax.enable_x64(dtype is np.float64):
        for cases, (pred, density, fixations, pool, base) in golden_cases(shared, at_least):
            maps = (pred.astype(dtype), density.astype(dtype), fixations, pool, base.astype(dtype))
            mit, pysaliency = all_scores(*maps)
            sources = (
                ("numpy", NUMPY_NAMES, mit),
                ("octave_mit", dict(zip(OCTAVE_NAMES, OCTAVE_NAMES, strict=True)), mit),
                ("pysaliency", PYSALIENCY_NAMES, pysaliency),
            )
            for source, names, found in sources:
                for name, key in names.items():
                    assert found[name].dtype == dtype
                    for case, value in zip(cases, np.asarray(found[name]), strict=True):
                        if (case["name"], source, name) == ("logits", "octave_mit", "KL"):
                            continue  # the real part of a complex logarithm there; ours is NaN
                        limit, where = golden_tolerance(dtype, name), f"{case['name']} {source} {name}"
                        np.testing.assert_allclose(value, float(case[source][key]), err_msg=where, **limit)
                        checked += 1
            for name, (key, calls) in OCTAVE_DRAWN.items():
                for case, value in zip(cases, np.asarray(mit[name]), strict=True):
                    drawn, spread = (float(case["octave_mit"][f"{key}_{what}"]) for what in ("mean", "std"))
                    # What MATLAB's jitter of 1e-7 does to values that are nearer than that is no tie to us.
                    limit = 1e-6 + (0 if np.isnan(drawn) else 4 * spread / np.sqrt(calls))
                    np.testing.assert_allclose(value, drawn, atol=limit, rtol=0, err_msg=f"{case['name']} {name}")
    assert checked >= num_cases * 19 - 1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_golden_shuffled_auc_of_a_hundred_bins(shared: Path, dtype: type) -> None:
    with jax.enable_x64(dtype is np.float64):
        cases, (pred, _, fixations, pool, _) = next(golden_cases(shared))
        found = fast_jit(lambda *maps: metrics.s_auc(*maps, bins=101))(pred.astype(dtype), fixations, pool)
    expected = [float(case["numpy"]["sAUC_step0.01_expect"]) for case in cases]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 if dtype is np.float64 else 1e-5)


def test_pysaliency_on_its_own_ground() -> None:
    """Counts, and maps without a score elsewhere."""
    rng = np.random.default_rng(0)
    pred, base = rng.random((2, 6, 8), np.float32)
    counts = np.zeros((6, 8), np.int32)
    counts[1, 2], counts[3, 3] = 3, 1
    repeated = np.repeat(np.flatnonzero(counts), counts[counts > 0])
    z = ((pred - pred.mean()) / pred.std()).ravel()
    np.testing.assert_allclose(metrics.nss(pred, counts, "pysaliency"), z[repeated].mean(), rtol=1e-5)
    bits = np.log2(pred / pred.sum()).ravel() - np.log2(base / base.sum()).ravel()
    gain = metrics.information_gain(pred, counts, base, "pysaliency")
    np.testing.assert_allclose(gain, bits[repeated].mean(), rtol=1e-5)
    flat = np.full((6, 8), 0.5, np.float32)
    assert metrics.nss(flat, counts, "pysaliency") == 0
    assert metrics.cc(flat, pred, "pysaliency") == 0
    assert np.isnan(metrics.cc(pred, flat, "pysaliency"))
    assert np.isnan(metrics.nss(pred, 0 * counts, "pysaliency"))


def resize_bicubic(x: jax.Array, shape: tuple[int, int]) -> jax.Array:
    return apply_matrices(x, *(bicubic_matrix(old, new) for old, new in zip(x.shape, shape, strict=True)))


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


def test_degenerate_borji_and_gain() -> None:
    ramp = np.arange(48, dtype=np.float32).reshape(6, 8)
    one, two = np.zeros((2, 6, 8), bool)
    one[2, 3] = two[2, 3] = two[4, 4] = True
    assert np.isnan(metrics.auc_borji(ramp, one))
    assert np.isfinite(metrics.auc_borji(ramp, two))
    assert np.isnan(metrics.auc_borji(0 * ramp, two))
    large = np.random.default_rng(0).random((90, 128))
    large[30, 0] = np.nan  # which XLA's maximum of so many numbers does not show
    with jax.enable_x64(True):
        assert np.isnan(metrics.auc_borji(large, large > 0.9))
    assert np.isnan(metrics.information_gain(ramp, one & False, ramp))
    assert np.isnan(metrics.information_gain(0 * ramp, two, ramp))
    np.testing.assert_allclose(metrics.information_gain(ramp, two, ramp), 0, atol=1e-6)


def test_points_mark_their_nearest_pixel() -> None:
    points = [[0, 0], [2.49, 1.5], [3.5, -0.4], [3.49, 2.49], [-0.51, 0], [0, 2.5], [np.nan, 1], [2.2, 1.8]]
    lists = np.array([points, points[::-1]], np.float32)
    first, both = metrics.fixation_map(lists[0], (3, 4)), metrics.fixation_map(lists, (3, 4))
    np.testing.assert_array_equal(np.argwhere(first), [[0, 0], [2, 2], [2, 3]])
    np.testing.assert_array_equal(both, [first, first])
    # A sum with 0.5 would round this one up in float32.
    np.testing.assert_array_equal(
        np.argwhere(metrics.fixation_map(np.array([[0.49999997, 0]], np.float32), (1, 2))), [[0, 0]]
    )
    assert metrics.fixation_map(np.zeros((2, 0, 2), np.float32), (3, 4)).sum() == 0


def test_the_documentation_scores_arrays() -> None:
    section = (Path(__file__).parents[2] / "docs/evaluation.md").read_text()
    code = section.split("```python\n")[1].split("```")[0].replace("(360, 640)", "(9, 16)")
    rng = np.random.default_rng(0)
    points, mask = rng.uniform(0, 9, (2, 5, 2)).astype(np.float32), np.arange(5) < np.array([[3], [5]])
    maps, densities = rng.random((2, 2, 9, 16), np.float32)
    names = {"points": points, "mask": mask, "maps": maps, "densities": densities, "pool": rng.random((2, 9, 16)) < 0.3}
    exec(code, names)
    assert set(names["scores"]) == set(metrics.METRICS)
    np.testing.assert_allclose(names["nss"], names["scores"]["NSS"], rtol=1e-5)


def plain_wins(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    return 2 * (values > x[..., None]).sum(-1) + (values == x[..., None]).sum(-1)


@pytest.mark.parametrize("kind", ["smooth", "levels", "one range", "constant"])
@pytest.mark.parametrize(("bound", "marked"), [(40, 25), (100, 90), (None, 90), (None, 700)])
def test_every_way_of_counting_is_exact(kind: str, bound: int | None, marked: int) -> None:
    rng = np.random.default_rng(0)
    x = {
        "smooth": rng.random((30, 50), np.float32),
        "levels": rng.integers(0, 4, (30, 50)).astype(np.float32),
        "one range": np.where(rng.random((30, 50)) < 0.01, 1e6, rng.random((30, 50))).astype(np.float32),
        "constant": np.full((30, 50), 3, np.float32),
    }[kind]
    mask = (rng.permutation(x.size) < marked).reshape(x.shape)
    lowest, wins = x[mask].min(), plain_wins(x, x[mask])
    for counted in (~mask, rng.random(x.shape) < 0.01):
        found = pairs(x, mask, jnp.int32(marked), counted, bound)
        others = x[counted]
        expected = wins[counted].sum(), np.sum(others > lowest), np.sum(others == lowest), np.sum(x[mask] == lowest)
        assert tuple(float(value) for value in found) == expected


pairs = jax.jit(lambda *given: ranks.pairs_of(*given, jnp.float32), static_argnums=4)


@pytest.mark.parametrize("way", [ranks._by_comparing, functools.partial(ranks._by_search, unrolled=True)])
@pytest.mark.parametrize("top", [4, 10**6])
def test_the_ways_of_accelerators_are_exact(way: Callable, top: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, top, (6, 8)).astype(np.float32)
    mask, counted = rng.random((2, 6, 8)) < [[[0.2]], [[0.7]]]
    ascending = np.pad(np.sort(x[mask]), (0, 16 - mask.sum()), constant_values=np.inf)
    found = fast_jit(functools.partial(way, dtype=np.float32))(x, ascending, jnp.int32(mask.sum()), counted)
    assert found == plain_wins(x, x[mask])[counted].sum()


def sorted_sizes(program: str) -> set[int]:
    """The lengths of what a program in StableHLO sorts."""
    return {int(n) for n in re.findall(r"func private @sort\w*\(%arg0: tensor<(?:\d+x)*(\d+)xf32>", program)}


def test_an_accelerator_sorts_fixated_values_alone() -> None:
    maps, flags = jax.ShapeDtypeStruct((4, 90, 160), np.float32), jax.ShapeDtypeStruct((4, 90, 160), bool)
    traced = jax.jit(metrics.auc_judd, static_argnums=2).trace(maps, flags, 128)
    for platform in ("cuda", "tpu"):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert sorted_sizes(program) == {128}
        assert "stablehlo.while" not in program  # which would read the map in every step


@pytest.mark.slow
def test_a_batch_at_once_chooses_one_way_for_all() -> None:
    """As an accelerator scores it; more fixations than fit a list are sorted within the map."""
    rng = np.random.default_rng(0)
    x, shares = rng.integers(0, 300, (2, 32, 64)).astype(np.float32), np.array([0.01, 0.05])[:, None, None]
    at_once = fast_jit(jax.vmap(lambda x, hit: metrics.auc_judd(x, hit), axis_name=BATCH))
    for scale in (1, 5):
        hit = rng.random(x.shape) < scale * shares
        np.testing.assert_allclose(at_once(x, hit), metrics.auc_judd(x, hit), rtol=1e-6)


positions = jax.jit(lambda mask: ranks.positions(ranks.pack_bits(mask), 20))


def test_positions_lists_what_is_true() -> None:
    for marked in (0, 3, 20, 21):
        mask = (np.random.default_rng(marked).permutation(7 * 11) < marked).reshape(7, 11)
        found = positions(mask)
        listed = set(found[found < mask.size].tolist())
        assert len(listed) == min(marked, 20)
        assert listed <= set(np.flatnonzero(mask).tolist())


@pytest.mark.parametrize("share", [0.04, 0.4])
def test_the_binned_statistic_of_a_list_of_pixels_and_of_the_map(share: float) -> None:
    """A pool up to an eighth of the map is listed, a larger one read in place."""
    rng = np.random.default_rng(0)
    pred, (hit, pool) = rng.random((30, 50), np.float32), rng.random((2, 30, 50)) < share
    bins = np.floor(10 * (pred - pred.min()) / (pred.max() - pred.min()))
    expected = plain_wins(bins[pool], bins[hit]).mean() / 2 / hit.sum()
    np.testing.assert_allclose(metrics.s_auc(pred, hit, pool), expected, rtol=1e-6)


def test_a_wrong_bound_is_no_score() -> None:
    rng = np.random.default_rng(0)
    pred, fixations, pool = rng.random((16, 16), np.float32), rng.random((16, 16)) < 0.1, rng.random((16, 16)) < 0.1
    bound = int(fixations.sum())
    score = fast_jit(lambda hit: metrics.score(pred, pred, hit, pool, max_fixations=bound, names=("AUC-J", "s-AUC")))
    one_more = fixations.copy()
    one_more.flat[np.argmin(fixations)] = True
    for hit, known in ((fixations, True), (one_more, False)):
        assert [bool(np.isfinite(value)) for value in score(hit).values()] == [known, known]


def test_counts_and_half_precision() -> None:
    rng = np.random.default_rng(0)
    pred, fixations = rng.random((16, 16), np.float32), rng.random((16, 16)) < 0.1
    counts = fixations * rng.integers(1, 5, fixations.shape)
    assert metrics.nss(pred, counts) == metrics.nss(pred, fixations)
    assert metrics.nss(pred.astype(np.float16), fixations).dtype == jnp.float32


def test_wrong_input_is_named() -> None:
    x, y, hit = np.zeros((4, 4)), np.zeros((4, 5)), np.zeros((4, 4), bool)
    for call in (
        lambda: metrics.nss(x, hit, "matlab"),
        lambda: metrics.cc(x, x, "matlab"),
        lambda: metrics.sim(x, x, "matlab"),
        lambda: metrics.kl(x, x, "matlab"),
        lambda: metrics.information_gain(x, hit, x, "matlab"),
    ):
        with pytest.raises(InputError, match="'matlab': choose one of mit, pysaliency"):
            call()
    # Called itself: in tests the annotations are checked before.
    with pytest.raises(InputError, match=r"pred \[4, 4\], density \[4, 5\]: resize"):
        check_shapes(pred=x, density=y)
    with pytest.raises(InputError, match=r"one shape \[..., H, W\]"):
        check_shapes(pred=x[0], density=x[0])
    with pytest.raises(InputError, match="bins=1"):
        metrics.s_auc(x, hit, hit, bins=1)
    with pytest.raises(InputError, match="unknown metric 'AUC'"):
        metrics.score(x, x, hit, hit, names=("CC", "AUC"))


def test_only_the_named_metrics_are_scored() -> None:
    rng = np.random.default_rng(0)
    pred, density = rng.random((2, 6, 8), np.float32)
    hit = rng.random((6, 8)) < 0.2
    found = metrics.score(pred, density, hit, ~hit, names=("s-AUC", "CC"))
    assert set(found) == {"s-AUC", "CC"}
    np.testing.assert_allclose(found["CC"], np.corrcoef(pred.ravel(), density.ravel())[0, 1], rtol=1e-5)

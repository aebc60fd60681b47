"""Earth mover's distance against exact and FastEMD values."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from avsd_jax import metrics
from avsd_jax.errors import InputError
from avsd_jax.metrics.resize import bicubic_matrix


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_golden_emd(shared: Path, dtype: type) -> None:
    pytest.importorskip("ot")
    cases = json.loads((shared / "parity/metrics/golden.json").read_text())["emd"]
    arrays = np.load(shared / "parity/metrics/golden.npz")
    with jax.enable_x64(dtype is np.float64):
        for case in cases:
            a, b = (arrays[f"emd/{case['name']}/{key}"].astype(dtype) for key in "ab")
            found = metrics.emd(a, b, shrink=1)
            assert found.dtype == dtype
            atol = 1e-9 if dtype is np.float64 else 1e-5
            np.testing.assert_allclose(found, case["numpy_linprog"], rtol=0, atol=atol)
            np.testing.assert_allclose(found, case["octave_fastemd"], rtol=0, atol=2e-5)


def transport_program(p: np.ndarray, q: np.ndarray) -> float:
    """The distance as a linear program over all pairs of pixels."""
    at = np.argwhere(np.ones(p.shape))
    cost = np.linalg.norm(at[:, None] - at[None], axis=-1)
    size = p.size
    rows = np.kron(np.eye(size), np.ones(size))
    columns = np.kron(np.ones(size), np.eye(size))
    result = optimize.linprog(
        cost.ravel(), A_eq=np.vstack([rows, columns])[:-1], b_eq=np.append(p.ravel(), q.ravel())[:-1]
    )
    return result.fun


def test_emd_shrinks_as_the_published_code() -> None:
    pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    pred, density = rng.random((2, 3, 21, 30), np.float32)
    found = metrics.emd(pred, density, shrink=8)
    for x, y, value in zip(pred, density, found, strict=True):
        # 21 / 8 and 30 / 8 rounded up; the density is sampled at one eighth, the prediction to fit.
        small = bicubic_matrix(21, 3, 1 / 8) @ y @ bicubic_matrix(30, 4, 1 / 8).T
        fitted = bicubic_matrix(21, 3) @ x @ bicubic_matrix(30, 4).T
        expected = transport_program(fitted / fitted.sum(), small / small.sum())
        np.testing.assert_allclose(value, expected, atol=1e-5)


def test_emd_under_jit_and_vmap_and_of_degenerate_maps() -> None:
    pytest.importorskip("ot")
    p, q = np.zeros((2, 4, 5), np.float32)
    p[0, 0], q[3, 4] = 2, 7
    batch = jnp.stack([p, q, 0 * p, p * np.nan])
    distances = [5, 0, np.nan, np.nan]
    np.testing.assert_allclose(metrics.emd(batch, jnp.stack([q] * 4), 1), distances)
    single = jax.jit(lambda x: metrics.emd(x, q, 1))
    np.testing.assert_allclose(jax.vmap(single)(batch), distances)


def test_emd_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones((4, 4), np.float32)
    with pytest.raises(InputError, match="shrink=0"):
        metrics.emd(x, x, 0)
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(InputError, match=r"pip install .avsd-jax\[emd\]"):
        metrics.emd(x, x, 3)

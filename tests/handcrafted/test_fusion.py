"""Hand-crafted fusions: the recorded values at float64, and what holds for any input."""

from pathlib import Path

import jax
import numpy as np
import pytest

from avsd_jax.handcrafted.fusion import cca, em, kcca, mutual_information


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "parity/baselines/golden_handcrafted.npz") as archive:
        return dict(archive)


@pytest.fixture
def exact():
    with jax.enable_x64(True):
        yield


def close(found, expected, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("exact")
def test_canonical_correlations_are_the_recorded_ones(recorded):
    x, y = recorded["cca/X"], recorded["cca/Y"]
    close(cca.cca(x, y).correlations, recorded["cca/correlations"])
    ridge = cca.cca(x, y, 0.1)
    close(ridge.correlations, recorded["cca/correlations_ridge0.1"])
    kernel = kcca.kcca(x, y, kappa=5.0, sigma=3.0)
    close(kernel.correlations[:4], recorded["kcca/rho_sigma3_kappa5"])
    linear = kcca.kcca(x, y, kappa=0.1 * len(x), kernel="linear")
    close(linear.correlations[:4], ridge.correlations)  # a different way to the same
    # The directions have them.
    x, y = x - x.mean(0), y - y.mean(0)
    close(linear.a[:, 0] @ x @ x.T @ y @ y.T @ linear.b[:, 0], ridge.correlations[0])
    u, v = x @ ridge.wx[:, 0], y @ ridge.wy[:, 0]
    close(u @ v / len(x), ridge.correlations[0])


@pytest.mark.usefixtures("exact")
def test_mutual_information_is_the_recorded_one(recorded):
    x, y = recorded["cca/X"], recorded["cca/Y"]
    close(mutual_information.gaussian(x, y), recorded["mi/gaussian"])
    close(mutual_information.scalar(x[:, 0], y[:, 0]), recorded["mi/scalar_X0_Y0"])
    counts = np.histogram2d(x[:, 0], y[:, 0], 8)[0] / len(x)
    terms = counts * np.log(np.where(counts > 0, counts, 1) / (counts.sum(1, keepdims=True) * counts.sum(0) + 1e-99))
    close(mutual_information.histogram(x[:, 0], y[:, 0]), terms.sum())


@pytest.mark.usefixtures("exact")
def test_weights_by_expectation_maximisation_are_the_recorded_ones(recorded):
    densities = recorded["em/densities"].reshape(5, 30, 40)
    counts = np.bincount(recorded["em/fixation_index"], minlength=1200).reshape(30, 40)
    found = em.fit(densities, counts)
    close(found.weights, recorded["em/weights_200"])
    close(found.log_likelihood, recorded["em/loglik_200"])

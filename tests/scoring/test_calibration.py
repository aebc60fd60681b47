"""One temperature makes probabilities frequencies, and changes nothing else."""

import numpy as np
import pytest
from scipy.special import expit

from avsd_jax.errors import InputError
from avsd_jax.scoring.calibration import calibrate, calibration_error, reliability

N = 20_000


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is right, shifted by what softmax ignores, and labels drawn from it."""
    rng = np.random.default_rng(0)
    margin, shift = rng.normal(0, 2, N), rng.normal(0, 5, N)
    return np.stack([shift, shift + margin], -1), (rng.random(N) < expit(margin)).astype(int)


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_the_temperature_undoes_a_scale(drawn: tuple[np.ndarray, np.ndarray], scale: float):
    logits, labels = drawn
    temperature = calibrate(scale * logits, labels)
    assert temperature == pytest.approx(scale, rel=0.04)
    before, after = (calibration_error(reliability(scale * logits / t, labels)) for t in (1.0, temperature))
    assert after < 0.01
    assert scale == 1 or before > 5 * after


def test_no_other_temperature_is_more_likely(drawn: tuple[np.ndarray, np.ndarray]):
    logits, labels = drawn
    margin = np.where(labels == 1, 1, -1) * (logits[:, 1] - logits[:, 0])
    best = calibrate(logits, labels)
    losses = [np.logaddexp(0, -margin / (best * factor)).mean() for factor in (0.99, 1.0, 1.01)]
    assert losses[1] < min(losses[0], losses[2])


def test_unlabelled_frames_do_not_count(drawn: tuple[np.ndarray, np.ndarray]):
    logits, labels = (values[:500] for values in drawn)
    more = np.concatenate([logits, np.full((9, 2), np.nan)]), np.concatenate([labels, np.full(9, -1)])
    assert calibrate(*more) == calibrate(logits, labels)
    assert reliability(*more) == reliability(logits, labels)
    with pytest.raises(InputError, match="no frame has a label"):
        calibrate(*(values[-9:] for values in more))
    with pytest.raises(InputError, match="not finite: train it again"):
        calibrate(more[0], np.zeros(509, int))


def test_logits_that_are_all_right_or_say_nothing_end_at_the_bounds():
    labels = np.arange(100) % 2
    right = np.stack([1 - labels, labels], -1).astype(float)
    assert calibrate(right, labels) == pytest.approx(0.01, rel=0.01)
    assert calibrate(right, 1 - labels) == pytest.approx(100, rel=0.01)


def test_the_error_is_the_mean_distance_of_probability_and_frequency():
    margin = np.log([9.0] * 10 + [1 / 4] * 30)  # probabilities 0.9 and 0.2
    labels = np.array([1] * 6 + [0] * 4 + [1] * 15 + [0] * 15)  # frequencies 0.6 and 0.5
    bins = reliability(np.stack([np.zeros(40), margin], -1), labels)
    assert [b.count for b in bins] == [30, 10]
    np.testing.assert_allclose(bins, [(30, 0.2, 0.5), (10, 0.9, 0.6)])
    assert calibration_error(bins) == pytest.approx(0.3)
    certain = reliability(np.array([[-1e3, 1e3], [1e3, -1e3]]), np.array([1, 0]))
    assert calibration_error(certain) == 0

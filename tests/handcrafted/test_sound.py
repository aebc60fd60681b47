"""Hand-crafted saliency of audio: the recorded values at float64, closed forms, and awkward waveforms."""

from pathlib import Path

import jax
import numpy as np
import pytest

from avsd_jax.handcrafted.sound import envelope, kayser, surprise, teager
from avsd_jax.handcrafted.sound.frames import average, equal_bins


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
def test_teager_energy_is_the_recorded_one(recorded):
    close(teager.psi(recorded["teager/x"]), recorded["teager/psi"])
    amplitude, omega = teager.desa1(recorded["teager/x"])
    close(amplitude, recorded["teager/desa1_amplitude"])
    close(omega, recorded["teager/desa1_omega"])


def test_teager_features_find_a_tone():
    rate = 8000
    wave = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate // 2) / rate)
    found = teager.features(wave, rate)
    middle = slice(10, -10)
    np.testing.assert_allclose(np.asarray(found.frequency)[middle], 2 * np.pi * 1000 / rate, rtol=0.01)
    assert np.all(np.asarray(found.amplitude)[middle] > 0.2)


def test_energy_and_onsets_follow_the_sound():
    rate, n = 16000, 10
    wave = np.zeros((2, rate), np.float32)
    wave[1, 8000:] = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / rate)
    edges = equal_bins(rate, rate, n)
    rms = envelope.rms(wave, rate, edges)
    np.testing.assert_allclose(np.asarray(rms), [[0] * 10, [0] * 5 + [0.5 / 2**0.5] * 5], atol=1e-4)
    onset = np.asarray(envelope.onset_strength(wave, rate, edges))
    assert not onset[0].any()
    assert onset[1].argmax() in (4, 5)
    features = envelope.cepstral_features(wave, rate, edges)
    assert features.shape == (2, n, 26)
    assert np.isfinite(features).all()


def test_averages_within_bins():
    found = average(np.arange(8.0), 4.0, np.array([0.0, 0.5, 1.0, 1.05, 1.5, 5.0]))
    np.testing.assert_allclose(found, [0.5, 2.5, 4, 4.5, 6.5])
    assert not np.asarray(average(np.ones(4), 4.0, np.array([1.0, 2.0, 3.0]))).any()


@pytest.mark.usefixtures("exact")
def test_surprise_is_the_recorded_one(recorded):
    x = recorded["gauss_surprise/x"]
    close(surprise.gaussian(x, 20), recorded["gauss_surprise/s"])
    close(surprise.gamma(x), recorded["gamma_surprise/s"])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-7), (np.float32, 3e-6)])
def test_auditory_saliency_is_the_recorded_one(shared, dtype, tolerance):
    with np.load(shared / "parity/baselines/golden_kayser.npz") as archive:
        recorded = dict(archive)  # float32
    found = kayser.saliency_map(recorded["log_spectrogram"].astype(dtype))
    for name, x in zip(("eo", "esi", "epi"), found, strict=True):
        np.testing.assert_allclose(x, recorded[name], rtol=0, atol=tolerance * recorded[name].max())

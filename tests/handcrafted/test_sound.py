"""Hand-crafted saliency of audio: recorded values, closed forms, awkward waveforms, and a journey of the command."""

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from media_files import regular, write_video
from PIL import Image

from avsd_jax import audio_saliency
from avsd_jax.errors import InputError
from avsd_jax.handcrafted.sound import curves, envelope, kayser, surprise, teager
from avsd_jax.handcrafted.sound.frames import average, equal_bins
from avsd_jax.media.reading import frame_times, read_frames

RATE = 16_000


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "parity/baselines/golden_handcrafted.npz") as archive:
        return dict(archive)


@pytest.fixture(autouse=True, scope="module")
def _short_pieces():
    """Shorter pieces than of long files: most of the waveforms here are of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "_PIECE", RATE)
        patch.setattr(curves, "_CONTEXT", RATE // 2)
        yield


def close(found, expected, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=tolerance)


def tone(hertz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def test_teager_energy_and_surprise_are_the_recorded_ones(recorded):
    with jax.enable_x64(True):
        found = jax.jit(lambda x, y: (teager.psi(x), *teager.desa1(x), surprise.gaussian(y, 20), surprise.gamma(y)))(
            recorded["teager/x"], recorded["gauss_surprise/x"]
        )
        names = ("teager/psi", "teager/desa1_amplitude", "teager/desa1_omega", "gauss_surprise/s", "gamma_surprise/s")
        for name, values in zip(names, found, strict=True):
            close(values, recorded[name])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-7), (np.float32, 3e-6)])
def test_auditory_saliency_is_the_recorded_one(shared, dtype, tolerance):
    with np.load(shared / "parity/baselines/golden_kayser.npz") as archive:
        recorded = dict(archive)  # float32
    found = kayser.saliency_map(recorded["log_spectrogram"].astype(dtype))
    for name, x in zip(("eo", "esi", "epi"), found, strict=True):
        np.testing.assert_allclose(x, recorded[name], rtol=0, atol=tolerance * recorded[name].max())


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 40), (40, 1), (23, 301), (64, 600)])
@pytest.mark.parametrize("peaks", kayser.PEAKS)
def test_auditory_saliency_of_any_size_is_finite(size, peaks):
    found = kayser.saliency_map(np.random.default_rng(0).normal(size=size), peaks)
    for x in found:
        assert x.shape == (-(-size[0] // 2), -(-size[1] // 2))
        assert np.isfinite(x).all()
        assert x.min() >= 0
    with pytest.raises(InputError, match="not finite"):
        kayser.saliency_map(np.full(size, -np.inf), peaks)


def test_auditory_saliency_in_pieces_is_that_of_the_whole(monkeypatch):
    """Also of another rate, and with samples that are not finite."""
    wave = np.random.default_rng(1).normal(size=9 * RATE // 4).astype(np.float32) * 0.05
    wave[RATE : RATE + 4000] += tone(1500, 0.25)
    whole = kayser.curve(wave, RATE)
    monkeypatch.setattr(kayser, "_PIECE", 6 * RATE // 5)
    monkeypatch.setattr(kayser, "_CONTEXT", 6 * RATE // 10)
    pieces = kayser.curve(wave, RATE)
    assert len(whole) == len(pieces) == 1125
    assert np.corrcoef(whole, pieces)[0, 1] > 0.99
    assert abs(pieces.argmax() - whole.argmax()) <= 2
    wave[100:120] = np.nan
    assert np.isfinite(kayser.curve(wave[:4000], 8000)).all()


def test_teager_features_are_those_of_a_tone():
    found = jax.jit(lambda x: teager.features(x, RATE))(0.5 * np.stack([tone(1000, 0.25), tone(3000, 0.25)]))
    inside = np.s_[:, 6:-6]
    turned = 2 * np.pi * np.array([[1000], [3000]]) / RATE
    np.testing.assert_allclose(np.asarray(found.frequency)[inside], np.tile(turned, 13), rtol=0.01)
    amplitude = np.asarray(found.amplitude)[inside]
    assert np.all((amplitude > 0.3) & (amplitude < 0.6))
    close(np.asarray(found.energy)[inside], (amplitude * np.sin(turned)) ** 2, 0.02)


def test_energy_and_onsets_follow_the_sound():
    wave = np.zeros((2, RATE), np.float32)
    wave[1, 8000:] = 0.5 * tone(440, 0.5)
    edges = equal_bins(RATE, RATE, 10)

    @jax.jit
    def computed(x):
        onset = envelope.onset_strength(x, RATE, edges)
        return envelope.rms(x, RATE, edges), onset, envelope.cepstral_features(x, RATE, edges)

    rms, onset, features = map(np.asarray, computed(wave))
    close(rms, [[0] * 10, [0] * 5 + [0.5 / 2**0.5] * 5], 1e-4)
    assert not onset[0].any()
    assert onset[1].argmax() in (4, 5)
    assert features.shape == (2, 10, 26)
    assert np.isfinite(features).all()


def test_averages_are_of_what_lies_within_a_bin():
    edges = np.array([0.0, 0.5, 1.0, 1.05, 1.5, 5.0, 6.0])
    expected = [0.5, 2.5, 4, 4.5, 6.5, 0]  # the third is shorter than a step, the last one after the end
    close(average(np.arange(8.0), 4.0, edges), expected, 1e-6)
    close(jax.jit(average, static_argnums=1)(np.arange(8.0), 4.0, edges), expected, 1e-6)  # edges that are traced


def awkward() -> dict[str, np.ndarray]:
    """Waveforms of a second, so that all share their compiled programs."""
    click = np.zeros(RATE)
    click[8000:8080] = tone(2000, 0.005)
    broken = np.where(np.arange(RATE) // 1000 % 4 == 1, np.nan, 0.3)
    loud = 1e30 * np.random.default_rng(0).standard_normal(RATE)
    return {"silence": np.zeros(RATE), "click": click, "constant and not finite": broken, "loud": loud}


@pytest.mark.parametrize("method", curves.METHODS)
def test_curves_of_any_audio_are_finite(method):
    edges = np.arange(26) * 0.04
    found = {name: curves.curve(wave, RATE, method, edges) for name, wave in awkward().items()}
    for name, values in found.items():
        assert values.shape == (25,), name
        assert np.isfinite(values).all(), name
        assert values.min() >= 0, name
    assert not found["silence"].any()
    # The click is in frame 12. Kayser's filters look ahead, and the divergence is largest when it is forgotten.
    assert 8 <= found["click"].argmax() <= (24 if method == "divergence" else 14)


def test_a_waveform_of_one_sample_has_a_curve():
    for method in ("energy", "kayser"):
        assert np.isfinite(curves.curve(np.ones(1), 44_100, method, np.array([0, 0.04]))).all()
    with pytest.raises(InputError, match="no samples"):
        curves.curve(np.ones(0), RATE, "energy", np.array([0, 0.04]))


def test_the_command_writes_curves_of_any_file(tmp_path, capsys, monkeypatch):
    sound = np.tile(awkward()["click"].astype(np.float32) * 0.5, (1, 1))
    options = {"sound": "pcm_s16le", "rate": RATE, "layout": "mono", "samples": sound}
    video = write_video(tmp_path / "click.mov", regular(25, 25), size=(16, 16), **options)
    assert frame_times(video).tolist() == [frame.time for frame in read_frames(video)]
    out = tmp_path / "out"
    assert audio_saliency.main([str(video), f"--out={out}"]) == 0
    assert "25 rows, 9 methods" in capsys.readouterr().out
    with (out / "audio_saliency.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["frame", "time", *curves.METHODS]
    close([float(row["time"]) for row in rows], np.arange(25) / 25, 1e-3)
    energy = np.array([float(row["energy"]) for row in rows])
    assert energy.argmax() == 12
    assert (energy.min(), energy.max()) == (0, 1)
    record = json.loads((out / "audio_saliency.json").read_text())
    assert record["video"] == "click.mov"
    assert set(record["curves"]) == set(curves.METHODS)
    with Image.open(out / "audio_saliency.png") as picture:
        assert picture.size[0] == 1200

    # Audio alone, in the default folder; and the folder holds one file's curves.
    video.rename(tmp_path / "other.mov")
    monkeypatch.chdir(tmp_path)
    alone = write_wav(tmp_path / "click.wav", sound[0, : RATE // 2])
    assert audio_saliency.main([str(alone), "--method=energy"]) == 0
    captured = capsys.readouterr()
    assert "13 rows" in captured.out
    assert "a row every 40 ms" in captured.err
    assert "constant" in captured.err  # the click comes later
    for arguments, why in [
        ([str(alone), f"--out={out}"], "holds the audio saliency of click.mov"),
        ([str(alone), "--method=energy,loudness"], "loudness"),
        ([str(alone), "--method=energy,energy"], "twice"),
        ([str(tmp_path / "none.wav")], "does not exist"),
        ([str(write_video(tmp_path / "mute.mp4", regular(3), sound=None)), "--out=mute"], "has no audio track"),
    ]:
        assert audio_saliency.main(arguments) == 2
        assert why in capsys.readouterr().err
    assert not (tmp_path / "mute").exists()


def write_wav(path: Path, samples: np.ndarray) -> Path:
    import scipy.io.wavfile

    scipy.io.wavfile.write(path, RATE, samples.astype(np.float32))
    return path

"""Audio files of datasets: compared with the video's length, and refused if they contradict their header."""

import pathlib
import re
import struct

import numpy as np
import pytest
from absl import logging
from media_files import regular, write_video
from raw_files import write_wav
from scipy.io import wavfile

from avsd_jax.errors import InputError
from avsd_jax.sources import audio_files

RATE = 22_050
# Places in the header of a canonical wav file.
CHANNELS, SAMPLE_RATE, BITS, DATA_LENGTH = (22, "<H"), (24, "<I"), (34, "<H"), (40, "<I")


def said(path: pathlib.Path, seconds: float) -> list[str]:
    """What a build and a check, which must agree, say of a file: notes, or one error."""
    results = []
    for look in (lambda: audio_files.read(path, seconds), lambda: audio_files.notes(audio_files.probe(path), seconds)):
        try:
            results.append(look())
        except InputError as error:
            results.append([f"refused: {error}"])
    built, checked = results
    assert built == checked or (isinstance(built, tuple) and not any("refused" in note for note in checked))
    return checked


@pytest.mark.parametrize(
    ("audio", "video", "verdict"),
    [
        (0.48, 0.48, None),
        (0.48, 0.56, None),  # a list may have two frames more
        (1.0, 1.04, None),
        (59.2, 60.0, "audio of 59.2 s for 60.0 s of images: the rest is silent"),
        (61.0, 60.0, "audio of 61.0 s for 60.0 s of images: it continues after the last frame"),
        (0.24, 0.48, "refused"),
        (4.8, 0.48, "refused"),
        (6.0, 60.0, "refused"),
        (47.0, 60.0, "refused"),
        (75.0, 60.0, "refused"),
    ],
)
def test_the_length_is_held_against_the_videos(tmp_path, audio, video, verdict):
    path = write_wav(tmp_path / "a.wav", audio, 4000, 1)
    notes = said(path, video)
    if verdict == "refused":
        assert f"a.wav has {audio:.2f} s of audio (4000 Hz) for {video:.2f} s of video: put the video's own" in notes[0]
    else:
        assert notes == ([verdict] if verdict else [])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (SAMPLE_RATE, 1, "a.wav says 1 samples per second, which is not between"),
        (SAMPLE_RATE, 2_000_000_000, "a.wav says 2000000000 samples per second"),
        (SAMPLE_RATE, 4_000_000_000, "a.wav cannot be read"),
        (SAMPLE_RATE, 0, "a.wav cannot be read"),
        (SAMPLE_RATE, RATE // 2, "a.wav has 2.00 s of audio \\(11025 Hz\\) for 1.00 s of video"),
        (SAMPLE_RATE, 2 * RATE, "a.wav has 0.50 s of audio \\(44100 Hz\\) for 1.00 s of video"),
        (CHANNELS, 0, "a.wav has no audio track"),
        (CHANNELS, 100, "a.wav says 100 channels"),
        (CHANNELS, 65_535, "a.wav has no audio track|a.wav says 65535 channels"),  # by FFmpeg's version
        (BITS, 0, "a.wav has no audio track"),
        (BITS, 64, "a.wav has 0.25 s of audio"),
        (DATA_LENGTH, 4410, "a.wav has 0.10 s of audio"),
        (DATA_LENGTH, 10 * 2 * RATE, None),  # all of the audio is there: the header alone is wrong
        (DATA_LENGTH, 0xFFFFFFFF, None),  # as written to a pipe
    ],
)
def test_a_header_that_cannot_be_true_is_refused(tmp_path, field, value, message):
    path = write_wav(tmp_path / "a.wav", 1.0, RATE, 1)
    data = bytearray(path.read_bytes())
    struct.pack_into(field[1], data, field[0], value)
    path.write_bytes(data)
    notes = said(path, 1.0)
    assert notes == [] if message is None else re.search(message, notes[0])


def test_a_file_without_samples_is_refused(tmp_path):
    path = write_wav(tmp_path / "a.wav", 0, RATE, 1)
    assert "a.wav has no audio samples: restore the file, or put silence" in said(path, 1.0)[0]
    path.write_bytes(path.read_bytes()[:20])
    assert "a.wav cannot be read" in said(path, 1.0)[0]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_samples_that_are_not_finite_are_silence_up_to_a_hundredth(tmp_path, kind, monkeypatch):
    logged = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: logged.append(text % args))
    samples = np.full(RATE, 0.5, kind)
    samples[[10, 11, -1]] = np.nan, np.inf, -np.inf
    path = tmp_path / "a.wav"
    wavfile.write(path, RATE, samples)
    assert said(path, 1.0) == ["3 audio samples are NaN or infinite: replaced by silence"]
    assert logged == [f"{path}: 3 audio samples are NaN or infinite: replaced by silence"]
    expected = np.full(RATE, 16_384)
    expected[[10, 11, -1]] = 0
    np.testing.assert_array_equal(audio_files.read(path)[0], expected)
    wavfile.write(path, 2 * RATE, np.repeat(samples, 2))  # resampled: the filter must not see them
    assert np.abs(audio_files.read(path)[0][100:-100].astype(int) - 16_384).max() < 3
    samples[: RATE // 50] = np.nan
    wavfile.write(path, RATE, samples)
    assert "a.wav has 442 of 22050 samples that are NaN or infinite" in said(path, 1.0)[0]
    wavfile.write(path, RATE, np.full(RATE, 12_000, kind))
    assert "a.wav has 22050 of 22050 float samples far beyond [-1, 1]" in said(path, 1.0)[0]


def test_a_track_of_the_video_file_may_end_early(tmp_path):
    path = write_video(tmp_path / "a.mp4", regular(60), size=(32, 32), sound_seconds=1.2)
    assert said(path, 2.0) == ["audio of 44100 Hz: downsampled to 22050", "audio of 2 channels: mixed down"] + [
        "audio of 1.2 s for 2.0 s of images: the rest is silent"
    ]
    assert "a.mp4 has 1.2" in said(path, 9.0)[0]

"""ViNet's preparation against the official code's numbers, its choice of clips, and the classifier's own
clock."""

import functools
import pathlib
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import golden
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from videos import memory_store, source_video

from avsd_jax.batch import ClassifierInputs
from avsd_jax.data import audio, avc_inputs, samplers
from avsd_jax.data import waveform as waveforms
from avsd_jax.data.preprocessing.vinet import Preprocessing, excerpt_bounds, min_max_image
from avsd_jax.data.samplers import stavis
from avsd_jax.data.samplers.vinet import Sampler
from avsd_jax.errors import InputError

vinet, sampler = Preprocessing(), Sampler()


@pytest.fixture(scope="module")
def cases(shared: pathlib.Path) -> dict[str, Any]:
    return golden.processing(shared, "vinet/processing")[0]


@pytest.fixture(scope="module")
def arrays(shared: pathlib.Path) -> dict[str, np.ndarray]:
    return golden.processing(shared, "vinet/processing")[1]


@pytest.fixture(scope="module")
def draw(shared: pathlib.Path) -> Callable[..., np.ndarray]:
    return golden.rule(shared).array


def crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


@pytest.mark.parametrize("case", ["frame_down", "frame_up", "frame_ar"])
def test_frames_are_resized_and_normalised_as_by_the_official_code(cases, arrays, draw, case: str):
    h, w, _ = shape = cases[case]["source_shape"]
    y, x, c = np.mgrid[:h, :w, :3].astype(np.float64)
    noise = draw("input:frame", shape, 0).astype(np.float64)
    frame = np.clip(np.round(128 + 80 * np.sin(y / 37 + c) * np.cos(x / 53) + 20 * noise), 0, 255).astype(np.uint8)
    assert crc(frame) == cases[case]["source_crc32"]
    resized = vinet.resize_frame(frame, (224, 384))
    assert crc(resized) == cases[case]["resized_crc32"]
    np.testing.assert_array_equal(resized[::8, ::8], arrays[f"{case}_stride"])
    np.testing.assert_allclose(resized.mean((0, 1)), arrays[f"{case}_mean"], rtol=1e-12)
    np.testing.assert_array_equal(vinet.normalise(resized)[::8, ::8], arrays[f"{case}_normalised_stride"])
    assert vinet.resize_frame(resized, (224, 384)) is resized


@pytest.mark.parametrize("case", ["gt_down", "gt_up"])
def test_density_maps_are_resized_as_by_the_official_code(cases, arrays, draw, case: str):
    noise = draw("target:gtmap", cases[case]["source_shape"], 0).astype(np.float64)
    density = np.clip(np.round(128 + 60 * noise), 0, 255).astype(np.uint8)
    resized = vinet.resize_density(density, (224, 384))
    np.testing.assert_array_equal(resized[::8, ::8], arrays[f"{case}_stride"])
    assert resized.sum(dtype=np.float64) == pytest.approx(cases[case]["sum"], rel=1e-9)


@pytest.mark.parametrize("case", ["v25", "v30", "v15", "v44k", "short"])
def test_sound_windows_are_those_of_the_official_code(cases, arrays, draw, case: str):
    expected = cases[f"audio_{case}"]
    n, fps, rate, samples = (expected[key] for key in ("n_frames", "fps", "fs", "n_samples"))
    noise = draw("input:wav", (samples,), 0).astype(np.float64)
    waveform = np.clip(np.round(4000 * noise), -32768, 32767).astype(np.int16)
    starts, ends = excerpt_bounds(n, float(fps), rate, samples)
    np.testing.assert_array_equal(starts, arrays[f"audio_{case}_starts"])
    np.testing.assert_array_equal(ends, arrays[f"audio_{case}_ends"])
    for first, window in expected["windows"].items():
        start, stop = vinet.excerpt_span(int(first), int(first) + 31, n, float(fps), rate, samples)
        assert start == window["excerpt_start"] == starts[int(first) + 1]
        assert stop == min(window["excerpt_end_inclusive"] + 1, samples)
        excerpt = waveforms.to_float(waveform[start:stop]) * np.float32(vinet.waveform_scale)
        buffer = vinet.window_audio(excerpt, vinet.audio_samples(32))
        assert crc(buffer) == window["crc32"]
        np.testing.assert_array_equal(vinet.window_audio(excerpt, 70560, reverse=True), buffer[::-1])


@pytest.mark.parametrize(("case", "size"), [("down", (180, 320)), ("up", (360, 640))])
@pytest.mark.parametrize("rule", ["tv05", "tvnew"])
def test_predictions_become_the_official_pictures(cases, arrays, draw, case: str, size: tuple[int, int], rule: str):
    source = 1 / (1 + np.exp(-cv2.GaussianBlur(8 * draw("output:smap", (224, 384), 0), (41, 41), 0)))
    np.testing.assert_allclose(vinet.smooth(source, size)[::6, ::6], arrays[f"post_{case}_blurred_stride"], atol=1e-6)
    picture = min_max_image(vinet.smooth(source, size), rule)
    assert crc(picture) == cases[f"post_{case}_{rule}"]["crc32"]
    np.testing.assert_array_equal(picture[::6, ::6], arrays[f"post_{case}_{rule}_stride"])


def test_a_constant_prediction_is_a_black_picture_and_an_unknown_rule_an_error():
    assert vinet.to_image(vinet.smooth(np.full((8, 8), 0.3, np.float32), (16, 16))).max() <= 1
    with pytest.raises(InputError, match="unknown image rule 'x'"):
        min_max_image(np.zeros((8, 8), np.float32), "x")


def test_sound_that_does_not_fit_is_refused_and_no_sound_is_silence():
    with pytest.raises(InputError, match="resample it to 22050 Hz"):
        vinet.window_audio(np.ones(17641, np.float32), 17640)
    assert not vinet.window_audio(np.zeros(0, np.float32), 17640).any()
    assert vinet.excerpt_span(30, 37, 40, 12.5, 22050, 9000) == (9000, 9000)


def test_fixations_keep_their_place_when_the_map_is_resized():
    corners = np.array([[-0.5, -0.5], [95.5, 63.5], [47.4, 31.6]], np.float32)
    rows, columns = np.nonzero(vinet.fixation_map(corners, (64, 96), (32, 48)))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0), (16, 23), (31, 47)]


@given(
    num_frames=st.integers(1, 40),
    clip_size=st.integers(1, 12),
    frame_step=st.integers(1, 3),
    target=st.integers(0, 39),
)
def test_every_frame_of_every_video_can_be_predicted(num_frames: int, clip_size: int, frame_step: int, target: int):
    target = min(target, num_frames - 1)
    window = sampler.eval_window(target, num_frames, clip_size, frame_step)
    span = (clip_size - 1) * frame_step
    assert len(window.frames) == clip_size
    assert window.frames[-1] == window.target == target
    assert 0 <= min(window.frames) == window.audio_first <= window.audio_last == max(window.frames) < num_frames
    if target >= span:
        assert window.frames == tuple(range(target - span, target + 1, frame_step))
    elif num_frames >= 2 * span + 1:
        assert window.frames == tuple(range(target + span, target - 1, -frame_step))
    assert window.reverse_audio == (window.frames[0] > target)


@pytest.mark.parametrize(
    ("name", "options"),
    [("vinet", {}), ("centred", {}), ("sequence", {}), *(("stavis", {"targets": each}) for each in stavis.TARGETS)],
)
def test_no_frame_further_ahead_decides_about_a_clip(name: str, options: dict[str, str]):
    sampler = samplers.create(name, **options)
    for target in (*range(12), 75, 100, 101):
        for clip_size, step in ((1, 1), (4, 1), (5, 1), (5, 1 if name == "stavis" else 3)):
            end = target + sampler.frames_ahead(target, clip_size, step) + 1
            first, *longer = (sampler.eval_window(target, end + more, clip_size, step) for more in (0, 1, 7, 200))
            assert max(first.frames) < end
            assert [window for window in longer if window != first] == []


def test_short_videos_follow_the_official_rule_for_them():
    windows = [sampler.eval_window(k, 6, 4, 1).frames for k in range(6)]
    # Padded in front to 2 * 4 - 1 = 7 frames; the first 3 of these are predicted from reversed clips.
    assert windows == [(3, 2, 1, 0), (4, 3, 2, 1), (0, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)]
    assert sampler.eval_window(1, 2, 4, 1).frames == (0, 0, 0, 1)
    assert list(sampler.eval_targets(7, 4, 3)) == [0, 3, 6]


def test_training_clips_are_uniform_over_starts_and_avoid_empty_targets():
    rng = np.random.default_rng(0)
    draws = [sampler.train_window(rng, 0, 12, 8, 1, lambda frame: frame == 9) for _ in range(400)]
    counts = np.bincount([window.target for window in draws], minlength=12)
    assert counts[[7, 8, 10, 11]].min() > 60
    assert counts.sum() - counts[[7, 8, 10, 11]].sum() == 0
    assert all(window.frames == tuple(range(window.target - 7, window.target + 1)) for window in draws)
    assert sampler.train_window(rng, 0, 3, 4, 1, lambda frame: True).frames == (0, 0, 1, 2)


AVID = ClassifierInputs(num_frames=8, frame_rate=16.0, frame_size=112, sample_rate=24000, audio_seconds=2.0)
L3NET = ClassifierInputs(num_frames=1, frame_rate=None, frame_size=64, sample_rate=16000, audio_seconds=1.0)


def test_the_classifier_sees_and_hears_around_the_target_by_time():
    assert avc_inputs.frame_indices(25, 25.0, 100, L3NET) == (25,)
    # Half a second around frame 50 at 25 frames/s: +-0.22 s is +-5.5 frames.
    assert avc_inputs.frame_indices(50, 25.0, 100, AVID) == (45, 46, 48, 49, 51, 52, 54, 55)
    assert avc_inputs.frame_indices(0, 25.0, 100, AVID)[:5] == (0, 0, 0, 0, 1)
    assert avc_inputs.frame_indices(99, 25.0, 100, AVID)[3:] == (98, 99, 99, 99, 99)
    assert avc_inputs.audio_span(25, 25.0, L3NET) == (8000, 24000)
    assert avc_inputs.audio_span(0, 25.0, AVID) == (-24000, 24000)
    assert AVID.audio_samples == 48000


@pytest.mark.parametrize(("source", "target"), [(22050, 16000), (22050, 48000), (44100, 16000), (8000, 8000), (100, 7)])
def test_a_part_of_the_resampled_sound_equals_that_part_of_the_whole(source: int, target: int):
    video = source_video(sample_rate=source, num_samples=1000, seed=3)
    store = memory_store([video])
    whole = waveforms.resample(waveforms.to_float(video.audio), source, target)
    read = functools.partial(store.audio, 0)
    for start, stop in ((0, 50), (-3000, -200), (-130, 41), (100, 101), (333, 2400)):
        part = waveforms.resample_span(read, source, target, start, stop)
        assert part.dtype == np.float32
        assert len(part) == stop - start
        inside = whole[max(0, start) : max(0, stop)]
        before = max(0, -start)
        np.testing.assert_allclose(part[before : before + len(inside)], inside, atol=1e-6)
        assert not part[: max(0, before - 50)].any()
        assert not part[before + len(inside) + 50 :].any()


def test_resampling_keeps_a_tone_and_its_time():
    seconds = np.arange(22050) / 22050
    tone = np.sin(2 * np.pi * 440 * seconds).astype(np.float32)
    resampled = waveforms.resample(tone, 22050, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(resampled[200:-200], expected[200:-200], atol=2e-3)


def test_audio_conditions_replace_the_sound_and_nothing_else():
    videos = [source_video(name, seed=i, num_samples=5000 + 1000 * i) for i, name in enumerate("abc")]
    store = memory_store([*videos, source_video("silent", num_samples=0)])
    read = {c: audio.reader(store, 0, c) for c in audio.AUDIO_CONDITIONS}
    for condition, samples in read.items():
        whole = samples(-100, 5100)
        assert not whole[:100].any(), condition
        assert not whole[-100:].any(), condition
        np.testing.assert_array_equal(samples(1234, 4321), whole[1334:4421])
    np.testing.assert_array_equal(read["real"](0, 5000), videos[0].audio)
    assert not read["silent"](0, 5000).any()
    np.testing.assert_array_equal(read["shuffled"](0, 5000), videos[2].audio[:5000])
    assert np.std(read["noise"](0, 5000)) == pytest.approx(store.videos[0].audio_rms, rel=0.05)
    # The next video with audio, repeated; one without audio stays silent.
    np.testing.assert_array_equal(audio.reader(store, 2, "shuffled")(4900, 5100)[:100], videos[0].audio[4900:])
    np.testing.assert_array_equal(audio.reader(store, 2, "shuffled")(4900, 5100)[100:], videos[0].audio[:100])
    for condition in audio.AUDIO_CONDITIONS:
        assert not audio.reader(store, 3, condition)(0, 500).any()


def test_sound_is_only_shuffled_where_there_is_another():
    store = memory_store([source_video("a"), source_video("silent", num_samples=0)])
    with pytest.raises(InputError, match="no other video with audio for 'a'"):
        audio.reader(store, 0, "shuffled")
    assert audio.conditions_for(store) == ("real", "silent", "noise")
    assert audio.conditions_for(memory_store([source_video("a"), source_video("b")])) == audio.AUDIO_CONDITIONS
    with pytest.raises(InputError, match="unknown audio condition 'loud': choose one of real, silent"):
        audio.reader(store, 0, "loud")


def test_sound_borrowed_at_another_rate_keeps_its_pitch():
    videos = [source_video("a", sample_rate=22050), source_video("b", sample_rate=44100, seed=1)]
    borrowed = audio.reader(memory_store(videos), 0, "shuffled")(0, 3000)
    expected = waveforms.resample(waveforms.to_float(videos[1].audio), 44100, 22050)[:3000]
    np.testing.assert_allclose(waveforms.to_float(borrowed), expected, atol=2e-5)

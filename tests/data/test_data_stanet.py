"""STANet's clips: three frames around the target and its half second of audio."""

import dataclasses

import golden
import jax.numpy as jnp
import numpy as np
import pytest
from media_files import regular, write_video
from PIL import Image
from scipy.ndimage import gaussian_filter
from videos import grey_levels, memory_store, source_video

from avsd_jax.common.by_name import name_of
from avsd_jax.data import preprocessing, samplers
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.pipeline import eval_batches, train_batches
from avsd_jax.data.preprocessing.vinet import MEAN, STD
from avsd_jax.data.waveform import resample, to_float
from avsd_jax.media.reading import probe, read_audio
from avsd_jax.prediction.clip_stream import ClipStream

centred = samplers.create("centred")
stanet, stanet_cvpr, stanet_2021 = map(preprocessing.create, ("stanet", "stanet_cvpr", "stanet_2021"))

SPEC = ClipSpec(clip_size=3, frame_size=(32, 32), sampler=centred, preprocessing=stanet)
SPREAD = dataclasses.replace(SPEC, preprocessing=stanet_cvpr)


def _levels(video: np.ndarray) -> list[int]:
    return grey_levels(np.round((video[..., 0] * STD[0] + MEAN[0]) * 255).astype(np.uint8))


def test_frames_around_the_target_and_repeated_at_the_ends():
    store = memory_store([source_video(num_frames=23, size=(32, 32))])
    batch = next(iter(eval_batches(store, SPEC, batch_size=23)))
    np.testing.assert_array_equal(batch["frame_index"], range(23))
    assert [_levels(batch["video"][i]) for i in (0, 1, 22)] == [[0, 0, 1], [0, 1, 2], [21, 22, 22]]
    assert centred.eval_window(9, 20, 1, 1).frames == (9,)
    assert centred.eval_window(9, 20, 5, 3).frames == (3, 6, 9, 12, 15)


def test_training_redraws_targets_without_a_map():
    store = memory_store([source_video(num_frames=23, empty_maps=[i for i in range(23) if i not in (4, 20)])])
    batches = train_batches(store, SPEC, batch_size=4, seed=0, num_epochs=40)
    assert {int(i) for batch in batches for i in batch["frame_index"]} == {4, 20}


def test_windows_of_sound_are_the_official_ones(shared):
    """A 10 s video of 250 frames: the spans move by whole samples of the recorded step."""
    for seed in (0, 1):
        recorded = golden.load(shared, "stanet/stft", seed)
        step, frames = int(recorded["step"]), int(recorded["T"])
        for frame in (0, 1, 124, 249):
            for rules in (stanet_cvpr, stanet_2021):
                span = rules.excerpt_span(frame - 1, frame + 1, frames, 25.0, 16000, 160000)
                assert span == (frame * step, frame * step + 8000)


@pytest.mark.parametrize("rate", [16000, 22050])
def test_the_sound_is_resampled_and_not_scaled(rate):
    store = memory_store([source_video(num_frames=23, fps=12.5, size=(32, 32), sample_rate=rate)])
    batch = next(iter(eval_batches(store, SPREAD, batch_size=23)))
    whole = resample(to_float(store.audio(0, 0, store.videos[0].num_samples)), rate, 16000)
    assert len(whole) == round(23 / 12.5 * 16000)
    step = (len(whole) - 8000) // 22
    for i in (0, 11, 22):
        np.testing.assert_allclose(batch["audio"][i], whole[i * step :][:8000], atol=1e-6)
    around = next(iter(eval_batches(store, SPEC, batch_size=23)))["audio"]
    silence = np.zeros(4000, np.float32)
    padded = np.concatenate([silence, whole, silence])
    for i in (1, 11, 22):
        # At the start and end of the audio the resampler's filter rings beyond it.
        inside = slice(200, -200) if i == 11 else slice(4000, None) if i == 1 else slice(None, 4000)
        start = round(i / 12.5 * 16000)
        np.testing.assert_allclose(around[i][inside], padded[start : start + 8000][inside], atol=1e-6)


def test_a_short_video_is_heard_with_silence_after_it():
    store = memory_store([source_video(num_frames=3, fps=12.5, sample_rate=16000)])
    batch = next(iter(eval_batches(store, SPREAD, batch_size=3)))
    assert batch["audio"].shape == (3, 8000)
    for row in batch["audio"]:
        np.testing.assert_array_equal(row, batch["audio"][0])
        assert row[:3840].any()
        assert not row[3840:].any()
    np.testing.assert_array_equal(stanet.window_audio(np.ones(3), 5, reverse=True), [0, 0, 1, 1, 1])


@pytest.mark.parametrize("rules", [stanet, stanet_cvpr], ids=name_of)
def test_a_files_clips_are_those_of_evaluation(tmp_path, rules):
    """At sixty frames a second the half second begins long before the first frame that is kept."""
    path = write_video(tmp_path / "video.mp4", regular(80, 60), size=(32, 48))
    info = probe(path)
    spec = dataclasses.replace(SPEC, preprocessing=rules)
    sound = np.pad(read_audio(path, 16000)[0], 16000)
    clips = list(ClipStream(info, spec))
    assert [clip.index for clip in clips] == list(range(80))
    for clip in clips:
        assert clip.inputs["video"].shape == (3, 32, 32, 3)
        start, stop = rules.excerpt_span(clip.index, clip.index, 80, info.fps, 16000, round(80 / info.fps * 16000))
        np.testing.assert_array_equal(clip.inputs["audio"], sound[16000 + start : 16000 + stop])


def test_maps_are_resized_by_pil():
    density = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
    ours = stanet.resize_density(density, (20, 25))
    theirs = np.asarray(Image.fromarray(density).resize((25, 20), Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(ours, theirs, atol=1 / 255)
    np.testing.assert_array_equal(stanet.resize_density(np.ones((2, 2)), (2, 2)), np.ones((2, 2)))
    assert jnp.isfinite(stanet.resize_density(np.zeros((2, 2), np.uint8), (3, 3))).all()


def test_maps_are_written_as_the_released_scripts_do():
    prediction = np.random.default_rng(0).random((40, 50)).astype(np.float32) * np.float32(0.5)
    blurred = gaussian_filter(np.floor(prediction.astype(np.float64) * 255) / 255, 7)
    expected = (blurred / blurred.max() * 255).astype(np.uint8)
    np.testing.assert_array_equal(stanet_cvpr.to_image(stanet_cvpr.smooth(prediction, (40, 50))), expected)
    assert stanet_cvpr.smooth(prediction, (60, 80)).shape == (60, 80)
    stretched = stanet_2021.to_image(stanet_2021.smooth(prediction, (40, 50)))
    np.testing.assert_array_equal(stretched, np.rint(255 * prediction / (prediction.max() + 1e-8)))
    for rules in (stanet, stanet_cvpr, stanet_2021):
        black = rules.to_image(rules.smooth(np.zeros((40, 50), np.float32), (20, 30)))
        assert (black.shape, black.dtype) == ((20, 30), np.uint8)
    frame = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    lanczos = np.asarray(Image.fromarray(frame).resize((30, 20), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(stanet_cvpr.resize_frame(frame, (20, 30)), lanczos)

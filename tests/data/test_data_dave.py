"""DAVE's clips, pictures and images against the official loader's numbers, and of files against stored videos."""

import dataclasses
from pathlib import Path

import golden
import numpy as np
import pytest
from media_files import regular, write_video
from PIL import Image
from videos import memory_store, source_video

from avsd_jax.config.base import base
from avsd_jax.data import preprocessing, samplers
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.pipeline import eval_batches, train_batches
from avsd_jax.data.waveform import resample, to_float
from avsd_jax.errors import InputError
from avsd_jax.media.reading import probe, read_audio
from avsd_jax.nn.vggish import PATCH
from avsd_jax.prediction.clip_stream import ClipStream
from avsd_jax.runs.components import Inference

RULES = {
    timing: preprocessing.create("dave", timing=timing) for timing in ("intended", "official_first", "synchronous")
}
FROZEN = samplers.create("dave", ends="frozen")
SPEC = ClipSpec(16, (32, 32), sampler=samplers.create("dave"), preprocessing=RULES["intended"])


def test_clips_are_those_of_the_official_loader(shared):
    """Frames count from 1 and pieces of audio from 0; the loader is asked for frame 0, too, which does not exist."""
    cases, _ = golden.processing(shared, "dave/dave_frontend")
    for case in cases["packets"]:
        if case["frame_number"]:
            window = FROZEN.eval_window(case["frame_number"] - 1, 1000, 16, 1)
            heard = FROZEN.heard(window, case["n_examples"], 1)
            assert list(heard.audio_frames) == case["examples"], case
            assert heard.target == case["frame_number"] - 1
            ours = samplers.create("dave").heard(window, case["n_examples"], 1)
            assert ours == window
    for case in cases["clips"]:
        window = FROZEN.eval_window(case["frame_number"] - 1, 1000, 16, 1)
        heard = FROZEN.heard(window, case["valid_frame_number"], 1)
        assert [frame + 1 for frame in heard.frames] == case["frames"], case
    assert FROZEN.heard(window, 0, 1) == FROZEN.heard(window, None, 1) == window


def test_pieces_of_the_audio_are_those_of_the_official_loader(shared):
    cases, _ = golden.processing(shared, "dave/dave_frontend")
    for case in cases["cases"].values():
        for hop, expected in case.get("examples", {}).items():
            step = expected["mel_frames_per_example_hop"]
            fps = 1 / float(hop)
            timing = "official_first" if hop == "0.020000" else "intended"
            assert RULES[timing].pieces(fps, case["samples"]) == expected["examples"]
            assert RULES[timing].excerpt_span(5, 7, 0, fps, 16000, 0) == (800 * step, 1120 * step + PATCH)
    for frame in (0, 10, 299):
        assert RULES["synchronous"].excerpt_span(frame, frame, 0, 30.0, 16000, 0)[0] == round(frame / 30 * 16000)
    for samples in (PATCH - 1, PATCH, 48000):
        starts = [RULES["synchronous"].excerpt_span(i, i, 0, 29.97, 16000, 0)[1] for i in range(100)]
        assert RULES["synchronous"].pieces(29.97, samples) == sum(stop <= samples for stop in starts)


def test_frames_and_images_are_the_official_ones(shared):
    rules, (_, recorded) = RULES["intended"], golden.processing(shared, "dave/dave_frontend")
    levels = np.arange(1, 17)
    frames = np.stack([levels, 2 * levels, 255 - levels], -1).astype(np.uint8)[:, None, None]
    found = rules.normalise(frames)[:, 0, 0].T
    np.testing.assert_allclose(found, recorded["frames_1_to_16_of_constant_pngs_channel_values"], rtol=1e-6)
    for seed in (0, 1):
        prediction = golden.load(shared, "dave/dave", seed)["full_output"][0]
        same = rules.to_image(rules.smooth(prediction, prediction.shape))
        np.testing.assert_array_equal(same, recorded[f"post_uint8_32x40_seed{seed}"])
        image = rules.to_image(rules.smooth(prediction, (480, 640)))[::8, ::8]
        assert np.abs(image - recorded[f"post_640x480_every8_seed{seed}"].astype(int)).max() <= 1
    assert not rules.to_image(rules.smooth(np.zeros((4, 4), np.float32), (8, 8))).any()
    density = np.random.default_rng(0).integers(0, 256, (64, 80)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(density).resize((40, 32), Image.Resampling.BICUBIC)) / np.float32(255)
    np.testing.assert_allclose(rules.resize_density(density, (32, 40)), expected, atol=1e-6)
    np.testing.assert_allclose(rules.resize_density(density / 255, (32, 40)), expected, atol=1 / 255)


@pytest.mark.parametrize("ends", ["silence", "frozen"])
def test_clips_of_stored_videos(ends):
    """Of 24 frames of a second and a half, the last fifteen are not heard completely."""
    store = memory_store([source_video(num_frames=24, fps=16.0, sample_rate=16000)])
    spec = dataclasses.replace(SPEC, sampler=samplers.create("dave", ends=ends))
    batch = next(eval_batches(store, spec, batch_size=24))
    whole = np.pad(to_float(store.audio(0, 0, 24000)), (0, 24000))
    step, number = 160 * 6, 1 + (24000 - PATCH) // 960
    for target in (0, 7, 12, 13, 23):
        window = spec.sampler.eval_window(target, 24, 16, 1)
        if ends == "frozen" and target >= number:
            window = FROZEN.heard(window, number, 1)
            np.testing.assert_array_equal(batch["video"][target], batch["video"][number - 1])
        for row, piece in zip(batch["audio"][target], window.audio_frames, strict=True):
            np.testing.assert_array_equal(row, whole[step * piece :][:PATCH])
    assert batch["frame_index"].tolist() == list(range(24))
    trained = next(train_batches(store, spec, batch_size=2, seed=0, num_threads=0))
    assert trained["audio"].shape == (2, 16, PATCH)
    short = memory_store([source_video(num_frames=3, fps=16.0, sample_rate=22050)])
    rows = next(eval_batches(short, spec, batch_size=3))["audio"]
    quarter = resample(to_float(short.audio(0, 0, 4134)), 22050, 16000)
    np.testing.assert_allclose(rows[0, 0, :2900], quarter[:2900], atol=1e-6)
    assert not rows[:, :, 3200:].any()


@pytest.mark.parametrize(
    ("fps", "count", "timing"), [(40, 320, "intended"), (60, 120, "intended"), (30, 60, "synchronous")]
)
def test_clips_of_a_file_are_those_of_a_stored_video(tmp_path: Path, fps: int, count: int, timing: str):
    """At 40 frames a second the audio falls behind the frames by more and more, at 60 it runs ahead."""
    rules = RULES[timing]
    path = write_video(tmp_path / "video.mp4", regular(count, fps), size=(32, 48))
    sound = np.pad(read_audio(path, 16000)[0], (0, 3 * 16000))
    stream = ClipStream(probe(path), dataclasses.replace(SPEC, preprocessing=rules, sampler=FROZEN), stride=6)
    for clip in stream:
        window = FROZEN.eval_window(clip.index, count, 16, 1)
        for row, piece in zip(clip.inputs["audio"], window.audio_frames, strict=True):
            start, _ = rules.excerpt_span(piece, piece, count, float(fps), 16000, 0)
            np.testing.assert_array_equal(row, sound[start : start + PATCH])
    assert clip.index >= count - 6
    assert stream.notes == [
        "clips are silent after the end of the audio: the rule of evaluation needs the length of a video"
    ]


def test_a_file_without_sound_is_silent(tmp_path: Path):
    path = write_video(tmp_path / "mute.mp4", regular(3), size=(32, 48), sound=None)
    clips = list(ClipStream(probe(path), SPEC))
    assert len(clips) == 3
    assert all(clip.inputs["audio"].shape == (16, PATCH) and not clip.inputs["audio"].any() for clip in clips)


def test_what_does_not_exist_or_fit_is_refused():
    with pytest.raises(InputError, match="unknown ends 'loud'.*choose one of silence, frozen"):
        samplers.create("dave", ends="loud")
    with pytest.raises(InputError, match="unknown timing 'late'.*official_first, synchronous"):
        preprocessing.create("dave", timing="late")
    config = base("avinet")
    config.preprocessing = "dave"
    with pytest.raises(InputError, match="avinet hears that of a clip: choose another preprocessing"):
        Inference.from_config(config)

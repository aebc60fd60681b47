"""Batches: a pure function of (seed, step), for any number of processes and threads; evaluation covers every
frame."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from videos import grey_levels, memory_store, source_video

from avsd_jax.batch import ClassifierInputs
from avsd_jax.data import samplers, schema
from avsd_jax.data.catalog import open_store
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.pipeline import AUDIO_CONDITIONS, eval_batches, train_batches
from avsd_jax.data.preprocessing.vinet import MEAN, STD, Preprocessing
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError

vinet = Preprocessing()
CLOCK = ClassifierInputs(num_frames=2, frame_rate=8.0, frame_size=24, sample_rate=16000, audio_seconds=0.5)
SPEC = ClipSpec(clip_size=8, frame_size=(32, 64), avc=CLOCK)

Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def store(tiny_data_dir) -> VideoStore:
    return open_store("sounding_shapes/tiny", "train", tiny_data_dir)


def take(batches: Iterator[Batch], count: int | None = None) -> list[Batch]:
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_equal(left: list[Batch], right: list[Batch]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_a_batch_holds_what_the_models_take(store: VideoStore):
    (batch,) = take(train_batches(store, SPEC, batch_size=4, seed=0), 1)
    assert {key: (value.shape, value.dtype.name) for key, value in batch.items()} == {
        "video": ((4, 8, 32, 64, 3), "float32"),
        "audio": ((4, 17640), "float32"),
        "density": ((4, 32, 64), "float32"),
        "fixations": ((4, 32, 64), "float32"),
        "avc_frames": ((4, 2, 24, 24, 3), "float32"),
        "avc_audio": ((4, 8000), "float32"),
        "avc_label": ((4,), "int32"),
        "video_index": ((4,), "int32"),
        "frame_index": ((4,), "int32"),
        "mask": ((4,), "bool"),
    }
    for row in range(4):
        video, target = int(batch["video_index"][row]), int(batch["frame_index"][row])
        last = vinet.resize_frame(store.frames(video, [target])[0], (32, 64))
        np.testing.assert_array_equal(batch["video"][row, -1], vinet.normalise(last))
        np.testing.assert_array_equal(
            batch["density"][row], vinet.resize_density(store.density(video, target), (32, 64))
        )
        assert batch["avc_label"][row] == store.avc_label(video)[target]
        assert 0 < batch["density"][row].max() <= 1
    assert 5 < np.abs(batch["audio"]).max() < 256
    assert 0.02 < np.abs(batch["avc_audio"]).max() <= 1
    without = ClipSpec(clip_size=8, frame_size=(32, 64), audio=False)
    (silent,) = take(train_batches(store, without, batch_size=4, seed=0), 1)
    assert batch.keys() - silent.keys() == {"audio", "avc_frames", "avc_audio"}


def test_tags_tell_what_a_video_shows(store: VideoStore):
    words = ("star", "disc", "unicorn")
    spec = ClipSpec(clip_size=8, frame_size=(32, 64), audio=False, tags=words)
    (batch,) = take(train_batches(store, spec, batch_size=4, seed=0), 1)
    shown = [[word in store.videos[i].tags for word in words] for i in batch["video_index"]]
    np.testing.assert_array_equal(batch["tags"], np.array(shown, np.float32))
    assert 0 < batch["tags"].sum() < 8


def test_the_global_batch_depends_on_seed_and_step_alone(store: VideoStore):
    def run(seed: int = 3, **options: int) -> list[Batch]:
        return take(train_batches(store, SPEC, batch_size=4, seed=seed, **options), 6 - options.get("start_step", 0))

    one = run(num_threads=2)
    for count in (2, 4):
        parts = [run(process_index=i, process_count=count, num_threads=i) for i in range(count)]
        assert_equal(
            one,
            [{k: np.concatenate([b[k] for b in step]) for k in one[0]} for step in zip(*parts, strict=True)],
        )
    assert_equal(one[4:], run(start_step=4, num_threads=0))
    assert any((a["frame_index"] != b["frame_index"]).any() for a, b in zip(one, run(seed=4), strict=True))


def test_an_epoch_holds_every_video_as_often_as_asked(store: VideoStore):
    spec = ClipSpec(clip_size=8, frame_size=(32, 64), samples_per_video=3, audio=False)
    batches = take(train_batches(store, spec, batch_size=4, seed=0, num_epochs=2))
    videos = np.concatenate([batch["video_index"] for batch in batches]).reshape(2, 12)
    assert [np.bincount(epoch).tolist() for epoch in videos] == [[3] * 4, [3] * 4]
    assert (videos[0] != videos[1]).any()
    assert len(take(train_batches(store, spec, batch_size=5, seed=0, num_epochs=2))) == 4


def test_only_the_frames_of_a_clip_are_decoded(monkeypatch: pytest.MonkeyPatch):
    decoded = []
    monkeypatch.setattr(schema, "decode_jpeg", lambda data, real=schema.decode_jpeg: decoded.append(data) or real(data))
    take(
        train_batches(memory_store([source_video(num_frames=60)]), SPEC, batch_size=1, seed=0, num_threads=0),
        1,
    )
    # The classifier's second frame lies after the target; the first one is in the clip.
    assert len(decoded) in (8, 9)
    decoded.clear()
    seen = ClipSpec(clip_size=8, frame_size=(32, 64))
    take(eval_batches(memory_store([source_video(num_frames=60)]), seen, batch_size=8, num_threads=0))
    assert len(decoded) == 60


def test_targets_without_gaze_are_drawn_again():
    fresh = memory_store([source_video(num_frames=12, empty_maps=(7, 8, 10, 11))])
    spec = ClipSpec(clip_size=8, frame_size=(32, 32), audio=False)
    batches = take(train_batches(fresh, spec, batch_size=8, seed=0), 4)
    assert {int(i) for batch in batches for i in batch["frame_index"]} == {9}


@pytest.mark.parametrize("num_frames", [1, 5, 8, 23])
def test_evaluation_predicts_every_frame_of_any_video(num_frames: int):
    fresh = memory_store([source_video("a", num_frames=num_frames), source_video("b", num_frames=3, num_samples=0)])
    batches = take(eval_batches(fresh, SPEC, batch_size=4, stride=2))
    shown = [(int(b["video_index"][i]), int(b["frame_index"][i])) for b in batches for i in range(4) if b["mask"][i]]
    assert shown == [(0, i) for i in range(0, num_frames, 2)] + [(1, 0), (1, 2)]
    assert all(np.isfinite(value).all() for b in batches for value in b.values())
    assert sum(len(b["mask"]) for b in batches) == -(-len(shown) // 4) * 4


def test_first_frames_see_and_hear_what_follows_backwards():
    fresh = memory_store([source_video(num_frames=30, size=(32, 32))])
    spec = ClipSpec(clip_size=8, frame_size=(32, 32))
    (batch,) = take(eval_batches(fresh, spec, batch_size=30))
    levels = np.round((batch["video"][..., 0] * STD[0] + MEAN[0]) * 255).astype(np.uint8)
    assert grey_levels(levels[3]) == [10, 9, 8, 7, 6, 5, 4, 3]
    assert grey_levels(levels[7]) == [0, 1, 2, 3, 4, 5, 6, 7]
    # Frames 7 to 14 forwards, and the same ones backwards for target 7 of a clip that starts there.
    start, stop = vinet.excerpt_span(3, 10, 30, 12.5, 22050, fresh.videos[0].num_samples)
    excerpt = fresh.audio(0, start, stop).astype(np.float32) / 128
    np.testing.assert_array_equal(batch["audio"][3], vinet.window_audio(excerpt, 17640)[::-1])


def test_evaluation_is_divided_among_processes_and_filled_up(store: VideoStore):
    whole = take(eval_batches(store, SPEC, batch_size=6, stride=7))
    parts = [
        take(eval_batches(store, SPEC, batch_size=6, stride=7, process_index=i, process_count=2)) for i in range(2)
    ]
    assert_equal(
        whole,
        [{k: np.concatenate([b[k] for b in step]) for k in whole[0]} for step in zip(*parts, strict=True)],
    )
    assert [int(b["mask"].sum()) for b in whole] == [6, 6, 6, 6]
    assert [int(b["mask"].sum()) for b in take(eval_batches(store, SPEC, batch_size=5, stride=7))] == [
        5,
        5,
        5,
        5,
        4,
    ]


def test_audio_conditions_reach_model_and_classifier(store: VideoStore):
    first = {c: take(eval_batches(store, SPEC, batch_size=4, audio_condition=c), 1)[0] for c in AUDIO_CONDITIONS}
    for condition, batch in first.items():
        for key in ("audio", "avc_audio"):
            assert (batch[key] == first["real"][key]).all() == (condition == "real"), (condition, key)
            assert batch[key].any() == (condition != "silent"), (condition, key)
        for key in ("video", "avc_frames", "density"):
            np.testing.assert_array_equal(batch[key], first["real"][key])


def test_mistakes_are_said_before_any_clip_is_read(store: VideoStore):
    with pytest.raises(InputError, match="batch size 6 does not divide among 4 processes"):
        train_batches(store, SPEC, batch_size=6, seed=0, process_count=4)
    with pytest.raises(InputError, match="unknown sampler 'none': choose one of .*stavis, .*vinet"):
        samplers.create("none")
    with pytest.raises(InputError, match="unknown audio condition 'loud'"):
        eval_batches(store, SPEC, batch_size=6, audio_condition="loud")
    fast = memory_store([source_video("fast", num_frames=40, sample_rate=48000)])
    with pytest.raises(InputError, match=r"video 'fast' \(48000 Hz, 12.5 frames/s\).*22050 Hz or less"):
        train_batches(fast, SPEC, batch_size=1, seed=0)
    with pytest.raises(InputError, match="made up has no videos"):
        eval_batches(memory_store([]), SPEC, batch_size=1)


def test_damaged_pictures_are_named_while_iterating():
    video = source_video(num_frames=8)
    video.frames[3] = b"no picture"
    with pytest.raises(InputError, match="made up, video 'clip', frame 3: damaged JPEG data"):
        take(eval_batches(memory_store([video]), SPEC, batch_size=2))

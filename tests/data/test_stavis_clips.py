"""STAViS's choice and preparation of clips against the official loader's numbers, and what holds of every clip."""

import dataclasses
import itertools
import pathlib
import re
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
from avsd_jax.data import dataset_names, preprocessing, samplers, schema
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.pipeline import eval_batches, train_batches
from avsd_jax.data.preprocessing.stavis import Preprocessing
from avsd_jax.data.preprocessing.vinet import excerpt_bounds
from avsd_jax.data.samplers.stavis import TARGETS, Sampler
from avsd_jax.data.samplers.stavis import test_window as window_of_test
from avsd_jax.data.store import VideoStore
from avsd_jax.data.window import Window
from avsd_jax.errors import InputError
from avsd_jax.sources import fold_lists

SIZE = (112, 112)
sampler, stavis = Sampler(), Preprocessing()
SPEC = ClipSpec(16, SIZE, sampler=sampler, preprocessing=stavis)
# Name, frames, frames per second, samples per second, samples that are missing at the end.
VIDEOS = [("A", 40, 25.0, 22050, 0), ("B", 23, 29.9997, 16000, 300), ("C", 18, 25.0, 22050, 0)]
SMALL = ClipSpec(16, (32, 48), sampler=sampler, preprocessing=stavis, flip=True)

# ----------------------------------------------------------------------------------------------------------
# The official loader
# ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases(shared: pathlib.Path) -> dict[str, Any]:
    return golden.processing(shared, "stavis/pipeline")[0]


@pytest.fixture(scope="module")
def arrays(shared: pathlib.Path) -> dict[str, np.ndarray]:
    return golden.processing(shared, "stavis/pipeline")[1]


def lossless(frame: np.ndarray) -> bytes:
    """A colour image as the store reads it back, lossless (readers of JPEG files take other formats, too)."""
    return cv2.imencode(".png", frame[..., ::-1])[1].tobytes()


def recorded_video(draw: Callable, name: str, n: int, fps: float, rate: int, missing: int) -> schema.SourceVideo:
    samples = int(round(n / fps * rate)) - missing
    pcm = np.clip(np.round(6000 * draw(f"pcm:{name}", (1, samples), 0)), -32768, 32767).astype(np.int16)[0]
    frames, density, points = [], [], []
    for i in range(1, n + 1):
        frame = np.clip(128 + 40 * draw(f"frame:{name}:{i:05d}", (90, 160, 3), 0), 0, 255).astype(np.uint8)
        grey = np.clip(60 * np.abs(draw(f"gt:{name}:{i:05d}", (90, 160), 0)), 0, 255).astype(np.uint8)
        y, x = np.nonzero(draw(f"fix:{name}:{i:05d}", (90, 160), 0) > 3.0)
        frames.append(lossless(frame))
        density.append(schema.encode_png(grey))
        points.append(np.stack([np.full(len(x), i - 1), np.zeros(len(x)), x, y], axis=1))
    return schema.SourceVideo(
        video_id=name,
        fps=fps,
        num_frames=n,
        height=90,
        width=160,
        frames=frames,
        density=density,
        fixations=np.concatenate(points).astype(np.float32),
        num_viewers=1,
        avc_label=np.full(n, -1, np.int8),
        # The official loader silences the last video of a list.
        audio=pcm[:0] if name == "C" else pcm,
        sample_rate=rate,
    )


@pytest.fixture(scope="module")
def store(shared: pathlib.Path) -> VideoStore:
    draw = golden.rule(shared).array
    return memory_store([recorded_video(draw, *video) for video in VIDEOS])


def official_items() -> dict[str, tuple[int, Window]]:
    """Video and clip of every item of the official loader, by its name."""
    items, centre = {}, Sampler(targets="centre")
    for video, (_, n, *_) in enumerate(VIDEOS):
        (target,) = centre.eval_targets(n, 16, 1)
        items[f"val{video}"] = video, centre.eval_window(target, n, 16, 1)
        first = sum(length - 1 for _, length, *_ in VIDEOS[:video])
        items |= {f"test{first + start}": (video, window_of_test(start, n, 16)) for start in range(n - 1)}
    return items


ITEMS = official_items()


def recorded(cases: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {name: case for name, case in cases.items() if re.fullmatch(r"(val|test)\d+", name)}
    assert len(found) > 10
    return found


def nonzero_span(buffer: np.ndarray) -> np.ndarray:
    where = np.flatnonzero(buffer)
    return buffer[where[0] : where[-1] + 1] if len(where) else buffer[:0]


def test_windows_are_those_of_the_official_loader(cases) -> None:
    assert sum(name.startswith("val") for name in ITEMS) == cases["val_len"]
    assert sum(name.startswith("test") for name in ITEMS) == cases["test_len"]
    for name, case in recorded(cases).items():
        video, window = ITEMS[name]
        assert VIDEOS[video][0] == case["video"]
        assert [frame + 1 for frame in window.frames] == case["frame_indices"]
        assert window.target + 1 == case["gt_frame"]
        assert (window.audio_first, window.audio_last) == (window.frames[0], window.frames[-1])
        if case["pred_file_if_test"]:
            named = int(re.findall(r"\d+", case["pred_file_if_test"])[0]) - 1
            assert named == window.frames[0] + 8
            if named < VIDEOS[video][1]:
                assert sampler.eval_window(named, VIDEOS[video][1], 16, 1).frames == window.frames


@pytest.mark.parametrize("video", range(3))
def test_bounds_of_the_sound_are_those_of_the_official_loader(arrays, video: int) -> None:
    name, n, fps, rate, missing = VIDEOS[video]
    starts, ends = excerpt_bounds(n, fps, rate, int(round(n / fps * rate)) - missing)
    np.testing.assert_array_equal(starts, arrays[f"starts:{name}"])
    np.testing.assert_array_equal(ends, arrays[f"ends:{name}"])


@pytest.mark.parametrize("first_filter", ["bicubic", "nearest"])
def test_clips_are_those_of_the_official_loader(store, cases, arrays, first_filter: str) -> None:
    for name, case in recorded(cases).items():
        assert_recorded(store, case, arrays, name, first_filter)


def assert_recorded(
    store: VideoStore, case: dict[str, Any], arrays: dict[str, np.ndarray], name: str, first_filter: str
) -> None:
    video, window = ITEMS[name]
    index = store.videos[video]
    stavis = Preprocessing(first_filter)
    frames = np.stack([stavis.resize_frame(f, SIZE) for f in store.frames(video, window.frames)])
    clip = np.moveaxis(stavis.normalise(frames), -1, 0)
    np.testing.assert_array_equal(
        clip[:, [0, 8, 15], ::4, ::4], arrays[f"{name}:{first_filter}:clip[:,[0,8,15],::4,::4]"]
    )
    density = stavis.resize_density(store.density(video, window.target), SIZE)
    levels = arrays[f"{name}:{first_filter}:salmap[:,::2,::2]"][0]
    np.testing.assert_array_equal(density[::2, ::2], levels / np.float32(255))
    fixations = stavis.fixation_map(store.fixations(video, window.target), (90, 160), SIZE)
    np.testing.assert_array_equal(fixations, arrays[f"{name}:binmap"][0])
    assert fixations.sum() == case["binmap_sum"]
    span = stavis.excerpt_span(
        window.audio_first, window.audio_last, index.num_frames, index.fps, index.sample_rate, index.num_samples
    )
    assert span[1] - span[0] == case["audio_valid_len"]
    sound = stavis.window_audio(store.audio(video, *span).astype(np.float32) / 128, stavis.audio_samples(16))
    assert [1, 1, len(sound)] == case["audio_shape"]
    np.testing.assert_array_equal(nonzero_span(sound), arrays[f"{name}:audio_nonzero_span"])
    assert (np.flatnonzero(sound)[[0, -1]].tolist() if sound.any() else [None] * 2) == [
        case["first_nonzero"],
        case["last_nonzero"],
    ]
    assert np.abs(sound).sum(dtype=np.float64) == pytest.approx(case["audio_abs_sum"], rel=1e-9)


def test_the_pipeline_gives_the_official_validation_batch(store, arrays) -> None:
    spec = ClipSpec(
        16,
        SIZE,
        sampler=Sampler(targets="centre"),
        preprocessing=Preprocessing(first_filter="nearest"),
    )
    (batch,) = list(eval_batches(store, spec, batch_size=3))
    assert batch["frame_index"].tolist() == [ITEMS[f"val{i}"][1].target for i in range(3)]
    for i in range(3):
        clip = np.moveaxis(batch["video"][i], -1, 0)[:, [0, 8, 15], ::4, ::4]
        np.testing.assert_array_equal(clip, arrays[f"val{i}:nearest:clip[:,[0,8,15],::4,::4]"])
        levels = arrays[f"val{i}:nearest:salmap[:,::2,::2]"][0]
        np.testing.assert_array_equal(batch["density"][i, ::2, ::2], levels / np.float32(255))
        np.testing.assert_array_equal(batch["fixations"][i], arrays[f"val{i}:binmap"][0])
        np.testing.assert_array_equal(nonzero_span(batch["audio"][i]), arrays[f"val{i}:audio_nonzero_span"])


# ----------------------------------------------------------------------------------------------------------
# Every clip
# ----------------------------------------------------------------------------------------------------------


def assert_legal(window: Window, num_frames: int, clip_size: int) -> None:
    """Consecutive frames of the video, or all frames of a shorter range, repeated."""
    assert len(window.frames) == clip_size
    assert 0 <= min(window.frames) <= max(window.frames) < num_frames
    assert (window.audio_first, window.audio_last, window.reverse_audio) == (
        window.frames[0],
        window.frames[-1],
        False,
    )
    length = len(set(window.frames))
    assert window.frames == tuple(window.frames[0] + i % length for i in range(clip_size))


def assert_median_target(window: Window) -> None:
    middle = np.median([frame + 1 for frame in window.frames])
    assert window.target + 1 == np.round(middle)  # NumPy rounds halves to even, too


LENGTHS = st.integers(1, 400)
CLIP_SIZES = st.integers(1, 40)


@given(num_frames=st.integers(2, 400), clip_size=CLIP_SIZES, seed=st.integers(0, 2**32), data=st.data())
def test_training_clips_lie_in_their_window(num_frames: int, clip_size: int, seed: int, data: st.DataObject) -> None:
    item = data.draw(st.integers(0, sampler.train_items(num_frames, clip_size) - 1))

    def draw() -> Window:
        rng = np.random.default_rng(seed)
        return sampler.train_window(rng, item, num_frames, clip_size, 1, lambda frame: pytest.fail("not asked"))

    window = draw()
    assert window == draw()
    assert_legal(window, num_frames, clip_size)
    assert_median_target(window)
    start = item * (90 - clip_size)
    stop = min(num_frames, start + 90)
    assert start <= min(window.frames) <= max(window.frames) < stop
    # The official bounds leave out the last place where a clip would fit.
    assert window.frames[0] <= max(start, stop - clip_size - 1)
    if stop - start < clip_size:
        assert set(window.frames) == set(range(start, stop))


@given(num_frames=LENGTHS, clip_size=CLIP_SIZES, stride=st.integers(1, 9), targets=st.sampled_from(TARGETS))
def test_evaluation_reaches_every_target_once(num_frames: int, clip_size: int, stride: int, targets: str) -> None:
    sampler = Sampler(targets)
    frames = list(sampler.eval_targets(num_frames, clip_size, 1))
    assert frames == sorted(set(frames))
    assert list(sampler.eval_targets(num_frames, clip_size, stride)) == frames[::stride]
    for target in frames:
        window = sampler.eval_window(target, num_frames, clip_size, 1)
        assert window.target == target
        assert_legal(window, num_frames, clip_size)
        if targets == "ninth":
            assert window.frames[0] == target - clip_size // 2
        else:
            assert_median_target(window)


@given(num_frames=LENGTHS, target=st.integers(0, 399), targets=st.sampled_from(TARGETS))
def test_every_frame_of_every_video_can_be_predicted(num_frames: int, target: int, targets: str) -> None:
    sampler, target = Sampler(targets), min(target, num_frames - 1)
    window = sampler.eval_window(target, num_frames, 16, 1)
    assert window.target == target
    assert_legal(window, num_frames, 16)
    if target not in sampler.eval_targets(num_frames, 16, 1) or targets == "ninth":
        assert window.frames[0] == max(0, target - 8)
    # A stream of frames holds no others.
    assert all(abs(frame - target) < 16 for frame in window.frames)


@pytest.mark.parametrize(("split", "windows"), [("train_1", 4896), ("train_2", 4935), ("train_3", 4939)])
def test_the_published_lists_give_the_official_number_of_clips(shared: pathlib.Path, split: str, windows: int) -> None:
    lists = [fold_lists.read(shared, name) for name in dataset_names.SETS]
    lengths = [each.videos[video].num_frames for each in lists for video in each.splits[split]]
    assert sum(sampler.train_items(n, 16) for n in lengths) == windows


def test_training_has_a_clip_for_every_74_frames() -> None:
    assert [sampler.train_items(n, 16) for n in (1, 2, 75, 76, 90, 149, 150)] == [0, 1, 1, 2, 2, 2, 3]
    starts = {sampler.train_window(np.random.default_rng(i), 1, 500, 16, 1, bool).frames[0] for i in range(2000)}
    assert starts == set(range(74, 74 + 74))
    assert sampler.train_window(np.random.default_rng(0), 1, 77, 16, 1, bool).frames == (74, 75, 76) * 5 + (74,)


def test_what_the_rule_does_not_allow_is_said_before_any_clip_is_read() -> None:
    store = memory_store([source_video(num_frames=30)])
    for changes, message in [
        ({"frame_step": 2}, "takes consecutive frames: use frame_step=1, not 2"),
        ({"clip_size": 90}, "cuts clips from 90 frames: use a clip_size below that"),
    ]:
        spec = dataclasses.replace(SPEC, **changes)
        with pytest.raises(InputError, match=message):
            train_batches(store, spec, batch_size=1, seed=0)
    for create, name, options, message in [
        (samplers.create, "stavis", {"targets": "last"}, "unknown targets 'last'.*: choose one of ninth, median, cen"),
        (samplers.create, "stavis", {"target": "ninth"}, "sampler 'stavis' has no option 'target': choose among targ"),
        (samplers.create, "vinet", {"targets": "ninth"}, "sampler 'vinet' has no option 'targets'.*none"),
        (preprocessing.create, "stavis", {"filter": "x"}, "'stavis' has no option 'filter': .* first_filter"),
        (preprocessing.create, "stavis", {"first_filter": "box"}, "unknown first_filter 'box': .* bicubic, nearest"),
    ]:
        with pytest.raises(InputError, match=message):
            create(name, **options)
    with pytest.raises(InputError, match="no video from which sampler 'stavis' draws a clip"):
        train_batches(memory_store([source_video(num_frames=1)]), SPEC, batch_size=1, seed=0)


# ----------------------------------------------------------------------------------------------------------
# The stream
# ----------------------------------------------------------------------------------------------------------

Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def long_store() -> VideoStore:
    return memory_store(
        [slanted(source_video(name, num_frames=n, seed=n)) for name, n in (("a", 170), ("b", 40), ("c", 2))]
    )


def slanted(video: schema.SourceVideo) -> schema.SourceVideo:
    """The video with images and maps that are brighter on the left."""
    slope = np.linspace(1, 0.2, video.width)

    def shade(picture: np.ndarray) -> np.ndarray:
        return (picture * (slope[:, None] if picture.ndim == 3 else slope)).astype(np.uint8)

    frames = [lossless(shade(schema.decode_jpeg(frame))) for frame in video.frames]
    return dataclasses.replace(
        video, frames=frames, density=[schema.encode_png(shade(schema.decode_png(map_))) for map_ in video.density]
    )


def training(store: VideoStore, count: int, spec: ClipSpec = SMALL, **options: int) -> list[Batch]:
    batches = train_batches(store, spec, batch_size=4, **{"seed": 5, "num_threads": 0} | options)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def test_an_epoch_holds_every_window_and_can_be_resumed_at_any_step(long_store: VideoStore) -> None:
    # Three windows of the first video, and one of each other.
    whole = training(long_store, 10)
    videos = np.concatenate([batch["video_index"] for batch in whole]).reshape(8, 5)
    assert [np.bincount(epoch).tolist() for epoch in videos] == [[3, 1, 1]] * 8
    for step in range(10):
        (resumed,) = training(long_store, 1, start_step=step, num_threads=step % 3)
        for key, value in whole[step].items():
            np.testing.assert_array_equal(resumed[key], value, err_msg=key)
    other = training(long_store, 10, seed=6)
    assert any((a["frame_index"] != b["frame_index"]).any() for a, b in zip(whole, other, strict=True))


def test_half_of_the_training_clips_are_mirrored_with_their_maps(long_store: VideoStore) -> None:
    clock = ClassifierInputs(num_frames=1, frame_rate=None, frame_size=24, sample_rate=16000, audio_seconds=0.5)
    mirrored = dataclasses.replace(SMALL, avc=clock)
    plain = dataclasses.replace(mirrored, flip=False)
    flips = []
    for one, other in zip(training(long_store, 10, mirrored), training(long_store, 10, plain), strict=True):
        assert one.keys() == other.keys()
        for row in range(4):
            flipped = bool(one["density"][row, 0, 0] < one["density"][row, 0, -1])
            flips.append(flipped)
            for key in one:
                axis = {"video": 2, "avc_frames": 2, "density": 1, "fixations": 1}.get(key)
                expected = np.flip(other[key][row], axis) if flipped and axis is not None else other[key][row]
                np.testing.assert_array_equal(one[key][row], expected, err_msg=key)
    assert 10 < sum(flips) < 30
    shown = list(eval_batches(long_store, SMALL, batch_size=8, stride=40))
    assert all((batch["density"][..., 0] > batch["density"][..., -1]).all() for batch in shown), "training only"


def test_options_do_not_share_resized_frames() -> None:
    rng = np.random.default_rng(0)
    frames = [lossless(rng.integers(0, 256, (90, 160, 3)).astype(np.uint8)) for _ in range(17)]
    store = memory_store([dataclasses.replace(source_video(num_frames=17, size=(90, 160)), frames=frames)])

    def shown(options: dict[str, str]) -> np.ndarray:
        spec = dataclasses.replace(SMALL, preprocessing=Preprocessing(**options))
        return next(eval_batches(store, spec, batch_size=2, num_threads=0))["video"]

    bicubic = shown({"first_filter": "bicubic"})
    assert (shown({"first_filter": "nearest"}) != bicubic).any()
    np.testing.assert_array_equal(shown({}), bicubic)

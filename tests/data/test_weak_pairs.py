"""Weak supervision: labels by pairing, which differ in nothing but whose audio it is."""

import dataclasses

import numpy as np
import pytest
from videos import memory_store, source_video

from avsd_jax.batch import ClassifierInputs
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.pipeline import eval_batches, train_batches
from avsd_jax.data.store import VideoStore
from avsd_jax.data.weak_pairs import Pairs, sources
from avsd_jax.errors import InputError

CLOCK = ClassifierInputs(num_frames=1, frame_rate=None, frame_size=8, sample_rate=8000, audio_seconds=0.5)
SPEC = ClipSpec(1, (8, 8), avc=CLOCK, audio=False, samples_per_video=4)
WEAK = dataclasses.replace(SPEC, avc_supervision="weak")


def store(name: str = "etmd train_1", **changes: object) -> VideoStore:
    """Films of different lengths and rates: two of one source, one that is silent, one whose end is silent."""
    videos = [
        source_video("CHI_1", num_frames=40, seed=1, sample_rate=8000),
        source_video("CHI_2", num_frames=40, seed=2, sample_rate=8000),
        source_video("GLA_1", num_frames=30, seed=3, sample_rate=16000),
        source_video("LOR_1", num_frames=40, seed=4, fps=25.0, sample_rate=8000),
        source_video("FNE_1", num_frames=40, seed=5, sample_rate=8000),
        source_video("CRA_1", num_frames=40, seed=6, sample_rate=8000),
    ]
    silence = np.zeros_like(videos[4].audio)
    half = np.where(np.arange(len(silence)) < len(silence) // 2, videos[5].audio, 0).astype(np.int16)
    videos[4:] = [dataclasses.replace(videos[4], audio=silence), dataclasses.replace(videos[5], audio=half)]
    made = memory_store(videos)
    return VideoStore(name, made.records, made.videos, 8)


def drawn(videos: VideoStore, epochs: int = 40, **options: int) -> dict[str, np.ndarray]:
    batches = train_batches(videos, WEAK, batch_size=24, seed=3, num_threads=0, num_epochs=epochs, **options)
    rows = list(batches)
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}


def real_audio(videos: VideoStore) -> dict[tuple[int, int], np.ndarray]:
    (batch,) = eval_batches(videos, WEAK, batch_size=sum(v.num_frames for v in videos.videos), num_threads=0)
    assert set(batch["avc_label"]) == {-1, 0, 1}, "labels of frames"
    return {(v, f): x for v, f, x in zip(batch["video_index"], batch["frame_index"], batch["avc_audio"], strict=True)}


@pytest.mark.slow
def test_positives_have_their_audio_and_negatives_another_one_of_the_same_time() -> None:
    videos = store()
    clips, own = drawn(videos), real_audio(videos)
    pairs, found = Pairs(videos, CLOCK), {-1: 0, 0: 0, 1: 0}
    for video, frame, label, heard in zip(
        *(clips[key] for key in ("video_index", "frame_index", "avc_label", "avc_audio")), strict=True
    ):
        video, frame = int(video), int(frame)
        found[int(label)] += 1
        is_own = np.array_equal(heard, own[video, frame])
        assert is_own == (label != 0)
        allowed = set(np.flatnonzero(pairs.candidates(video, frame)))
        assert not allowed & {video, 4, *((0, 1) if video < 2 else ())}, "another source, with audio"
        if label == 0:  # the other's audio wherever the clip has audio of its own
            seconds = frame / videos.videos[video].fps
            audio = [pairs._excerpt(int(other), video, frame) for other in allowed]
            assert any(np.array_equal(heard, x) for x in audio)
            end = videos.videos[video].num_frames / videos.videos[video].fps
            beyond = round((end - seconds + 0.25 + 0.01) * 8000)
            assert beyond >= len(heard) or not np.abs(heard[beyond:]).any(), "it ends where the clip's own would"
        elif label < 0:
            tried = [heard] if video in (4, 5) else [pairs._excerpt(int(other), video, frame) for other in allowed]
            assert all(np.sqrt(np.mean(np.square(x))) < 1e-3 for x in tried)
    assert found[-1] > 0
    assert abs(found[0] - found[1]) < 4 * np.sqrt(found[0] + found[1])


def test_clips_depend_on_seed_and_number_alone() -> None:
    one = drawn(store(), 2)
    for start, index, count in ((1, 0, 1), (0, 1, 2)):
        part = drawn(store(), 2, start_step=start, process_index=index, process_count=count)
        rows = np.arange(len(one["mask"])).reshape(-1, 24)[start:, 24 // count * index :].ravel()
        for key, values in part.items():
            np.testing.assert_array_equal(values, one[key][rows])


def test_only_the_classifiers_audio_is_swapped() -> None:
    spec = dataclasses.replace(WEAK, audio=True, clip_size=4)
    plain = dataclasses.replace(spec, avc_supervision="labels")
    weak, labelled = (next(train_batches(store(), s, batch_size=24, seed=0, num_threads=0)) for s in (spec, plain))
    differ = {key for key in weak if not np.array_equal(weak[key], labelled[key])}
    assert differ == {"avc_audio", "avc_label"}


def test_sources_are_films_where_the_dataset_has_several_videos_of_one() -> None:
    assert sources(store())[:3] == ["etmd/CHI", "etmd/CHI", "etmd/GLA"]
    assert sources(store("sounding_shapes/tiny train"))[:2] == ["sounding_shapes/CHI_1", "sounding_shapes/CHI_2"]
    joined = VideoStore.join("both", {"etmd": store(), "avad": store()})
    assert sources(joined)[5:8] == ["etmd/CRA", "avad/CHI_1", "avad/CHI_2"]
    alone = memory_store([source_video("CHI_1", seed=1), source_video("CHI_2", seed=2)])
    with pytest.raises(InputError, match="no two videos with audio of different sources"):
        train_batches(VideoStore("etmd train_1", alone.records, alone.videos, 8), WEAK, batch_size=2, seed=0)

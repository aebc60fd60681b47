"""Records, index and store: what is written is read back, entirely or in parts."""

import dataclasses
import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from tensorflow_datasets.core import example_serializer
from videos import grey_levels, memory_store, source_video

from avsd_jax.common.byte_cache import ByteCache
from avsd_jax.data import schema
from avsd_jax.data.catalog import open_store
from avsd_jax.errors import InputError


def through_tfds(record: dict) -> dict:
    features = schema.features()
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    return features.deserialize_example_np(serializer.serialize_example(features.encode_example(record)))


@pytest.mark.parametrize("num_samples", [None, 0, 7, 60000], ids=["exact", "silent", "few", "long"])
def test_a_video_survives_encoding_and_reading_in_chunks(num_samples: int | None):
    video = source_video(num_frames=23, num_samples=num_samples)
    records = [through_tfds(record) for record in schema.encode(video, chunk_frames=8)]
    chunks = [schema.parse(record) for record in records]
    assert [chunk.first_frame for chunk in chunks] == [0, 8, 16]
    assert [image for chunk in chunks for image in chunk.frames] == video.frames
    assert [image for chunk in chunks for image in chunk.density] == video.density
    np.testing.assert_array_equal(np.concatenate([chunk.fixations for chunk in chunks]), video.fixations)
    np.testing.assert_array_equal(np.concatenate([chunk.audio for chunk in chunks]), video.audio)
    np.testing.assert_array_equal(np.concatenate([record["avc_label"] for record in records]), video.avc_label)
    assert [len(chunk.audio) for chunk in chunks][:2] == [
        min(max(0, len(video.audio) - first), 14112) for first in (0, 14112)
    ]
    constant = {key: records[-1][key] for key in ("num_frames", "num_samples", "sample_rate", "fps", "num_viewers")}
    assert constant == {
        "num_frames": 23,
        "num_samples": len(video.audio),
        "sample_rate": 22050,
        "fps": 12.5,
        "num_viewers": 3,
    }


def test_the_index_survives_json_and_knows_labels_and_sound():
    video = source_video()
    index = schema.VideoIndex.from_json(json.loads(json.dumps(schema.index_of(video, 8).to_json())))
    assert index == schema.index_of(video, 8)
    np.testing.assert_array_equal(index.avc_label, video.avc_label)
    assert index.audio_rms == pytest.approx(np.sqrt(np.mean(video.audio.astype(float) ** 2)))
    assert (index.map_height, index.map_width) == (32, 48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_frames": 0}, "no frame"),
        ({"fps": 0.0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"avc_label": np.zeros(5, np.int8)}, "5 labels for 23 frames"),
        ({"avc_label": np.full(23, 2, np.int8)}, "labels other than"),
        ({"fixations": np.array([[0, 0, np.nan, 1]], np.float32)}, "not finite"),
        ({"fixations": np.array([[0, 0, 48, 1]], np.float32)}, "outside the 32x48 map"),
        ({"fixations": np.array([[0, 3, 1, 1]], np.float32)}, "viewers outside 0 to 2"),
        ({"fixations": np.array([[23, 0, 1, 1]], np.float32)}, "outside frames 0 to 22"),
        ({"fixations": np.array([[2, 0, 1, 1], [1, 0, 1, 1]], np.float32)}, "do not ascend"),
        ({"frames": []}, "fewer frames"),
        ({"density": [b""] * 24}, "more than its 23 density maps"),
        ({"density": None}, "fixations or viewers, and no density maps"),
    ],
)
def test_a_video_that_contradicts_itself_is_refused(change: dict, message: str):
    with pytest.raises(InputError, match=message) as error:
        list(schema.encode(dataclasses.replace(source_video(), **change), 8))
    assert "'clip'" in str(error.value)


def test_jpeg_decodes_as_in_pillow_even_when_exif_asks_for_a_rotation():
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8), (5, 5), 0)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(buffer, "jpeg", quality=92, exif=exif)
    decoded = schema.decode_jpeg(buffer.getvalue())
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(buffer)))


def test_the_store_reads_any_part_of_the_sound_and_zeros_outside():
    store = memory_store([source_video("a", num_samples=30000), source_video("b", seed=1)])
    for video, source in enumerate((source_video(num_samples=30000), source_video(seed=1))):
        padded = np.pad(source.audio, 500)
        for start, stop in (
            (-500, -100),
            (-20, 40),
            (14000, 14200),
            (100, 30400),
            (29990, 30010),
            (5, 5),
            (9, 3),
        ):
            stop = min(stop, len(source.audio) + 500)
            np.testing.assert_array_equal(store.audio(video, start, stop), padded[start + 500 : max(start, stop) + 500])


def test_the_store_decodes_only_the_frames_asked_for(monkeypatch: pytest.MonkeyPatch):
    store = memory_store([source_video("a"), source_video("b")])
    decoded = []
    monkeypatch.setattr(schema, "decode_jpeg", lambda data, real=schema.decode_jpeg: decoded.append(data) or real(data))
    assert grey_levels(store.frames(1, [9, 7, 7, 22])) == [9, 7, 7, 22]
    assert len(decoded) == 3
    assert store.density(0, 21).max() == 22
    np.testing.assert_array_equal(store.fixations(0, 20), [[20, 0], [20, 1]])
    assert store.fixations(0, 21).shape == (0, 2)
    np.testing.assert_array_equal(store.avc_label(1), source_video().avc_label)


@pytest.mark.parametrize("index", [-1, 23])
def test_a_frame_that_does_not_exist_is_an_index_error(index: int):
    with pytest.raises(IndexError, match=f"'clip' has no frame {index}"):
        memory_store([source_video()]).frames(0, [index])


def test_a_damaged_picture_is_named():
    video = source_video()
    video.frames[9] = video.frames[9][:20]
    with pytest.raises(InputError, match="made up, video 'clip', frame 9: damaged JPEG data"):
        memory_store([video]).frames(0, [9])


def test_the_store_of_a_built_dataset_agrees_with_its_generator(tiny_data_dir):
    from datasets_tfds.sounding_shapes.generator import generate_video
    from datasets_tfds.sounding_shapes.sounding_shapes_dataset_builder import Builder

    (config,) = [c.generator for c in Builder.BUILDER_CONFIGS if c.name == "tiny"]
    stores = {s: open_store("sounding_shapes/tiny", s, tiny_data_dir) for s in ("train", "test")}
    assert [len(store.videos) for store in stores.values()] == [4, 3]
    assert not {v.id for v in stores["train"].videos} & {v.id for v in stores["test"].videos}
    truth, store = generate_video(config, "test", 2), stores["test"]
    assert store.videos[2].id == truth.video_id
    assert store.videos[2].tags == truth.tags
    np.testing.assert_array_equal(store.audio(2, 0, store.videos[2].num_samples), truth.waveform)
    np.testing.assert_array_equal(store.avc_label(2), truth.avc_label)
    for frame in (0, 17, 39):
        np.testing.assert_array_equal(store.density(2, frame), truth.density[frame])
        np.testing.assert_array_equal(store.fixations(2, frame), truth.fixations[truth.fixations[:, 0] == frame, 2:])
        assert np.abs(store.frames(2, [frame])[0].astype(int) - truth.frames[frame]).mean() < 6


def test_the_cache_forgets_the_least_recently_used():
    cache, made = ByteCache(capacity=20), []

    def get(key: int) -> np.ndarray:
        return cache.get(key, lambda: made.append(key) or np.zeros(8, np.uint8))

    for key in (0, 1, 0, 2, 0, 1):
        get(key)
    assert made == [0, 1, 2, 1]
    assert cache.nbytes <= 20

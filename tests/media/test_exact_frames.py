"""Frames by number are those that the reader numbers so, in files of every kind that seeking gets wrong."""

import pathlib
import random

import numpy as np
import pytest
from media_files import joined, read_stamp, regular, set_matrix, variable, write_video

from avsd_jax.media.exact_frames import ExactFrames, index_frames
from avsd_jax.media.reading import frame_times, read_frames

COUNT = 70


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {"times": variable(COUNT)}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.ts", {"sound_delay": -0.0}),
        ("a.webm", {"codec": "libvpx", "sound": "libopus", "rate": 48_000}),
        ("joined.ts", {}),
    ],
)
def test_any_frame_in_any_order(name: str, options: dict, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    options = {"times": regular(COUNT), **options}
    path = write_video(tmp_path / name, **options)
    if name == "joined.ts":
        path = joined(tmp_path / "twice.ts", [path, path])
    index = index_frames(path)
    np.testing.assert_array_equal(index.times, frame_times(path))
    total = len(index.times)
    assert total == COUNT * (2 if name == "joined.ts" else 1)
    numbers = [total - 1, 0, 35, 34, 33, 36, 1, *random.Random(0).sample(range(total), 12)]
    frames = ExactFrames(path, index)
    for number in numbers:
        assert read_stamp(frames.picture(number)) == number % COUNT
    frames.close()
    with pytest.raises(IndexError):
        frames.picture(total)


def test_many_key_frames_are_sought_and_the_picture_is_the_readers(tmp_path: pathlib.Path, monkeypatch):
    """Stepping back over more than is held decodes from the key frame before, and pixels are those of `read_frames`."""
    path = write_video(tmp_path / "a.mp4", regular(300), size=(64, 80))
    set_matrix(path, 0, 1, -1, 0)
    index = index_frames(path)
    assert index.exact
    assert index.keys[250:].any(), "the encoder's longest group of pictures is 250"
    frames = ExactFrames(path, index)
    counted = []
    original = ExactFrames._counted
    monkeypatch.setattr(ExactFrames, "_counted", lambda self: counted.append(1) or original(self))
    monkeypatch.setattr("avsd_jax.media.exact_frames._HELD_BYTES", 4 * 64 * 80 * 2)
    wanted = {number: image for number, _, image in read_frames(path) if number in (0, 123, 251, 299)}
    for number in (299, 123, 251, 0, 299):
        np.testing.assert_array_equal(frames.picture(number), wanted[number])
    assert len(counted) <= 3, "of the first group of pictures only"
    assert frames.picture(0, longest=40).shape == (40, 32, 3)

"""Decoding is exact in frames, times and audio; writing keeps the audio and never leaves half a file."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media_files import clicks, read_stamp, regular, variable, write_video

from avsd_jax.errors import InputError
from avsd_jax.media.reading import AudioWindow, probe, read_audio, read_frames
from avsd_jax.media.writing import VideoWriter

AAC_FRAME = 1024

KINDS = {
    "cfr.mp4": (regular(70), {}),
    "ntsc.mp4": (regular(70, 30_000 / 1001), {"rate": 48_000, "layout": "mono"}),
    "vfr.mp4": (variable(70), {}),
    "mpeg4.avi": (regular(70, 25), {"codec": "mpeg4", "sound": "pcm_s16le", "rate": 22_050}),
    "mp3.mkv": (regular(70), {"sound": "libmp3lame", "layout": "mono"}),
    "vp8.webm": (regular(70, 24), {"codec": "libvpx", "sound": "libopus", "rate": 48_000}),
    "stream.ts": (regular(70), {}),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {name: write_video(folder / name, times, **how) for name, (times, how) in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_frames_come_in_order_with_their_times(files: dict[str, Path], name: str):
    times = KINDS[name][0]
    frames = list(read_frames(files[name]))
    assert [read_stamp(frame.image) for frame in frames] == list(range(len(times)))
    assert [frame.index for frame in frames] == list(range(len(times)))
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1.1e-3)  # webm counts milliseconds


@pytest.mark.parametrize("name", KINDS)
def test_sound_is_on_the_clock_of_the_frames(files: dict[str, Path], name: str):
    times = KINDS[name][0]
    sound, rate = read_audio(files[name], 22_050)
    assert rate == 22_050
    np.testing.assert_allclose(clicks(sound, rate), times[::30], atol=2e-3)
    assert np.abs(sound).max() <= 1.0
    assert np.abs(sound[: rate // 20]).max() == pytest.approx(0.8, abs=0.15)  # mean of two equal channels


@pytest.mark.parametrize("name", KINDS)
def test_probe(files: dict[str, Path], name: str):
    times, how = KINDS[name]
    info = probe(files[name])
    assert (info.width, info.height, info.pixel_aspect) == (128, 96, 1)
    assert info.fps == pytest.approx((len(times) - 1) / times[-1], rel=0.02)
    assert info.num_frames == pytest.approx(len(times), abs=2)
    assert info.audio.sample_rate == how.get("rate", 44_100)
    assert info.audio.channels == (1 if how.get("layout") == "mono" else 2)


@pytest.mark.parametrize("name", KINDS)
def test_a_written_video_keeps_frames_times_and_sound(files: dict[str, Path], tmp_path: Path, name: str):
    source, path = probe(files[name]), tmp_path / "copy.mp4"
    given = list(read_frames(files[name]))
    with VideoWriter(path, source, 128, 96) as writer:
        for frame in given:
            writer.write(frame.image, frame.time)
    assert [p.name for p in tmp_path.iterdir()] == ["copy.mp4"]
    copies = list(read_frames(path))
    assert [read_stamp(frame.image) for frame in copies] == list(range(len(given)))
    np.testing.assert_allclose([f.time for f in copies], [f.time for f in given], atol=1e-4)
    # Colours survive both conversions, up to the coarser grid of the colour planes.
    np.testing.assert_allclose(copies[0].image[80:].mean((0, 1)), given[0].image[80:].mean((0, 1)), atol=3)
    before, rate = read_audio(files[name])
    after, rate_after = read_audio(path)
    assert rate_after == rate
    assert abs(len(after) - len(before)) <= AAC_FRAME
    np.testing.assert_allclose(clicks(after, rate), clicks(before, rate), atol=2e-3)
    if source.audio.codec == "aac":
        shared = min(len(before), len(after)) - AAC_FRAME
        np.testing.assert_array_equal(after[:shared], before[:shared])


def test_sound_that_starts_late_stays_late(tmp_path: Path):
    path = write_video(tmp_path / "late.mp4", regular(60), sound_delay=0.5, sound_seconds=1.2)
    expected = [0.5, 1.5]
    sound, rate = read_audio(path, 16_000)
    np.testing.assert_allclose(clicks(sound, rate), expected, atol=2e-3)
    with VideoWriter(tmp_path / "copy.mp4", probe(path), 128, 96) as writer:
        for frame in read_frames(path):
            writer.write(frame.image, frame.time)
    np.testing.assert_allclose(clicks(*read_audio(tmp_path / "copy.mp4", 16_000)), expected, atol=2e-3)


def test_rotation_is_applied_as_opencv_does(tmp_path: Path):
    path = write_video(tmp_path / "turned.mp4", regular(2), sound=None, rotation=90)
    capture = cv2.VideoCapture(str(path))
    _, bgr = capture.read()
    capture.release()
    image = next(read_frames(path)).image
    info = probe(path)
    assert image.shape == bgr.shape == (128, 96, 3)
    assert (info.height, info.width) == (128, 96)
    np.testing.assert_allclose(image, bgr[..., ::-1], atol=4)


def test_odd_size_is_padded_to_even(tmp_path: Path):
    path = write_video(tmp_path / "odd.mp4", regular(3), size=(97, 131), pixels="yuv444p", sound=None)
    info = probe(path)
    assert (info.width, info.height, info.audio) == (131, 97, None)
    with VideoWriter(tmp_path / "even.mp4", info, 131, 97) as writer:
        for frame in read_frames(path):
            assert frame.image.shape == (97, 131, 3)
            writer.write(frame.image, frame.time)
    copies = list(read_frames(tmp_path / "even.mp4"))
    assert len(copies) == 3
    assert copies[0].image.shape == (98, 132, 3)


def test_sound_window_moves_over_the_waveform_in_little_memory(tmp_path: Path):
    path = write_video(tmp_path / "long.mp4", regular(300, 30))
    whole = read_audio(path, 22_050)[0]
    window = AudioWindow(path, 22_050, origin=0.0)
    held = []
    for centre in range(0, len(whole) + 4000, 735):
        start, stop = centre - 3000, centre + 3001
        expected = np.zeros(stop - start, np.float32)
        low, high = max(start, 0), min(stop, len(whole))
        expected[max(0, low - start) : max(0, high - start)] = whole[low:high]
        np.testing.assert_array_equal(window.excerpt(start, stop), expected)
        window.forget(start)
        held.append(window.held)
    assert max(held) < 6001 + 2 * 4096
    assert window.reach(10**9) == len(whole)
    with pytest.raises(ValueError, match="forgotten"):
        window.excerpt(0, 10)
    window.close()


def test_bad_files_are_named_with_the_mend(tmp_path: Path):
    corrupt = tmp_path / "corrupt.mp4"
    corrupt.write_bytes(bytes(range(256)) * 40)
    whole = write_video(tmp_path / "whole.mp4", regular(30)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as container:
        track = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    for name, reason in {
        "missing.mp4": "does not exist",
        ".": "is a folder",
        "corrupt.mp4": "cannot be read as a video",
        "cut.mp4": "cannot be read as a video",
        "empty.mp4": "cannot be read as a video",
        "sound.m4a": "has no video stream",
    }.items():
        with pytest.raises(InputError, match=f"{reason}.*: "):
            probe(tmp_path / name)
    sound, rate = read_audio(tmp_path / "sound.m4a")
    assert rate == 16_000
    assert len(sound) == pytest.approx(4096, abs=AAC_FRAME)
    with pytest.raises(InputError, match="no audio track"):
        read_audio(write_video(tmp_path / "silent.mp4", regular(2), sound=None))


def test_damage_in_the_middle_costs_only_what_it_touches(tmp_path: Path):
    path = write_video(tmp_path / "damaged.ts", regular(90))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    path.write_bytes(bytes(data))
    frames = list(read_frames(path))
    assert 60 <= len(frames) <= 90
    assert np.all(np.diff([frame.time for frame in frames]) > 0)
    assert len(read_audio(path, 16_000)[0]) > 40_000


def test_an_error_leaves_no_half_written_file(files: dict[str, Path], tmp_path: Path):
    def fail_half_way() -> None:
        with VideoWriter(tmp_path / "half.mp4", probe(files["cfr.mp4"]), 128, 96) as writer:
            for frame in read_frames(files["cfr.mp4"]):
                writer.write(frame.image, frame.time)
                if frame.index == 40:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"):
        VideoWriter(tmp_path / "missing" / "video.mp4", probe(files["cfr.mp4"]), 128, 96)

"""Decoding is exact in frames, times and sound; writing keeps the sound and never leaves half a file."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media_files import (
    clicks,
    joined,
    name_channels,
    read_stamp,
    regular,
    set_matrix,
    variable,
    waveform,
    write_video,
)

from avsd_jax.errors import InputError
from avsd_jax.media import SoundWindow, probe, read_audio, read_frames
from avsd_jax.media_sound import Blocks
from avsd_jax.media_survey import survey
from avsd_jax.media_writer import VideoWriter

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
    assert info.sound.sample_rate == how.get("rate", 44_100)
    assert info.sound.channels == (1 if how.get("layout") == "mono" else 2)


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
    if source.sound.codec == "aac":
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
    assert (info.width, info.height, info.sound) == (131, 97, None)
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
    window = SoundWindow(path, 22_050, origin=0.0)
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
    with pytest.raises(InputError, match="no sound track"):
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


# --------------------------------------------------------------------------------------------------
# Files that are not as they should be
# --------------------------------------------------------------------------------------------------


def seen_and_heard(path: Path) -> tuple[list[float], np.ndarray]:
    """Times of the frames with a red bar, and of the clicks."""
    bars = [frame.time for frame in read_frames(path) if frame.image[-8:, :, 0].mean() > 150]
    return bars, clicks(*read_audio(path, 22_050))


def overlay_of(path: Path, to: Path) -> Path:
    info = survey(path).info
    with VideoWriter(to, info, info.width, info.height) as writer:
        for frame in read_frames(path):
            writer.write(frame.image, frame.time)
    return to


ORIENTATIONS = {
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, -1, 1, 0): lambda image: np.rot90(image),
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (0, 1, 1, 0): lambda image: image.swapaxes(0, 1),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).swapaxes(0, 1),
}


def test_all_eight_orientations_are_applied(tmp_path: Path):
    path = write_video(tmp_path / "video.mp4", regular(2), sound=None)
    plain = path.read_bytes()
    stored = next(read_frames(path)).image
    for matrix, turn in ORIENTATIONS.items():
        path.write_bytes(plain)
        set_matrix(path, *matrix)
        info, image = probe(path), next(read_frames(path)).image
        np.testing.assert_array_equal(image, turn(stored), err_msg=str(matrix))
        assert (info.height, info.width) == image.shape[:2]


def test_joined_files_have_all_frames_and_all_sound_in_time(tmp_path: Path):
    first = write_video(tmp_path / "a.ts", regular(30), rate=48_000)
    larger = write_video(tmp_path / "b.ts", regular(30), rate=44_100, layout="mono", size=(128, 160))
    short = write_video(tmp_path / "c.ts", regular(30), rate=48_000, sound_seconds=0.6)
    for number, parts in enumerate([(first, first), (first, larger), (short, first), (first, first, larger)]):
        path = joined(tmp_path / f"joined{number}.ts", parts)
        frames = list(read_frames(path))
        assert len(frames) == 30 * len(parts)
        assert {frame.image.shape for frame in frames} == {(96, 128, 3)}
        found = survey(path)
        assert "its clock jumps" in found.remarks[0]
        assert found.info.fps == pytest.approx(30, rel=0.01)
        for each in (path, overlay_of(path, tmp_path / f"overlay{number}.mp4")):
            bars, heard = seen_and_heard(each)
            assert len(bars) == len(parts)
            np.testing.assert_allclose(heard, bars, atol=0.03, err_msg=f"{number} {each}")


@pytest.mark.parametrize("ending", ["mkv", "mp4", "flv"])
@pytest.mark.parametrize("moved", ["both", "video", "audio"])
def test_a_hole_of_hours_is_closed_and_named(tmp_path: Path, ending: str, moved: str):
    hours = 5 * 3600.0
    times = [t + hours * (t >= 1 and moved != "audio") for t in regular(60)]
    samples = np.tile(waveform([0, 1.0], 44_100, 2.0), (2, 1))
    path = write_video(
        tmp_path / f"hole.{ending}",
        times,
        samples=samples,
        late=lambda k: hours * (k >= 43 and moved != "video"),
        stated=30,
    )
    found = survey(path)
    assert len(found.remarks) == 1
    assert "its clock jumps once, first by +18000.0 s after 1." in found.remarks[0]
    bars, heard = seen_and_heard(path)
    np.testing.assert_allclose(bars, [0, 1], atol=2e-3)
    np.testing.assert_allclose(heard, [0, 1], atol=0.03)
    assert len(read_audio(path, 22_050)[0]) < 2.2 * 22_050


def test_a_pause_in_a_file_stays(tmp_path: Path):
    times = [t + 5 * (t >= 1) for t in regular(60)]
    samples = np.tile(waveform([0, 1.0], 44_100, 2.0), (2, 1))
    path = write_video(tmp_path / "pause.mkv", times, samples=samples, late=lambda k: 5 * (k >= 43), stated=30)
    found = survey(path)
    assert found.remarks == ()
    assert found.info.fps == pytest.approx(30, rel=1e-3)
    for each in (path, overlay_of(path, tmp_path / "overlay.mp4")):
        bars, heard = seen_and_heard(each)
        np.testing.assert_allclose(bars, [0, 6], atol=2e-3)
        np.testing.assert_allclose(heard, [0, 6], atol=0.02)


@pytest.mark.parametrize("step", [0.015, -0.012, 0.001, -0.001])
def test_drifting_stamps_are_followed_at_any_length(tmp_path: Path, step: float):
    blocks = 430  # ten seconds
    per = 8 if abs(step) > 0.01 else 1
    samples, expected = np.zeros((1, 1024 * blocks), np.float32), []
    for k in range(20, blocks, 40):
        samples[0, 1024 * k + 100 : 1024 * k + 400] = 0.8
        expected.append((1024 * k + 100) / 44_100 + step * (k // per))
    path = write_video(
        tmp_path / "drift.mkv",
        regular(300),
        sound="pcm_s16le",
        layout="mono",
        samples=samples,
        late=lambda k: step * (k // per),
    )
    np.testing.assert_allclose(clicks(*read_audio(path, 22_050)), expected, atol=0.018)
    np.testing.assert_allclose(clicks(*read_audio(overlay_of(path, tmp_path / "o.mp4"), 22_050)), expected, atol=0.02)


BLOCK = 0.02


@pytest.mark.parametrize(
    "wrong",
    [
        {10: 9 * BLOCK},
        {10: 7 * BLOCK},
        {k: 10 * BLOCK for k in range(10, 20)},
        {10: 0.0, 11: 0.1, 12: 0.05},
        {10: 10 * BLOCK + 1},
        {10: 10 * BLOCK + 0.05, 11: 11 * BLOCK + 0.05},
        {10: None, 11: None},
    ],
    ids=["repeated", "falls", "stuck", "three fall", "leaps", "two late", "missing"],
)
def test_a_few_wrong_stamps_move_no_sound(wrong: dict[int, float | None]):
    def frame(k: int) -> av.AudioFrame:
        out = av.AudioFrame.from_ndarray(np.zeros((1, 160), np.float32), format="fltp", layout="mono")
        time = wrong.get(k, k * BLOCK)
        out.sample_rate, out.time_base, out.pts = 8000, Fraction(1, 8000), None if time is None else round(time * 8000)
        return out

    blocks = list(Blocks([frame(k) for k in range(40)], 0.0))
    np.testing.assert_allclose([block.time for block in blocks], [k * BLOCK for k in range(40)])


def test_samples_that_are_not_finite_are_silent(tmp_path: Path):
    samples = np.tile(waveform([0, 1.0], 44_100, 2.0), (2, 1))
    samples[0, 30_000:30_040], samples[1, 30_030:30_050] = np.nan, -np.inf
    path = write_video(tmp_path / "nan.mkv", regular(60), sound="pcm_f32le", samples=samples)
    found = survey(path)
    assert found.remarks == ("50 samples of the sound are not finite: they are silent",)
    for each in (path, overlay_of(path, tmp_path / "overlay.mp4")):
        sound, rate = read_audio(each, 44_100)
        assert np.isfinite(sound).all()
        np.testing.assert_allclose(clicks(sound, rate), [0, 1], atol=2e-3)
        assert np.abs(sound[29_900:30_150]).max() < 1e-3


def test_channels_in_an_order_of_the_files_own_are_read(tmp_path: Path):
    """In a process of its own: PyAV would end it."""
    sound = np.tile(waveform([0, 1.0], 48_000, 2.0), (8, 1))
    how = {"rate": 48_000, "sound": "pcm_s16le"}
    unused = write_video(tmp_path / "unused.mov", regular(60), layout="4.0", samples=sound[:4], **how)
    name_channels(unused, [0, 0, 0, 0])
    swapped = write_video(tmp_path / "swapped.mov", regular(60), samples=sound[:2], **how)
    name_channels(swapped, [2, 1])
    # Not in order, but of more planes than PyAV looks after.
    many = write_video(tmp_path / "many.mkv", regular(60), layout="7.1", samples=sound, rate=48_000, sound="flac")
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_media import clicks, overlay_of, probe, read_audio
for path, channels in ({str(unused)!r}, 4), ({str(swapped)!r}, 2), ({str(many)!r}, 8):
    assert probe(path).sound.channels == channels
    for each in path, overlay_of(Path(path), Path(path).with_suffix(".mp4")):
        assert abs(clicks(*read_audio(each, 22_050)) - [0, 1]).max() < 2e-3, each
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sound_track_without_packets_is_none(tmp_path: Path):
    path = write_video(tmp_path / "empty.mkv", regular(10), sound="pcm_s16le", samples=np.zeros((2, 0), np.float32))
    assert probe(path).sound is not None
    found = survey(path)
    assert found.info.sound is None
    assert found.remarks == ("the sound track is empty: there is no sound",)


def test_the_rate_is_that_of_the_frames(tmp_path: Path):
    uneven = np.cumsum([0, *np.random.default_rng(3).choice([0.05, 0.2, 0.7, 0.31], 29)])
    screen = write_video(tmp_path / "screen.mkv", uneven.round(3).tolist())
    assert survey(screen).info.fps == pytest.approx(29 / uneven[-1], rel=1e-3)
    webcam = write_video(tmp_path / "webcam.webm", regular(30, 25), codec="libvpx", sound=None, stated=1000)
    assert survey(webcam).info.fps == probe(webcam).fps == pytest.approx(25, rel=1e-3)
    assert survey(webcam).info.num_frames == 30

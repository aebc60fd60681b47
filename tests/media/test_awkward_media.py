"""Wrong stamps, jumping clocks, mirrored images, unusual channels, broken samples: all decoded correctly."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import clicks, joined, name_channels, regular, set_matrix, waveform, write_video
from slow import slow_except

from avsd_jax.media.audio import Blocks
from avsd_jax.media.reading import probe, read_audio, read_frames
from avsd_jax.media.survey import survey
from avsd_jax.media.writing import VideoWriter


def seen_and_heard(path: Path) -> tuple[list[float], np.ndarray]:
    """Times of the frames with a red bar, and of the clicks."""
    bars = [frame.time for frame in read_frames(path) if frame.image[-8:, :, 0].mean() > 150]
    return bars, clicks(*read_audio(path, 22_050))


def overlay_of(path: Path, to: Path) -> Path:
    """Writes the frames of a video with its audio; returns `to`."""
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


@pytest.mark.parametrize("step", slow_except([0.015, -0.012, 0.001, -0.001], [0.015]))
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
    assert found.remarks == ("50 samples of the audio are not finite: they are replaced by silence",)
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
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]!r}
from pathlib import Path
from test_awkward_media import clicks, overlay_of, probe, read_audio
for path, channels in ({str(unused)!r}, 4), ({str(swapped)!r}, 2), ({str(many)!r}, 8):
    assert probe(path).audio.channels == channels
    for each in path, overlay_of(Path(path), Path(path).with_suffix(".mp4")):
        assert abs(clicks(*read_audio(each, 22_050)) - [0, 1]).max() < 2e-3, each
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sound_track_without_packets_is_none(tmp_path: Path):
    path = write_video(tmp_path / "empty.mkv", regular(10), sound="pcm_s16le", samples=np.zeros((2, 0), np.float32))
    assert probe(path).audio is not None
    found = survey(path)
    assert found.info.audio is None
    assert found.remarks == ("the audio track is empty: there is no audio",)


def test_the_rate_is_that_of_the_frames(tmp_path: Path):
    uneven = np.cumsum([0, *np.random.default_rng(3).choice([0.05, 0.2, 0.7, 0.31], 29)])
    screen = write_video(tmp_path / "screen.mkv", uneven.round(3).tolist())
    assert survey(screen).info.fps == pytest.approx(29 / uneven[-1], rel=1e-3)
    webcam = write_video(tmp_path / "webcam.webm", regular(30, 25), codec="libvpx", sound=None, stated=1000)
    assert survey(webcam).info.fps == probe(webcam).fps == pytest.approx(25, rel=1e-3)
    assert survey(webcam).info.num_frames == 30

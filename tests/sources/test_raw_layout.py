"""The owners' archives as a layout: from files in their true form to one video of the schema."""

import itertools
import pathlib
import shutil

import numpy as np
import pytest
from absl import logging
from media_files import clicks, read_stamp, regular, stamp, write_video
from raw_files import (
    clip,
    fixating,
    viewer_file,
    write_clip,
    write_coutrot,
    write_diem,
    write_ntua,
    write_ntua_video,
    write_wav,
)

from avsd_jax.data import schema
from avsd_jax.data.waveform import to_float
from avsd_jax.errors import InputError
from avsd_jax.sources import layouts
from avsd_jax.sources.base import MissingFile
from avsd_jax.sources.build_options import BuildOptions
from avsd_jax.sources.fold_lists import ListedVideo
from avsd_jax.sources.layouts import raw

VIDEO = "news_720x576"


def reader(root: pathlib.Path, dataset: str, **options: object) -> raw.Reader:
    name, found = layouts.find(root, dataset, BuildOptions(**options))
    assert name == "raw"
    return found


def numbers(video: schema.SourceVideo) -> list[int]:
    """The numbers that the frames carry."""
    return [read_stamp(schema.decode_jpeg(frame)) for frame in video.frames]


def peak(png: bytes) -> list[float]:
    """(x, y) of the middle of a map's maxima."""
    return np.argwhere(schema.decode_png(png) == 255).mean(0)[::-1].tolist()


def gaze_at(*places: tuple[float, float], frames: int = 10) -> np.ndarray:
    """MATLAB's [2, n, v] of viewers who rest on places."""
    return np.tile(np.array(places).T[:, None], (1, frames, 1))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    return lines


def test_diem_becomes_a_video_of_the_schema(tmp_path, logged):
    write_diem(tmp_path, VIDEO)
    source = reader(tmp_path, "diem")
    assert source.videos() == (VIDEO,)
    video = source.read(VIDEO, ListedVideo(VIDEO, 12, 29.9997))
    assert logged == []
    list(schema.encode(video))  # consistent, and as many images as it says
    video = source.read(VIDEO, ListedVideo(VIDEO, 12, 29.9997))
    assert (video.num_frames, video.fps, video.height, video.width) == (12, 29.9997, 576, 720)
    assert numbers(video) == list(range(12))
    assert set(video.avc_label.tolist()) == {-1}
    # (640, 480) and (660, 470) on the screen of 1280x960.
    np.testing.assert_array_equal(video.fixations[:3], [(0, 0, 360, 288), (0, 1, 380, 278), (1, 0, 360, 288)])
    assert (video.num_viewers, len(video.fixations)) == (2, 24)
    maps = [schema.decode_png(png) for png in video.density]
    assert len(maps) == 12
    assert maps[0].shape == (576, 720)
    # Two Gaussians of a degree, 50 pixels, 22 apart: one hill, symmetric about its middle (370, 283).
    np.testing.assert_array_equal(maps[0][263:304, 350:391], maps[0][263:304, 350:391][::-1, ::-1])
    assert maps[0][283, 370] == 255


@pytest.mark.parametrize(
    ("sound", "rate", "length"),
    [
        ({"rate": 48_000, "channels": 2}, 22_050, 8820),
        ({"rate": 16_000, "channels": 1}, 16_000, 6400),
        ({"rate": 22_050, "channels": 2}, 22_050, 8820),
    ],
)
def test_sound_is_mono_at_a_rate_that_fits(tmp_path, sound, rate, length):
    folder = write_diem(tmp_path, VIDEO)
    write_wav(folder / f"audio/{VIDEO}.wav", 0.4, **sound)
    video = reader(tmp_path, "diem").read(VIDEO, None)
    assert (video.sample_rate, len(video.audio)) == (rate, length)
    np.testing.assert_allclose(clicks(to_float(video.audio), rate), [0], atol=2e-4)
    assert np.abs(to_float(video.audio)).max() == pytest.approx(0.8, abs=0.05)
    inspected = reader(tmp_path, "diem").inspect(VIDEO, None)
    assert (inspected.sample_rate, inspected.channels) == (sound["rate"], sound["channels"])
    write_wav(folder / f"audio/{VIDEO}.wav", 0.4, silent=True)
    assert not reader(tmp_path, "diem").read(VIDEO, None).audio.any()


def test_sound_of_the_video_file_where_there_is_no_other(tmp_path):
    folder = write_diem(tmp_path, VIDEO, sound="aac", rate=44_100)
    (folder / f"audio/{VIDEO}.wav").unlink()
    video = reader(tmp_path, "diem").read(VIDEO, None)
    assert video.sample_rate == 22_050
    np.testing.assert_allclose(clicks(to_float(video.audio), 22_050), [0], atol=2e-3)
    write_video(folder / f"video/{VIDEO}.mp4", regular(12), size=(576, 720), sound=None)
    with pytest.raises(MissingFile, match=rf"audio/{VIDEO}.wav is missing: put the video's audio there"):
        reader(tmp_path, "diem").read(VIDEO, None)


def test_frames_in_a_folder_are_passed_through(tmp_path):
    folder = write_diem(tmp_path, VIDEO)
    (folder / f"video/{VIDEO}.mp4").unlink()
    files = [schema.encode_jpeg(stamp(i, (576, 720)), quality=80) for i in range(12)]
    (folder / "frames").mkdir()
    for i, data in enumerate(files, 1):
        (folder / f"frames/img_{i:05d}.jpg").write_bytes(data)
    video = reader(tmp_path, "diem").read(VIDEO, None)
    assert (video.fps, list(video.frames)) == (30, files)
    (folder / "frames/img_00003.jpg").write_bytes(files[2][:-400])
    with pytest.raises(InputError, match=r"img_00003.jpg is truncated"):
        list(reader(tmp_path, "diem").read(VIDEO, None).frames)
    (folder / "frames/img_00002.jpg").unlink()
    with pytest.raises(MissingFile, match="lacks img_00002"):
        reader(tmp_path, "diem").read(VIDEO, None)


def test_options_reach_the_reader(tmp_path, logged):
    folder = write_diem(tmp_path, VIDEO)
    shutil.rmtree(folder / "event_data")
    viewer_file(folder / "event_data", VIDEO, "diem2s01", [(n, 630, 480, 1, 650, 480, 1) for n in range(1, 13)])

    def first_point(**options: object) -> list[float]:
        return reader(tmp_path, "diem", **options).read(VIDEO, None).fixations[0, 2:].tolist()

    assert first_point() == [360, 288]
    assert first_point(eye="left") == [350, 288]
    assert first_point(eye="right", offset_x=-5.0, offset_y=2.0) == [365, 290]
    assert logged == []
    assert first_point(placement="corner") == [640, 480]
    assert logged == [
        f"diem, {VIDEO}: the median of gaze (640, 480) is far from the middle of the 720x576 image: check placement "
        "and offset"
    ]


def test_coutrot_clips_are_found_under_both_names(tmp_path):
    gaze = gaze_at((360, 288), (NAN := float("nan"), NAN), (380, 288), (900, 288))
    conditions = {"OriginalSounds": {"clip_1": clip(gaze), "clip_2": clip(gaze)}}
    conditions["FacesSounds"] = {"clip_2": clip(gaze_at((0, 0)))}
    write_coutrot(tmp_path, 1, conditions)
    write_clip(tmp_path, 1, "clip_1")
    write_clip(tmp_path, 1, "clip2")
    (tmp_path / "Coutrot1/ERB3_Stimuli/clip_notes.avi").write_text("no clip")
    source = reader(tmp_path, "coutrot1")
    assert source.videos() == ("clip1", "clip2")
    video = source.read("clip1", ListedVideo("clip1", 10, 24.99975))
    list(schema.encode(video))
    video = source.read("clip1", ListedVideo("clip1", 10, 24.99975))
    # Gaze and maps are in the size of which the gaze file speaks, whatever the size of the video file.
    assert (video.height, video.width, video.map_height, video.map_width) == (96, 120, 576, 720)
    assert numbers(video) == list(range(10))
    np.testing.assert_array_equal(video.fixations[:3], [(0, 0, 360, 288), (0, 2, 380, 288), (1, 0, 360, 288)])
    assert video.num_viewers == 4
    assert peak(next(iter(video.density))) == [370, 288]
    assert video.sample_rate == 22_050
    np.testing.assert_allclose(clicks(to_float(video.audio), 22_050), [0], atol=0.03)  # MP2 begins with a delay
    inspected = source.inspect("clip1", ListedVideo("clip1", 10, 24.99975))
    assert (inspected.dropped_points, inspected.problems) == (10, ())
    assert inspected.counts == {"list": 10, "frames": 10, "gaze": 10}
    assert inspected.size == (120, 96)
    assert reader(tmp_path, "coutrot1", condition="pooled").read("clip2", None).num_viewers == 5


def test_summe_and_etmd_share_an_archive(tmp_path):
    videos = {"CHI_1_color": gaze_at((0.5, 0.5)), "Base_jumping": gaze_at((0.5, 0.5), (0.25, 0.75))}
    videos["Base_jumping"][:, 3:5] = np.nan
    write_ntua(tmp_path, videos)
    for name in videos:
        write_ntua_video(tmp_path, name)
    assert reader(tmp_path, "etmd").videos() == ("CHI_1_color",)
    source = reader(tmp_path, "summe")
    assert source.videos() == ("Base_jumping",)
    video = source.read("Base_jumping", ListedVideo("Base_jumping", 10, 25.0))
    list(schema.encode(video))
    np.testing.assert_array_equal(video.fixations[:2], [(0, 0, 31.5, 23.5), (0, 1, 15.5, 35.5)])
    video = source.read("Base_jumping", None)
    assert [schema.decode_png(png).any() for png in video.density] == [True] * 3 + [False] * 2 + [True] * 5
    assert (video.fps, video.sample_rate, len(video.audio)) == (25, 16_000, 6400)
    inspected = source.inspect("Base_jumping", ListedVideo("Base_jumping", 10, 25.0))
    assert inspected.empty_maps == (4, 5)
    shutil.move(tmp_path / "SumMe_ETMD", tmp_path / "SumMe")
    assert reader(tmp_path, "summe").videos() == ("Base_jumping",)
    with pytest.raises(InputError, match=r"looked for .*raw: SumMe_ETMD/video or ETMD/video or ETMD_av/video or"):
        layouts.find(tmp_path, "etmd", BuildOptions())


def test_avad_has_no_raw_form(tmp_path):
    (tmp_path / "AVAD").mkdir()
    with pytest.raises(InputError, match="raw: no such layout of this dataset is known"):
        layouts.find(tmp_path, "avad", BuildOptions())
    with pytest.raises(InputError, match="no raw layout of avad is known, because its owners distribute maps"):
        raw.Reader(tmp_path, "avad", BuildOptions()).videos()


@pytest.mark.parametrize(("listed", "used"), [(12, 12), (10, 10), (14, 12), (9, None), (15, None)])
def test_counts_may_differ_by_two(tmp_path, logged, listed, used):
    write_diem(tmp_path, VIDEO)
    source, line = reader(tmp_path, "diem"), ListedVideo(VIDEO, listed, 30.0)
    if used is None:
        message = rf"diem, {VIDEO}: the numbers of frames differ by more than 2 \(list {listed}, .*frames 12, gaze 12\)"
        with pytest.raises(InputError, match=message):
            source.read(VIDEO, line)
        inspected = source.inspect(VIDEO, line)
        assert inspected.num_frames == 0
        assert "differ by more than 2" in inspected.problems[0]
        return
    video = source.read(VIDEO, line)
    assert len(logged) == (listed != 12)
    assert (video.num_frames, video.fixations[-1, 0]) == (used, used - 1)
    assert len(list(schema.encode(video))) == 1
    assert source.inspect(VIDEO, line).num_frames == used


def test_damaged_video_files_are_named(tmp_path):
    folder = write_diem(tmp_path, VIDEO, frames=40)
    path, source = folder / f"video/{VIDEO}.mp4", reader(tmp_path, "diem")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])  # the index is at the end
    with pytest.raises(InputError, match=f"{VIDEO}.mp4 cannot be read as a video"):
        source.read(VIDEO, None)
    assert "cannot be read as a video" in source.inspect(VIDEO, None).problems[0]
    # The index is intact, half of the frames are not.
    first, last = content.index(b"mdat"), content.index(b"moov")
    quarter = (last - first) // 4
    path.write_bytes(content[: first + quarter] + bytes(2 * quarter) + content[first + 3 * quarter :])
    with pytest.raises(InputError, match=rf"{VIDEO}: the numbers of frames .*\(frames stated 40, frames \d+, gaze"):
        source.read(VIDEO, None)
    path.write_bytes(content)
    write_wav(folder / f"audio/{VIDEO}.wav", 40 / 30)
    wav = folder / f"audio/{VIDEO}.wav"
    wav.write_bytes(b"nothing")
    with pytest.raises(InputError, match=f"{VIDEO}.wav cannot be read"):
        source.read(VIDEO, None)
    assert f"{VIDEO}.wav cannot be read" in source.inspect(VIDEO, None).problems[0]


def test_missing_files_are_named(tmp_path):
    folder = write_diem(tmp_path, VIDEO)
    source = reader(tmp_path, "diem")
    with pytest.raises(MissingFile, match="other_1280x720 of diem has no video file below"):
        source.read("other_1280x720", None)
    shutil.rmtree(folder / "event_data")
    with pytest.raises(MissingFile, match=f"{VIDEO}/event_data has no file diem<session>"):
        source.read(VIDEO, None)
    write_clip(tmp_path, 1, "clip_1")
    write_clip(tmp_path, 1, "clip_2")
    source = reader(tmp_path, "coutrot1")
    with pytest.raises(MissingFile, match=r"Coutrot1/coutrot_database1.mat is missing"):
        source.read("clip1", None)
    mat = write_coutrot(tmp_path, 1, {"OriginalSounds": {"clip_1": clip(gaze_at((360, 288)))}})
    with pytest.raises(MissingFile, match=r"coutrot_database1.mat has no gaze on clip2 \(own condition\)"):
        source.read("clip2", None)
    assert "has no gaze on clip2" in source.inspect("clip2", None).problems[0]
    mat.write_bytes(mat.read_bytes()[:300])
    with pytest.raises(InputError, match="coutrot_database1.mat is .* .mat file"):
        source.read("clip1", None)
    write_ntua_video(tmp_path, "CHI_1_color")
    with pytest.raises(MissingFile, match=r"eyetracking/all_videos.mat is missing"):
        reader(tmp_path, "etmd").read("CHI_1_color", None)


def test_what_is_there_twice_or_leads_out_is_refused(tmp_path):
    write_clip(tmp_path, 1, "clip_1")
    shutil.copy(write_clip(tmp_path, 1, "clip1"), tmp_path / "Coutrot1")
    with pytest.raises(InputError, match="are the same video: keep one of them"):
        reader(tmp_path, "coutrot1").videos()
    (tmp_path / "Coutrot_db1").mkdir()
    with pytest.raises(InputError, match="Coutrot1 and .*Coutrot_db1 are the same dataset"):
        reader(tmp_path, "coutrot1").videos()
    folder = write_diem(tmp_path, VIDEO)
    shutil.copy(folder / f"video/{VIDEO}.mp4", folder / f"video/{VIDEO}.mov")
    with pytest.raises(InputError, match=f"{VIDEO}.mov and .*{VIDEO}.mp4|{VIDEO}.mp4 and .*{VIDEO}.mov"):
        reader(tmp_path, "diem").videos()
    (folder / f"video/{VIDEO}.mov").unlink()
    shutil.move(folder / "event_data", tmp_path / "elsewhere")
    (folder / "event_data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="event_data is a link, which is not followed"):
        reader(tmp_path, "diem").read(VIDEO, None)


def test_pictures_come_one_by_one(tmp_path, monkeypatch):
    write_diem(tmp_path, VIDEO, frames=30)
    made = []
    encode = schema.encode_jpeg
    monkeypatch.setattr(schema, "encode_jpeg", lambda image: made.append(1) or encode(image))
    video = reader(tmp_path, "diem").read(VIDEO, None)
    assert not made
    assert len(list(itertools.islice(video.frames, 3))) == len(made) == 3


def test_odd_videos_are_told_but_read(tmp_path, logged):
    # The name says 720x576, the file has another shape; the list says another rate.
    folder = write_diem(tmp_path, VIDEO)
    write_video(folder / f"video/{VIDEO}.mp4", regular(12), size=(96, 160), sound=None)
    viewer_file(folder / "event_data", VIDEO, "diem3s01", fixating(12, 640, 480))
    video = reader(tmp_path, "diem").read(VIDEO, ListedVideo(VIDEO, 12, 25.0))
    assert (video.fps, video.num_viewers, video.map_width) == (25, 3, 720)
    assert logged == [
        f"diem, {VIDEO}: the video file has 30 frames per second, the list says 25",
        f"diem, {VIDEO}: frames of 160x96 do not have the shape 720x576 that was shown",
    ]

"""Gaze as the datasets' owners distribute it, and the maps computed from it: numbers worked out by hand."""

import pathlib

import numpy as np
import pytest
import scipy.io
from raw_files import BLINK, ERROR, FIXATION, SACCADE, clip, fixating, viewer_file, write_coutrot, write_ntua
from scipy import ndimage

from avsd_jax.data import density
from avsd_jax.errors import InputError
from avsd_jax.sources.gaze import coutrot, diem, ntua, points

VIDEO = "clip_720x576"
PLANE = (576, 720)
NAN = np.nan


@pytest.fixture
def events(tmp_path: pathlib.Path) -> pathlib.Path:
    """Three viewers, two of one number, on a video of 720x576, which lies at (280, 192) of the screen."""
    folder = tmp_path / "event_data"
    first = [
        (1, 630, 470, FIXATION, 650, 490, FIXATION),
        (2, 281, 193, FIXATION, 300, 200, BLINK),
        (3, 0, 0, ERROR, 0, 0, ERROR),
        (4, 640, 480, SACCADE, 640, 480, FIXATION),
        (5, 200, 480, FIXATION, 240, 480, FIXATION),  # left of the image
    ]
    # Of the others some frames are not recorded; the last position is the outer corner of the first pixel.
    third = [(2, NAN, NAN, FIXATION, 500, 500, FIXATION), (5, 279.5, 191.5, FIXATION, 279.5, 191.5, FIXATION)]
    viewer_file(folder, VIDEO, "diem1s04", first)
    viewer_file(folder, VIDEO, "diem4s04", fixating(3, 999, 767))  # the last pixel
    viewer_file(folder, VIDEO, "diem4s04b", third)
    (folder / "notes.txt").write_text("not a viewer")
    return folder


LAST = [(frame, 1, 719, 575) for frame in range(3)]


@pytest.mark.parametrize(
    ("options", "rows", "missing", "flagged", "outside"),
    [
        ({}, [(0, 0, 360, 288), *LAST, (4, 2, -0.5, -0.5)], 6, 3, 1),
        ({"eye": "left"}, [(0, 0, 350, 278), LAST[0], (1, 0, 1, 1), *LAST[1:], (4, 2, -0.5, -0.5)], 6, 2, 1),
        (
            {"eye": "right"},
            [(0, 0, 370, 298), *LAST[:2], (1, 2, 220, 308), LAST[2], (3, 0, 360, 288), (4, 2, -0.5, -0.5)],
            5,
            2,
            1,
        ),
        ({"placement": "corner"}, [(0, 0, 640, 480), (4, 0, 220, 480), (4, 2, 279.5, 191.5)], 6, 3, 3),
        ({"offset": (10.0, -20.0)}, [(0, 0, 370, 268)], 6, 3, 5),
    ],
)
def test_diem_rows_become_pixels_of_the_video(events, options, rows, missing, flagged, outside):
    files = diem.viewer_files(events)
    gaze = diem.read(files, PLANE, **options)
    assert gaze.viewers == ("diem1s04", "diem4s04", "diem4s04b")
    assert gaze.num_frames == 5
    np.testing.assert_array_equal(gaze.rows, np.array(rows, np.float32))
    assert gaze.dropped == points.Dropped(missing, flagged, outside)


def test_gaze_on_the_wrong_place_of_the_screen_is_told_by_its_median(tmp_path):
    for width, height, misplaced in ((720, 576, True), (1280, 720, False)):
        folder = tmp_path / f"{width}"
        video = f"a_b_{width}x{height}"
        viewer_file(folder, video, "diem1s01", fixating(9, 640, 440))
        assert diem.native_size(video) == (height, width)
        files = diem.viewer_files(folder)
        assert diem.read(files, (height, width)).misplaced() is None
        said = diem.read(files, (height, width), placement="corner").misplaced()
        assert bool(said) == misplaced
        assert said is None or "(640, 440) is far from the middle of the 720x576 image" in said
    assert diem.native_size("clip7") is None


ROW = "1\t640\t480\t10\t1\t640\t480\t10\t1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (ROW + "2\t640\t480\n", "is not a table of numbers"),
        (ROW.replace("640", "left"), "is not a table of numbers"),
        ("1 2 3\n", "has 3 columns and not 9"),
        (ROW.replace("1\t640", "0\t640", 1), "frames that are not whole numbers in ascending order from 1"),
        (ROW + ROW, "frames that are not whole numbers in ascending order from 1"),
        (ROW.replace("1\t640", "1.5\t640", 1), "frames that are not whole numbers in ascending order from 1"),
        (ROW[:-2] + "3\n", "events other than -1, 0, 1 and 2"),
    ],
)
def test_a_wrong_viewer_file_is_named(tmp_path, text, message):
    path = viewer_file(tmp_path, VIDEO, "diem2s07", [])
    path.write_text(text)
    with pytest.raises(InputError, match=rf"diem2s07.asc_{VIDEO}.txt .*{message}"):
        diem.read(diem.viewer_files(tmp_path), PLANE)


def test_viewers_are_files_and_options_have_names(tmp_path, events):
    with pytest.raises(points.NoGaze, match="nothing has no file diem<session>s<subject>.asc_<video>.txt"):
        diem.viewer_files(tmp_path / "nothing")
    with pytest.raises(InputError, match="unknown eye 'third': choose one of both, left, right"):
        diem.read(diem.viewer_files(events), PLANE, eye="third")
    with pytest.raises(InputError, match="unknown placement 'left': choose one of centre, corner"):
        diem.read(diem.viewer_files(events), PLANE, placement="left")
    viewer_file(events, "other_720x576", "diem1s04", fixating(1, 640, 480))
    with pytest.raises(InputError, match="are of the same viewer"):
        diem.viewer_files(events)


def array(*viewers: list[tuple[float, float]], rows: int = 2) -> np.ndarray:
    """MATLAB's [rows, n, v] of (x, y) per viewer and frame; rows beyond the second hold 9."""
    data = np.full((rows, len(viewers[0]), len(viewers)), 9.0)
    data[:2] = np.array(viewers).transpose(2, 1, 0)
    return data


def test_coutrot_clips_have_the_conditions_that_show_them(tmp_path):
    own = {
        "clip_1": clip(array([(360, 288), (NAN, NAN), (720, 10)], [(0, 0), (1, NAN), (719.25, 575.25)], rows=3)),
        "clip_2": clip(array([(10, 20), (30, 40)])),
        "clip_3": clip(array([(10, 20), (30, 40)])[..., 0], (480, 640)),
        "clip_4": np.zeros((0, 0)),
    }
    faces = {"clip_1": clip(array([(5, 6), (7, 8)])), "clip_4": clip(array([(1, 2)]))}
    path = write_coutrot(tmp_path, 1, {"OriginalSounds": own, "FacesSounds": faces})
    gaze = coutrot.read(path, "coutrot1", "clip1", (1, 1))
    np.testing.assert_array_equal(gaze.rows, [(0, 0, 360, 288), (0, 1, 0, 0), (2, 1, 719.25, 575.25)])
    assert gaze.plane == PLANE
    assert gaze.viewers == ("OriginalSounds/1", "OriginalSounds/2")
    assert gaze.dropped == points.Dropped(missing=2, flagged=0, outside=1)
    pooled = coutrot.read(path, "coutrot1", "clip1", (1, 1), condition="pooled", offset=(0.0, -1.0))
    assert pooled.viewers == ("OriginalSounds/1", "OriginalSounds/2", "FacesSounds/1")
    np.testing.assert_array_equal(pooled.rows, [(0, 0, 360, 287), (0, 2, 5, 5), (1, 2, 7, 7), (2, 1, 719.25, 574.25)])
    # A frame that one condition lacks is missing for its viewers.
    assert pooled.dropped == points.Dropped(missing=3, flagged=0, outside=2)
    for name, plane in (("clip2", PLANE), ("clip3", (480, 640))):  # one viewer, with and without the third axis
        single = coutrot.read(path, "coutrot1", name, (1, 1))
        assert single.plane == plane
        np.testing.assert_array_equal(single.rows, [(0, 0, 10, 20), (1, 0, 30, 40)])
    with pytest.raises(points.NoGaze, match=r"has no gaze on clip4 \(own condition\)"):
        coutrot.read(path, "coutrot1", "clip4", PLANE)
    assert coutrot.read(path, "coutrot1", "clip4", PLANE, condition="pooled").viewers == ("FacesSounds/1",)
    with pytest.raises(InputError, match="unknown condition 'FacesSounds': choose one of own, pooled"):
        coutrot.read(path, "coutrot1", "clip1", PLANE, condition="FacesSounds")


def test_the_second_coutrot_set_has_its_own_names_and_may_lack_the_size(tmp_path):
    conditions = {
        "Visual": {"clip_1": clip(array([(1, 2)]), None)},
        "AudioVisual": {"clip_1": clip(array([(3, 4)]), None)},
    }
    path = write_coutrot(tmp_path, 2, conditions)
    gaze = coutrot.read(path, "coutrot2", "clip1", (50, 60))
    assert (gaze.plane, gaze.viewers) == ((50, 60), ("AudioVisual/1",))
    np.testing.assert_array_equal(gaze.rows, [(0, 0, 3, 4)])
    with pytest.raises(InputError, match="has Coutrot_Database2 and no Coutrot_Database1"):
        coutrot.read(path, "coutrot1", "clip1", PLANE)


def test_shares_of_the_picture_become_pixels(tmp_path):
    # A share of 0.5 is the middle of the image, 319.5; 0 and 1 are outer edges.
    first, second = [(0.5, 0.5), (0, 0.25), (1, 0.5), (NAN, NAN)], [(0.25, 0.75), (0, 0), (-0.1, 0.5), (0.5, NAN)]
    path = write_ntua(tmp_path, {"CHI_1_color": array(first, second, rows=3)})
    gaze = ntua.read(path, "CHI_1_color", (480, 640))
    np.testing.assert_array_equal(gaze.rows, [(0, 0, 319.5, 239.5), (0, 1, 159.5, 359.5), (1, 0, -0.5, 119.5)])
    assert (gaze.num_frames, gaze.viewers) == (4, ("1", "2"))
    assert gaze.dropped == points.Dropped(missing=3, flagged=0, outside=2)
    np.testing.assert_array_equal(gaze.first(1).rows, gaze.rows[:2])


def test_one_viewer_is_one_viewer_and_columns_are_frames(tmp_path):
    single = array([(0.5, 0.5)] * 2 + [(0.25, 0.5)])
    path = write_ntua(tmp_path, {"three": single, "two": single[..., 0]})
    for video in ("three", "two"):
        gaze = ntua.read(path, video, (9, 9))
        np.testing.assert_array_equal(gaze.rows, [(0, 0, 4, 4), (1, 0, 4, 4), (2, 0, 1.75, 4)])
    with pytest.raises(points.NoGaze, match="all_videos.mat has no gaze on four"):
        ntua.read(path, "four", (9, 9))


def test_damaged_matlab_files_are_named(tmp_path):
    path = write_ntua(tmp_path, {"a": array([(0.5, 0.5)] * 50), "b": np.zeros((1, 3, 2)), "c": "words"})
    ntua.read(path, "a", PLANE)
    for video in "bc":
        with pytest.raises(InputError, match=rf"eye_data_all.{video} is .* and not numbers \[2 or more, fra"):
            ntua.read(path, video, PLANE)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"MATLAB" * 30):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="all_videos.mat is (not a readable|a damaged) .mat file"):
            ntua.read(path, "a", PLANE)
    scipy.io.savemat(path, {"eye_data_all": np.zeros(3)})
    with pytest.raises(InputError, match=r"eye_data_all is f \[1, 3\] and not one struct"):
        ntua.read(path, "a", PLANE)
    scipy.io.savemat(path, {"other": 1.0})
    with pytest.raises(InputError, match="all_videos.mat has other and no eye_data_all"):
        ntua.read(path, "a", PLANE)


def test_maps_are_gaussians_of_equal_weight_cut_at_four_sigma():
    where = np.array([[10, 5], [10, 5], [30, 20], [48, 39]], np.float32)  # two viewers look at one pixel
    counts = np.zeros((40, 50))
    for x, y in where.astype(int):
        counts[y, x] += 1
    blurred = ndimage.gaussian_filter(counts, 3.0, truncate=density.TRUNCATE, mode="constant")
    made = density.density_map(where, (40, 50), 3.0)
    np.testing.assert_allclose(made, 255 * blurred / blurred.max(), atol=0.501)
    assert made[5, 10] == 255
    assert made[5, 10 + 13] == 0  # beyond 12 pixels
    between = density.density_map(np.array([[10.5, 7.0]], np.float32), (15, 22), 2.0)
    np.testing.assert_array_equal(between, between[:, ::-1])
    assert not density.density_map(np.zeros((0, 2), np.float32), (4, 5), 3.0).any()


def test_a_frame_without_gaze_has_an_empty_map_and_sigma_is_a_degree_where_it_is_known():
    rows = np.array([(0, 0, 3, 2), (2, 1, 1, 1)], np.float32)
    maps = list(density.density_maps(rows, 4, (5, 6), 1.0))
    assert [tuple(np.argwhere(m == 255)[0][::-1]) if m.any() else None for m in maps] == [(3, 2), None, (1, 1), None]
    widths = {"diem": 1280, "coutrot2": 720, "coutrot1": 720, "summe": 640, "etmd": 1000}
    sigmas = {name: density.sigma_of(name, width) for name, width in widths.items()}
    assert sigmas == pytest.approx({"diem": 50, "coutrot2": 26, "coutrot1": 21.6, "summe": 19.2, "etmd": 30})

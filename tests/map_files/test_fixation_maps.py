"""MATLAB files of fixations and gaze: what cannot be a recording is refused, and named."""

import io
import pathlib
import re
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from raw_files import fixating, viewer_file
from stavis_files import FRAMES, POINTS, SIZE, folder, write_video

from avsd_jax.errors import InputError
from avsd_jax.map_files import fixation_maps, mat_files
from avsd_jax.sources import layouts
from avsd_jax.sources.build_options import BuildOptions
from avsd_jax.sources.fold_lists import ListedVideo
from avsd_jax.sources.gaze import diem, points

PATH = pathlib.Path("fixMap_00001.mat")


def binary(*values: float) -> np.ndarray:
    """A map with the values at places of its own."""
    image = np.zeros(SIZE)
    image.flat[np.arange(len(values)) * 7] = values
    return image


def density(sigma: float) -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize(
    "values",
    [binary(1, 1, 1), binary(255, 255).astype(np.uint8), binary(1, 2, 1, 3), binary(1, 1) > 0, np.zeros(SIZE)],
)
def test_marked_pixels_are_points(values):
    found = fixation_maps.points(values, PATH)
    np.testing.assert_array_equal(found, np.argwhere(values)[:, ::-1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(SIZE), "marks 3072 of 3072 pixels as fixations, which is not plausible"),
        (np.full(SIZE, 255, np.uint8), "marks 3072 of 3072 pixels"),
        (density(3.0) > 0.001, r"marks \d+ of 3072 pixels"),
        (density(3.0), r"has \d+ levels from .* to 1 and not 0 and 1, like a density map"),
        (np.round(255 * density(1.0)).astype(np.uint8), r"has \d+ levels from \d+ to 255 and not 0 and 1"),
        (binary(1, np.nan), "has values that are negative or not finite"),
        (binary(1, -1), "has values that are negative or not finite"),
    ],
)
def test_what_is_no_map_of_fixations_is_refused(values, message):
    with pytest.raises(InputError, match=f"fixMap_00001.mat {message}.*: put the binary fixation map there"):
        fixation_maps.points(values, PATH)


@pytest.mark.parametrize(("dataset", "most"), [("etmd", 100), ("summe", 100), ("avad", 160), ("diem", 2000)])
def test_there_are_no_more_fixations_than_viewers_can_give(dataset, most):
    rows = np.zeros((most + 3, 4), np.float32)
    rows[:3, 0], rows[3:, 0] = 0, 1
    paths = (PATH, pathlib.Path("fixMap_00002.mat"))
    fixation_maps.check_counts(rows, dataset, paths)
    with pytest.raises(InputError, match=f"fixMap_00002.mat marks {most + 1} fixations, more than the {most} that"):
        fixation_maps.check_counts(np.concatenate([rows, rows[-1:]]), dataset, paths)


def test_a_density_in_the_place_of_a_binary_map_stops_the_reader(tmp_path):
    write_video(tmp_path, "avad", "V1_Speech1")
    path = folder(tmp_path, "avad", "V1_Speech1", "stavis", "fixations") / "fixMap_00005.mat"
    source = layouts.find(tmp_path, "avad", BuildOptions())[1]
    listed = ListedVideo("V1_Speech1", FRAMES, 25.0)
    x, y = zip(*POINTS, strict=True)
    sparse = scipy.sparse.csc_matrix((np.ones(len(x)), (y, x)), SIZE)  # MATLAB's `sparse(y, x, 1)`
    scipy.io.savemat(path, {"eyeMap": sparse})
    assert len(source.read("V1_Speech1", listed).fixations) == FRAMES * len(POINTS)
    scipy.io.savemat(path, {"eyeMap": density(3.0)})
    with pytest.raises(InputError, match=r"fixMap_00005.mat has \d+ levels"):
        source.read("V1_Speech1", listed)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("diem1s04.asc_other_720x576.txt", "other_720x576"),
        ("other_720x576_diem1s04.asc.txt", "other_720x576"),
        ("other_720x576_diem1s04.asc_clip_720x576.txt", "other_720x576"),
        ("diem1s04.asc_clip_720x576_2.txt", "clip_720x576_2"),
    ],
)
def test_gaze_on_another_video_is_no_viewer(tmp_path, name, other):
    video = "clip_720x576"
    viewer_file(tmp_path, video, "diem1s01", fixating(3, 640, 480))
    viewer_file(tmp_path, "Clip_720x576", "diem1s02", fixating(3, 640, 480))  # as an archive's tool may write it
    (tmp_path / "diem4s03b.asc.txt").write_text((tmp_path / f"diem1s01.asc_{video}.txt").read_text())
    assert list(diem.viewer_files(tmp_path, video)) == ["diem1s01", "diem1s02", "diem4s03b"]
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=f"{name} is gaze on another video, {other}, than {video}: move it to that"):
        diem.viewer_files(tmp_path, video)


def integers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("value", "shape", "stated"),
    [
        (np.zeros((480, 641)), (480, 641), (1_000_000_000, 10)),
        (np.array([[1, 2, 3, 4, 5, 6, 7]], object), (1, 7), (1, 1_000_000_000)),
        (np.zeros((1, 7), [("x", object)]), (1, 7), (1, 1_000_000_000)),
        (scipy.sparse.csc_matrix(np.eye(7, 641)), (7, 641), (100_000, 100_000)),
    ],
)
def test_no_memory_is_asked_for_because_a_matlab_file_says_so(tmp_path, compressed, value, shape, stated):
    path = tmp_path / "a.mat"
    saved = io.BytesIO()
    scipy.io.savemat(saved, {"a": value})
    data = saved.getvalue().replace(integers(*shape), integers(*stated), 1)
    if compressed:
        body = zlib.compress(data[128:])
        data = data[:128] + struct.pack("<II", 15, len(body)) + body
    path.write_bytes(data)
    words = "x".join(map(str, stated))
    with pytest.raises(InputError, match=f"a.mat states a variable of {words} elements .*: restore or save it again"):
        mat_files.load(path)


def test_all_forms_of_matlab_files_are_read(tmp_path):
    value = np.arange(12.0).reshape(3, 4)
    for options in ({"do_compression": True}, {"do_compression": False}, {"format": "4"}):
        path = tmp_path / "a.mat"
        scipy.io.savemat(path, {"a": value, "b": scipy.sparse.csc_matrix(value)}, **options)
        for found in mat_files.load(path).values():
            np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("shape", [(250, 2, 10), (2, 10, 2500), (1, 10, 5), (2, 0, 5)])
def test_an_array_with_its_axes_in_another_order_is_named(shape):
    said = re.escape(f"data is float64 {list(shape)} and not numbers [2 or more, frames, viewers]")
    with pytest.raises(InputError, match=said):
        points.from_array(np.zeros(shape), "data")

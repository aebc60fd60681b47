"""AViMoS: trees in the published form, with 10-bit map videos, and what the builder makes of them."""

import json
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence
from fractions import Fraction

import av
import numpy as np
import pytest
from media_files import read_stamp, regular, write_video

from avsd_jax import datasets
from avsd_jax.data import catalog
from avsd_jax.data.catalog import open_store
from avsd_jax.errors import InputError
from avsd_jax.sources import avimos
from avsd_jax.sources.gaze import mouse_tracks

NAME = "avimos/short-48"
FPS, FRAMES, SIZE = 5, 10, (96, 128)
LISTS = {"train": ["walk", "talk.mp4"], "public_test": ["sing.mp4"], "private_test": ["dive"]}
VIDEOS = {"walk": "Train", "talk": "Train", "sing": "Test", "dive": "Test"}
POINTS = [[[y, 3], [y, 3], [y + 1, 127]] for y in range(FRAMES)]


def codes(frame: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Luma of 10 bits, 64 (black) to 940 (white), neighbouring pixels a level of 10 bits apart."""
    return (64 + (np.arange(size[0] * size[1]) + 37 * frame) % 877).reshape(size).astype(np.uint16)


def write_maps(path: pathlib.Path, count: int = FRAMES, size: tuple[int, int] = SIZE) -> None:
    """A grey video of 10 bits per level, without loss."""
    height, width = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p10le"
        for number in range(count):
            frame = av.VideoFrame(width, height, "yuv420p10le")
            for plane, values in zip(frame.planes, (codes(number, size), 512, 512), strict=True):
                lines = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                lines[:, : plane.width] = values
                plane.update(lines.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_points(path: pathlib.Path, points: Sequence[object] = POINTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(points))


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The archives as unpacked, of two seconds: with the ground truth of the test part, and one video without sound."""
    root = tmp_path_factory.mktemp("download")
    (root / "TrainTestSplit.json").write_text(json.dumps(LISTS))
    (root / "Videos").mkdir()
    for part in ("Train", "Test"):
        (root / f"Saliency{part}" / part).mkdir(parents=True)
    write_maps(root / "maps.mp4")
    for video, part in VIDEOS.items():
        sound = None if video == "walk" else "aac"
        write_video(root / f"Videos/{video}.mp4", regular(FRAMES, FPS), size=SIZE, sound=sound)
        (root / f"Saliency{part}/{part}/{video}.mp4").hardlink_to(root / "maps.mp4")
        write_points(root / f"Fixations{part}/{part}/{video}/fixations.json")
    return root


@pytest.fixture(scope="module")
def built(download: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data folder with the set in it, built by the command."""
    data_dir = tmp_path_factory.mktemp("data")
    assert build(download, data_dir) == 0
    return data_dir


def build(manual_dir: pathlib.Path, data_dir: pathlib.Path, *options: str) -> int:
    where = [f"--manual_dir={manual_dir}", f"--data_dir={data_dir}"]
    return datasets.main(["build", f"--dataset={NAME}", "--workers=1", *where, *options])


def copy_of(folder: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    shutil.copytree(folder, target, copy_function=lambda old, new: pathlib.Path(new).hardlink_to(old))
    return target


def rewrite(path: pathlib.Path, text: str) -> None:
    path.unlink()  # hard links would change as well
    path.write_text(text)


def test_what_the_files_say_is_what_is_read(built: pathlib.Path):
    stores = {split: open_store(NAME, split, built) for split in ("train", "public_test", "private_test", "test")}
    ids = {split: [video.id for video in store.videos] for split, store in stores.items()}
    assert ids == {
        "train": ["walk", "talk"],
        "public_test": ["sing"],
        "private_test": ["dive"],
        "test": ["sing", "dive"],
    }
    store = stores["train"]
    for number, video in enumerate(store.videos):
        assert (video.fps, video.num_frames, video.height, video.width) == (FPS, FRAMES, 48, 64)
        assert (video.map_height, video.map_width, video.num_viewers, video.watched) == (*SIZE, 0, True)
        assert (video.num_samples > 0) == (video.id == "talk")
        assert [read_stamp(frame) for frame in store.frames(number, range(FRAMES))] == list(range(FRAMES))
        for frame in (0, 7):
            # Both points of the same pixel are there, x before y.
            assert store.fixations(number, frame).tolist() == [[3, frame], [3, frame], [127, frame + 1]]
    assert np.abs(store.audio(1, 0, 200)).max() > 5000, "the click of the first frame"


def test_maps_keep_all_ten_bits(built: pathlib.Path):
    store = open_store(NAME, "test", built)
    for frame in (0, 9):
        levels = store.density_levels(0, frame)
        assert levels.dtype == np.uint16
        expected = (codes(frame).astype(float) - 64) / 876 * 65535
        np.testing.assert_allclose(levels, expected, atol=1)
        assert len(np.unique(levels)) == 877
        np.testing.assert_array_equal(store.density(0, frame), levels >> 8)


def test_test_videos_without_published_ground_truth_are_built_without(
    download: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    folder = copy_of(download, tmp_path / "manual")
    shutil.rmtree(folder / "FixationsTest")
    assert build(folder, tmp_path / "data") == 2
    assert re.search(r"FixationsTest/Test/sing/fixations\.json is missing", capsys.readouterr().err)
    shutil.rmtree(folder / "SaliencyTest")
    assert build(folder, tmp_path / "data") == 0
    watched = {video.id: video.watched for video in open_store(NAME, "all", tmp_path / "data").videos}
    assert watched == {"dive": False, "sing": False, "talk": True, "walk": True}
    with pytest.raises(InputError, match="lacks eye-tracking data"):
        open_store(NAME, "test", tmp_path / "data").require_gaze("score on others")


def moved(folder: pathlib.Path) -> None:
    """The other known form: parts of videos apart, archives without a top folder, in the folder of the repository."""
    top = folder / "VideoSaliencyChallenge"
    top.mkdir()
    for entry in list(folder.iterdir()):
        if entry != top:
            entry.rename(top / entry.name)
    for video, part in VIDEOS.items():
        (top / "Videos" / part).mkdir(exist_ok=True)
        (top / f"Videos/{video}.mp4").rename(top / f"Videos/{part}/{video}.mp4")
        (top / f"Saliency{part}/{part}/{video}.mp4").rename(top / f"Saliency{part}/{video}.mp4")
        (top / f"Fixations{part}/{part}/{video}").rename(top / f"Fixations{part}/{video}")


def test_check_and_list_know_it(
    built: pathlib.Path, download: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    folder = copy_of(download, tmp_path / "manual")
    moved(folder)
    top = folder / "VideoSaliencyChallenge"
    write_points(top / "FixationsTrain/talk/fixations.json", [[[-1, 5], [96, 0], [4, 4]], [], *POINTS[2:]])
    shutil.copy(top / "Videos/Train/talk.mp4", top / "Videos/more.mp4")
    check = ["check", "--workers=1", f"--data_dir={tmp_path}", "--dataset=avimos"]
    assert datasets.main([*check, f"--manual_dir={folder}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "avimos: layout TrainTestSplit.json; 5 videos, of which 4 are listed and 5 complete"
    for line in (
        "  frames: 50",
        "  sizes: 128x96 in 5",
        "  empty maps: 1 (talk 2)",
        "  gaze outside of the image: 2 points",
        "  note: TrainTestSplit.json names 2 videos in train, the published ones 1000 or 1200",
        "  note: without sound (walk)",
        "  note: in no list: skipped (more)",
    ):
        assert line in lines
    listed = avimos.read_lists(top).videos["talk"]
    found = avimos.read(top, listed, None)
    assert found.fixations[:1].tolist() == [[0, -1, 4, 4]]
    assert (found.height, found.width) == SIZE
    assert datasets.main(["list", f"--data_dir={built}"]) == 0
    out = capsys.readouterr().out
    assert "avimos/default: frames of the videos' own sizes, full HD [not built" in out
    assert f"{NAME}: frames with a shorter side of 48 pixels [train 2 videos, 20 frames; public_test 1 videos" in out
    with pytest.raises(InputError, match="avimos has no config 'short-0': write short-PIXELS"):
        catalog.load_builder("avimos/short-0", tmp_path)


SPLITS = "TrainTestSplit.json"
POINTS_OF_TALK = "FixationsTrain/Train/talk/fixations.json"


def short_maps(folder: pathlib.Path) -> None:
    (folder / "SaliencyTrain/Train/talk.mp4").unlink()
    write_maps(folder / "SaliencyTrain/Train/talk.mp4", FRAMES - 3)


def cut_maps(folder: pathlib.Path) -> None:
    path = folder / "SaliencyTrain/Train/talk.mp4"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / SPLITS).unlink(), r"TrainTestSplit\.json is missing, and so is the folder AudioVisual"),
        (lambda f: rewrite(f / SPLITS, "{"), r"TrainTestSplit\.json is not JSON \(.*\): restore"),
        (lambda f: rewrite(f / SPLITS, "[]"), r"TrainTestSplit\.json has no list of names 'train': restore"),
        (lambda f: rewrite(f / SPLITS, json.dumps(LISTS | {"train": ["../x"]})), r"train: '\.\./x' is not a plain"),
        (
            lambda f: rewrite(f / SPLITS, json.dumps(LISTS | {"private_test": []})),
            r"no video of avimos is left",
        ),
        (lambda f: (f / "Videos/dive.mp4").unlink(), r"Videos/Test/dive\.mp4 is missing, and so is .*: put it there"),
        (lambda f: rewrite(f / "Videos/dive.mp4", "x"), r"dive\.mp4 cannot be read as a video"),
        (lambda f: (f / "SaliencyTrain/Train/walk.mp4").unlink(), r"SaliencyTrain/Train/walk\.mp4 is missing"),
        (short_maps, r"talk\.mp4: the numbers of frames differ by more than 2 \(.*frames 10, maps 7, fixations 10\)"),
        (cut_maps, r"SaliencyTrain/Train/talk\.mp4 "),
        (lambda f: (f / POINTS_OF_TALK).unlink(), r"Train/talk/fixations\.json is missing"),
        (lambda f: rewrite(f / POINTS_OF_TALK, "[["), r"talk/fixations\.json is not JSON"),
        (lambda f: rewrite(f / POINTS_OF_TALK, "{}"), r"talk/fixations\.json is no list of frames"),
        (lambda f: rewrite(f / POINTS_OF_TALK, "[[[1, 2]], [[1]]]"), r"fixations\.json, frame 2 is no list of points"),
        (lambda f: rewrite(f / POINTS_OF_TALK, "[[[1, 2], [1, true, 3]]]"), r"frame 1 is no list of points"),
        (lambda f: rewrite(f / POINTS_OF_TALK, "[[[1, 2.5]]]"), r"frame 1 has a point that is not in whole pixels"),
        (lambda f: rewrite(f / POINTS_OF_TALK, "[[[1, NaN]]]"), r"frame 1 has a point that is not in whole pixels"),
        (
            lambda f: rewrite(f / POINTS_OF_TALK, "[[[1, Infinity]]]"),
            r"frame 1 has a point that is not in whole pixels",
        ),
        (lambda f: rewrite(f / POINTS_OF_TALK, json.dumps(POINTS[:6])), r"differ by more than 2 \(.*fixations 6\)"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    change: Callable, message: str, download: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    folder = copy_of(download, tmp_path / "manual")
    change(folder)
    assert build(folder, tmp_path / "data") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, error), error
    assert not list((tmp_path / "data").rglob("*.array_record*"))


def test_videos_that_lack_a_file_are_left_out_on_request(
    download: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    folder = copy_of(download, tmp_path / "manual")
    (folder / POINTS_OF_TALK).unlink()
    assert build(folder, tmp_path / "data", "--skip_missing") == 0
    assert "skipped talk: " in capsys.readouterr().out
    assert [video.id for video in open_store(NAME, "train", tmp_path / "data").videos] == ["walk"]


def test_maps_of_another_size_are_noted_and_have_the_points(download: pathlib.Path, tmp_path: pathlib.Path):
    folder = copy_of(download, tmp_path / "manual")
    (folder / "SaliencyTrain/Train/talk.mp4").unlink()
    write_maps(folder / "SaliencyTrain/Train/talk.mp4", size=(48, 128))
    (folder / POINTS_OF_TALK).unlink()  # hard links would change as well
    write_points(folder / POINTS_OF_TALK, [[[47, 127], [48, 0]]] * FRAMES)
    listed = avimos.read_lists(folder).videos["talk"]
    video = avimos.read(folder, listed)
    assert (video.height, video.map_height, len(video.fixations)) == (96, 48, FRAMES)
    found = avimos.inspect(folder, "talk", listed)
    assert (found.dropped_points, found.problems) == (FRAMES, ())
    assert "maps of 128x48, unlike the video: points count as pixels of maps" in found.notes


def test_points_are_read_as_they_are_listed(tmp_path: pathlib.Path):
    write_points(tmp_path / "points.json", [[], [[5, 9], [5, 9], [7, 1]], [[0, 0]]])
    tracks = mouse_tracks.read(tmp_path / "points.json")
    assert tracks.rows.tolist() == [[1, -1, 9, 5], [1, -1, 9, 5], [1, -1, 1, 7], [2, -1, 0, 0]]
    assert (tracks.num_frames, tracks.unseen(4)) == (3, (1, 4))
    assert tracks.within((6, 10), 2).tolist() == [[1, -1, 9, 5], [1, -1, 9, 5]]

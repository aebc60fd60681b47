"""Own eye-tracking data: videos, tables of fixations, and what the builder makes of them."""

import pathlib
import re
import shutil
from collections.abc import Callable

import numpy as np
import pytest
from media_files import read_stamp, regular, write_video

from avsd_jax import avc_labels, datasets
from avsd_jax.data.catalog import open_store
from avsd_jax.sources import label_files, own

NAME = "own/short-48"
FPS, FRAMES, SIZE = 5, 10, (96, 128)
VIDEOS = ("garden.mp4", "kitchen.mkv", "street.mp4")


def table(*lines: str) -> str:
    return "\n".join(["frame,x,y,viewer", *lines, ""])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two seconds each, seen by two people; one video is silent, one labelled."""
    root = tmp_path_factory.mktemp("own")
    for name in ("videos", "fixations"):
        (root / name).mkdir()
    for name in VIDEOS:
        sound = None if name == "kitchen.mkv" else "aac"
        write_video(root / "videos" / name, regular(FRAMES, FPS), size=SIZE, sound=sound)
        lines = [f"{frame},{10 + frame},{20.5},{who}" for frame in range(FRAMES) for who in ("anna", "ben")]
        (root / f"fixations/{name[:-4]}.csv").write_text(table(*lines, "3,500,20,ben"))
    label_files.write(root / "labels/street.csv", np.arange(FRAMES, dtype=np.int8) % 2)
    return root


def run(command: str, manual_dir: pathlib.Path, data_dir: pathlib.Path, *options: str) -> int:
    where = [f"--dataset={NAME}", f"--manual_dir={manual_dir}", f"--data_dir={data_dir}"]
    return datasets.main([command, "--workers=1", *where, *options])


def test_a_folder_becomes_a_dataset(folder: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture):
    assert run("check", folder, tmp_path, "--thorough") == 0
    out = capsys.readouterr().out
    assert "own: layout videos/ and fixations/; 3 videos, of which 3 are listed and 3 complete" in out
    assert "  labels: 1 videos, 10 frames" in out
    assert "note: without test.txt, the test videos are street" in out
    assert avc_labels.main(["summary", f"--manual_dir={folder}"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:5] == ["own", "1", "10", "50.0%", "9"]
    assert run("build", folder, tmp_path) == 0
    ids = {split: [v.id for v in open_store(NAME, split, tmp_path).videos] for split in ("train", "test", "all")}
    assert ids == {"train": ["garden", "kitchen"], "test": ["street"], "all": ["garden", "kitchen", "street"]}
    store = open_store(NAME, "test", tmp_path)
    video = store.videos[0]
    assert (video.height, video.map_height, video.num_viewers, video.fps) == (48, 96, 2, FPS)
    assert store.fixations(0, 3).tolist() == [[13, 20.5]] * 2, "what is outside the image is dropped"
    assert store.viewer_rows(0, 3)[:, 0].tolist() == [0, 1]
    at = np.unravel_index(store.density(0, 7).argmax(), SIZE)
    assert abs(at[0] - 20.5) <= 0.5
    assert at[1] == 17
    assert store.avc_label(0).tolist() == [0, 1] * 5
    assert np.abs(store.audio(0, 0, 200)).max() > 5000
    assert [read_stamp(frame) for frame in store.frames(0, [2, 9])] == [2, 9]
    assert open_store(NAME, "train", tmp_path).videos[1].num_samples == 0


def test_files_that_belong_to_no_video_are_named(folder: pathlib.Path, tmp_path: pathlib.Path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "labels/street.csv", tmp_path / "labels/street (1).csv")
    for name in ("videos/hall.wmv", "fixations/hall.csv", "fixations/notes.txt"):
        (tmp_path / name).write_text("")
    first, *tables = own.read_lists(tmp_path).oddities[1:]
    assert first.startswith("not used, as videos end in .mp4,")
    assert first.endswith(": hall.wmv")
    assert [sentence.rpartition(": ")[2] for sentence in tables] == [
        "fixations/hall.csv, fixations/notes.txt",
        "labels/street (1).csv",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "fixations"), r"fixations is missing: put videos into .*videos and a table"),
        (lambda f: (f / "fixations/garden.csv").unlink(), r"garden\.csv is missing: put it there, or leave its video"),
        (lambda f: [(f / "videos" / name).unlink() for name in VIDEOS[:2]], r"has 1 videos .*: two are needed"),
        (lambda f: (f / "test.txt").write_text("street.mp4\nhall\n"), r"test\.txt names hall: .*videos has no such"),
        (lambda f: (f / "test.txt").write_text("\n"), r"test\.txt leaves no video for the test: name some"),
        (
            lambda f: (f / "fixations/garden.csv").write_text(table("10,3,4,anna")),
            r"garden\.csv has frames 10 to 10, and the video frames 0 to 9: number them from 0",
        ),
        (lambda f: (f / "fixations/garden.csv").write_text(table("1,-3,4,a")), r"garden\.csv has no fixation in the"),
        (lambda f: shutil.copy(f / "videos/garden.mp4", f / "videos/garden.mov"), r"garden\.mp4 have the same name"),
        (lambda f: (f / "labels/street.csv").write_text("frame,label\n1,0\n"), r"labels 1 frames of a video that has"),
    ],
)
def test_what_is_wrong_is_named(
    change: Callable, message: str, folder: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    copy = tmp_path / "own"
    shutil.copytree(folder, copy)
    change(copy)
    assert run("build", copy, tmp_path / "data") == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list((tmp_path / "data").rglob("*.array_record*"))

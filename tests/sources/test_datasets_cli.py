"""The command that builds datasets, and the messages about missing ones."""

import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from avsd_jax import datasets
from avsd_jax.data import catalog
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from datasets_tfds.base import VideoDatasetBuilder

TINY = "sounding_shapes/tiny"


def folder(data_dir: pathlib.Path) -> pathlib.Path:
    return data_dir / "sounding_shapes/tiny/1.1.0"


def test_a_built_dataset_is_left_alone(tiny_data_dir: pathlib.Path, capsys: pytest.CaptureFixture):
    before = {path: path.stat().st_mtime_ns for path in folder(tiny_data_dir).iterdir()}
    assert datasets.main(["build", f"--dataset={TINY}", f"--data_dir={tiny_data_dir}"]) == 0
    assert f"{TINY} is already built" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in folder(tiny_data_dir).iterdir()}


def test_list_shows_what_can_be_built_and_what_is(tiny_data_dir: pathlib.Path, capsys: pytest.CaptureFixture):
    assert datasets.main(["list", f"--data_dir={tiny_data_dir}"]) == 0
    default, tiny = (line for line in capsys.readouterr().out.splitlines() if line.startswith("sounding_shapes"))
    assert default.startswith("sounding_shapes/default: ")
    assert f"not built in {tiny_data_dir}" in default
    assert "train 4 videos, 160 frames; test 3 videos, 120 frames" in tiny


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--workers=0", "--workers: '0' is not a whole number .*--help"),
        ("--data_dir=FILE", "cannot be created .*: give another folder"),
    ],
)
def test_options_that_cannot_be_are_refused(option: str, message: str, tmp_path, capsys: pytest.CaptureFixture):
    (tmp_path / "file").write_text("")
    option = option.replace("FILE", str(tmp_path / "file"))
    assert datasets.main(["build", f"--dataset={TINY}", f"--data_dir={tmp_path}", option]) == 2
    assert re.search(f"^error: .*{message}$", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            "nothing",
            "unknown dataset 'nothing': choose one of "
            "avad, ave, avimos, coutrot1, coutrot2, diem, etmd, own, sounding_shapes, summe",
        ),
        (
            "sounding_shapes/huge",
            "dataset 'sounding_shapes' has no config 'huge': choose one of default, tiny",
        ),
    ],
)
def test_unknown_names_are_told_what_there_is(dataset: str, message: str, tmp_path, capsys: pytest.CaptureFixture):
    assert datasets.main(["build", f"--dataset={dataset}", f"--data_dir={tmp_path}"]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_opening_what_is_not_prepared_says_how_to_prepare_it(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path):
    with pytest.raises(InputError) as error:
        open_store(TINY, "train", tmp_path / "a b")
    assert str(error.value) == (
        f"dataset '{TINY}' is not built in '{tmp_path}/a b': run `python -m avsd_jax.datasets build "
        f"--dataset={TINY} '--data_dir={tmp_path}/a b'`, or train with --config.build_data=True"
    )
    with pytest.raises(InputError, match=r"--dataset=etmd/maps-gaze --data_dir=.* --manual_dir=DIR`, with DIR your"):
        open_store("etmd/maps-gaze", "train_1", tmp_path)
    with pytest.raises(InputError, match=r"unknown dataset 'shapes': choose one of avad, "):
        open_store("shapes", "train_1", tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="has no split 'validation': choose one of test, train"):
        open_store(TINY, "validation", tiny_data_dir)


def test_damaged_or_outdated_data_is_refused_with_the_mend(
    tiny_data_dir: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    shutil.copytree(tiny_data_dir, tmp_path, dirs_exist_ok=True)
    metadata = folder(tmp_path) / "metadata.json"
    metadata.write_text(
        metadata.read_text().replace('"num_viewers": 20, "min_shapes"', '"num_viewers": 7, "min_shapes"')
    )
    with pytest.raises(InputError, match="was built with num_viewers=7, which is now 20: run `.* --overwrite`"):
        open_store(TINY, "train", tmp_path)
    metadata.write_text("{")
    with pytest.raises(InputError, match=r"has a damaged metadata.json .*: run `.* --overwrite`"):
        open_store(TINY, "train", tmp_path)
    assert datasets.main(["list", f"--data_dir={tmp_path}"]) == 0
    assert "has a damaged metadata.json" in capsys.readouterr().out
    next(folder(tmp_path).glob("*train*")).unlink()
    with pytest.raises(InputError, match="lacks the file .*train.*: run `.* --overwrite`"):
        datasets.build(TINY, tmp_path)
    (folder(tmp_path) / "dataset_info.json").write_text("{")
    with pytest.raises(InputError, match=r"a description in .*/sounding_shapes is damaged .*: remove it and build"):
        datasets.build(TINY, tmp_path, overwrite=True)


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_file_cut_short_is_named_by_its_video(keep: float, tiny_data_dir: pathlib.Path, tmp_path: pathlib.Path):
    shutil.copytree(tiny_data_dir, tmp_path, dirs_exist_ok=True)
    path = sorted(folder(tmp_path).glob("*train*"))[1]
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    whole = open_store(TINY, "train", tiny_data_dir)
    damaged = catalog.open_builder(TINY, tmp_path).as_data_source(split="train")
    store = VideoStore(whole.name, damaged, whole.videos, whole.chunk_frames)
    assert store.density(0, 0).any()
    for read in (store.density, store.fixations, lambda *frame: store.audio(1, 0, 1)):
        with pytest.raises(InputError, match=r"the file of video 'train_00001' is damaged \(.*\): build .*--over"):
            read(1, 0)


def test_a_build_by_several_processes_is_the_same(tiny_data_dir: pathlib.Path, tmp_path: pathlib.Path):
    assert datasets.build(TINY, tmp_path, num_workers=2)
    for split in ("train", "test"):
        one, many = (open_store(TINY, split, data_dir) for data_dir in (tiny_data_dir, tmp_path))
        assert one.videos == many.videos
        for video, index in enumerate(one.videos):
            np.testing.assert_array_equal(
                one.frames(video, range(index.num_frames)), many.frames(video, range(index.num_frames))
            )
            np.testing.assert_array_equal(*(s.audio(video, 0, index.num_samples) for s in (one, many)))
            np.testing.assert_array_equal(*(s.density(video, 33) for s in (one, many)))


def test_worker_processes_inherit_one_thread_each(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # the user's own word
    seen = []

    def start(*args: object) -> None:
        seen.append((os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]))
        raise InputError("stopped")

    monkeypatch.setattr(VideoDatasetBuilder, "_run", start)
    with pytest.raises(InputError, match="stopped"):
        datasets.build(TINY, tmp_path, num_workers=2)
    assert seen == [("1", "3")]
    assert "OPENBLAS_NUM_THREADS" not in os.environ


READ_ALL = textwrap.dedent("""
    import sys
    from avsd_jax import datasets
    from avsd_jax.data.pipeline import ClipSpec, eval_batches, train_batches
    from avsd_jax.data.catalog import open_store

    data_dir = sys.argv[1]
    command = ["build", "--dataset=sounding_shapes/tiny", f"--data_dir={data_dir}", "--workers=1"]
    assert datasets.main(command) == 0
    store = open_store("sounding_shapes/tiny", "test", data_dir)
    spec = ClipSpec(clip_size=8, frame_size=(32, 64))
    next(train_batches(store, spec, batch_size=2, seed=0))
    print(sum(int(batch["mask"].sum()) for batch in eval_batches(store, spec, batch_size=8, stride=4)))
    assert "tensorflow" not in sys.modules
""")


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_and_is_run_again_without_tensorflow(tmp_path: pathlib.Path):
    command = [
        sys.executable,
        "-m",
        "avsd_jax.datasets",
        "build",
        f"--dataset={TINY}",
        f"--data_dir={tmp_path}",
    ]
    build = subprocess.Popen([*command, "--workers=2"], start_new_session=True, stderr=subprocess.PIPE)
    # Killed when the first video is done: records exist, the workers are busy.
    seen = b""
    while b"| 1/7" not in seen:
        part = os.read(build.stderr.fileno(), 1000)
        assert part, seen
        seen += part
    build.send_signal(signal.SIGKILL)
    build.wait()
    assert list(folder(tmp_path).parent.glob("incomplete.*"))
    with pytest.raises(InputError, match="is not built"):
        open_store(TINY, "train", tmp_path)
    # Reading to the end of the pipe waits for all its holders: the workers have exited, too.
    deadline = time.monotonic() + 60
    while select.select([build.stderr], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not os.read(build.stderr.fileno(), 1000):
            break
    else:
        pytest.fail("a worker outlives the killed build")
    build.stderr.close()
    again = subprocess.run([sys.executable, "-c", READ_ALL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "30"
    assert not list(folder(tmp_path).parent.glob("incomplete.*"))

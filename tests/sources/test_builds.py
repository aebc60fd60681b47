"""The result of a build: the old dataset or the new one, complete, and the same bytes each time."""

import os
import pathlib
import re
import resource
import shutil

import pytest
from array_record.python import array_record_module
from malformed_trees import COUTROT, DATASETS, NTUA, STAVIS, damaged_packets, write_tree

from avsd_jax import datasets
from avsd_jax.common import atomic_folders
from avsd_jax.data import schema
from avsd_jax.data.catalog import open_store
from avsd_jax.errors import InputError
from datasets_tfds import base


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    write_tree(tmp_path / "manual", STAVIS)
    return tmp_path


def build(root: pathlib.Path, *options: str, data: str = "data", dataset: str = "avad") -> int:
    where = [f"--dataset={dataset}", f"--manual_dir={root}/manual", f"--data_dir={root / data}"]
    return datasets.main(["build", *where, "--workers=1", *options])


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_equal_builds_give_equal_bytes(tree: pathlib.Path, capsys: pytest.CaptureFixture):
    assert build(tree) == build(tree, data="again") == 0
    assert contents(tree / "data") == contents(tree / "again")
    capsys.readouterr()
    digests = []
    for name in ("data", "again"):
        assert datasets.main(["list", f"--data_dir={tree / name}"]) == 0
        digests += re.findall("digest ([0-9a-f]{12})]", capsys.readouterr().out)
    assert len(digests) == 2
    assert digests[0] == digests[1]


def test_the_features_of_a_record_are_in_one_order(tiny_data_dir: pathlib.Path):
    """Protobuf leaves the order to the process's addresses: in one process two builds are equal by chance."""
    path = next((tiny_data_dir / "sounding_shapes/tiny").glob("*/*train.array_record*"))
    reader = array_record_module.ArrayRecordReader(str(path))
    for record in reader.read_all():
        # A map's entry: its key is field 1, of so many bytes.
        names = [name for name in sorted(schema.features()) if name != "audio"]  # audio_first may stand before it
        places = [record.index(bytes([0x0A, len(name)]) + name.encode()) for name in names]
        assert places == sorted(places)


@pytest.mark.parametrize("exchange", [True, False])
def test_overwriting_replaces_the_dataset_whole(exchange: bool, tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    if not exchange:
        monkeypatch.setattr(atomic_folders, "_exchanged", lambda first, second: False)
    assert build(tree) == 0
    labels = next((tree / "manual/av_gt_label").rglob("*.csv"))
    labels.write_text(labels.read_text().replace(",1\n", ",0\n"))
    assert build(tree, "--overwrite") == 0
    assert open_store("avad", "all", tree / "data").avc_label(0).tolist() == [0] * 8
    assert build(tree, data="fresh") == 0
    assert contents(tree / "data") == contents(tree / "fresh"), "no trace of the old one"


class Stop(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("stop", [InputError, KeyboardInterrupt, Stop, OSError])
def test_what_ends_a_build_leaves_the_old_dataset(
    stop: type[BaseException], tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    def write(*args: object) -> None:
        raise stop("stopped")

    assert build(tree) == 0
    before = contents(tree / "data")
    for place, name in ((base, "write_video"), (base.VideoDatasetBuilder, "_link"), (atomic_folders, "exchange")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, write)
            with pytest.raises(stop, match="stopped"):
                datasets.build("avad", tree / "data", manual_dir=tree / "manual", overwrite=True)
        assert contents(tree / "data") == before


def test_a_folder_that_was_left_aside_is_brought_back(tree: pathlib.Path):
    """Where the system cannot exchange two names, a process may be killed when the old folder has none."""
    assert build(tree) == 0
    before = contents(tree / "data")
    folder = tree / "data/avad/default"
    (folder / "1.0.0").rename(folder / "replaced")
    assert build(tree) == 0
    assert contents(tree / "data") == before
    with pytest.raises(OSError, match=r"missing"):
        atomic_folders.exchange(folder / "missing", folder / "1.0.0", folder / "replaced")
    assert contents(tree / "data") == before


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line(workers: int, tree: pathlib.Path, capsys: pytest.CaptureFixture):
    assert build(tree) == 0
    before = contents(tree / "data")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    try:
        status = build(tree, "--overwrite", f"--workers={workers}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert status == 1
    assert re.search(r"error: .*cannot be written \(File too large\): free some space", error)
    assert "Traceback" not in error
    assert contents(tree / "data") == before


def test_six_are_refused_before_one_is_built(tree: pathlib.Path, capsys: pytest.CaptureFixture):
    write_tree(tree / "manual", COUTROT)
    gaze = tree / "manual/Coutrot2/coutrot_database2.mat"
    gaze.unlink()
    (tree / "manual/video_audio/AVAD/V2_Guitar/V2_Guitar.wav").unlink()
    assert build(tree, dataset="six") == 2
    error = capsys.readouterr().err
    for said in (f"{gaze} is missing", "V2_Guitar.wav is missing", "has no files of summe", "has no files of diem"):
        assert said in error
    assert not (tree / "data").exists()
    assert build(tree, dataset="avad,coutrot2") == 2
    assert "has no files of" not in capsys.readouterr().err
    assert not (tree / "data").exists()


def test_all_that_reading_shows_is_said_at_once(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture):
    write_tree(tmp_path / "manual", NTUA)
    broken = [f"SumMe_ETMD/video/{video}.mp4" for video in ("CHI_1_color", "LOR_1_color")]
    for film in broken:
        damaged_packets(film)(tmp_path / "manual")
    assert build(tmp_path, dataset=DATASETS[NTUA]) == 2
    error = capsys.readouterr().err
    assert "error: 2 problems with etmd:" in error
    assert all(pathlib.Path(film).stem in error for film in broken)
    check = ["check", "--dataset=etmd", f"--manual_dir={tmp_path}/manual", "--workers=1"]
    assert datasets.main([*check, "--thorough"]) == 2
    out = capsys.readouterr().out
    assert all(f"  problem: {pathlib.Path(film).stem}: " in out for film in broken)


def test_checks_leave_out_what_builds_leave_out(tree: pathlib.Path, capsys: pytest.CaptureFixture):
    """`--skip_missing` passes over missing files, not over damaged ones of other videos."""
    video = "V1_Speech1"
    (tree / f"manual/video_audio/AVAD/{video}/{video}.wav").unlink()
    (tree / f"manual/video_frames/AVAD/{video}/img_00002.jpg").write_bytes(b"")
    check = ["check", "--dataset=avad", f"--manual_dir={tree}/manual", "--workers=1"]
    assert datasets.main(check) == build(tree) == 2
    capsys.readouterr()
    assert datasets.main([*check, "--skip_missing"]) == 0
    assert f"  left out: {video}: " in capsys.readouterr().out
    assert build(tree, "--skip_missing") == 0
    assert f"skipped {video}: " in capsys.readouterr().out
    (tree / "manual/video_frames/AVAD/V2_Guitar/img_00002.jpg").write_bytes(b"")
    assert datasets.main([*check, "--skip_missing"]) == build(tree, "--skip_missing", "--overwrite") == 2
    shutil.rmtree(tree / "manual/video_audio/AVAD/V31_Bird")
    capsys.readouterr()
    assert datasets.main([*check, "--skip_missing"]) == 2
    assert "  problem: no video of avad is left in test_1, test_2, test_3" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["manual_dir", "data_dir"])
def test_folders_that_are_not_utf8_are_named(option: str, tree: pathlib.Path, capsys: pytest.CaptureFixture):
    strange = os.fsdecode(os.fsencode(tree) + b"/caf\xe9")
    os.mkdir(strange)
    options = {"manual_dir": f"{tree}/manual", "data_dir": f"{tree}/data"} | {option: strange}
    for command in ("check", "build"):
        words = [command, "--dataset=avad", *(f"--{name}={value}" for name, value in options.items())]
        assert datasets.main(words) == 2
        assert r"caf\udce9' has a name that is not UTF-8: rename it" in capsys.readouterr().err

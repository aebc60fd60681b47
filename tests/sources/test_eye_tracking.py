"""The builders of the six sets: from a tree of files by one command to splits, and what stops them."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import raw_files
import tensorflow_datasets as tfds
from stavis_files import FRAMES, VIDEOS, folder, write_lists, write_set, write_video
from tiny_run import train_on_fold

from avsd_jax import datasets
from avsd_jax.data import catalog, schema
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.sources import build_options, label_files
from datasets_tfds import base

SPLITS = ("train_1", "test_1", "train_2", "test_2", "train_3", "test_3", "all")
LABELS = (np.arange(FRAMES) // 5 % 2).astype(np.int8)


def write_labels(root: pathlib.Path, dataset: str, title: str) -> None:
    label_files.write(root / f"av_gt_label/{title}/{VIDEOS[dataset][0]}.csv", LABELS)


def command(*options: object) -> int:
    return datasets.main(["build", "--workers=1", *map(str, options)])


def files_below(root: pathlib.Path) -> dict[pathlib.Path, bytes]:
    """Contents of the files, but for the build's lock and TFDS's note of a default config."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.name != ".build_lock" and path.parent.name != ".config"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """All six from both trees: data folders by layout."""
    folders = {}
    for layout in ("stavis", "scdl"):
        root, folders[layout] = (tmp_path_factory.mktemp(f"{layout}_{kind}") for kind in ("manual", "data"))
        for dataset in VIDEOS:
            write_set(root, dataset, layout)
        write_labels(root, "coutrot1", "Coutrot1" if layout == "scdl" else "Coutrot_db1")
        assert command("--dataset=six", f"--manual_dir={root}", f"--data_dir={folders[layout]}") == 0
    return folders


@pytest.mark.parametrize("dataset", sorted(VIDEOS))
def test_each_set_is_built_from_each_tree(dataset: str, built: dict[str, pathlib.Path]):
    stores = [open_store(dataset, "all", data_dir) for data_dir in built.values()]
    assert [video.id for video in stores[0].videos] == sorted(VIDEOS[dataset])
    assert stores[0].videos == stores[1].videos
    for video in range(3):
        np.testing.assert_array_equal(*(store.frames(video, range(FRAMES)) for store in stores))
        np.testing.assert_array_equal(*(store.density(video, FRAMES - 1) for store in stores))
        np.testing.assert_array_equal(*(store.fixations(video, FRAMES - 1) for store in stores))
        np.testing.assert_array_equal(*(store.audio(video, 0, 11_000) for store in stores))
    labelled = [store.avc_label(0).tolist() == LABELS.tolist() for store in stores]
    assert labelled == [dataset == "coutrot1"] * 2
    assert set(stores[0].avc_label(1).tolist()) == {-1}


def test_splits_are_the_lists_and_share_one_copy_of_the_videos(built: dict[str, pathlib.Path]):
    for dataset, videos in VIDEOS.items():
        builder = catalog.open_builder(dataset, built["stavis"])
        ids = {split: [video["id"] for video in entries] for split, entries in builder.info.metadata["splits"].items()}
        listed = {split: list(videos[:2] if split.startswith("train") else videos[2:]) for split in SPLITS[:-1]}
        assert ids == listed | {"all": sorted(videos)}
        # To plain TFDS they are splits like any other.
        for split in SPLITS:
            source = builder.as_data_source(split=tfds.core.ReadInstruction(split))
            assert [record["video_id"].decode() for record in source] == ids[split]
        records = list(pathlib.Path(builder.data_path).glob("*.array_record-*"))
        assert len(records) == 3 * (2 + 1) + 3
        assert len({path.stat().st_ino for path in records}) == 3


def test_a_file_system_without_links_gets_copies(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object) -> None:
        raise OSError("no links here")

    write_set(tmp_path / "manual", "etmd")
    monkeypatch.setattr(base.os, "link", refuse)
    datasets.build("etmd", tmp_path / "data", manual_dir=tmp_path / "manual")
    records = list((tmp_path / "data").rglob("*.array_record-*"))
    assert len({path.stat().st_ino for path in records}) == len(records) == 12
    assert len(open_store("etmd", "train_2", tmp_path / "data").frames(1, [0, 11])) == 2


def test_the_last_video_of_a_list_is_silent_on_request(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture):
    write_set(tmp_path, "avad")
    name = "avad/silent_last_video-on"
    assert command(f"--dataset={name}", f"--manual_dir={tmp_path}", f"--data_dir={tmp_path}/data") == 0
    for split in SPLITS:
        store = open_store(name, split, tmp_path / "data")
        loud = [bool(store.audio(video, 0, 11_000).any()) for video in range(len(store.videos))]
        rms = [video.audio_rms > 0 for video in store.videos]
        assert loud == rms == ([True] * 3 if split == "all" else [True, False][2 - len(store.videos) :])
    assert datasets.main(["list", f"--data_dir={tmp_path}/data"]) == 0
    assert f"\n{name}: as its name says [train_1 2 videos" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "allowed", "expected"),
    [
        ("default", (), {}),
        ("maps-gaze+eye-left", ("maps", "eye"), {"maps": "gaze", "eye": "left"}),
        ("offset_y--100+offset_x-2.5", ("offset_x", "offset_y"), {"offset_y": -100.0, "offset_x": 2.5}),
        ("condition-AudioVisual", ("condition",), {"condition": "own"}),
        ("eye-left", ("maps",), "no option 'eye' in 'eye-left': write KEY-VALUE\\+..., with KEY of maps"),
        ("maps-mine", ("maps",), "maps-mine is not an option: choose maps- and one of any, stavis, gaze"),
        ("maps-gaze+maps-any", ("maps",), "gives maps twice"),
        ("offset_x-left", ("offset_x",), "offset_x-left is not a number of pixels: write as in offset_x--100"),
        ("offset_x-nan", ("offset_x",), "offset_x-nan is not a number of pixels"),
        ("", ("maps",), "no option '' in ''"),
    ],
)
def test_options_are_written_in_the_name(name: str, allowed: tuple[str, ...], expected: dict | str):
    aliases = {"condition-AudioVisual": "condition-own"}
    if isinstance(expected, dict):
        assert build_options.parse(name, allowed, aliases) == build_options.BuildOptions(**expected)
    else:
        with pytest.raises(InputError, match=expected):
            build_options.parse(name, allowed, aliases)


def test_each_set_has_its_own_options(tmp_path: pathlib.Path):
    assert catalog.load_builder("diem/eye-left", tmp_path).settings["eye"] == "left"
    assert catalog.load_builder("coutrot1/condition-OriginalSounds", tmp_path).settings["condition"] == "own"
    for wrong in ("avad/eye-left", "summe/condition-pooled", "coutrot2/placement-corner"):
        with pytest.raises(InputError, match="no option"):
            catalog.load_builder(wrong, tmp_path)
    with pytest.raises(InputError, match="condition-OriginalSounds is not an option: choose condition- and one of own"):
        catalog.load_builder("coutrot2/condition-OriginalSounds", tmp_path)
    tfds_builder = tfds.builder_cls("diem")(data_dir=tmp_path, config="maps-gaze+eye-right")
    assert tfds_builder.info.full_name == "diem/maps-gaze+eye-right/1.0.0"
    assert "The survey counts 78,167" in tfds_builder.info.description


@pytest.fixture
def small(tmp_path: pathlib.Path) -> pathlib.Path:
    write_set(tmp_path / "manual", "summe")
    return tmp_path


def test_a_missing_file_stops_a_build_or_leaves_out_its_video(small: pathlib.Path, capsys: pytest.CaptureFixture):
    video = VIDEOS["summe"][1]
    (folder(small / "manual", "summe", video, "stavis", "sound") / f"{video}.wav").unlink()
    options = ("--dataset=summe", f"--manual_dir={small}/manual", f"--data_dir={small}/data")
    assert command(*options) == 2
    assert f"error: {small}/manual/video_audio/SumMe/{video}/{video}.wav is missing" in capsys.readouterr().err
    assert not files_below(small / "data")
    assert command(*options, "--skip_missing") == 0
    out = capsys.readouterr().out
    assert f"skipped {video}: " in out
    assert "all 2 videos, 24 frames; 1 videos skipped; layout stavis" in out
    assert [v.id for v in open_store("summe", "train_1", small / "data").videos] == [VIDEOS["summe"][0]]
    # A damaged file is no missing one.
    shutil.rmtree(small / "data")
    picture = folder(small / "manual", "summe", VIDEOS["summe"][0], "stavis", "frames") / "img_00003.jpg"
    picture.write_bytes(picture.read_bytes()[:-30])
    assert command(*options, "--skip_missing") == 2
    assert f"error: {picture} is truncated: restore the file" in capsys.readouterr().err
    assert not files_below(small / "data")


def test_a_split_without_videos_is_refused(small: pathlib.Path):
    shutil.rmtree(folder(small / "manual", "summe", VIDEOS["summe"][2], "stavis", "frames"))
    with pytest.raises(InputError, match=r"no video of summe is left in test_1, test_2, test_3 \(.* is missing"):
        datasets.build("summe", small / "data", manual_dir=small / "manual", skip_missing=True)
    assert not files_below(small / "data")


def test_nothing_outside_of_the_tree_is_read(small: pathlib.Path):
    write_video(small / "secret", "summe", "stolen")
    lists = small / "manual/fold_lists"
    first = lists / "SumMe_list_train_1_fps.txt"
    first.write_text(f"../../../secret/video_frames/SumMe/stolen {FRAMES} 25.0\n")
    with pytest.raises(InputError, match=r"line 1: '\.\./\.\./.*stolen' is not a plain name"):
        datasets.build("summe", small / "data", manual_dir=small / "manual")
    write_lists(small / "manual", "summe")
    video = folder(small / "manual", "summe", VIDEOS["summe"][0], "stavis", "frames")
    shutil.rmtree(video)
    video.symlink_to(small / "secret/video_frames/SumMe/stolen")
    with pytest.raises(InputError, match=rf"{video} is a link, which is not followed"):
        datasets.build("summe", small / "data", manual_dir=small / "manual")
    assert not files_below(small / "data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: None, "summe is built from your files: give the root of their tree as --manual_dir"),
        (lambda root: shutil.rmtree(root / "fold_lists"), "lacks the fold list SumMe_list_train_1_fps.txt"),
        (lambda root: shutil.rmtree(root / "annotations"), "has no files of summe .looked for stavis: video_frames"),
        (lambda root: write_lists(root, "summe", frames=FRAMES + 3), "differ by more than 2"),
        (lambda root: label_files.write(root / "av_gt_label/SumMe/Air_Force_One.csv", LABELS[:5]), "labels 5 frames"),
    ],
)
def test_wrong_trees_are_refused(change, message: str, small: pathlib.Path):
    change(small / "manual")
    with pytest.raises(InputError, match=message):
        datasets.build("summe", small / "data", manual_dir=None if "built from" in message else small / "manual")
    assert not files_below(small / "data")


def test_check_reports_and_changes_nothing(small: pathlib.Path, capsys: pytest.CaptureFixture):
    root = small / "manual"
    write_video(root, "etmd", "CHI_1_color", empty_maps=[2, 9], rate=48_000, channels=2)
    write_video(root, "etmd", "CRA_2_color", frames=FRAMES - 1)
    write_video(root, "etmd", "extra")
    write_lists(root, "etmd")
    write_labels(root, "etmd", "ETMD")
    before = files_below(root)
    assert datasets.main(["check", "--workers=1", f"--manual_dir={root}", f"--data_dir={small}/data"]) == 2
    out = capsys.readouterr().out
    for line in (
        "summe: layout stavis; 3 videos, of which 3 are listed and 3 complete",
        "  frames: 36 (36 in the lists)",
        "  sizes: 64x48 in 3",
        "  audio: 22050 Hz, 1 channel(s) in 3",
        "  empty maps: 0",
        "  labels: 0 videos, 0 frames",
        "etmd: layout stavis; 4 videos, of which 3 are listed and 3 complete",
        "  frames: 35 (36 in the lists)",
        "  audio: 22050 Hz, 1 channel(s) in 2, 48000 Hz, 2 channel(s) in 1",
        "  empty maps: 2 (CHI_1_color 2, 9)",
        "  labels: 1 videos, 12 frames",
        "  note: audio of 48000 Hz: downsampled to 22050 (CHI_1_color)",
        "  note: in no fold list: skipped (extra)",
    ):
        assert line in out.splitlines()
    assert "  problem: LOR_1_color: " in out
    assert f"{VIDEOS['etmd'][2]} is missing" in out
    assert f"avad: {root} has no files of avad (looked for stavis: " in out
    assert files_below(root) == before
    assert not (small / "data").exists()
    assert datasets.main(["check", "--workers=1", "--dataset=summe", f"--manual_dir={root}"]) == 0
    assert datasets.main(["check", "--dataset=avad", f"--manual_dir={root}"]) == 2
    assert datasets.main(["check", "--dataset=sounding_shapes", f"--manual_dir={root}"]) == 2
    assert "sounding_shapes needs no files of yours" in capsys.readouterr().err


def test_long_videos_are_read_a_clip_at_a_time(tmp_path: pathlib.Path):
    write_set(tmp_path, "etmd")
    shutil.rmtree(tmp_path / "video_frames")
    shutil.rmtree(tmp_path / "annotations")
    for number, video in enumerate(VIDEOS["etmd"]):
        write_video(tmp_path, "etmd", video, frames=150, seed=number)
    write_lists(tmp_path, "etmd", frames=150)
    datasets.build("etmd", tmp_path / "data", manual_dir=tmp_path)
    store = open_store("etmd", "test_1", tmp_path / "data")
    assert [len(video.audio_first) for video in store.videos] == [-(-150 // schema.CHUNK_FRAMES)]
    taken: list[int] = []
    counting = type("Counting", (), {"__getitem__": lambda self, i: taken.append(i) or store.records[i]})()
    counted = VideoStore(store.name, counting, store.videos, store.chunk_frames)
    counted.frames(0, range(70, 86))
    counted.density(0, 85)
    assert taken == [2]


@pytest.mark.parametrize("layout", ["stavis", "scdl"])
def test_a_gated_model_trains_on_all_six(layout: str, built: dict[str, pathlib.Path], tmp_path: pathlib.Path):
    lines = train_on_fold("six", built[layout], tmp_path)
    assert [line["step"] for line in lines] == [1, 2]
    assert all(np.isfinite(line["loss"]) and line["kl"] > 0 for line in lines)


def test_a_gated_model_trains_on_an_archive(tmp_path: pathlib.Path) -> None:
    manual_dir = tmp_path / "manual"
    raw_files.write_set(manual_dir, "coutrot1", VIDEOS["coutrot1"])
    write_lists(manual_dir, "coutrot1", "raw")
    datasets.build("coutrot1", tmp_path / "data", manual_dir=manual_dir)
    lines = train_on_fold("coutrot1", tmp_path / "data", tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2]
    assert all(np.isfinite(line["loss"]) and line["kl"] > 0 for line in lines)


@pytest.fixture
def without_beam() -> None:
    if importlib.util.find_spec("apache_beam"):
        pytest.skip("Beam is installed")


def test_beam_is_asked_for_by_name(small: pathlib.Path, without_beam: None, capsys: pytest.CaptureFixture):
    options = ("--dataset=summe", f"--manual_dir={small}/manual", f"--data_dir={small}/data")
    assert command(*options, "--beam_pipeline_options=") == 2
    assert capsys.readouterr().err == 'error: Beam is not installed: run `pip install "avsd-jax[beam]"`\n'


@pytest.mark.slow
def test_beam_and_stock_tfds_build_the_same(small: pathlib.Path):
    """In processes of their own: Beam and TensorFlow warn of much, and nothing here may import the latter.

    TFDS's own command is run where the whole extra is installed.
    """
    if not importlib.util.find_spec("apache_beam"):
        pytest.skip("the extra `beam` is not installed")
    manual = f"--manual_dir={small}/manual"
    module = [sys.executable, "-m", "avsd_jax.datasets", "build", "--dataset=summe", manual]
    builder = pathlib.Path(__file__).parents[2] / "datasets_tfds/summe"
    tfds_build = [sys.executable, "-m", "tensorflow_datasets.scripts.cli.main", "build", str(builder), manual]
    engine = "--beam_pipeline_options=runner=DirectRunner,direct_num_workers=2,direct_running_mode=multi_processing"
    commands = {
        "one": [*module, "--workers=1"],
        "beam": [*module, engine],
    }
    if importlib.util.find_spec("tensorflow"):
        commands |= {"tfds": tfds_build, "tfds_beam": [*tfds_build, engine]}
    indices = {}
    for name, words in commands.items():
        done = subprocess.run([*words, f"--data_dir={small / name}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        store = open_store("summe", "all", small / name)
        indices[name] = [*store.videos, *(store.frames(video, [5])[0].tolist() for video in range(3))]
    assert all(index == indices["one"] for index in indices.values())
    picture = folder(small / "manual", "summe", VIDEOS["summe"][0], "stavis", "frames") / "img_00003.jpg"
    picture.write_bytes(picture.read_bytes()[:-30])
    words = [*commands["beam"], f"--data_dir={small}/broken"]
    failed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == f"error: {picture} is truncated: restore the file"
    assert not files_below(small / "broken")

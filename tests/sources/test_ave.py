"""AVE: from small synthetic files of its download through the command line to batches, a step and clear errors."""

import importlib.util
import pathlib
import re
import shutil
from collections.abc import Callable

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from media_files import read_stamp, regular, write_video
from ml_collections import ConfigDict

from avsd_jax import datasets, evaluate, main
from avsd_jax.batch import step_inputs, zeros
from avsd_jax.common.parallel import make_mesh
from avsd_jax.data import catalog, pipeline, schema, target_maps
from avsd_jax.data.catalog import open_store
from avsd_jax.errors import InputError
from avsd_jax.experiment.comparison import derive
from avsd_jax.runs.components import Inference
from avsd_jax.runs.stores import training_store
from avsd_jax.sources import ave
from avsd_jax.training import loop
from avsd_jax.training.metric_writer import read_scalars

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
NAME = "ave/size-128x96"
FPS, FRAMES = 5, 15
BELL, SPEECH, PAN, HORSE = "RUhOCu3LNXM", "-a_B-c0dEfG", "__frying__0", "horse000000"
LINES = {
    BELL: "Church bell&RUhOCu3LNXM&good&0&10",
    SPEECH: "Male speech, man speaking&-a_B-c0dEfG&good&1&2",
    PAN: "Frying (food)&__frying__0&bad&2&3",
    HORSE: "Horse&horse000000&good&0&1",
}
HEADER = "Category&VideoID&Quality&StartTime&EndTime"
LABELS = {BELL: [1] * 15, SPEECH: [0] * 5 + [1] * 5 + [0] * 5, PAN: [0] * 10 + [1] * 5, HORSE: [1] * 5 + [0] * 10}


def write_lists(folder: pathlib.Path) -> None:
    """The lists as they come: the annotations alone have a header."""
    texts = {
        "Annotations.txt": [HEADER, *LINES.values(), "Goat&nowhere0000&good&0&10"],
        "trainSet.txt": [LINES[SPEECH], LINES[BELL]],
        "valSet.txt": [HEADER, LINES[PAN]],
        "testSet.txt": [LINES[HORSE], ""],
    }
    for name, lines in texts.items():
        (folder / name).write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A `manual_dir` with the folder as unpacked: videos of three seconds, of two sizes and audio rates."""
    root = tmp_path_factory.mktemp("download")
    folder = root / "AVE_Dataset"
    (folder / "AVE").mkdir(parents=True)
    for number, video in enumerate(LINES):
        size, rate = ((96, 128), 44_100) if number % 2 else ((180, 240), 16_000)
        write_video(folder / f"AVE/{video}.mp4", regular(FRAMES, FPS), size=size, rate=rate)
    write_lists(folder)
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


def test_what_the_files_say_is_what_is_read(built: pathlib.Path):
    stores = {split: open_store(NAME, split, built) for split in ("train", "val", "test", "all")}
    ids = {split: [video.id for video in store.videos] for split, store in stores.items()}
    assert ids == {"train": [SPEECH, BELL], "val": [PAN], "test": [HORSE], "all": sorted(LINES)}
    tags = {video.id: video.tags for video in stores["all"].videos}
    assert tags == {BELL: ("Church bell",), SPEECH: ("Male speech",), PAN: ("Frying (food)",), HORSE: ("Horse",)}
    for number, video in enumerate(stores["all"].videos):
        assert stores["all"].avc_label(number).tolist() == LABELS[video.id]
        assert (video.fps, video.num_frames, video.height, video.width) == (FPS, FRAMES, 96, 128)
        frames = stores["all"].frames(number, range(FRAMES))
        assert [read_stamp(frame) for frame in frames] == list(range(FRAMES))
        assert video.sample_rate == (16_000 if video.id in (BELL, PAN) else 22_050)
        assert video.num_samples / video.sample_rate == pytest.approx(3, abs=0.1)
        assert np.abs(stores["all"].audio(number, 0, 200)).max() > 5000, "the click of the first frame"
        assert not video.watched
        assert stores["all"].fixations(number, 3).shape == (0, 2)
    source = catalog.open_builder(NAME, built).as_data_source(split=tfds.core.ReadInstruction("all"))
    assert len(source) == 4


@pytest.mark.parametrize(
    ("events", "fps", "expected"),
    [
        ([(0, 10)], 2.0, [1, 1, 1, 1, 1, 1]),
        ([(1, 2)], 2.0, [0, 0, 1, 1, 0, 0]),
        ([(1, 2)], 3.0, [0, 0, 0, 1, 1, 1]),
        ([(0, 1), (2, 3)], 2.0, [1, 1, 0, 0, 1, 1]),
        ([(7, 9)], 2.0, [0] * 6),
    ],
)
def test_a_frame_is_consistent_when_its_time_is_in_an_event(events, fps: float, expected: list[int]):
    assert ave.labels([ave.Event("Goat", *times) for times in events], 6, fps).tolist() == expected


def test_the_frames_size_is_part_of_the_name(download: pathlib.Path, tmp_path: pathlib.Path):
    sizes = {name: catalog.load_builder(name, tmp_path).settings["size"] for name in ("ave", "ave/size-own", NAME)}
    assert sizes == {"ave": (400, 400), "ave/size-own": None, NAME: (96, 128)}
    with pytest.raises(InputError, match="ave has no config 'size-0x3': write size-WIDTHxHEIGHT"):
        catalog.load_builder("ave/size-0x3", tmp_path)
    folder = ave.find(download)
    listed = ave.read_lists(folder).videos[BELL]
    for size, expected in (((400, 400), (400, 400, 3)), (None, (180, 240, 3))):
        frames = [schema.decode_jpeg(data) for data in ave.read(folder, listed, size).frames]
        assert {frame.shape for frame in frames} == {expected}
        assert [read_stamp(frame) for frame in frames] == list(range(FRAMES))


def test_a_video_of_several_events_has_the_tags_of_all(download: pathlib.Path, tmp_path: pathlib.Path):
    folder = copy_of(download / "AVE_Dataset", tmp_path / "manual")
    more = f"Goat&{BELL}&good&4&5"
    append(folder / "Annotations.txt", more)
    append(folder / "testSet.txt", more, LINES[PAN].replace("&2&", "&0&"))
    lists = ave.read_lists(ave.find(folder))
    assert lists.videos[BELL].tags == ("Church bell", "Goat")
    assert lists.videos[BELL].events[1] == ave.Event("Goat", 4, 5)
    assert lists.splits["test"] == (HORSE, BELL, PAN)
    assert lists.splits["all"] == tuple(sorted(LINES))
    assert f"testSet.txt differs from Annotations.txt, which counts, in {PAN}" in lists.oddities
    assert f"in several lists: {BELL}, {PAN}" in lists.oddities
    assert "trainSet.txt names 2 events, the published list 3339" in lists.oddities


def copy_of(folder: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    shutil.copytree(folder, target, copy_function=lambda old, new: pathlib.Path(new).hardlink_to(old))
    for text in target.glob("*.txt"):  # not the same file any more
        content = text.read_text()
        text.unlink()
        text.write_text(content)
    return target


def append(path: pathlib.Path, *lines: str) -> None:
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))


def silent(path: pathlib.Path) -> None:
    path.unlink()
    write_video(path, regular(FRAMES, FPS), sound=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "Annotations.txt").unlink(), r"Annotations\.txt is missing, .*: unpack AVE_Dataset there"),
        (lambda f: (f / "valSet.txt").unlink(), r"valSet\.txt is missing: unpack AVE_Dataset there"),
        (lambda f: (f / "valSet.txt").write_text(HEADER), r"valSet\.txt lists no video: restore the file"),
        (lambda f: append(f / "testSet.txt", "Goat&x&good&0"), r"testSet\.txt, line 3: 'Goat&x&good&0' is not categ"),
        (lambda f: append(f / "testSet.txt", "Goat&x&good&0&1.5"), r"testSet\.txt, line 3: .* in whole seconds: fix"),
        (lambda f: append(f / "testSet.txt", "Goat&x&good&2&2"), r"line 3: the event ends at 2 s and begins at 2 s"),
        (
            lambda f: append(f / "Annotations.txt", "Tuba&x&good&0&1"),
            r"Annotations\.txt, line 7: 'Tuba' is no",
        ),
        (lambda f: append(f / "testSet.txt", "Goat&../x&good&0&1"), r"testSet\.txt, line 3: '\.\./x' is not a plain"),
        (lambda f: append(f / "testSet.txt", "Goat&x&good&0&1"), r"line 3: 'x' is not in Annotations\.txt: rest"),
        (lambda f: (f / f"AVE/{BELL}.mp4").unlink(), rf"{BELL}\.mp4 is missing \(.*trainSet\.txt, line 2\): put it"),
        (lambda f: silent(f / f"AVE/{PAN}.mp4"), rf"{PAN}\.mp4 has no audio track \(.*valSet\.txt, line 2\): put one"),
        (lambda f: (f / f"AVE/{PAN}.mp4").unlink() or (f / f"AVE/{PAN}.mp4").write_text("x"), rf"{PAN}\.mp4 cannot be"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    change: Callable, message: str, download: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    folder = copy_of(download / "AVE_Dataset", tmp_path / "manual")
    change(folder)
    assert build(folder, tmp_path / "data") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error), error
    assert not list((tmp_path / "data").rglob("*.array_record*"))


def test_videos_that_lack_a_file_are_left_out_on_request(
    download: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    folder = copy_of(download / "AVE_Dataset", tmp_path / "manual")
    (folder / f"AVE/{BELL}.mp4").unlink()
    append(folder / "testSet.txt", LINES[PAN])
    silent(folder / f"AVE/{HORSE}.mp4")
    assert build(folder, tmp_path / "data", "--skip_missing") == 0
    out = capsys.readouterr().out
    assert f"skipped {BELL}: " in out
    assert f"skipped {HORSE}: " in out
    for split, expected in (("train", [SPEECH]), ("test", [PAN]), ("all", sorted([SPEECH, PAN]))):
        assert [video.id for video in open_store(NAME, split, tmp_path / "data").videos] == expected


def test_check_and_list_know_it(
    built: pathlib.Path, download: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    check = ["check", "--workers=1", f"--data_dir={tmp_path}"]
    assert datasets.main([*check, "--dataset=ave", f"--manual_dir={download}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ave: layout AVE_Dataset; 4 videos, of which 4 are listed and 4 complete"
    for line in (
        "  frames: 60",
        "  sizes: 128x96 in 2, 240x180 in 2",
        "  labels: 4 videos, 60 frames",
        "  note: valSet.txt names 1 events, the published list 402",
        "  note: audio of 2 channels: mixed down (" + "; ".join(sorted(LINES)) + ")",
    ):
        assert line in lines
    assert not any("empty maps" in line for line in lines)
    folder = copy_of(download / "AVE_Dataset", tmp_path / "manual")
    (folder / f"AVE/{PAN}.mp4").rename(folder / "AVE/other.mp4")
    append(folder / "trainSet.txt", "Tuba&x&good&0&1")
    assert datasets.main([*check, f"--manual_dir={folder}"]) == 2
    out = capsys.readouterr().out
    assert "ave: layout AVE_Dataset; 4 videos, of which 0 are listed" in out
    assert "trainSet.txt, line 3: 'Tuba' is no category of AVE" in out
    write_lists(folder)
    assert datasets.main([*check, "--dataset=ave", f"--manual_dir={folder}"]) == 2
    out = capsys.readouterr().out
    assert f"  problem: {PAN}: " in out
    assert "  note: in no list: skipped (other)" in out.splitlines()
    assert datasets.main(["list", f"--data_dir={built}"]) == 0
    out = capsys.readouterr().out
    assert "ave/default: frames of 400x400 pixels, as STANet's are [not built" in out
    assert f"{NAME}: frames of 128x96 pixels [train 2 videos, 30 frames; val 1 videos, 15 frames" in out


def paper(name: str, data_dir: pathlib.Path) -> ConfigDict:
    """The variant `paper` of a configuration, unlocked, with networks of a few channels and one step."""
    spec = importlib.util.spec_from_file_location(f"{name}_config", CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config("paper").unlock()
    assert config.dataset == "ave"
    config.dataset, config.data_dir, config.tensorboard = NAME, str(data_dir), False
    config.model.width, config.frame_size, config.batch_size, config.total_steps = 1 / 32, (32, 32), 2, 1
    return config


def first_classifier(data_dir: pathlib.Path, workdir: pathlib.Path) -> ConfigDict:
    rows = {row.name: row.config for row in derive(paper("scam", data_dir).lock(), workdir)}
    config = rows["coarse_s"].unlock()
    config.model.depths, config.frame_size = (1, 1, 1), (32, 32)
    return config.lock()


def test_the_classifiers_of_tags_are_told_its_categories(built: pathlib.Path, tmp_path: pathlib.Path):
    config = first_classifier(built, tmp_path)
    assert config.model.num_tags == len(config.tags) == len(set(config.tags)) == 28
    assert list(config.tags) == sorted(config.tags)
    store = target_maps.ignore_gaze(open_store(NAME, "train", built))
    batch = next(pipeline.eval_batches(store, Inference.from_config(config).spec, batch_size=2, stride=FRAMES))
    told = [[config.tags[k] for k in np.flatnonzero(present)] for present in batch["tags"]]
    assert told == [["Male speech"], ["Church bell"]]
    assert batch["avc_label"].tolist() == [0, 1]


@pytest.mark.slow
def test_a_classifier_of_tags_takes_a_step_on_it(built: pathlib.Path, tmp_path: pathlib.Path):
    store = target_maps.ignore_gaze(open_store(NAME, "train", built))
    loop.train(first_classifier(built, tmp_path), tmp_path / "run", store=store, mesh=make_mesh(jax.devices()[:1]))
    assert np.isfinite(read_scalars(tmp_path / "run/metrics.jsonl")[0]["loss"])


def test_stanet_is_given_maps_of_it(built: pathlib.Path, tmp_path: pathlib.Path):
    config = paper("stanet", built)
    config.target_maps = str(tmp_path / "maps")
    target_maps.write_map(tmp_path / "maps", SPEECH, 7, np.pad(np.full((4, 4), 255, np.uint8), 8))
    target_maps.write_map(tmp_path / "maps", BELL, 2, np.pad(np.full((4, 4), 255, np.uint8), 8))
    target_maps.write_record(tmp_path / "maps", NAME, "train", {})
    batch = next(
        pipeline.train_batches(training_store(config), Inference.from_config(config).spec, batch_size=2, seed=0)
    )
    assert sorted(batch["frame_index"]) == [2, 7]
    assert batch["density"].max(axis=(1, 2)).tolist() == [1, 1]
    assert jax.tree.map(np.shape, step_inputs(batch)) == jax.tree.map(
        np.shape, zeros(Inference.from_config(config).spec, 2)
    )


def test_what_nobody_watched_is_not_scored_nor_trained_on_as_if_somebody_had(
    built: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "predictions" / HORSE).mkdir(parents=True)
    where = [f"--predictions={tmp_path / 'predictions'}", f"--dataset={NAME}", f"--data_dir={built}"]
    assert evaluate.main(where) == 2
    nobody = f"{NAME} test lacks eye-tracking data (for 1 of 1 videos, such as '{HORSE}'): "
    assert f"error: {nobody}score on a dataset with eye-tracking data" in capsys.readouterr().err
    config = paper("stanet", built)
    with pytest.raises(
        InputError, match=r"test lacks eye-tracking data .* train with --mode=train, and score on a dataset"
    ):
        main.run(config.lock(), tmp_path / "run")
    config.unlock().target_maps = ""
    with pytest.raises(InputError, match=r"train lacks eye-tracking data .* set target_maps to a folder"):
        training_store(config)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions"]
    with pytest.raises(InputError, match=f"video '{HORSE}' has no eye-tracking data"):
        open_store(NAME, "test", built).density(0, 3)

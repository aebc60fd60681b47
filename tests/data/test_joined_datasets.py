"""Several datasets as one: joined by name, trained on together, scored one by one."""

import dataclasses
import pathlib
from collections.abc import Iterator

import devices
import jax
import numpy as np
import pytest
import stavis_files
from config_files import CONFIGS, load
from tiny_run import HELPERS, add_extra_models, tiny_config
from videos import memory_store, source_video

import datasets_tfds
from avsd_jax import datasets, main
from avsd_jax.data import dataset_names
from avsd_jax.data.catalog import open_store
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.pipeline import train_batches
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.experiment import report

TINY, MORE = "sounding_shapes/tiny", "more_shapes/tiny"
BOTH = f"{TINY},{MORE}"


@pytest.fixture(scope="module")
def data_dir(tiny_data_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """The data folder of the other tests, with a second dataset."""
    with pytest.MonkeyPatch.context() as patch:
        # A dataset is a folder in the package's path.
        patch.setattr(datasets_tfds, "__path__", [*datasets_tfds.__path__, str(HELPERS / "extra_datasets")])
        datasets.build(MORE, tiny_data_dir)
        yield tiny_data_dir


def test_names_stand_for_datasets() -> None:
    assert dataset_names.members("diem") == ("diem",)
    assert dataset_names.members("diem, sounding_shapes/tiny") == ("diem", "sounding_shapes/tiny")
    assert dataset_names.members(["avad", "etmd"]) == ("avad", "etmd")
    assert dataset_names.members("six") == ("diem", "avad", "coutrot1", "coutrot2", "summe", "etmd")
    assert dataset_names.members("six/maps-gaze")[2] == "coutrot1/maps-gaze"
    for wrong in ("", (), "diem,diem", "six,etmd"):
        with pytest.raises(InputError, match="name each once"):
            dataset_names.members(wrong)


def test_a_joined_store_holds_what_its_parts_hold() -> None:
    videos = {
        "left": [source_video("clip1", num_frames=9, seed=1), source_video("clip2", num_frames=23, num_samples=0)],
        "none": [],
        "right": [source_video("clip1", num_frames=17, size=(48, 32), sample_rate=16000, seed=2)],
    }
    parts = {name: memory_store(of, chunk_frames=4 + len(of)) for name, of in videos.items()}
    joined = VideoStore.join("all", parts)
    assert [video.id for video in joined.videos] == ["left/clip1", "left/clip2", "right/clip1"]
    assert joined.parts == {"left": range(2), "none": range(2, 2), "right": range(2, 3)}
    for name, positions in joined.parts.items():
        for own, video in enumerate(positions):
            index, part = joined.videos[video], parts[name]
            assert dataclasses.replace(index, id=part.videos[own].id) == part.videos[own]
            everything = range(index.num_frames)
            np.testing.assert_array_equal(joined.frames(video, everything), part.frames(own, everything))
            for frame in everything:
                np.testing.assert_array_equal(joined.density(video, frame), part.density(own, frame))
                np.testing.assert_array_equal(joined.fixations(video, frame), part.fixations(own, frame))
            np.testing.assert_array_equal(joined.audio(video, -5, 50_000), part.audio(own, -5, 50_000))
            np.testing.assert_array_equal(joined.avc_label(video), part.avc_label(own))
    with pytest.raises(IndexError, match="all: video 'right/clip1' has no frame 17"):
        joined.density(2, 17)


def test_an_epoch_of_joined_datasets_holds_every_video_once(data_dir: pathlib.Path) -> None:
    stores = [open_store(BOTH, "train", data_dir), open_store((TINY, MORE), "train", str(data_dir))]
    assert stores[0].videos == stores[1].videos
    assert [store.name for store in stores] == [f"{BOTH} train"] * 2
    assert stores[0].parts == {"sounding_shapes": range(4), "more_shapes": range(4, 6)}
    assert len({video.id for video in stores[0].videos}) == 6
    spec = ClipSpec(8, (32, 48), audio=False)
    batches = list(train_batches(stores[0], spec, batch_size=3, seed=0, num_epochs=2))
    epochs = np.concatenate([batch["video_index"] for batch in batches]).reshape(2, 6)
    assert np.sort(epochs).tolist() == [list(range(6))] * 2


def test_one_message_names_every_dataset_that_is_not_prepared(tmp_path: pathlib.Path, data_dir: pathlib.Path) -> None:
    with pytest.raises(InputError) as error:
        open_store(BOTH, "train", tmp_path)
    assert str(error.value) == (
        f"datasets {TINY}, {MORE} are not built in '{tmp_path}': run `python -m avsd_jax.datasets build "
        f"--dataset={BOTH} --data_dir={tmp_path}`, or train with --config.build_data=True"
    )
    with pytest.raises(InputError, match="dataset 'sounding_shapes/default' is not built .*--dataset=sounding_sh"):
        open_store(f"{TINY},sounding_shapes/default", "train", data_dir)
    with pytest.raises(InputError, match=r"diem, avad, .*, etmd are .*=diem,avad,.*,etmd .* --manual_dir=DIR`, with"):
        open_store("six", "train_1", tmp_path)
    with pytest.raises(InputError, match="unknown dataset 'shapes'"):
        open_store(f"{TINY},shapes", "train", data_dir)
    with pytest.raises(InputError, match=f"dataset '{TINY}' has no split 'train_1'"):
        open_store(BOTH, "train_1", data_dir)


@pytest.mark.slow
def test_one_run_trains_on_all_and_scores_each(
    tmp_path: pathlib.Path, data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_extra_models()
    devices.train_on_one(monkeypatch)
    config = tiny_config(data_dir, dataset=BOTH, build_data=True, total_steps=2, eval_stride=6, audit=False)
    record = main.run(config, tmp_path)
    real = record["rows"][0]["conditions"]["real"]
    assert list(real["datasets"]) == ["sounding_shapes", "more_shapes"]
    assert len(real["videos"]) == 5
    assert {name.partition("/")[0] for name in real["videos"]} == set(real["datasets"])
    assert [each["counts"]["frames"]["all"] for each in real["datasets"].values()] == [21, 10]
    assert real["counts"]["frames"]["all"] == 31
    for title in ("sounding_shapes: All frames (21)", "more_shapes: All frames (10)"):
        assert f"### {title}" in (tmp_path / "report.md").read_text()
        assert title in report.table(record)
    # What was trained on both is scored on one alone.
    one = tiny_config(data_dir, dataset=MORE, eval_stride=6, audit=False)
    alone = main.run(one, tmp_path, "eval")["rows"][0]["conditions"]["real"]
    joined = real["datasets"]["more_shapes"]
    assert "datasets" not in alone
    assert alone["counts"] == joined["counts"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), alone["scores"], joined["scores"])


@pytest.mark.slow
def test_the_six_sets_are_one_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_extra_models()
    devices.train_on_one(monkeypatch)
    manual_dir, data_dir = tmp_path / "manual", tmp_path / "data"
    for name in dataset_names.SETS:
        stavis_files.write_set(manual_dir, name)
    command = ["build", "--dataset=six", f"--manual_dir={manual_dir}", f"--data_dir={data_dir}", "--workers=1"]
    assert datasets.main(command) == 0
    ids = [video.id for video in open_store("six", "train_1", data_dir).videos]
    assert len(ids) == len(set(ids)) == 12
    assert {"coutrot1/clip1", "coutrot2/clip1"} < set(ids)
    names = {"dataset": "six", "train_split": "train_1", "test_split": "test_1"}
    stavis = {"sampler": "stavis", "preprocessing": "stavis", "flip": True}
    config = tiny_config(data_dir, **names, **stavis, total_steps=2, eval_stride=4, audit=False)
    real = main.run(config, tmp_path / "run")["rows"][0]["conditions"]["real"]
    assert list(real["datasets"]) == list(dataset_names.SETS)
    # Of 12 frames the fifth and the ninth: the first half of a clip before them is not predicted.
    assert [each["counts"]["frames"]["all"] for each in real["datasets"].values()] == [2] * 6
    assert list(real["videos"]) == [f"{name}/{stavis_files.VIDEOS[name][2]}" for name in dataset_names.SETS]


def test_the_published_recipe_trains_on_six_sets_of_one_split() -> None:
    config = load(CONFIGS / "avinet.py").get_config("paper")
    assert (config.dataset, config.train_split, config.test_split) == ("six", "train_1", "test_1")
    config.split = 3
    assert (config.train_split, config.test_split) == ("train_3", "test_3")
    config.test_split = "all"
    assert (config.train_split, config.test_split) == ("train_3", "all")
    demo = load(CONFIGS / "avinet.py").get_config("comparison")
    assert (demo.train_split, demo.test_split) == ("train", "test")
    with pytest.raises((AttributeError, KeyError)):
        demo.split = 2

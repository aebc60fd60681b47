"""From the owners' archives to a prepared dataset, and to a trained model."""

import pathlib

import numpy as np
import pytest
from media_files import read_stamp
from raw_files import write_set
from stavis_files import FRAMES, VIDEOS, write_lists

from avsd_jax import datasets
from avsd_jax.data import dataset_names
from avsd_jax.data.catalog import open_store
from avsd_jax.errors import InputError
from avsd_jax.sources import label_files

# Middle of the image in which gaze is given: the plane of maps.
MIDDLES = {"diem": None, "coutrot1": (360, 288), "coutrot2": (360, 288), "summe": (31.5, 23.5), "etmd": (31.5, 23.5)}


@pytest.mark.parametrize("dataset", MIDDLES)
def test_a_set_is_built_from_its_archive(dataset: str, tmp_path: pathlib.Path) -> None:
    manual_dir, data_dir = tmp_path / "manual", tmp_path / "data"
    write_set(manual_dir, dataset, VIDEOS[dataset])
    write_lists(manual_dir, dataset, "raw")
    labels = np.arange(FRAMES).astype(np.int8) % 2
    label_files.write(manual_dir / f"av_gt_label/{dataset_names.SETS[dataset].title}/{VIDEOS[dataset][0]}.csv", labels)
    assert datasets.build(dataset, data_dir, manual_dir=manual_dir)
    store = open_store(dataset, "all", data_dir)
    assert [video.id for video in store.videos] == sorted(VIDEOS[dataset])
    assert [len(open_store(dataset, f"{part}_2", data_dir).videos) for part in ("train", "test")] == [2, 1]
    for number, video in enumerate(store.videos):
        assert [read_stamp(frame) for frame in store.frames(number, range(FRAMES))] == list(range(FRAMES))
        x, y = MIDDLES[dataset] or ((video.map_width - 1) / 2, (video.map_height - 1) / 2)
        np.testing.assert_allclose(store.fixations(number, FRAMES - 1)[0], (x, y), atol=0.5)
        density = store.density(number, 0)
        assert density.shape == (video.map_height, video.map_width)
        assert density[int(y), int(x)] > 200 > density[0].max()
        assert video.sample_rate <= 22_050
        assert video.audio_rms > 0
    assert store.avc_label(0).tolist() == labels.tolist()
    assert set(store.avc_label(1).tolist()) == {-1}


def test_a_broken_archive_leaves_nothing(tmp_path: pathlib.Path) -> None:
    manual_dir, data_dir = tmp_path / "manual", tmp_path / "data"
    write_set(manual_dir, "etmd", VIDEOS["etmd"])
    write_lists(manual_dir, "etmd", "raw")
    broken = manual_dir / f"SumMe_ETMD/video/{VIDEOS['etmd'][1]}.mp4"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"{VIDEOS['etmd'][1]}.mp4 cannot be read as a video"):
        datasets.build("etmd", data_dir, manual_dir=manual_dir)
    left = {path.name for path in data_dir.rglob("*") if path.is_file()}
    assert left <= {".build_lock", "metadata.json"}, "what TFDS notes of the config, and no record"
    broken.unlink()
    with pytest.raises(InputError, match=f"{VIDEOS['etmd'][1]} of etmd has no video file"):
        datasets.build("etmd", data_dir, manual_dir=manual_dir)
    assert datasets.build("etmd", data_dir, manual_dir=manual_dir, skip_missing=True)
    assert [video.id for video in open_store("etmd", "all", data_dir).videos] == sorted(
        {*VIDEOS["etmd"]} - {VIDEOS["etmd"][1]}
    )

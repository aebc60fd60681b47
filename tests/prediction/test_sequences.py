"""Models that map every frame: a video file and a stored video give the same maps, in one process or several."""

import dataclasses
import json
from pathlib import Path

import cv2
import drawn
import numpy as np
import pytest
from media_files import regular, write_video
from videos import memory_store, source_video

from avsd_jax.batch import zeros
from avsd_jax.config.base import base
from avsd_jax.data.pipeline import eval_batches, train_batches
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.media.reading import probe, read_frames
from avsd_jax.prediction.predictor import Predictor
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.runs.components import Inference
from avsd_jax.training import score

FRAMES = 12


def saved(folder: Path, name: str, **model) -> Path:
    """A run's folder of seeded weights."""
    config = base(name)
    config.model.update(model)
    config.frame_size = (64, 64)
    parts = Inference.from_config(config)
    save_variables(folder, config, drawn.variables(drawn.shapes(parts.model, zeros(parts.spec))))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    tmp = tmp_path_factory.mktemp("sequences")
    return {
        "aclnet": saved(tmp / "aclnet", "aclnet", width=0.05),
        "deepvs": saved(tmp / "deepvs", "deepvs", width=0.02, clip_size=6, gap=2),
    }


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "wide.mp4", regular(FRAMES), size=(48, 96), sound=None)


@pytest.fixture(scope="module")
def store(video: Path) -> VideoStore:
    """The file's frames, lossless, and a shorter video before it."""
    whole = source_video("b", num_frames=FRAMES, size=(48, 96))
    frames = [cv2.imencode(".png", frame.image[..., ::-1])[1].tobytes() for frame in read_frames(video)]
    return memory_store([source_video("a", num_frames=7, size=(48, 96)), dataclasses.replace(whole, frames=frames)])


@pytest.mark.parametrize("name", ["aclnet", "deepvs"])
def test_a_file_gets_the_maps_of_the_stored_video(name: str, folders, video: Path, store: VideoStore, tmp_path: Path):
    predictor = Predictor(folders[name])
    info = probe(video)
    maps = {p.index: p.saliency for p in predictor.predictions(info, predictor.clips(info))}
    assert list(maps) == list(range(FRAMES))
    assert len({m.tobytes() for m in maps.values()}) == FRAMES
    few = [p.index for p in predictor.predictions(info, predictor.clips(info, stride=5))]
    assert few == [0, 5, 10]

    predict = score.make_predict_fn(Inference.from_config(predictor.config).model, predictor._variables)
    seen = {}
    for batch in eval_batches(store, predictor.spec, batch_size=4, stride=1):
        for number, shown, found in zip(batch["frame_index"], batch["mask"], predict(batch)["saliency"], strict=True):
            if shown:
                seen[int(batch["video_index"][0]), int(number)] = found
    assert list(seen) == [(0, i) for i in range(7)] + [(1, i) for i in range(FRAMES)]
    for index, found in maps.items():
        np.testing.assert_allclose(seen[1, index], found, atol=1e-5)

    result = predictor.run(video, tmp_path / "out", maps="npz", stride=5, progress=False)
    written = np.load(tmp_path / "out/maps/000000.npz")["saliency"]
    assert result.num_frames == len(written) == FRAMES
    part = predictor.spec.preprocessing.frame_part(maps[5], (48, 96))
    np.testing.assert_allclose(written[5], part, atol=1e-5)
    for chosen, stride in (("5:11:3", 1), ("7:10", 1), ("9:11", 5)):
        predictor.run(video, tmp_path / "part", maps="npz", frames=chosen, stride=stride, progress=False)
        found = np.load(tmp_path / "part/maps" / f"{int(chosen[0]):06d}.npz")
        assert found["frames"].tolist() == list(range(FRAMES))[slice(*map(int, chosen.split(":")))]
        for number, saliency in zip(found["frames"], found["saliency"], strict=True):
            whole = written[number] if stride > 1 else predictor.spec.preprocessing.frame_part(maps[number], (48, 96))
            np.testing.assert_allclose(saliency, whole, atol=1e-5)
    assert json.loads((tmp_path / "out/timeline.json").read_text())["num_frames"] == FRAMES


@pytest.mark.slow
def test_a_run_is_scored_on_the_chosen_frames_cut_out_of_the_canvas(folders, store, monkeypatch: pytest.MonkeyPatch):
    predictor = Predictor(folders["aclnet"])
    spec, config = predictor.spec, predictor.config.unlock()
    config.update(eval_stride=4, audit=False)
    monkeypatch.setattr(score, "scoring_store", lambda config: store)
    (record,) = score.evaluate(config, Inference.from_config(config), predictor._variables).values()
    assert record["counts"]["frames"]["all"] == 2 + 3
    assert np.isfinite(record["scores"]["all"]["NSS"])
    assert {example.prediction.shape for example in record["examples"]} == {(48, 96)}
    labels = [(store.avc_label(v)[f]) for v, f in ((0, 0), (0, 4), (1, 0), (1, 4), (1, 8))]
    assert record["counts"]["frames"]["consistent"] == labels.count(1)

    parts = [
        list(eval_batches(store, spec, batch_size=2, stride=4, process_index=i, process_count=2)) for i in range(2)
    ]
    assert [[int(b["video_index"][0]) for b in part] for part in parts] == [[0, 0], [1, 1, 1]]
    assert [b["mask"].sum() for b in parts[1]] == [2, 1, 0]  # all clips, for the state
    free = Predictor(folders["deepvs"]).spec
    assert [int(b["frame_index"][0]) for b in eval_batches(store, free, batch_size=1, stride=9)] == [0, 0, 8]


def test_targets_are_those_of_every_mapped_frame(folders, store: VideoStore):
    config = Predictor(folders["deepvs"]).config
    config.flip = True
    spec = Inference.from_config(config).spec
    batch = next(train_batches(store, spec, batch_size=4, seed=0, num_threads=0))
    assert batch["video"].shape == (4, 6, 64, 64, 3)
    assert batch["density"].shape == batch["fixations"].shape == (4, 4, 16, 16)
    for density, video, first in zip(batch["density"], batch["video_index"], batch["frame_index"], strict=True):
        last = store.videos[video].num_frames - 1
        expected = [min(first + i, last) + 1 for i in range(4)]
        expected[0] = 255 if expected[0] == 1 else expected[0]  # a map without a value above 1 counts as one in [0, 1]
        np.testing.assert_allclose(density.mean(axis=(1, 2)) * 255, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aclnet", "deepvs"])
def test_every_third_frame_is_a_sequence_and_the_three_are_interleaved(name: str, folders, video, store, tmp_path):
    """UNISAL's protocol: the maps of each phase are those of a video of its frames alone, from a file or a store."""
    frames, step = [frame.image for frame in read_frames(video)], 3
    frames = frames[:-1]  # phases of four, four and three frames
    whole = Predictor(folders[name])
    expected = [None] * len(frames)
    for phase in range(step):
        expected[phase::step] = [p.saliency for p in whole.stream(frames[phase::step])]
    predictor = Predictor(folders[name], frame_step=step)
    found = list(predictor.stream(frames))
    assert [p.index for p in found] == list(range(len(frames)))
    np.testing.assert_allclose([p.saliency for p in found], expected, atol=1e-5)
    few = [p for p in predictor.stream(frames, stride=4) if p.predicted]
    assert [p.index for p in few] == [0, 4, 8]
    np.testing.assert_allclose([p.saliency for p in few], expected[::4], atol=1e-5)

    predictor.run(video, tmp_path / "out", maps="npz", progress=False)
    written = np.load(tmp_path / "out/maps/000000.npz")["saliency"]
    assert json.loads((tmp_path / "out/timeline.json").read_text())["frame_step"] == step
    predict = score.make_predict_fn(Inference.from_config(predictor.config).model, predictor._variables)
    stored = {}
    for batch in eval_batches(store, predictor.spec, batch_size=4, stride=1, videos=[1]):
        kept = zip(batch["frame_index"], batch["mask"], predict(batch)["saliency"], strict=True)
        stored |= {int(number): maps for number, shown, maps in kept if shown}
    assert list(stored) == list(range(FRAMES))
    for index, maps in stored.items():
        part = predictor.spec.preprocessing.frame_part(maps, (48, 96))
        np.testing.assert_allclose(written[index], part, atol=1e-5)


def test_frames_that_a_sequence_cannot_be_of_are_refused():
    config = base("deepvs")
    config.frame_size = (66, 66)
    with pytest.raises(InputError, match="multiples of 4"):
        Inference.from_config(config)
    with pytest.raises(InputError, match="frame_step=5: model gbvs maps no sequences of frames"):
        Predictor(model="gbvs", frame_step=5)
    with pytest.raises(InputError, match="frame_step=0 is too small"):
        Predictor(model="gbvs", frame_step=0)

"""Ground truth in the user's folder: the same scores as from a built dataset, and what is refused or reported."""

import csv
import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image
from videos import memory_store, source_video

from avsd_jax import compare, evaluate
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.evaluation import ground_truth_folder
from avsd_jax.evaluation.ground_truth_folder import FolderTruth, inspect
from avsd_jax.scoring.ground_truth import GroundTruth

TINY = "sounding_shapes/tiny"
SIZE = (20, 30)


@pytest.fixture(scope="module")
def made() -> VideoStore:
    """Two videos of 5 and 6 frames with fixations in every frame but one, by up to two viewers."""
    videos = [source_video(v, num_frames=n, size=SIZE, seed=n) for v, n in (("a", 5), ("b", 6))]
    first = np.array([[0, 1, 4, 5]], np.float32)
    return memory_store([dataclasses.replace(v, fixations=np.concatenate([first, v.fixations])) for v in videos])


def plane(store: VideoStore, video: int, frame: int) -> np.ndarray:
    """A density with a ramp, so that it is not constant."""
    return (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 97 + 1 + frame + video).astype(np.uint8)


def mask(store: VideoStore, video: int, frame: int) -> np.ndarray:
    values = np.zeros((store.videos[video].map_height, store.videos[video].map_width), np.uint8)
    x, y = store.fixations(video, frame).T.astype(int)
    values[y, x] = 255
    return values


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_csv(path: Path, rows: Any, header: str = "frame,x,y") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def points(store: VideoStore, video: int, first: int = 0, viewers: bool = False) -> list[list[float]]:
    return [
        [frame + first, x, y, *([int(viewer)] if viewers else [])]
        for frame in range(store.videos[video].num_frames)
        for viewer, x, y in store.viewer_rows(video, frame).tolist()
    ]


def write(store: VideoStore, root: Path, first: int = 0, planes: Callable = plane) -> Path:
    """By kind, with maps as images and fixations as CSV."""
    for video, known in enumerate(store.videos):
        for frame in range(known.num_frames):
            save(root / "maps" / known.id / f"{frame + first:04d}.png", planes(store, video, frame))
        write_csv(root / "fixations" / f"{known.id}.csv", points(store, video, first))
    return root


def content(folder: Path, **options: Any) -> tuple[list[list[Any]], tuple[str, list[str]]]:
    store = FolderTruth(folder, **options)
    told = inspect(store)
    frames = [(v, f) for v, known in enumerate(store.videos) for f in range(known.num_frames)]
    return [[store.density(v, f).tolist(), store.fixations(v, f).tolist()] for v, f in frames], told


def test_a_folder_scores_as_the_built_dataset_does_and_is_compared(tiny_data_dir: Path, tmp_path: Path) -> None:
    built = open_store(TINY, "test", tiny_data_dir)
    truth = write(built, tmp_path / "mine", planes=lambda store, video, frame: store.density(video, frame))
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        for known in built.videos:
            for frame in range(0, known.num_frames, 10):
                save(tmp_path / name / known.id / f"{frame:06d}.png", rng.integers(0, 255, (64, 96)).astype(np.uint8))
    ours = [
        evaluate.evaluate([tmp_path / n], None, ground_truth=truth, out=tmp_path / f"{n}-out", progress=False)
        for n in ("one", "two")
    ]
    theirs = evaluate.evaluate(
        [tmp_path / "one"], TINY, data_dir=tiny_data_dir, out=tmp_path / "built-out", progress=False
    )
    assert ours[0]["scores"]["all"] == theirs["scores"]["all"]
    assert ours[0]["ground_truth"] == theirs["ground_truth"]
    assert {k: v for k, v in ours[0]["dataset"].items() if k != "digest"} == {
        "name": "ground_truth=mine",
        "version": "",
        "splits": ["all"],
        "options": {"folder": str(truth), "layout": "numbered", "first_frame": {"maps": 0, "fixations": 0}},
    }
    assert ours[0]["dataset"]["digest"] == ours[1]["dataset"]["digest"]
    assert ours[0]["counts"]["unlabelled"] == ours[0]["coverage"]["scored"] == 12
    assert compare.main([str(tmp_path / "one-out"), str(tmp_path / "two-out")]) == 0
    save(truth / "maps" / built.videos[0].id / "0003.png", np.full((64, 96), 9, np.uint8))
    evaluate.evaluate([tmp_path / "two"], None, ground_truth=truth, out=tmp_path / "two-out", progress=False)
    assert compare.main([str(tmp_path / "one-out"), str(tmp_path / "two-out")]) == 2


def test_every_form_holds_the_same(made: VideoStore, tmp_path: Path) -> None:
    expected, (digest, _) = content(write(made, tmp_path / "csv"))
    assert content(write(made, tmp_path / "from 1", first=1))[0] == expected
    for form in ("masks", "volumes", "by video", "table"):
        root = tmp_path / form
        for video, known in enumerate(made.videos):
            frames = range(known.num_frames)
            planes = [plane(made, video, f) for f in frames]
            masks = [mask(made, video, f) for f in frames]
            if form == "volumes":
                (root / "maps").mkdir(parents=True, exist_ok=True)
                (root / "fixations").mkdir(exist_ok=True)
                np.savez(root / "maps" / f"{known.id}.npz", saliency=np.stack(planes) / 255.0)
                volume = np.stack(masks, axis=-1) > 0
                scipy.io.savemat(root / "fixations" / f"{known.id}.mat", {"masks": volume.astype(np.uint8)})
                continue
            base = root / known.id
            for frame in frames:
                save(
                    (base / "maps" if form != "masks" else root / "maps" / known.id) / f"{frame:03d}.png", planes[frame]
                )
                if form == "masks":
                    save(root / "fixation" / known.id / f"{frame:03d}.png", masks[frame])
                elif form == "by video":
                    (base / "fixations").mkdir(exist_ok=True)
                    scipy.io.savemat(base / "fixations" / f"fixMap_{frame:05d}.mat", {"I": masks[frame]})
            if form == "table":
                scipy.io.savemat(
                    base / "fixations.mat", {"fixations": np.array(points(made, video, viewers=True), float)}
                )
        found, (other, _) = content(root)
        assert [[density, sorted(each)] for density, each in found] == [
            [density, sorted(each)] for density, each in expected
        ], form
    store = FolderTruth(tmp_path / "table")
    assert [video.num_viewers for video in store.videos] == [2, 2]
    assert digest == content(tmp_path / "csv")[1][0] != other  # the table names the viewers
    assert GroundTruth(store).digest(0) == GroundTruth(FolderTruth(tmp_path / "masks")).digest(0)


def test_what_is_odd_is_told(made: VideoStore, tmp_path: Path) -> None:
    root = write(made, tmp_path / "mine")
    save(root / "maps" / "a" / "0001.png", np.full(SIZE, 7, np.uint8))
    save(root / "maps" / "a" / "0002.png", np.zeros(SIZE, np.uint8))
    write_csv(root / "fixations" / "b.csv", [[0, 3, 3], [1, 30, 3], [2, 3, -2], [3, 29, 19], [6, 3, 3]])
    write_csv(root / "fixations" / "c.csv", [[0, 3, 3]])
    np.savez(root / "maps" / "d.npz", saliency=np.zeros((1, *SIZE)))
    said = "\n".join(pytest.raises(InputError, content, root).value.args)
    assert "mixes layouts" in said
    (root / "maps" / "d.npz").unlink()
    said = "\n".join(content(root)[1][1])
    for words in (
        "fixations of no video with density maps: c.csv",
        "frames of maps are counted from 0 (video 'a' has number 0)\n",
        "frames of fixations are counted from 0 (video 'a' has number 0); --ground_truth_first_frame=1 if not",
        "1 constant density maps, for which most metrics do not exist: a, frames 1",
        "1 density maps that are zero in frames with fixations: the two contradict each other: a, frames 2",
        "5 density maps of frames without fixations (made of several frames, or are fixations missing?): a, frames 3; "
        "b, frames 1-2, 4-5",
        "2 fixations outside the image are ignored: 2 of video b",
        "1 fixations before the start or past the end of the video are ignored: 1 of video b",
    ):
        assert words in said, words


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a gap": (lambda r: (r / "maps/a/0002.png").unlink(), "video 'a' lacks the density map number 2"),
    "another size": (
        lambda r: save(r / "maps/b/0003.png", np.ones((20, 31), np.uint8)),
        "is 20x31, the first one 20x30",
    ),
    "no fixations": (lambda r: (r / "fixations/a.csv").unlink(), "video 'a' has density maps and no fixations"),
    "two kinds": (
        lambda r: save(r / "fixations/a/0000.png", np.zeros(SIZE, np.uint8)),
        "video 'a' has fixations in .*a.csv and in .*a: keep one",
    ),
    "from 1": (
        lambda r: (
            write_csv(r / "fixations/a.csv", [[1, 2, 2], [5, 2, 2]])
            or (r / "fixations/b.csv").write_text("frame,x,y\n")
        ),
        "density maps count frames from 0 .* and fixations from 1",
    ),
    "mixed": (
        lambda r: os.rename(r / "maps/a/0000.png", r / "maps/a/0005.png"),
        "of video 'b' are numbered from 0 and of 'a' from 1",
    ),
    "a header": (lambda r: write_csv(r / "fixations/a.csv", [], "t,x,y"), "begin it with frame,x,y"),
    "seconds": (lambda r: write_csv(r / "fixations/a.csv", [[0.5, 1, 1]]), "no number of a frame"),
    "a blink": (lambda r: write_csv(r / "fixations/a.csv", [[0, "nan", 1]]), "not finite"),
    "words": (lambda r: write_csv(r / "fixations/a.csv", [[0, "left", 1]]), "line 2 is '0,left,1'"),
    "nothing seen": (
        lambda r: [(r / f"fixations/{v}.csv").write_text("frame,x,y\n") for v in "ab"],
        "no fixation inside any frame",
    ),
    "damage": (lambda r: (r / "maps/a/0001.png").write_bytes(b"no picture"), "0001.png is damaged"),
    "nothing": (lambda r: shutil.rmtree(r / "maps"), "holds no ground truth"),
}


@pytest.mark.parametrize("case", BAD)
def test_contradictions_are_refused(case: str, made: VideoStore, tmp_path: Path) -> None:
    root = write(made, tmp_path / "mine")
    spoil, words = BAD[case]
    spoil(root)
    with pytest.raises(InputError, match=words):
        content(root)


def test_other_values_than_levels_get_a_peak_of_255_and_are_counted(made: VideoStore, tmp_path: Path) -> None:
    root = write(made, tmp_path / "mine")
    shutil.rmtree(root / "maps" / "a")
    shutil.rmtree(root / "maps" / "b")
    rng = np.random.default_rng(0)
    volumes = {"a": rng.random((5, *SIZE)), "b": rng.integers(0, 4000, (6, *SIZE)).astype(np.uint16)}
    volumes["a"][3] = 0
    for video, volume in volumes.items():
        np.savez(root / "maps" / f"{video}.npz", saliency=volume)
    found, (_, said) = content(root)
    frames = [255 * (frame / (frame.max() or 1)) for volume in volumes.values() for frame in volume.astype(float)]
    for (values, _), frame in zip(found, frames, strict=True):
        np.testing.assert_allclose(values, frame, atol=0.5 + 1e-9)
    assert "10 density maps of other values than levels of 8 bits" in said[-1]
    np.savez(root / "maps" / "b.npz", saliency=-volumes["b"].astype(float))
    with pytest.raises(InputError, match="'b', frame 0, has values below 0"):
        content(root)


def test_masks_must_fit_their_maps(made: VideoStore, tmp_path: Path) -> None:
    root = write(made, tmp_path / "mine")
    for video, known in enumerate(made.videos):
        (root / "fixations" / f"{known.id}.csv").unlink()
        for frame in range(known.num_frames):
            save(root / "fixations" / known.id / f"{frame:04d}.png", mask(made, video, frame))
    content(root)
    save(root / "fixations" / "a" / "0001.png", plane(made, 0, 1))
    with pytest.raises(InputError, match="0001.png has 97 levels"):
        content(root)
    save(root / "fixations" / "a" / "0001.png", np.zeros((10, 15), np.uint8))
    with pytest.raises(InputError, match=r"0001.png is 10x15 and the video's density maps 20x30"):
        content(root)
    (root / "fixations" / "a" / "0001.png").unlink()
    with pytest.raises(InputError, match=r"has 4 masks .* and video 'a' 5 density maps"):
        content(root)


@pytest.mark.slow
def test_dataset_or_folder(made: VideoStore, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    truth = write(made, tmp_path / "mine")
    both = ["--predictions=x", f"--ground_truth={truth}", f"--dataset={TINY}"]
    wrong = {
        "not both": both,
        "has no splits": [*both[:2], "--split=train"],
        "no folder": [f"--predictions={tmp_path}", f"--ground_truth={tmp_path / 'none'}"],
        "belongs to --ground_truth": ["--predictions=x", f"--dataset={TINY}", f"{ground_truth_folder.FLAG}=0"],
    }
    for words, arguments in wrong.items():
        assert evaluate.main(arguments) == 2
        assert words in capsys.readouterr().err
    other = write(made, tmp_path / "elsewhere" / "mine")
    shutil.copytree(truth / "maps", tmp_path / "maps")
    for folder, status in ((truth, 0), (truth, 0), (other, 2)):
        assert (
            evaluate.main([f"--predictions={tmp_path / 'maps'}", f"--ground_truth={folder}", "--workers=1"]) == status
        )
    assert "holds the scores of another evaluation (ground truth" in capsys.readouterr().err
    assert (tmp_path / "maps-scores-ground_truth=mine-native-all" / "scores.md").exists()

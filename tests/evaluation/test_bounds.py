"""Bounds beside a model's scores: chance, the centre of the image, one human against the others."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import memory_store, source_video

from avsd_jax import evaluate
from avsd_jax.data import density, schema
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.evaluation import bounds
from avsd_jax.evaluation.ground_truth_folder import FolderTruth
from avsd_jax.scoring import protocols
from avsd_jax.scoring.extra_metrics import centre_map, with_metrics
from avsd_jax.scoring.scorer import Predicted, Scorer

SIZE = (12, 18)
TINY = "sounding_shapes/tiny"
POINTS = [
    (0, 0, 3, 4),
    (0, 1, 9, 5),
    (0, 1, 9, 5),
    (0, 2, 15, 8),
    (1, 0, 2, 2),
    (2, 0, 5, 5),
    (2, 2, 6, 5),
    (3, 1, 1, 9),
]


def store(num_viewers: int = 3) -> VideoStore:
    """Four frames; three viewers look at the first, one at the second, two at the third, one at the last."""
    rows = np.array(POINTS, np.float32)
    if not num_viewers:
        rows[:, 1] = -1
    planes = [density.density_map(rows[rows[:, 0] == f, 2:], SIZE, 2.0) for f in range(4)]
    video = dataclasses.replace(
        source_video("a", num_frames=4, size=SIZE),
        fixations=rows,
        density=[schema.encode_png(plane) for plane in planes],
        num_viewers=num_viewers,
    )
    return memory_store([video])


def scorer(names: str = "NSS,CC,SIM,KL,AUC-J,s-AUC,AUC-B", **options: object) -> Scorer:
    protocol = dataclasses.replace(with_metrics(protocols.NATIVE, names), **options)
    return Scorer(store(), protocol, "float64")


@pytest.mark.parametrize("bins", [pytest.param(11, marks=pytest.mark.slow), None])
def test_chance_is_what_random_maps_score_on_average(bins: int | None) -> None:
    own = scorer("NSS,CC,AUC-J,s-AUC,AUC-B", s_auc_bins=bins)
    rng = np.random.default_rng(0)
    maps = (Predicted(0, 0, rng.random(SIZE), stored=True) for _ in range(1000))
    drawn = [values for _, values in own.stream(maps)]
    expected = bounds.of_video(own, 0, [0])["chance"]
    for metric in own.protocol.metrics:
        values = np.array([each[metric] for each in drawn])
        error = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - expected[metric][0]) < 4 * error, metric
    assert expected["AUC-J"][0] == 0.5 + 0.5 / 4  # one of its three pixels is fixated twice


def test_of_distributions_chance_is_a_uniform_map() -> None:
    own = scorer("SIM,KL,IG,IG-pysaliency")
    found = bounds.of_video(own, 0, [0])["chance"]
    # Uniform but for one pixel in a corner without weight, so that the metrics themselves have a value.
    nearly = np.ones(SIZE)
    nearly[0, -1] = 1 - 1e-6
    ((_, near),) = own.stream([Predicted(0, 0, nearly, stored=True)])
    assert found["KL"][0] == pytest.approx(near["KL"], abs=1e-5)
    assert found["IG-pysaliency"][0] == pytest.approx(near["IG-pysaliency"], abs=1e-5)
    # These min-max normalise a map first: the corner is then 0 and the rest uniform.
    pixels = SIZE[0] * SIZE[1]
    assert found["IG"][0] == pytest.approx(near["IG"] - np.log2(pixels / (pixels - 1)), abs=1e-9)
    assert found["SIM"][0] == pytest.approx(near["SIM"], abs=1 / pixels)


def test_the_centre_scores_as_a_model_that_writes_it() -> None:
    own = scorer()
    found = bounds.of_video(own, 0, range(4))["centre"]
    written = [Predicted(0, frame, centre_map(SIZE), stored=True) for frame in range(4)]
    rows = [values for _, values in own.stream(written)]
    for metric in own.protocol.metrics:
        np.testing.assert_array_equal(np.array(found[metric], float), [row[metric] for row in rows])


def test_one_human_is_scored_against_the_others() -> None:
    own = scorer("NSS,CC")
    found = bounds.of_video(own, 0, range(4))["one human"]
    assert found["NSS"][1] is found["NSS"][3] is None  # no other viewer has fixations
    sigma = 0.03 * SIZE[1]
    expected = []
    for viewer in range(3):
        rows = np.array([row for row in POINTS if row[0] == 0], float)
        maps = [density.density_map(rows[who, 2:], SIZE, sigma) for who in (rows[:, 1] == viewer, rows[:, 1] != viewer)]
        mine, others = (m.astype(float) for m in maps)
        x, y = np.unique(rows[rows[:, 1] != viewer, 2:], axis=0).astype(int).T
        nss = ((mine - mine.mean()) / mine.std(ddof=1))[y, x].mean()
        expected.append((nss, np.corrcoef(mine.ravel(), others.ravel())[0, 1]))
    assert (found["NSS"][0], found["CC"][0]) == pytest.approx(tuple(np.mean(expected, axis=0)))


def test_without_viewers_there_is_no_human() -> None:
    unknown = Scorer(store(num_viewers=0), protocols.NATIVE)
    assert bounds.of_video(unknown, 0, [0])["one human"] is None


def test_a_folder_whose_table_names_viewers_has_the_same_human(tmp_path: Path) -> None:
    made = store()
    (tmp_path / "maps" / "a").mkdir(parents=True)
    (tmp_path / "fixations").mkdir()
    for frame in range(4):
        Image.fromarray(made.density(0, frame)).save(tmp_path / "maps" / "a" / f"{frame}.png")
    lines = [f"{frame},{x},{y},viewer {viewer}" for frame, viewer, x, y in POINTS]
    (tmp_path / "fixations" / "a.csv").write_text("\n".join(["frame,x,y,viewer", *lines]))
    own = scorer()
    folder = Scorer(FolderTruth(tmp_path), own.protocol, "float64")
    assert bounds.of_video(folder, 0, range(4)) == bounds.of_video(own, 0, range(4))


def write_maps(videos: VideoStore, root: Path) -> Path:
    rng = np.random.default_rng(0)
    for known in videos.videos:
        (root / known.id).mkdir(parents=True)
        for frame in (0, 10, 20):
            Image.fromarray(rng.integers(0, 255, (64, 96)).astype(np.uint8)).save(root / known.id / f"{frame:06d}.png")
    return root


def test_the_report_shows_the_bounds_on_the_frames_scored(tiny_data_dir: Path, tmp_path: Path) -> None:
    videos = open_store(TINY, "test", tiny_data_dir)
    maps = write_maps(videos, tmp_path / "maps")
    arguments = [f"--predictions={maps}", f"--dataset={TINY}", f"--data_dir={tiny_data_dir}", "--workers=1"]
    assert evaluate.main([*arguments, f"--out={tmp_path / 'plain'}"]) == 0
    assert evaluate.main([*arguments, f"--out={tmp_path / 'out'}", "--bounds"]) == 0
    plain, record = (json.loads((tmp_path / n / "scores.json").read_text()) for n in ("plain", "out"))
    assert "bounds" not in plain
    assert plain["scores"] == record["scores"]
    found = record["bounds"]
    assert {name: row["frames"] for name, row in found.items()} == dict.fromkeys(bounds.NAMES, 9)
    assert (found["chance"]["scores"]["all"]["NSS"], found["chance"]["scores"]["all"]["s-AUC"]) == (0, 0.5)
    human, centre, chance = (found[name]["scores"]["all"] for name in ("one human", "centre", "chance"))
    assert human["NSS"] > centre["NSS"]
    assert human["NSS"] > chance["NSS"]
    assert record["scores"]["all"]["NSS"] == pytest.approx(0, abs=0.3)  # noise scores as chance does
    page = (tmp_path / "out/scores.md").read_text()
    assert "## Bounds, all frames, mean over videos" in page
    for name in bounds.NAMES:
        assert f"| {name} | 9 |" in page
        assert f"- {name}: {bounds.HOW[name]}." in page


def test_the_report_says_where_viewers_are_not_known(tiny_data_dir: Path, tmp_path: Path) -> None:
    videos = open_store(TINY, "test", tiny_data_dir)
    maps = write_maps(videos, tmp_path / "maps")
    truth = tmp_path / "truth"
    for video, known in enumerate(videos.videos):
        for kind in ("maps", "fixations"):
            (truth / known.id / kind).mkdir(parents=True)
        for frame in range(known.num_frames):
            Image.fromarray(videos.density(video, frame)).save(truth / known.id / "maps" / f"{frame:03d}.png")
            mask = np.zeros((64, 96), np.uint8)
            x, y = np.rint(videos.fixations(video, frame)).astype(int).T
            mask[y, x] = 1
            Image.fromarray(mask).save(truth / known.id / "fixations" / f"{frame:03d}.png")
    record = evaluate.evaluate(maps, None, ground_truth=truth, out=tmp_path / "out", with_bounds=True, progress=False)
    human = record["bounds"]["one human"]
    assert human["missing"].startswith(
        "the dataset does not distinguish two or more viewers in 3 of 3 videos, such as "
    )
    assert not {"scores", "frame_scores", "frames"} & set(human)
    page = (tmp_path / "out/scores.md").read_text()
    assert "- one human: **not available**, the dataset does not distinguish" in page

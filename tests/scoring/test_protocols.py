"""Protocols: the published pipeline against its recorded run, and each step against its definition."""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from videos import memory_store

from avsd_jax.data import schema
from avsd_jax.errors import InputError
from avsd_jax.scoring import protocols
from avsd_jax.scoring.protocols import NATIVE, STAVIS, VINET, Protocol
from avsd_jax.scoring.scorer import Predicted, Scorer
from avsd_jax.scoring.summary import Frames, summarise

KEYS = {"CC": "CC", "SIM": "SIM", "NSS": "NSS", "AUC-J": "AUCJ_expect", "s-AUC": "sAUC_expect"}


def source(name: str, density: np.ndarray, fixations: np.ndarray) -> schema.SourceVideo:
    """A video of given maps `[n, h, w]`."""
    n, height, width = density.shape
    frame, y, x = np.nonzero(fixations)
    return schema.SourceVideo(
        video_id=name,
        fps=25.0,
        num_frames=n,
        height=height,
        width=width,
        frames=[schema.encode_jpeg(np.zeros((height, width, 3), np.uint8))] * n,
        density=[schema.encode_png(plane) for plane in density],
        fixations=np.stack([frame, 0 * frame, x, y], axis=1).astype(np.float32),
        num_viewers=1,
        avc_label=np.full(n, -1, np.int8),
        audio=np.zeros(0, np.int16),
        sample_rate=100,
    )


def scores(scorer: Scorer, video: int, maps: Sequence[np.ndarray], stored: bool = True) -> dict[str, np.ndarray]:
    rows = [Predicted(video, i, values, stored=stored) for i, values in enumerate(maps)]
    found = [values for _, values in scorer.stream(rows)]
    return {m: np.array([f[m] for f in found]) for m in scorer.protocol.metrics}


def number(value: float | str) -> float:
    return float("nan") if value == "nan" else value


def test_whole_pipeline_equals_its_recorded_run(shared: Path) -> None:
    golden = json.loads((shared / "parity/metrics/golden.json").read_text())
    arrays = np.load(shared / "parity/metrics/golden.npz")
    names = [video["name"] for video in golden["videos"]]
    store = memory_store([source(n, arrays[f"video/{n}/den"], arrays[f"video/{n}/fix"]) for n in names])
    scorer = Scorer(store, STAVIS, "float64")
    found = [scores(scorer, i, arrays[f"video/{name}/pred"]) for i, name in enumerate(names)]
    for video, by_metric in zip(golden["videos"], found, strict=True):
        for metric, key in KEYS.items():
            expected = [number(frame["numpy"][key]) for frame in video["frames"]]
            tolerance = 1e-12 if "AUC" in metric else 1e-10
            np.testing.assert_allclose(by_metric[metric], expected, rtol=0, atol=tolerance, err_msg=metric)
            # MATLAB's own code, run in Octave; shrinking resizes and constant maps are not the same there.
            if video["name"] == "v0" and "AUC" not in metric:
                octave = [number(frame["octave_whole_pipeline"][key]) for frame in video["frames"]]
                np.testing.assert_allclose(by_metric[metric], octave, rtol=0, atol=1e-12)

    lengths = [len(video["frames"]) for video in golden["videos"]]
    total = sum(lengths)
    frames = Frames(
        part=np.zeros(total, int),
        video=np.repeat(np.arange(len(names)), lengths),
        frame=np.concatenate([np.arange(n) for n in lengths]),
        label=np.full(total, -1),
        scores={m: np.concatenate([f[m] for f in found]) for m in KEYS},
    )
    record = summarise(frames, names, STAVIS)
    for metric, key in KEYS.items():
        per_video = [video["video_mean_numpy"][key] for video in golden["videos"]]
        ours = [record["videos"][name]["all"][metric] for name in names]
        np.testing.assert_allclose(ours, per_video, rtol=0, atol=1e-10)
        assert record["scores"]["all"][metric] == pytest.approx(np.mean(per_video), abs=1e-10)
        missing = sum(n - video["frames_counted"][key] for n, video in zip(lengths, golden["videos"], strict=True))
        assert record["nan"]["all"][metric] == missing
    assert "frame_scores" not in record


def test_steps_of_the_pipeline(shared: Path) -> None:
    arrays = np.load(shared / "parity/metrics/golden.npz")
    for name in ("v0", "v1", "v2"):
        for frame in (0, 1):
            levels = jnp.asarray(arrays[f"video/{name}/pred"][frame] / np.float32(255))
            post, resized = (arrays[f"video/{name}/t{frame}_{step}"] for step in ("post", "resized"))
            np.testing.assert_allclose(protocols.to_ground_truth(levels, levels.shape, STAVIS), post, atol=2e-6)
            found = protocols.to_ground_truth(levels, resized.shape, STAVIS)
            np.testing.assert_allclose(found, resized, atol=2e-6)


def blob(size: tuple[int, int] = (28, 28), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.random(size, np.float32), (0, 0), 2) * 3 - 1


def test_stavis_writes_arrays_as_its_code_does() -> None:
    x = blob()
    levels = ((x - x.min()) * np.float32(255) / (x.max() - x.min())).astype(np.uint8)
    assert levels.min() == 0
    assert levels.max() >= 254
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG")  # Pillow's default quality, which imageio leaves alone
    np.testing.assert_array_equal(protocols.encode(x, (99, 99), STAVIS), np.asarray(Image.open(file)))
    assert (protocols.encode(x, (99, 99), STAVIS) != levels).any()
    assert not protocols.encode(np.full((5, 5), 0.3), (99, 99), STAVIS).any()
    for scale in (2.0**120, 2.0**-200, 2.0**900):
        np.testing.assert_array_equal(
            protocols.encode(x.astype(float) * scale, (99, 99), STAVIS), protocols.encode(x, (99, 99), STAVIS)
        )


def test_vinet_writes_arrays_as_its_code_does() -> None:
    x = blob()
    big = cv2.GaussianBlur(cv2.resize(x, (90, 60), interpolation=cv2.INTER_LINEAR), (11, 11), 2.0)
    levels = np.clip(np.rint(255 * (big - big.min()) / (big.max() - big.min()) + 0.5), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=100)
    found = protocols.encode(x, (60, 90), VINET)
    assert found.shape == (60, 90)
    np.testing.assert_array_equal(found, np.asarray(Image.open(file)))


def test_native_leaves_arrays_alone() -> None:
    x = blob()
    assert protocols.encode(x, (60, 90), NATIVE) is x


@pytest.mark.slow
def test_a_prediction_scores_the_same_from_memory_and_from_its_picture(tmp_path: Path) -> None:
    truth = np.zeros((1, 40, 60), np.uint8)
    truth[0, 10:20, 20:30] = 200
    store = memory_store([source("clip", truth, truth > 0)])
    scorer = Scorer(store, STAVIS, "float64")
    Image.fromarray(protocols.round_down(blob())).save(tmp_path / "map.jpg")
    picture = np.asarray(Image.open(tmp_path / "map.jpg"))
    from_memory, from_picture = scores(scorer, 0, [blob()], stored=False), scores(scorer, 0, [picture])
    assert from_memory["CC"] == from_picture["CC"]
    # 16 bits of the same levels are the same map.
    wide = scores(scorer, 0, [picture.astype(np.uint16) * 257])
    np.testing.assert_allclose(wide["NSS"], from_picture["NSS"], rtol=1e-12)


NAN = float("nan")
NOTHING = dict.fromkeys(KEYS, NAN)
DEGENERATE = [
    pytest.param(STAVIS, 0.3, "seen", NOTHING, marks=pytest.mark.slow),
    (STAVIS, 0.0, "seen", NOTHING),
    (NATIVE, 0.3, "seen", NOTHING),
    (VINET, 0.3, "seen", NOTHING | {"SIM": 0.0, "AUC-J": 0.5 + 0.5 / 101}),
    pytest.param(STAVIS, None, "unseen", NOTHING | {"SIM": 0.0}, marks=pytest.mark.slow),
    (VINET, None, "unseen", NOTHING | {"SIM": 0.0}),
    pytest.param(NATIVE, None, "unseen", NOTHING | {"KL": NAN}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("protocol", "level", "frame", "expected"), DEGENERATE)
def test_degenerate_frames(protocol: Protocol, level: float | None, frame: str, expected: dict[str, float]) -> None:
    truth = np.zeros((2, 40, 60), np.uint8)
    truth[0, 10:20, 20:30] = 200
    store = memory_store([source("clip", truth, truth > 0)])
    values = blob() if level is None else np.full((28, 28), level, np.float32)
    row = Predicted(0, 0 if frame == "seen" else 1, values)
    ((_, found),) = Scorer(store, protocol, "float32").stream([row])
    assert {m: found[m] for m in expected} == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.slow
def test_a_chunk_never_mixes_sizes_and_order_is_kept() -> None:
    truth = np.zeros((6, 40, 60), np.uint8)
    truth[:, 10:20, 20:30] = 200
    store = memory_store([source("clip", truth, truth > 0)])
    maps = [blob((28, 28), 1), blob((28, 28), 2), blob((20, 30), 3), blob((28, 28), 4)]
    scorer = Scorer(store, NATIVE)
    together = scores(scorer, 0, maps, stored=False)
    alone = [scores(scorer, 0, [m], stored=False)["CC"][0] for m in maps]
    np.testing.assert_allclose(together["CC"], alone, atol=1e-6)
    assert scorer.scored_map(Predicted(0, 0, maps[2])).shape == (40, 60)


@pytest.mark.slow
def test_other_choices() -> None:
    truth = np.zeros((3, 40, 60), np.uint8)
    truth[0, 10:20, 20:30] = truth[1, 22:35, 5:15] = truth[2, 5:9, 40:55] = 200
    store = memory_store([source("clip", truth, truth > 0)])
    exact = dataclasses.replace(NATIVE, name="exact", s_auc_bins=None, metrics=("s-AUC",))
    binned = dataclasses.replace(NATIVE, metrics=("s-AUC",))
    x = blob()
    found = {p.name: scores(Scorer(store, p), 0, [x], stored=False)["s-AUC"][0] for p in (exact, binned)}
    native = np.asarray(protocols.to_ground_truth(jnp.asarray(x), (40, 60), NATIVE))
    own, others = native[truth[0] > 0], native[(truth.max(axis=0) > 0) & (truth[0] == 0)]
    assert found["exact"] == pytest.approx(np.mean(own[:, None] > others) + np.mean(own[:, None] == others) / 2)
    assert found["exact"] != found["native"]


def test_names_and_choices_are_checked() -> None:
    assert protocols.get("stavis") is STAVIS
    with pytest.raises(InputError, match="unknown protocol 'mit': choose one of native, stavis, vinet"):
        protocols.get("mit")
    with pytest.raises(InputError, match="protocol missing 'zeros': choose one of dropped, zero"):
        dataclasses.replace(VINET, missing="zeros")
    record = STAVIS.as_record()
    assert json.loads(json.dumps(record)) == record
    assert {f.name for f in dataclasses.fields(Protocol)} <= set(record)
    assert STAVIS.joins_by_mean("DIEM")
    assert STAVIS.encoding() == "arrays, rounded down to 8 bits, a JPEG of quality 75"
    assert NATIVE.encoding() == "arrays, as they are"
    assert not STAVIS.joins_by_mean("avad/gaze")


def test_protocols_run_under_jit() -> None:
    x = jnp.asarray(blob())
    for protocol in (STAVIS, VINET, NATIVE):
        run = jax.jit(lambda v, p=protocol: protocols.to_ground_truth(v, (40, 60), p))
        np.testing.assert_allclose(run(x), protocols.to_ground_truth(x, (40, 60), protocol), atol=1e-5)

"""Prediction of any video by a model of random weights: inputs as in evaluation, complete files, bounded memory."""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import drawn
import jax
import numpy as np
import pytest
from media_files import regular, variable, write_video
from ml_collections import ConfigDict
from PIL import Image
from tiny_run import add_extra_models

from avsd_jax import predict
from avsd_jax.batch import ClassifierInputs, zeros
from avsd_jax.config.base import completed
from avsd_jax.data import avc_inputs
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.preprocessing.vinet import Preprocessing
from avsd_jax.data.samplers.vinet import Sampler
from avsd_jax.errors import InputError, StorageError
from avsd_jax.media.reading import probe, read_audio, read_frames
from avsd_jax.media.survey import survey
from avsd_jax.prediction import map_writers, picture_files, timeline
from avsd_jax.prediction.clip_stream import ClipStream
from avsd_jax.prediction.map_writers import Staging
from avsd_jax.runs.checkpoint import load_for_inference, save_variables
from avsd_jax.runs.components import Inference, model_from_config

AAC_FRAME = 1024
vinet, sampler = Preprocessing(), Sampler()
L3 = ClassifierInputs(num_frames=1, frame_rate=None, frame_size=32, sample_rate=16_000, audio_seconds=1.0)
AVID = ClassifierInputs(num_frames=8, frame_rate=16.0, frame_size=32, sample_rate=24_000, audio_seconds=2.0)


def make_config(model_name: str, **model: object) -> ConfigDict:
    """A model's record; `tiny_gated` is in tests/helpers/extra_models."""
    l3net = {
        "classifier": "l3net",
        "classifier_options": {"width": 0.0625, "frame_size": 32, "sample_rate": 16_000},
    }
    return ConfigDict(
        {
            "model_name": model_name,
            "model": {"clip_size": 8} | (l3net if model.get("gate") == "classifier" else {}) | model,
            "frame_size": [32, 64],
            "frame_step": 1,
            "sampler": "vinet",
            "preprocessing": "vinet",
            "samples_per_video": 1,
        }
    )


def save_random(folder: Path, config: ConfigDict) -> Path:
    """A checkpoint of seeded weights."""
    parts = Inference.from_config(completed(config))
    shapes = drawn.shapes(parts.model, zeros(parts.spec))
    save_variables(folder, config, drawn.variables(shapes))
    return folder


@pytest.fixture(autouse=True, scope="module")
def _extra_models() -> None:
    add_extra_models()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random(tmp_path_factory.mktemp("model") / "gated", make_config("tiny_gated", gate="classifier"))


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> predict.Predictor:
    return predict.Predictor(checkpoint, batch_size=4)


def record_of(out: Path) -> dict:
    return json.loads((out / "timeline.json").read_text())


def check_overlay(out: Path, source: Path) -> None:
    """As many frames at the same times, and the audio as long, as in the source."""
    before, after = probe(source), probe(out / f"{source.stem}_overlay.mp4")
    times = [frame.time for frame in read_frames(source)]
    copies = list(read_frames(after.path))
    np.testing.assert_allclose([frame.time for frame in copies], times, atol=1e-3)
    assert copies[0].image.shape[:2] == (before.height + before.height % 2, before.width + before.width % 2)
    assert (after.audio is None) == (before.audio is None)
    if before.audio:
        lengths = [len(read_audio(path, before.audio.sample_rate)[0]) for path in (source, after.path)]
        assert abs(lengths[0] - lengths[1]) <= AAC_FRAME


# --------------------------------------------------------------------------------------------------
# What the model is shown
# --------------------------------------------------------------------------------------------------


def clips_from_memory(path: Path, spec: ClipSpec, stride: int) -> list[dict[str, np.ndarray]]:
    """What `ClipStream` yields, from the whole file in memory and the functions that evaluation uses."""
    info, frames = probe(path), [frame.image for frame in read_frames(path)]
    sound = read_audio(path, 22_050)[0]
    avc_sound = np.pad(read_audio(path, spec.avc.sample_rate)[0], 10 * spec.avc.sample_rate)
    clips = []
    for target in sampler.eval_targets(len(frames), spec.clip_size, stride):
        window = sampler.eval_window(target, len(frames), spec.clip_size, spec.frame_step)
        start, stop = vinet.excerpt_span(
            window.audio_first, window.audio_last, len(frames), info.fps, 22_050, len(sound)
        )
        shown = avc_inputs.frame_indices(target, info.fps, len(frames), spec.avc)
        low, high = (10 * spec.avc.sample_rate + edge for edge in avc_inputs.audio_span(target, info.fps, spec.avc))
        clips.append(
            {
                "video": vinet.normalise(
                    np.stack([vinet.resize_frame(frames[i], spec.frame_size) for i in window.frames])
                ),
                "audio": vinet.window_audio(sound[start:stop] * 256, spec.audio_samples, window.reverse_audio),
                "avc_frames": vinet.normalise(np.stack([vinet.resize_frame(frames[i], (32, 32)) for i in shown])),
                "avc_audio": avc_sound[low:high],
                "avc_label": np.int32(-1),
            }
        )
    return clips


@pytest.mark.parametrize(
    ("count", "stride", "frame_step", "inputs"),
    [(3, 1, 1, L3), (11, 1, 1, AVID), (40, 1, 1, L3), (40, 1, 2, AVID), (60, 25, 1, AVID), (60, 25, 1, L3)],
    ids=["shorter than a clip", "shorter than two", "plain", "frame step", "stride beyond the buffer", "skipping"],
)
def test_clips_are_those_of_evaluation(
    tmp_path: Path, count: int, stride: int, frame_step: int, inputs: ClassifierInputs
):
    path = write_video(tmp_path / "video.mp4", regular(count, 25), size=(48, 80))
    spec = ClipSpec(clip_size=8, frame_size=(32, 64), frame_step=frame_step, avc=inputs)
    clips = list(ClipStream(probe(path), spec, stride))
    expected = clips_from_memory(path, spec, stride)
    assert [clip.index for clip in clips] == list(range(0, count, stride))
    for clip, inputs in zip(clips, expected, strict=True):
        assert clip.inputs.keys() == inputs.keys()
        for key, value in inputs.items():
            np.testing.assert_array_equal(clip.inputs[key], value, err_msg=f"{key} of frame {clip.index}")


def test_sound_goes_by_time_where_the_frame_rate_varies(tmp_path: Path):
    path = write_video(tmp_path / "vfr.mp4", variable(80), size=(48, 80))
    spec = ClipSpec(clip_size=8, frame_size=(32, 64), avc=L3)
    times = [frame.time for frame in read_frames(path)]
    loud = [np.abs(clip.inputs["avc_audio"]).max() > 0.2 for clip in ClipStream(probe(path), spec)]
    # Every 30th frame has a click; the classifier's audio reaches half a second to either side of a frame.
    distances = np.abs(np.subtract.outer(times, times[::30])).min(1)
    clear = np.abs(distances - 0.5) > 0.05
    np.testing.assert_array_equal(np.array(loud)[clear], distances[clear] < 0.5)


def test_at_uneven_times_frames_and_sound_are_picked_by_time(tmp_path: Path):
    steps = np.random.default_rng(3).choice([0.05, 0.2, 0.7, 0.31], 39)
    times = np.cumsum([0, *steps]).round(3)
    path = write_video(tmp_path / "screen.mkv", times.tolist(), size=(48, 80))
    info = survey(path).info
    spec = ClipSpec(clip_size=8, frame_size=(32, 64), avc=AVID)
    shown = [vinet.normalise(vinet.resize_frame(f.image, (32, 32))) for f in read_frames(path)]
    sound = np.pad(read_audio(path, AVID.sample_rate)[0], 10 * AVID.sample_rate)
    stream = ClipStream(info, spec)
    for index, inputs, *_ in stream:
        wanted = times[index] + (np.arange(8) - 3.5) / 16
        nearest = np.abs(np.subtract.outer(wanted, times)).argmin(1)
        np.testing.assert_array_equal(inputs["avc_frames"], [shown[i] for i in nearest])
        start = round((times[index] + 10 - 1) * AVID.sample_rate)
        heard = sound[start : start + 2 * AVID.sample_rate]
        apart = [np.abs(inputs["avc_audio"] - np.roll(heard, by)).max() for by in range(-50, 51)]
        assert min(apart) == 0, "the audio is within 2 ms of the frame's time"
    assert len(stream.notes) == 1, "one remark however many clips are long"


def test_sound_longer_than_the_buffer_is_cut_to_its_middle(tmp_path: Path):
    path = write_video(tmp_path / "slow.mp4", regular(20, 5), size=(48, 80))
    stream = ClipStream(probe(path), ClipSpec(clip_size=8, frame_size=(32, 64)))
    clips = list(stream)
    assert len(clips) == 20
    assert "it gets the middle of the clip's audio" in stream.notes[0]
    assert all(clip.inputs["audio"].shape == (vinet.audio_samples(8),) for clip in clips)


@pytest.mark.slow
@pytest.mark.usefixtures("_usual_collections")
def test_memory_does_not_grow_with_length(tmp_path: Path):
    spec = ClipSpec(clip_size=8, frame_size=(32, 64), avc=AVID)
    peaks = []
    for count in (60, 300):
        path = write_video(tmp_path / f"{count}.mp4", regular(count, 25), size=(48, 80))
        with contextlib.closing(ClipStream(probe(path), spec)) as stream:
            clips = iter(stream)
            next(clips)  # with what is made once
            tracemalloc.start()
            for _ in clips:
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0], "five times the frames take no more memory"


# --------------------------------------------------------------------------------------------------
# What is written
# --------------------------------------------------------------------------------------------------

VIDEOS = {
    "cfr.mp4": (regular(20), {}),
    "vfr.mp4": (variable(20), {}),
    "mpeg4.avi": (regular(20, 25), {"codec": "mpeg4", "sound": "pcm_s16le", "rate": 22_050}),
    "odd.mp4": (regular(9), {"size": (97, 131), "pixels": "yuv444p"}),
    "short.mp4": (regular(3), {}),
    "single.mp4": ([0.0], {"sound": None}),
    "silent.mp4": (regular(20), {"sound": None}),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_every_kind_of_video(predictor: predict.Predictor, tmp_path: Path, name: str):
    times, how = VIDEOS[name]
    path = write_video(tmp_path / name, times, **how)
    out = tmp_path / "made" / "out"
    result = predictor.run(path, out, progress=False)
    check_overlay(out, path)
    maps = sorted((out / "maps").iterdir())
    assert [p.name for p in maps] == [f"{i:06d}.png" for i in range(len(times))]
    picture = cv2.imread(str(maps[-1]), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (probe(path).height, probe(path).width)
    assert picture.dtype == np.uint8
    assert picture.max() == 255
    record = record_of(out)
    assert record["num_frames"] == result.num_frames == len(record["frames"]) == len(times)
    np.testing.assert_allclose([row["time"] for row in record["frames"]], times, atol=1e-3)
    assert set(result.files) == {p for p in out.rglob("*") if p.is_file()}
    assert {p.name for p in out.iterdir()} == {
        f"{path.stem}_overlay.mp4",
        "maps",
        "timeline.json",
        "timeline.png",
    }
    if how.get("sound", "aac") is None:
        assert record["notes"][0] == "no audio track: the gate is closed and the visual stream alone predicts"
        assert {(row["avc_probability"], row["gate"]) for row in record["frames"]} == {(None, 0)}
    else:
        for row in record["frames"]:
            assert 0 <= row["avc_probability"] <= 1
            assert row["gate"] == (row["avc_probability"] > 0.5)


def test_the_longest_name_that_a_disk_takes_is_cut_only_where_it_must_be(predictor: predict.Predictor, tmp_path: Path):
    plain = write_video(tmp_path / "plain.mp4", regular(2))
    for stem, kept in (("あ" * 80, "あ" * 80), ("あ" * 83, "あ" * 81)):
        path = plain.rename(tmp_path / f"{stem}.mp4")
        predictor.run(path, tmp_path / stem[:40] / str(len(stem)), maps="none", progress=False)
        assert (tmp_path / stem[:40] / str(len(stem)) / f"{kept}_overlay.mp4").is_file()
        plain = path


def test_a_full_disk_is_named_and_nothing_stays(predictor: predict.Predictor, tmp_path: Path):
    path = write_video(tmp_path / "video.mp4", regular(40))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"out cannot be written \(File too large\)"):
            predictor.run(path, tmp_path / "out", maps="none", progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "out").exists()


def test_without_sound_the_visual_flow_predicts(tmp_path: Path, checkpoint: Path, predictor: predict.Predictor):
    path = write_video(tmp_path / "silent.mp4", regular(5), sound=None)
    clips = ClipStream(probe(path), predictor.spec)
    maps = [p.saliency for p in predictor.predictions(probe(path), clips)]
    visual = model_from_config(make_config("tiny_gated", gate="never"))
    variables = load_for_inference(checkpoint)[1]
    videos = np.stack([clip.inputs["video"] for clip in ClipStream(probe(path), predictor.spec)])
    expected = jax.jit(visual.apply)(variables, {"video": videos})["saliency"]
    np.testing.assert_allclose(np.stack(maps), expected, atol=1e-6)


def test_stride_interpolates_between_predictions(predictor: predict.Predictor, tmp_path: Path):
    path = write_video(tmp_path / "video.mp4", regular(12))
    predictor.run(path, tmp_path / "all", maps="npz", progress=False)
    predictor.run(path, tmp_path / "few", maps="npz", stride=5, progress=False)
    everything, few = (np.load(tmp_path / out / "maps" / "000000.npz") for out in ("all", "few"))
    assert everything["saliency"].shape == (12, 32, 64)
    np.testing.assert_array_equal(few["frames"], np.arange(12))
    exact, held = everything["saliency"], few["saliency"]
    np.testing.assert_allclose(held[[0, 5, 10]], exact[[0, 5, 10]], atol=1e-6)
    np.testing.assert_allclose(held[7], 0.6 * exact[5] + 0.4 * exact[10], atol=1e-6)
    np.testing.assert_allclose(held[11], exact[10], atol=1e-6)
    record = record_of(tmp_path / "few")
    assert [row["predicted"] for row in record["frames"]] == [i % 5 == 0 for i in range(12)]
    assert "one frame in 5 is predicted" in record["notes"][0]


@pytest.mark.parametrize("gate", ["always", "never", "labels"])
def test_models_without_a_classifier_have_no_probability(tmp_path: Path, gate: str):
    model = predict.Predictor(save_random(tmp_path / "model", make_config("tiny_gated", gate=gate)))
    path = write_video(tmp_path / "video.mp4", regular(4))
    model.run(path, tmp_path / "out", maps="none", progress=False)
    rows = record_of(tmp_path / "out")["frames"]
    assert {(row["avc_probability"], row["gate"]) for row in rows} == {(None, int(gate == "always"))}
    assert not (tmp_path / "out" / "maps").exists()


@pytest.mark.slow
def test_stavis_predicts_every_frame_and_its_maps_are_named_as_its_script_does(tmp_path: Path):
    options = {"width": 0.1, "fusion_options": {"hidden": 4, "features": 4}}
    model = predict.Predictor(save_random(tmp_path / "model", make_config("stavis", **options)))
    path = write_video(tmp_path / "video.mp4", regular(10))
    for maps in ("stavis", "npz"):
        model.run(path, tmp_path / maps, maps=maps, progress=False)
    files = sorted((tmp_path / "stavis/maps").iterdir())
    assert [file.name for file in files] == [f"pred_sal_{i:06d}.jpg" for i in range(1, 11)]
    for file, saliency in zip(files, np.load(tmp_path / "npz/maps/000000.npz")["saliency"], strict=True):
        levels = np.asarray(Image.open(file), float)
        stretched = 255 * (saliency - saliency.min()) / np.ptp(saliency)
        assert levels.shape == (32, 64)
        assert np.abs(levels - stretched).mean() < 8, "JPEG of quality 75 changes more"


def test_an_error_leaves_nothing_behind(predictor: predict.Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_video(tmp_path / "video.mp4", regular(20))
    (tmp_path / "old").mkdir()
    earlier = json.dumps({"video": "video.mp4"})
    (tmp_path / "old" / "timeline.json").write_text(earlier)
    (tmp_path / "old" / "maps").write_text("in the way")

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(InputError, match="maps is in the way"):
        predictor.run(path, tmp_path / "old", progress=False)
    monkeypatch.setattr(timeline, "draw", fail)
    for out in (tmp_path / "new" / "deep", tmp_path / "old"):
        with pytest.raises(KeyboardInterrupt):
            predictor.run(path, out, progress=False)
    assert not (tmp_path / "new").exists()
    assert {p.name: p.read_text() for p in (tmp_path / "old").iterdir()} == {
        "timeline.json": earlier,
        "maps": "in the way",
    }
    with pytest.raises(InputError, match="cannot be written to"):
        predictor.run(path, path, progress=False)


@pytest.mark.parametrize("content", ["", "[1]", '{"mine": 1}', '{"video": 3, "source": 3}'])
@pytest.mark.parametrize("name", ["timeline.json", "pictures.json"])
def test_a_record_of_something_else_stays(name: str, content: str, tmp_path: Path):
    foreign = tmp_path / name
    foreign.write_text(content)
    for check in (map_writers.check_folder, picture_files.check_folder):
        with pytest.raises(InputError, match=f"{name} is not of a prediction: give another --out, or move that file"):
            check(tmp_path, "video.mp4")
    assert foreign.read_text() == content


def test_a_folder_is_of_one_video_and_replaced_whole(predictor: predict.Predictor, tmp_path: Path):
    out, path = tmp_path / "out", write_video(tmp_path / "video.mp4", regular(5))
    predictor.run(path, out, progress=False)
    for name in ("notes.txt", "maps/mine.png"):
        (out / name).write_text("old")
    write_video(path, regular(3))
    predictor.run(path, out, progress=False)
    maps = {"maps/000000.png", "maps/000001.png", "maps/000002.png"}
    others = {"timeline.json", "timeline.png", "video_overlay.mp4", "notes.txt", "maps/mine.png"}
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == maps | others
    predictor.run(path, out, maps="none", progress=False)
    assert [p.name for p in (out / "maps").iterdir()] == ["mine.png"]
    with pytest.raises(InputError, match="holds the prediction of video.mp4: give another --out"):
        predictor.run(write_video(tmp_path / "other.mp4", regular(2)), out, progress=False)
    (out / "timeline.json").unlink()
    (out / "maps/000000.png").write_text("whose?")
    with pytest.raises(InputError, match="holds maps of an unknown video: give another --out"):
        predictor.run(path, out, progress=False)


def test_leftovers_of_killed_runs_go_and_those_of_live_ones_stay(predictor: predict.Predictor, tmp_path: Path):
    path, out = write_video(tmp_path / "video.mp4", regular(2)), tmp_path / "out"
    killed = f"""
import os
from pathlib import Path
from avsd_jax.prediction.map_writers import Staging
Staging(Path({str(out)!r})).__enter__()
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", killed], check=False)
    (out / ".predict-older").mkdir()
    assert len(list(out.glob(".predict-*"))) == 2
    with Staging(out) as other:
        assert [p.name for p in out.iterdir()] == [other.folder.parent.name]
        predictor.run(path, out, progress=False)
        assert other.folder.is_dir()
    assert not list(out.glob(".*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_name": "tiny_gated", "model": {"clip_size": 8, "gate": "classifier"}},
            "not those of tiny_gated as it",
        ),
        ({"model_name": "vinet", "model": {"clip_size": 8, "width": 1 / 32}}, "not those of vinet as it is configured"),
        ({"model_name": "deaf"}, "unknown model 'deaf'"),
        ({"frame_size": None}, "the configuration has no frame_size: restore the run's config.json"),
    ],
)
def test_weights_of_another_model_are_refused(changes: dict, message: str, tmp_path: Path):
    folder = save_random(tmp_path / "model", make_config("tiny_gated", gate="never"))
    record = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in record.items() if v is not None}))
    path = write_video(tmp_path / "video.mp4", regular(3))
    with pytest.raises(InputError, match=message):
        predict.Predictor(folder).run(path, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_model_without_maps_is_refused(tmp_path: Path):
    folder = save_random(tmp_path / "model", make_config("soundnet8", width=1 / 32))
    path = write_video(tmp_path / "video.mp4", regular(3))
    with pytest.raises(InputError, match="soundnet8 predicts no map: choose another model"):
        predict.Predictor(folder).run(path, tmp_path / "out", progress=False)
    classifier = make_config("tiny_gated", gate="classifier")
    del classifier.model.clip_size, classifier.model.gate
    alone = save_random(tmp_path / "alone", ConfigDict(classifier.to_dict() | {"model_name": "avc"}))
    with pytest.raises(InputError, match="classifier of consistency, which predicts no map"):
        predict.Predictor(alone)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_command_line_runs_the_gated_avinet(tmp_path: Path, capsys: pytest.CaptureFixture):
    config = make_config("avinet", gate="classifier", width=0.0625, num_skips=1, lowering="direct")
    checkpoint = save_random(tmp_path / "model", config)
    path = write_video(tmp_path / "video.mp4", regular(9))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "avsd_jax.predict", f"--checkpoint={checkpoint}", str(path), f"--out={out}"]
    # Random weights need no fast program, and compiling a fast one takes most of a minute.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = os.environ | {"XLA_FLAGS": flags}
    done = subprocess.run(
        [*command, "--maps=none", "--stride=4"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"9 frames by avinet: {out / 'video_overlay.mp4'}\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "warning: video.mp4: one frame in 4 is predicted; the maps between are interpolated"
    assert "9/9" in lines[-1]
    check_overlay(out, path)
    assert record_of(out)["model"] == "avinet"
    assert all(row["avc_probability"] is not None for row in record_of(out)["frames"])
    wrong = [f"--checkpoint={checkpoint}", str(tmp_path / "missing.mp4"), f"--out={tmp_path / 'none'}"]
    assert predict.main(wrong) == 2
    assert capsys.readouterr().err.endswith(
        f"error: {tmp_path / 'missing.mp4'} does not exist: give the path of a video file\n"
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--checkpoint=x", "--out=y", "--stride=0", "a.mp4"],
            "argument --stride: '0' is not a whole number of 1 or more",
        ),
        (["--checkpoint=x", "--out=y", "--maps=jpg", "a.mp4"], "argument --maps: invalid choice: 'jpg'"),
        (["--checkpoint=x", "--out=y"], "arguments are required: INPUT"),
        (["--checkpoint=x", "a.mp4"], "arguments are required: --out"),
    ],
)
def test_wrong_options_are_named(capsys: pytest.CaptureFixture, arguments: list[str], words: str) -> None:
    assert predict.main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert words in printed
    assert printed.endswith(": see python -m avsd_jax.predict --help\n")


def test_timeline_is_bounded_and_keeps_the_extremes(tmp_path: Path):
    curve = timeline.Curve()
    for index in range(10 * timeline.MAX_BINS):
        curve.append(index / 25, 1.0 if index == 12_345 else 0.25, index >= 5000)
    assert len(curve.bins) <= timeline.MAX_BINS
    assert sum(b.count for b in curve.bins) == 10 * timeline.MAX_BINS
    assert sum(b.opened for b in curve.bins) == 10 * timeline.MAX_BINS - 5000
    assert max(b.high for b in curve.bins) == 1.0
    timeline.draw(tmp_path / "curve.png", curve, "title", "remark", 900.0)
    timeline.draw(tmp_path / "empty.png", timeline.Curve(), "title", "remark", 900.0)
    with Image.open(tmp_path / "curve.png") as full, Image.open(tmp_path / "empty.png") as empty:
        assert full.size == empty.size

"""Frames decoded once, predicted as they come, and written by threads: the numbers and files of the plain way."""

import dataclasses
import errno
import functools
import itertools
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import drawn
import numpy as np
import pytest
from media_files import regular, write_video
from ml_collections import ConfigDict
from tiny_run import add_extra_models

from avsd_jax import predict
from avsd_jax.batch import zeros
from avsd_jax.config.base import completed
from avsd_jax.errors import InputError, StorageError
from avsd_jax.media import overlay
from avsd_jax.media.container import FrameReader
from avsd_jax.media.reading import read_audio, read_frames
from avsd_jax.media.survey import survey
from avsd_jax.media.writing import VideoWriter
from avsd_jax.prediction import every_frame
from avsd_jax.prediction.every_frame import at_every_frame
from avsd_jax.prediction.given_frames import GivenAudio
from avsd_jax.prediction.predictor import Predictor
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.runs.components import Inference

ROOT = Path(__file__).parents[2]
CLIP, FRAMES = 8, 30
L3NET = {"classifier": "l3net", "classifier_options": {"width": 0.0625, "frame_size": 32, "sample_rate": 8000}}


def saved(folder: Path, name: str, **model: object) -> Path:
    clip = {"frame_size": [32, 32], "frame_step": 1, "sampler": "vinet", "preprocessing": "vinet"}
    config = ConfigDict({"model_name": name, "model": {"clip_size": CLIP} | model, "samples_per_video": 1} | clip)
    parts = Inference.from_config(completed(config))
    save_variables(folder, config, drawn.variables(drawn.shapes(parts.model, zeros(parts.spec))))
    return folder


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    add_extra_models()
    return saved(tmp_path_factory.mktemp("model") / "gated", "tiny_streams", gate="classifier", **L3NET)


@pytest.fixture(scope="module")
def predictor(gated: Path) -> Predictor:
    return Predictor(gated, batch_size=2)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", regular(FRAMES, 25), size=(48, 80))


@pytest.mark.parametrize("stride", [1, 5])
def test_each_frame_is_decoded_once_for_the_same_files(
    predictor: Predictor, video: Path, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    decoded, waiting, real = [], [], FrameReader._frames

    def counted(self: FrameReader, packet: av.Packet) -> list[av.frame.Frame]:
        frames = real(self, packet)
        decoded.extend(frame for frame in frames if isinstance(frame, av.VideoFrame))
        return frames

    class Watched(every_frame.PassedFrames):
        def __next__(self) -> every_frame.Frame:
            waiting.append(len(self._waiting))
            return super().__next__()

    monkeypatch.setattr(FrameReader, "_frames", counted)
    monkeypatch.setattr("avsd_jax.prediction.predictor.PassedFrames", Watched)
    out = tmp_path / "out"
    predictor.run(video, out, stride=stride, progress=False)
    assert len(decoded) <= FRAMES + 4, "besides the first one, for the properties of the file"
    assert max(waiting) <= CLIP + 3 * max(2, stride), "what clips and batches look ahead"

    info = survey(video).info
    predicted = predictor.predictions(info, predictor.clips(info, stride))
    preprocessing = predictor.spec.preprocessing
    rows = json.loads((out / "timeline.json").read_text())["frames"]
    with VideoWriter(tmp_path / "plain.mp4", info, 80, 48) as writer:
        for frame, prediction in zip(read_frames(video), at_every_frame(predicted, stride), strict=False):
            grey = preprocessing.to_image(preprocessing.smooth(prediction.saliency, (48, 80)))
            kept = cv2.imread(str(out / f"maps/{frame.index:06d}.png"), cv2.IMREAD_UNCHANGED)
            # A stride makes batches of one, whose sums are rounded otherwise.
            np.testing.assert_allclose(grey.astype(int), kept, atol=int(stride > 1))
            label = predictor.traits.label(info, prediction)
            writer.write(overlay.gate_label(overlay.heat(frame.image, kept), *label), frame.time)
            assert rows[frame.index]["predicted"] == (frame.index % stride == 0) == prediction.predicted
    assert len(rows) == FRAMES
    assert (out / "video_overlay.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()


@pytest.mark.parametrize("every", [0.0, 0.25])
def test_a_stream_gives_the_numbers_of_a_file_as_soon_as_they_can_be_known(
    predictor: Predictor, video: Path, every: float, tmp_path: Path
):
    predictor.run(video, tmp_path, maps="npz", every=every, progress=False)
    maps = np.load(tmp_path / "maps/000000.npz")["saliency"]
    rows = json.loads((tmp_path / "timeline.json").read_text())["frames"]
    info, read = survey(video).info, []

    def camera() -> Iterator[np.ndarray]:
        for frame in read_frames(video):
            read.append(frame.index)
            yield frame.image

    waveform, rate = read_audio(video)
    pieces = np.split(waveform, range(1000, len(waveform), 1000))
    found = predictor.stream(camera(), info.fps, (iter(pieces), rate), every=every)
    for index, prediction in enumerate(found):
        assert prediction.index == index
        # At the start of a video a clip is shown in reverse, if the video is long enough.
        assert read[-1] == (index + CLIP if index < CLIP - 1 else max(index, 2 * CLIP - 2))
        np.testing.assert_allclose(prediction.saliency, maps[index], atol=1e-5)
        assert prediction.probability == pytest.approx(rows[index]["avc_probability"], abs=1e-5)
    assert index == FRAMES - 1


def test_what_is_no_stream_of_frames_is_named(predictor: Predictor):
    image = np.zeros((48, 80, 3), np.uint8)
    assert list(predictor.stream(iter([]))) == []
    (alone,) = predictor.stream([image], 25, (np.zeros(0, np.float32), 8000))
    assert alone.predicted
    for frames, audio, message in (
        ([image, image / 255], None, r"frame 1 is float64 \(48, 80, 3\): give uint8 RGB"),
        ([every_frame.Frame(0, 1.0, image)] * 2, None, "frame 1 is at 1 s, not after the one before"),
        ([every_frame.Frame(0, float("nan"), image)], None, "frame 0 is at nan s"),
        ([every_frame.Frame(0, -0.5, image)], None, "frame 0 is at -0.5 s"),
        ([image], (iter([np.zeros(9, np.int16)]), 8000), r"audio of type int16 and shape \(9,\): give floats"),
        ([image], (np.zeros(9, np.float32), 0), "a waveform of 0 samples per second"),
    ):
        with pytest.raises(InputError, match=message):
            list(predictor.stream(iter(frames), 25.0, audio))
    for given, message in (
        ({"fps": 0.0}, "fps=0.0: give"),
        ({"mode": "slow"}, "unknown mode 'slow': choose one of"),
        ({"stride": 0}, "stride=0: give a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            predictor.stream(iter([image]), **given)


def test_audio_between_scores_that_are_far_apart_is_not_collected():
    given = GivenAudio((np.full(1000, second, np.float32) / 100 for second in range(100)), 1000)
    window, held = given.window(1000), []
    for second in range(98):
        window.forget(1000 * second)
        held.append(window.held)
    assert max(held) <= 2000
    np.testing.assert_allclose(window.excerpt(97_500, 98_500), np.repeat([0.97, 0.98], 500), atol=1e-6)


def test_given_samples_that_are_not_finite_are_silent_as_those_of_a_file():
    given = GivenAudio(np.array([0.5, np.nan, np.inf, -np.inf, 2], np.float32), 8000)
    assert given.window(8000).excerpt(0, 5).tolist() == [0.5, 0, 0, 0, 1]


@pytest.mark.slow
def test_clips_that_share_frames_are_computed_once_with_the_same_maps(video: Path, tmp_path: Path):
    vinet = Predictor(saved(tmp_path / "model", "vinet", width=1 / 32, lowering="direct"), batch_size=2)
    info = survey(video).info
    plain = [p.saliency for p in vinet.predictions(info, vinet.clips(info))]
    vinet.run(video, tmp_path / "exact", maps="npz", progress=False)
    np.testing.assert_allclose(np.load(tmp_path / "exact/maps/000000.npz")["saliency"], plain, atol=1e-5)
    ((stream,),) = vinet._network.streams._free.values()
    assert stream._position > 0, "it was used"


def test_the_mode_fast_names_its_approximations(predictor: Predictor, gated: Path, video: Path, tmp_path: Path):
    options = [str(video), f"--checkpoint={gated}", f"--out={tmp_path}", "--maps=none", "--mode=fast"]
    assert predict.main(options) == 0
    record = json.loads((tmp_path / "timeline.json").read_text())
    assert (record["mode"], record["stride"]) == ("fast", 2)
    assert record["notes"] == ["one frame in 2 is predicted; the maps between are interpolated"]
    predictor.run(video, tmp_path, maps="none", mode="fast", stride=3, progress=False)
    assert json.loads((tmp_path / "timeline.json").read_text())["stride"] == 3
    traits, info = predictor.traits, survey(video).info
    sequence = dataclasses.replace(traits, sequence=True, model_name="deepvs")
    how = sequence.settings("fast", None, None, None)
    assert how.stride == 1
    (note,) = sequence.remarks(info, how)
    assert note == "mode fast: deepvs has nothing to leave out, its maps are exact"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_error_in_a_thread_stops_all_and_leaves_nothing(
    predictor: Predictor, video: Path, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls, real = itertools.count(), overlay.heat

    def heat(*given: np.ndarray) -> np.ndarray:
        if next(calls) == 9:
            raise error
        return real(*given)

    monkeypatch.setattr(overlay, "heat", heat)
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        predictor.run(video, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("result_files")]


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    add_extra_models()
    monkeypatch.setattr("avsd_jax.Predictor", functools.partial(Predictor, model="bright"))
    page = (ROOT / "docs/prediction.md").read_text()
    (example,) = (found for found in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "stream" in found)
    exec(example, {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("9 (")

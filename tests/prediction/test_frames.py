"""The choice of frames, and maps as a grey video: the maps of the whole prediction, and scores of both forms."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from media_files import regular, variable, write_video
from test_predict import make_config, save_random
from tiny_run import add_extra_models

from avsd_jax import Predictor, predict
from avsd_jax.errors import InputError
from avsd_jax.map_files.videos import read_video
from avsd_jax.media.reading import frame_times, probe, read_audio, read_frames
from avsd_jax.prediction.frame_choice import FrameChoice


@pytest.fixture(autouse=True, scope="module")
def _extra_models() -> None:
    add_extra_models()


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = save_random(tmp_path_factory.mktemp("model") / "gated", make_config("tiny_gated", gate="classifier"))
    return Predictor(folder, batch_size=4)


def maps_of(out: Path) -> dict[int, np.ndarray]:
    files = [np.load(path) for path in sorted((out / "maps").glob("*.npz"))]
    return {int(n): m for file in files for n, m in zip(file["frames"], file["saliency"], strict=True)}


def rows_of(out: Path) -> list[dict]:
    return json.loads((out / "timeline.json").read_text())["frames"]


def test_a_choice_is_that_of_a_slice():
    ends = [None, 0, 3, 7, 30, -1, -4, -30]
    for start, stop, step in itertools.product(ends, ends, [None, 1, 3, 8]):
        wanted = list(range(12))[start:stop:step]
        try:
            choice = FrameChoice.of(slice(start, stop, step))
        except InputError:
            assert not wanted
            continue
        chosen = choice.chosen(12 if choice.needs_length else None)
        assert [frame for frame in range(12) if chosen.has(frame)] == wanted
        assert list(chosen.between(4, 12)) == [frame for frame in wanted if frame >= 4]
        for stride in (1, 2, 5):
            mapped = chosen.predicted(stride)
            frames = {frame for frame in range(40) if mapped.has(frame)}
            assert not any(frame % stride for frame in frames)
            for frame in wanted:
                around = {frame // stride * stride, frame + -frame % stride}
                assert around <= frames or frame in frames


@pytest.mark.parametrize("text", ["5", "a:b", "::0", "::-1", "5:5", "-2:-3", ":0", "1:2:3:4", ""])
def test_what_chooses_nothing_is_refused(text: str, capsys: pytest.CaptureFixture):
    assert predict.main(["a.mp4", "--out=y", f"--frames={text}"]) == 2
    assert f"error: --frames={text} " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("frames", "stride"),
    [("5:9", 1), ("30:34", 1), ("3::7", 1), ("-4:", 1), ("4:20:6", 3), ("5:20:6", 3), ("35:", 3), ("39:90", 2)],
)
def test_maps_of_chosen_frames_are_those_of_all(
    gated: Predictor, video: Path, wholes: dict[int, Path], tmp_path: Path, frames: str, stride: int
):
    """With its classifier's grid, whose hysteresis goes back to the first frame."""
    whole, how = wholes[stride], {"maps": "npz", "overlay": False, "progress": False}
    result = gated.run(video, tmp_path / "part", frames=frames, stride=stride, **how)
    found, rows = maps_of(tmp_path / "part"), rows_of(tmp_path / "part")
    wanted = list(range(40))[slice(*(int(p) if p else None for p in frames.split(":")))]
    assert list(found) == [row["frame"] for row in rows] == wanted
    assert result.num_frames == len(wanted)
    for frame, row in zip(wanted, rows, strict=True):
        np.testing.assert_allclose(found[frame], maps_of(whole)[frame], atol=1e-6)
        assert row == rows_of(whole)[frame]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", regular(40, 25), size=(48, 80))


@pytest.fixture(scope="module")
def wholes(gated: Predictor, video: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Predictions of all frames by their stride."""
    folder = tmp_path_factory.mktemp("whole")
    for stride in (1, 2, 3):
        gated.run(video, folder / str(stride), maps="npz", stride=stride, overlay=False, progress=False)
    return {stride: folder / str(stride) for stride in (1, 2, 3)}


def test_the_overlay_of_chosen_frames_is_an_excerpt(gated: Predictor, video: Path, tmp_path: Path):
    gated.run(video, tmp_path, maps="none", frames="10:20:2", progress=False)
    overlaid = tmp_path / "video_overlay.mp4"
    np.testing.assert_allclose(frame_times(overlaid), np.arange(5) * 0.08, atol=1e-3)
    sound, rate = read_audio(overlaid, 16_000)[0], 16_000
    assert abs(len(sound) / rate - 0.4) < 0.07  # packets of AAC last 23 ms
    assert np.abs(sound).max() < 0.1  # the click of frame 0 is before it, that of frame 30 after
    with pytest.raises(InputError, match=r"video.mp4 has 40 frames: --frames=40: chooses none"):
        gated.run(video, tmp_path / "none", frames="40:", progress=False)
    assert not (tmp_path / "none").exists()


def test_a_video_of_maps_has_almost_their_levels_at_the_times_of_the_source(gated: Predictor, tmp_path: Path):
    source = write_video(tmp_path / "source.mp4", variable(9), size=(47, 81), pixels="yuv444p")
    for maps in ("png", "mp4"):
        gated.run(source, tmp_path / maps, maps=maps, overlay=False, progress=False)
    from PIL import Image

    images = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "png/maps").iterdir())]
    made = tmp_path / "mp4/maps/saliency.mp4"
    assert {p.name for p in (tmp_path / "mp4").rglob("*")} == {"maps", made.name, "timeline.json", "timeline.png"}
    from collections import Counter

    read = [values for _, values in read_video(made, 9, "refuse", Counter())]
    assert np.abs(np.stack(read).astype(int) - np.stack(images)).max() <= 2
    np.testing.assert_allclose(frame_times(made), frame_times(source), atol=1e-4)
    assert probe(made).audio is None
    assert next(read_frames(made)).image.shape == (47, 81, 3)
    gated.run(source, tmp_path / "mp4", maps="none", progress=False)
    assert not made.exists()

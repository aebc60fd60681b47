"""Pictures: a real video's frames as a folder of them, other folders of all kinds, and which model maps a picture."""

import itertools
import json
import pathlib
import re
import shutil
import unicodedata

import cv2
import drawn
import numpy as np
import pytest
from media_files import regular, write_video
from pictures import odd_one_out
from PIL import Image
from tiny_run import add_extra_models

from avsd_jax import PicturePredictor, Predictor, models, predict
from avsd_jax.batch import zeros
from avsd_jax.config.base import base
from avsd_jax.errors import InputError
from avsd_jax.media.reading import probe, read_frames
from avsd_jax.prediction.picture_files import found, output_names
from avsd_jax.runs.checkpoint import NO_VARIABLES, save_variables
from avsd_jax.runs.components import Inference


@pytest.fixture(autouse=True, scope="module")
def _extra_models() -> None:
    add_extra_models()


def picture(path: pathlib.Path, size: tuple[int, int] = (40, 60), seed: int = 0, **options: object) -> pathlib.Path:
    """Writes a picture of coarse noise, RGB [height, width, 3]; returns its path."""
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(cv2.resize(coarse, size[::-1])).save(path, **options)
    return path


def read(path: pathlib.Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_frames_of_a_real_video_as_pictures(shared: pathlib.Path, tmp_path: pathlib.Path, capsys):
    """From the command line, with the default model: the maps are those of the same frames as a video."""
    clip = shared / "clips/big_buck_bunny_0_30.webm"
    folder, video = tmp_path / "frames", tmp_path / "frames.mkv"
    folder.mkdir()
    shown = [
        cv2.resize(f.image, (160, 90), interpolation=cv2.INTER_AREA) for f in itertools.islice(read_frames(clip), 5)
    ]
    for index, image in enumerate(shown):
        Image.fromarray(image).save(folder / f"frame_{index:03d}.png")
    out = tmp_path / "out"
    assert predict.main([str(folder), f"--out={out}", "--maps=npz"]) == 0
    told = capsys.readouterr()
    assert told.out == f"5 pictures by gbvs: {out / 'overlays'}\n"
    assert "each picture is predicted by itself" in told.err
    names = [f"frame_{index:03d}" for index in range(5)]
    assert sorted(p.name for p in (out / "overlays").iterdir()) == [f"{name}.jpg" for name in names]
    assert read(out / "overlays/frame_000.jpg").shape == (90, 160, 3)

    write_video_of(shown, video)
    predictor, info = Predictor(model="gbvs"), probe(video)
    expected = [p.saliency for p in predictor.predictions(info, predictor.clips(info))]
    found = [np.load(out / f"maps/{name}.npz")["saliency"] for name in names]
    np.testing.assert_allclose(np.stack(found), np.stack(expected), atol=1e-5)
    record = json.loads((out / "pictures.json").read_text())
    assert (record["source"], record["model"], record["num_pictures"]) == ("frames", "gbvs", 5)
    assert record["pictures"][4] == {
        "picture": "frame_004.png",
        "height": 90,
        "width": 160,
        "map": "maps/frame_004.npz",
        "overlay": "overlays/frame_004.jpg",
    }


def write_video_of(images: list[np.ndarray], path: pathlib.Path) -> None:
    """Writes frames without loss."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "bgr0"
        for image in images:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="bgr0")))
        file.mux(stream.encode())


def test_a_picture_has_a_map_of_its_own_displayed_size(tmp_path: pathlib.Path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture(tmp_path / "portrait.jpg", (40, 60), exif=exif)
    out = tmp_path / "out"
    assert predict.main([str(path), f"--out={out}", "--model=bright"]) == 0
    assert capsys.readouterr().out == f"1 picture by bright: {out / 'overlays'}\n"
    saved = read(out / "maps/portrait.png")
    assert (saved.shape, saved.dtype, saved.max()) == ((60, 40), np.uint8, 255)
    assert read(out / "overlays/portrait.jpg").shape == (60, 40, 3)
    # Again, without maps: the earlier ones go.
    assert predict.main([str(path), f"--out={out}", "--model=bright", "--maps=none"]) == 0
    assert {p.name for p in out.iterdir()} == {"overlays", "pictures.json"}
    image = np.zeros((50, 80, 3), np.uint8)
    image[:20] = 200
    found = PicturePredictor(model="bright").predict(image)
    assert found.shape == (32, 32)
    assert found[:8].mean() > found[20:].mean()
    for wrong, told in (
        (image[..., 0], r"uint8 \(50, 80\)"),
        (image[:0], r"uint8 \(0, 80, 3\)"),
        (image.tolist(), "list"),
    ):
        with pytest.raises(InputError, match=rf"the picture is {told}: give uint8 RGB arrays"):
            PicturePredictor(model="bright").predict(wrong)


def test_the_example_of_the_page_runs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    page = (pathlib.Path(__file__).parents[2] / "docs/prediction.md").read_text()
    (example,) = (found for found in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "Picture" in found)
    picture(tmp_path / "FOLDER/a.png")
    monkeypatch.chdir(tmp_path)
    exec(example.replace('"gbvs"', '"bright"'), {})
    assert (tmp_path / "runs/pictures/maps/a.npz").exists()


def test_a_bad_picture_of_a_folder_is_told_and_the_rest_is_done(tmp_path: pathlib.Path, capsys):
    folder, out = tmp_path / "mixed", tmp_path / "out"
    picture(folder / "a.jpg", seed=1)
    picture(folder / "A.png", (30, 30), seed=2)
    picture(folder / "b.png", (20, 70), seed=3)
    clear = Image.open(folder / "b.png").convert("RGBA")
    clear.putalpha(100)
    clear.save(folder / "clear.webp", lossless=True)
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:-200])
    Image.open(folder / "b.png").save(
        folder / "moving.gif", save_all=True, append_images=[Image.open(folder / "A.png").resize((70, 20))]
    )
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_text("no picture")
    (folder / "more").mkdir()
    assert predict.main([str(folder), f"--out={out}", "--model=bright"]) == 2
    told = capsys.readouterr()
    assert told.out == f"4 pictures by bright: {out / 'overlays'}\n"
    lines = told.err.splitlines()
    assert lines[-1] == (
        f"error: 2 of 6 pictures cannot be read (cut.jpg, moving.gif): save them again; the others are in {out}"
    )
    for part in (
        "cut.jpg is damaged or no picture",
        "moving.gif holds 2 images: predict it alone, as a video",
        "left out, as they are no pictures: more/, notes.txt",
        "1 of the pictures: what is transparent is laid over white",
    ):
        assert sum(part in line for line in lines) == 1, part
    # Two names that are one on some disks keep their suffixes.
    assert sorted(p.name for p in (out / "maps").iterdir()) == ["A.png.png", "a.jpg.png", "b.png", "clear.png"]
    assert [read(out / f"maps/{n}.png").shape for n in ("A.png", "a.jpg", "b")] == [(30, 30), (40, 60), (20, 70)]
    rows = {row["picture"]: row for row in json.loads((out / "pictures.json").read_text())["pictures"]}
    assert list(rows) == ["A.png", "a.jpg", "b.png", "clear.webp", "cut.jpg", "moving.gif"]
    assert set(rows["cut.jpg"]) == {"picture", "error"}
    assert rows["clear.webp"]["notes"] == ["what is transparent is laid over white"]
    # The animation alone is a video.
    assert predict.main([str(folder / "moving.gif"), f"--out={tmp_path / 'video'}", "--model=bright"]) == 0
    assert (tmp_path / "video/timeline.json").exists()

    (folder / "a.jpg").unlink()
    for name in ("cut.jpg", "moving.gif"):
        (folder / name).unlink()
    assert predict.main([str(folder), f"--out={out}", "--model=bright"]) == 0
    assert sorted(p.name for p in (out / "maps").iterdir()) == ["A.png", "b.png", "clear.png"]


def test_every_picture_has_a_file_of_its_own_whatever_its_name(tmp_path: pathlib.Path):
    for names in (
        ["a.jpg", "a.png", "A.jpg", "a.jpg.png", "a.jpg-2.png"],
        ["\udcff.png", "\udcfe.png", "picture.png"],  # no UTF-8
        ["x" * 251 + end for end in (".png", ".jpg")] + ["X" * 251 + ".png"],
        ["e\u0301.png", "\u00e9.png"],
        ["two\nlines.png", " .png", ".png", "..png"],
    ):
        found = output_names(tmp_path, [pathlib.Path(name) for name in names])
        assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == len(names), found
        for name in found:
            (tmp_path / f"{name}.png").touch()


def test_a_folder_is_known_by_its_name_however_it_is_given(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    folder = picture(tmp_path / "holidays/a.png").parent
    (folder / "more").mkdir()
    for inside, given in ((folder, "."), (folder / "more", ".."), (folder.parent, "holidays/")):
        monkeypatch.chdir(inside)
        assert found(given).name == "holidays"
    assert found("x" * 300) is None


def test_folders_are_of_one_prediction_and_errors_leave_nothing(tmp_path: pathlib.Path, capsys):
    one, two, out = picture(tmp_path / "one.png"), picture(tmp_path / "two.png"), tmp_path / "out"
    video = write_video(tmp_path / "clip.mp4", regular(2), size=(32, 32), sound=None)
    assert predict.main([str(one), f"--out={out}", "--model=bright"]) == 0
    shutil.copytree(out, tmp_path / "unknown")
    (tmp_path / "unknown/pictures.json").unlink()
    assert predict.main([str(video), f"--out={tmp_path / 'of_video'}", "--model=bright"]) == 0
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "broken" / name).write_text("broken")
    new = tmp_path / "new"
    for arguments, message in (
        ([two, f"--out={out}"], "holds the prediction of one.png"),
        ([video, f"--out={out}"], "holds the prediction of pictures"),
        ([one, f"--out={tmp_path / 'of_video'}"], "holds the prediction of a video"),
        ([one, f"--out={tmp_path / 'unknown'}"], "holds files of unknown pictures"),
        ([tmp_path / "broken/a.png", f"--out={new}"], "a.png is damaged or no picture"),
        ([tmp_path / "broken", f"--out={new}"], "(the first of 2 pictures, of which none can be read)"),
        ([tmp_path / "empty", f"--out={new}"], "has no pictures"),
        ([one, f"--out={new}", "--stride=2"], "--stride is of videos"),
        ([one, f"--out={new}", "--mode=exact"], "--mode is of videos"),
        ([one, f"--out={new}", "--maps=stavis"], "--maps=stavis is of videos"),
        ([tmp_path / "missing.png", f"--out={new}"], "missing.png does not exist"),
    ):
        capsys.readouterr()
        assert predict.main([*map(str, arguments), "--model=bright"]) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert message in errors[0]
    assert not new.exists()


def test_unisal_maps_a_picture_without_its_gru_and_by_its_domain_of_images(tmp_path: pathlib.Path):
    config, options = base("unisal"), {"width": 0.02, "domains": ("DHF1K", "SALICON")}
    config.model.update(clip_size=4, **options)
    parts = Inference.from_config(config)
    save_variables(tmp_path / "model", config, drawn.variables(drawn.shapes(parts.model, zeros(parts.spec))))
    predictor = PicturePredictor(tmp_path / "model")
    assert predictor._model == models.create("unisal", clip_size=1, static=True, domain="SALICON", **options)
    saliency = predictor.predict(np.asarray(Image.open(picture(tmp_path / "a.png", (48, 64)))))
    assert saliency.shape == (288, 384)  # of pictures of 3:4, as those of SALICON
    assert saliency.max() == 1
    assert predictor._model.fitted_size((360, 640), (0, 0)) == (256, 416)  # of videos 224x384


def test_a_model_that_needs_a_video_says_so(tmp_path: pathlib.Path):
    for name, reason in (
        ("gbvs_av", "gbvs_av needs clips of 2 frames and audio"),
        ("tiny_gated", "tiny_gated needs clips of 8 frames and audio"),
        ("deepvs", "deepvs needs clips of 21 frames"),
    ):
        config = base(name)
        save_variables(tmp_path / name, config, dict(NO_VARIABLES))
        with pytest.raises(InputError, match=f"{name} maps no single picture, because {reason}: give another model"):
            PicturePredictor(tmp_path / name)
    # The static form of a model of clips.
    assert PicturePredictor(model="awsd")._model.clip_size == 1
    image = (255 * odd_one_out()[0]).astype(np.uint8)
    for name in ("awsd", "itti"):
        found = PicturePredictor(model=name).predict(image)
        assert found.shape == (64, 96)
        assert 0 <= found.min() < found.max() <= 1

"""STAViS's tree and the survey's as layouts: what is read, and the messages about unexpected files."""

import pathlib
import shutil

import cv2
import numpy as np
import pytest
import scipy.io
from absl import logging
from PIL import Image
from raw_files import write_wav
from stavis_files import FRAMES, POINTS, SIZE, VIDEOS, folder, write_video

from avsd_jax.data import schema
from avsd_jax.errors import InputError
from avsd_jax.sources import image_files, layouts
from avsd_jax.sources.base import MissingFile, Source
from avsd_jax.sources.build_options import BuildOptions
from avsd_jax.sources.fold_lists import ListedVideo

VIDEO = "V1_Speech1"


def reader(root: pathlib.Path, dataset: str = "avad", **options: object) -> Source:
    return layouts.find(root, dataset, BuildOptions(**options))[1]


def read(root: pathlib.Path, video: str = VIDEO, frames: int | None = FRAMES, **options: object) -> schema.SourceVideo:
    return reader(root, **options).read(video, ListedVideo(video, frames, 24.99975))


def path(root: pathlib.Path, kind: str, name: str) -> pathlib.Path:
    return folder(root, "avad", VIDEO, "stavis", kind) / name


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    return lines


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    write_video(tmp_path, "avad", VIDEO, empty_maps=[3])
    return tmp_path


@pytest.mark.parametrize("dataset", sorted(VIDEOS))
@pytest.mark.parametrize("layout", ["stavis", "scdl"])
def test_both_trees_give_the_same_video(dataset: str, layout: str, tmp_path: pathlib.Path):
    video = VIDEOS[dataset][0]
    write_video(tmp_path, dataset, video, layout, frames=4)
    name, source = layouts.find(tmp_path, dataset, BuildOptions())
    assert (name, source.videos()) == (layout, (video,))
    read = source.read(video, ListedVideo(video, 4, 24.99975))
    files = sorted(folder(tmp_path, dataset, video, layout, "frames").iterdir())
    assert list(read.frames) == [file.read_bytes() for file in files]
    maps = sorted(folder(tmp_path, dataset, video, layout, "maps").iterdir())
    for png, file in zip(read.density, maps, strict=True):
        np.testing.assert_array_equal(schema.decode_png(png), np.asarray(Image.open(file).convert("L")))
    expected = [(frame, -1, *sorted(POINTS, key=lambda p: (p[1], p[0]))[i]) for frame in range(4) for i in range(3)]
    np.testing.assert_array_equal(read.fixations, expected)
    assert (read.fps, read.num_frames, read.num_viewers) == (24.99975, 4, 0)
    assert (read.height, read.width, read.map_height, read.map_width) == (*SIZE, *SIZE)
    assert read.avc_label.tolist() == [-1] * 4
    assert (read.sample_rate, len(read.audio)) == (22_050, round(4 / 25 * 22_050))


def test_coutrots_clips_are_known_under_both_names(tmp_path: pathlib.Path):
    write_video(tmp_path, "coutrot1", "clip_7")
    source = reader(tmp_path, "coutrot1")
    assert source.videos() == ("clip7",)
    assert source.read("clip7", ListedVideo("clip7", None, 25.0)).num_frames == FRAMES


def test_an_empty_map_stays_and_has_no_points(root: pathlib.Path):
    video = read(root)
    empty = [not schema.decode_png(png).any() for png in video.density]
    assert [i for i, value in enumerate(empty) if value] == [2]
    assert 2 not in video.fixations[:, 0]
    assert reader(root).inspect(VIDEO, None).empty_maps == (3,)


@pytest.mark.parametrize(
    ("rate", "channels", "length", "expected"),
    [(22_050, 1, 10_584, 22_050), (16_000, 2, 7680, 16_000), (48_000, 2, 10_584, 22_050)],
)
def test_sound_is_mono_at_a_rate_that_fits(rate: int, channels: int, length: int, expected: int, root: pathlib.Path):
    file = write_wav(path(root, "sound", f"{VIDEO}.wav"), FRAMES / 25, rate, channels)
    video = read(root)
    assert (video.sample_rate, len(video.audio)) == (expected, length)
    if rate == expected:
        samples = scipy.io.wavfile.read(file)[1]
        np.testing.assert_array_equal(video.audio, samples if channels == 1 else samples[:, 0])
    inspection = reader(root).inspect(VIDEO, ListedVideo(VIDEO, FRAMES, 25.0))
    assert (inspection.sample_rate, inspection.channels, inspection.problems) == (rate, channels, ())
    assert any("downsampled to 22050" in note for note in inspection.notes) == (rate == 48_000)
    assert any("mixed down" in note for note in inspection.notes) == (channels == 2)


def test_silence_is_sound(root: pathlib.Path):
    write_wav(path(root, "sound", f"{VIDEO}.wav"), 0.4, 22_050, 1, silent=True)
    assert not read(root).audio.any()
    write_wav(path(root, "sound", f"{VIDEO}.wav"), 0, 22_050, 1)
    with pytest.raises(InputError, match=f"{VIDEO}.wav has no audio samples"):
        read(root)


@pytest.mark.parametrize(("listed", "used"), [(10, 10), (11, 11), (12, 12), (14, 12), (None, 12), (9, 0), (15, 0)])
def test_counts_may_differ_by_two(listed: int | None, used: int, root: pathlib.Path, logged: list[str]):
    if used:
        video = read(root, frames=listed)
        assert (video.num_frames, len(list(schema.encode(video))[0]["frames"])) == (used, used)
        assert bool(logged) == (listed not in (None, 12))
    else:
        said = rf"avad, {VIDEO}: .* differ by more than 2 \(list {listed}, frames 12, maps 12, fixMaps 12\): complete"
        with pytest.raises(InputError, match=said):
            read(root, frames=listed)
        assert reader(root).inspect(VIDEO, ListedVideo(VIDEO, listed, 25.0)).num_frames == 0


def test_gaze_maps_are_rendered_from_the_binary_ones(root: pathlib.Path):
    maps = [schema.decode_png(png) for png in read(root, maps="gaze").density]
    assert (len(maps), maps[0].shape, maps[0].max(), maps[2].max()) == (FRAMES, SIZE, 255, 0)
    # Sigma is 0.03 of the width: the single point stands alone.
    assert maps[0][5, 40] > 100
    assert maps[0][20:21, 10:12].min() > 200
    assert maps[0][5, 40 + 8] == 0


DAMAGES = [
    ("frames", "img_00004.jpg", None, MissingFile, r"lacks img_00004 \(but has img_00005.jpg\): restore it"),
    ("maps", "eyeMap_00012.jpg", b"", InputError, r"eyeMap_00012.jpg is not an image"),
    ("maps", "eyeMap_00001.jpg", None, MissingFile, r"lacks eyeMap_00001"),
    ("fixations", "fixMap_00007.mat", None, MissingFile, r"lacks fixMap_00007"),
    ("fixations", "fixMap_00002.mat", b"MATLAB 5.0 MAT-file" + bytes(150), InputError, r"fixMap_00002.mat is "),
    ("sound", f"{VIDEO}.wav", None, MissingFile, rf"{VIDEO}.wav is missing: put the video's audio there"),
    ("sound", f"{VIDEO}.wav", b"not a wav at all", InputError, rf"{VIDEO}.wav"),
    ("frames", "img_00002.jpg", b"\xff\xd8\xff\xd9", InputError, r"img_00002.jpg has a damaged header"),
]


@pytest.mark.parametrize(("kind", "name", "content", "error", "message"), DAMAGES)
def test_missing_and_damaged_files_are_named(kind, name, content, error, message, root: pathlib.Path):
    file = path(root, kind, name)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        list(schema.encode(read(root)))
    assert isinstance(caught.value, MissingFile) == (error is MissingFile)


def test_pictures_that_are_cut_short_are_named(root: pathlib.Path):
    for kind, name in (("maps", "eyeMap_00009.jpg"), ("frames", "img_00009.jpg")):
        file = path(root, kind, name)
        file.write_bytes(file.read_bytes()[:-40])
        with pytest.raises(InputError, match=f"{name} is truncated: restore the file"):
            list(schema.encode(read(root)))


def test_pictures_of_another_size_are_named(root: pathlib.Path):
    small = np.zeros((SIZE[0], SIZE[1] // 2), np.uint8)
    scipy.io.savemat(path(root, "fixations", "fixMap_00005.mat"), {"eyeMap": small})
    with pytest.raises(InputError, match=r"fixMap_00005.mat has 32x48 pixels, the maps 64x48 pixels"):
        read(root)
    scipy.io.savemat(path(root, "fixations", "fixMap_00005.mat"), {"other": small})
    with pytest.raises(InputError, match=r"fixMap_00005.mat has no map named eyeMap \(but other\)"):
        read(root)
    scipy.io.savemat(path(root, "fixations", "fixMap_00005.mat"), {"eyeMap": np.zeros(SIZE, np.uint8)})
    for kind, name in (("maps", "eyeMap_00005.jpg"), ("frames", "img_00005.jpg")):
        cv2.imwrite(str(path(root, kind, name)), small)
        with pytest.raises(InputError, match=f"{name} has 32x48 pixels, the .* before it 64x48"):
            list(schema.encode(read(root)))


def test_a_map_in_colour_is_named_and_one_of_equal_channels_is_not(tmp_path: pathlib.Path, monkeypatch):
    said = []
    monkeypatch.setattr(image_files.logging, "log_first_n", lambda level, text, n, *args: said.append(text % args))
    levels = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    cv2.imwrite(str(tmp_path / "grey.jpg"), np.dstack([levels] * 3))
    image_files.grey(tmp_path / "grey.jpg")
    assert not said
    cv2.imwrite(str(tmp_path / "jet.jpg"), cv2.applyColorMap(levels, cv2.COLORMAP_JET))
    image_files.grey(tmp_path / "jet.jpg")
    assert [line.split(":")[0] for line in said] == [f"{tmp_path / 'jet.jpg'} is in colour"]


def test_frames_of_another_format_become_jpeg_and_colours_grey(root: pathlib.Path):
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    for number in range(1, FRAMES + 1):
        path(root, "frames", f"img_{number:05d}.jpg").unlink()
        Image.fromarray(image).save(path(root, "frames", f"img_{number:05d}.png"))
    Image.fromarray(image).save(path(root, "maps", "eyeMap_00001.jpg"))
    video = read(root)
    assert set(video.frames) == {schema.encode_jpeg(image)}
    expected = np.asarray(Image.open(path(root, "maps", "eyeMap_00001.jpg")).convert("L"))
    np.testing.assert_array_equal(schema.decode_png(next(iter(video.density))), expected)


@pytest.mark.parametrize(
    "kind_and_name",
    [
        ("frames", "img_00002.jpg"),
        ("maps", "eyeMap_00002.jpg"),
        ("fixations", "fixMap_00002.mat"),
        ("sound", f"{VIDEO}.wav"),
        ("frames", ""),
        ("maps", ""),
    ],
)
def test_links_are_not_followed(kind_and_name: tuple[str, str], root: pathlib.Path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "target"
    target = path(root, *kind_and_name)
    shutil.move(target, elsewhere)
    target.symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"is a link, which is not followed"):
        list(schema.encode(read(root)))


def test_what_was_looked_for_is_listed(tmp_path: pathlib.Path):
    with pytest.raises(InputError) as error:
        layouts.find(tmp_path, "coutrot1", BuildOptions())
    for looked_for in (
        "stavis: video_frames/Coutrot1 or video_frames/Coutrot_db1 and annotations/Coutrot1",
        "scdl: video_frame/Coutrot1",
        "raw: ",
    ):
        assert looked_for in str(error.value)
    with pytest.raises(InputError, match="raw: no such layout of this dataset is known"):
        layouts.find(tmp_path, "avad", BuildOptions(maps="gaze"))
    with pytest.raises(InputError, match="is not a folder: give the root of the data's tree as --manual_dir"):
        layouts.find(tmp_path / "nothing", "avad", BuildOptions())


def test_what_is_there_twice_is_refused(root: pathlib.Path):
    source = reader(root)
    write_video(root, "coutrot1", "clip1")
    write_video(root, "coutrot1", "clip_1")
    with pytest.raises(InputError, match="clip1 and .*clip_1 are the same video: keep one of them"):
        reader(root, "coutrot1").videos()
    shutil.copytree(root / "video_frames/Coutrot_db1", root / "video_frames/Coutrot1")
    with pytest.raises(InputError, match="are the same dataset: keep one of them"):
        reader(root, "coutrot1").videos()
    shutil.copy(path(root, "frames", "img_00002.jpg"), path(root, "frames", "img_2.jpg"))
    with pytest.raises(InputError, match="has the number of another file"):
        source.read(VIDEO, ListedVideo(VIDEO, FRAMES, 25.0))

"""Files of maps as people have them: one grey channel per frame in the shape of its video, or a word about it."""

from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import scipy.io
from PIL import Image

from avsd_jax.errors import InputError
from avsd_jax.evaluation import prediction_folders
from avsd_jax.evaluation.map_checks import MapChecks, check_upright, remarks
from avsd_jax.map_files import colour, videos
from avsd_jax.map_files.images import read_image

SIZE, FRAMES = (24, 36), 10


def level_map(frame: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A blob on a slope, of all levels."""
    y, x = np.mgrid[: size[0], : size[1]] / np.array(size).reshape(2, 1, 1)
    blob = np.exp(-((x - 0.2 - 0.06 * frame) ** 2 + (y - 0.5) ** 2) / 0.03)
    return np.round(5 + 240 * blob + 9 * x).astype(np.uint8)


def drawn(levels: np.ndarray, name: str) -> np.ndarray:
    """A heat map, RGB."""
    return cv2.applyColorMap(levels, getattr(cv2, f"COLORMAP_{name.upper()}"))[..., ::-1].copy()


MAPS = np.stack([level_map(k) for k in range(FRAMES)])


def read_all(root: Path, **options: object) -> tuple[dict[int, np.ndarray], Counter[str]]:
    """The maps of video "one", 10 frames of 24 x 36."""
    found = prediction_folders.find(root, "any", {"one": FRAMES}, sizes={"one": SIZE}, **options)
    notes: Counter[str] = Counter()
    return {frame: values for frame, values, _ in prediction_folders.read(found.videos["one"], notes)}, notes


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "I;16", "deep RGB", "deep RGBA", "F"])
def test_one_grey_channel_is_read_from_every_kind_of_picture(tmp_path: Path, mode: str) -> None:
    levels, path, expected = MAPS[0], tmp_path / "map.png", MAPS[0]
    image = Image.fromarray(levels)
    if mode in ("CMYK", "F"):
        path = tmp_path / "map.tif"
        image = image.convert("RGB").convert("CMYK") if mode == "CMYK" else Image.fromarray(levels / np.float32(255))
        expected = levels if mode == "CMYK" else levels / np.float32(255)
    elif mode.startswith("deep"):
        expected = levels.astype(np.uint16) * 257
        opaque = [np.full(SIZE, 65535, np.uint16)] * (mode == "deep RGBA")
        cv2.imwrite(str(path), np.dstack([expected] * 3 + opaque))
    elif mode == "I;16":
        expected = levels.astype(np.uint16) * 257
        image = Image.fromarray(expected)
    elif mode != "L":
        image = image.convert(mode)
    if not path.is_file():
        image.save(path)
    values = read_image(path)
    assert values.dtype == expected.dtype
    np.testing.assert_array_equal(values, expected)


def test_noise_of_jpeg_between_equal_channels_is_no_colour(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-2, 3, (*SIZE, 3))
    Image.fromarray(np.clip(MAPS[0][..., None] + noise, 0, 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=90)
    values = read_image(tmp_path / "a.jpg")
    assert values.shape == SIZE
    assert np.abs(values.astype(int) - MAPS[0]).mean() < 4


@pytest.mark.parametrize("kind", ["png", "jpg", "palette", "rgba"])
@pytest.mark.parametrize("name", ["jet", "hot", "viridis", "bone"])
def test_a_heat_map_is_refused_by_name_and_read_back_on_demand(tmp_path: Path, name: str, kind: str) -> None:
    image, path = Image.fromarray(drawn(MAPS[3], name)), tmp_path / f"map.{'jpg' if kind == 'jpg' else 'png'}"
    image = image.convert("P", palette=Image.Palette.ADAPTIVE) if kind == "palette" else image
    image = image.convert("RGBA") if kind == "rgba" else image
    image.save(path, quality=95)
    with pytest.raises(
        InputError, match=rf"{path.name} is in colour \(a heat map: {name}\?\).*--colour_maps=luminance"
    ):
        read_image(path)
    notes: Counter[str] = Counter()
    found = read_image(path, f"colormap:{name}", notes)
    assert np.abs(found.astype(int) - MAPS[3]).mean() < (6 if kind == "jpg" else 1)
    assert notes == {f"maps in colour read back by the colour map {name}": 1}
    other = "summer" if name != "summer" else "jet"
    with pytest.raises(InputError, match=rf"other colours than those of the colour map {other} \(a heat map: {name}"):
        read_image(path, f"colormap:{other}")


def test_luminance_is_pillows(tmp_path: Path) -> None:
    image = Image.fromarray(drawn(MAPS[3], "jet"))
    image.save(tmp_path / "map.png")
    np.testing.assert_array_equal(read_image(tmp_path / "map.png", "luminance"), np.asarray(image.convert("L")))
    with pytest.raises(InputError, match="both ends of hsv have one colour"):
        colour.check_rule("colormap:hsv")
    with pytest.raises(InputError, match="unknown colour_maps 'jet': choose refuse, luminance or colormap:NAME"):
        colour.check_rule("jet")


def test_a_heat_map_blended_with_its_frame_is_not_read(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3))
    Image.fromarray((drawn(MAPS[0], "jet") // 2 + frame // 2).astype(np.uint8)).save(tmp_path / "map.png")
    for rule in ("refuse", "colormap:jet"):
        with pytest.raises(InputError, match="of no colour map that is known"):
            read_image(tmp_path / "map.png", rule)


def test_a_mark_on_a_grey_map_is_colour(tmp_path: Path) -> None:
    marked = np.dstack([MAPS[0]] * 3)
    marked[3:5, 3:5] = (255, 0, 0)
    Image.fromarray(marked).save(tmp_path / "map.png")
    with pytest.raises(InputError, match="in colour at some pixels and grey elsewhere"):
        read_image(tmp_path / "map.png")


def test_pictures_that_say_more_than_one_map_are_refused(tmp_path: Path) -> None:
    images = [Image.fromarray(levels) for levels in MAPS[:2]]
    images[0].save(tmp_path / "moving.png", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "pages.tif", save_all=True, append_images=images[1:])
    for name in ("moving.png", "pages.tif"):
        with pytest.raises(InputError, match=f"{name} holds 2 images: write one file per frame"):
            read_image(tmp_path / name)
    Image.merge("LA", images).save(tmp_path / "alpha.png")
    with pytest.raises(InputError, match=r"alpha.png has transparency that varies"):
        read_image(tmp_path / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    images[0].save(tmp_path / "turned.jpg", exif=exif)
    with pytest.raises(InputError, match=r"turned.jpg has an EXIF orientation"):
        read_image(tmp_path / "turned.jpg")
    notes: Counter[str] = Counter()
    images[0].convert("1").save(tmp_path / "bits.png")
    assert set(np.unique(read_image(tmp_path / "bits.png", notes=notes))) == {0, 255}
    assert notes == {"images of 1 bit": 1}


# ---------------------------------------------------------------------------------------------------------------------
# Arrays
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npz", "npy", "mat"])
@pytest.mark.parametrize(
    ("order", "make"),
    [
        ("nhw", lambda maps: maps),
        ("hwn", lambda maps: maps.transpose(1, 2, 0)),
        ("fortran", np.asfortranarray),
        ("n1hw", lambda maps: maps[:, None]),
        ("nhw1", lambda maps: maps[..., None]),
        ("nhwc", lambda maps: np.repeat(maps[..., None], 3, axis=-1)),
        ("nchw", lambda maps: np.repeat(maps[:, None], 3, axis=1)),
        ("big-endian", lambda maps: maps.astype(">f8")),
    ],
)
def test_a_volume_is_read_whatever_its_order(tmp_path: Path, kind: str, order: str, make) -> None:
    values, path = make(MAPS / 255), tmp_path / f"one.{kind}"
    if kind == "npz":
        np.savez(path, saliency=values)
    elif kind == "npy":
        np.save(path, values)
    else:
        scipy.io.savemat(path, {"S": values})
    maps, notes = read_all(tmp_path, other_forms=True)
    assert list(maps) == list(range(FRAMES))
    np.testing.assert_array_equal([maps[k] for k in range(FRAMES)], MAPS / 255)
    unusual = {"npz": order == "hwn", "npy": order == "hwn", "mat": order != "hwn"}[kind]
    assert any("whose time axis is the" in note for note in notes) == unusual


@pytest.mark.parametrize(
    ("shape", "frames"),
    [((*SIZE, 7), 7), ((7, *SIZE), 7), ((7, 30, 30), 7), ((FRAMES, 30, FRAMES), FRAMES), ((12, *SIZE), 12)],
)
def test_the_axis_of_time_is_found_by_length_and_by_shape(tmp_path: Path, shape: tuple[int, ...], frames: int) -> None:
    np.savez(tmp_path / "one.npz", saliency=np.random.default_rng(0).random(shape))
    assert list(read_all(tmp_path)[0]) == list(range(frames))


@pytest.mark.parametrize("shape", [(30, 30, 12), (12, 30, 30), (10, 24, 36, 5), (24, 36)])
def test_a_volume_of_which_nothing_tells_the_order_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "one.npz", saliency=np.zeros(shape))
    with pytest.raises(InputError, match=r"one.npz has .* of shape .*write \[n, h, w\]"):
        read_all(tmp_path)


def test_frames_of_an_archive_are_counted_like_any_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", saliency=MAPS, frames=np.arange(1, 11))
    assert list(read_all(tmp_path)[0]) == list(range(FRAMES))
    assert list(read_all(tmp_path, first_frame=0)[0]) == list(range(1, 11))
    np.savez(tmp_path / "two.npz", saliency=MAPS, frames=np.arange(10))
    lengths = {"one": FRAMES, "two": FRAMES}
    with pytest.raises(InputError, match=r"'two' counts frames from 0 .* 'one' seems to count from 1 .*--first_frame"):
        prediction_folders.find(tmp_path, "any", lengths)
    np.savez(tmp_path / "one.npz", saliency=MAPS[:2], frames=np.array([1, 6]))
    with pytest.raises(InputError, match="one' has numbers 1 to 6 of 10 frames.*--first_frame=0 or --first_frame=1"):
        read_all(tmp_path)
    # One without `frames` beside is in order, whatever the other counts from.
    np.savez(tmp_path / "one.npz", saliency=MAPS, frames=np.arange(1, 11))
    np.savez(tmp_path / "two.npz", saliency=MAPS)
    found = prediction_folders.find(tmp_path, "any", lengths)
    for video in lengths:
        assert [frame for frame, _, _ in prediction_folders.read(found.videos[video])] == list(range(FRAMES))


def test_matlab_numbers_frames_by_floats_from_1(tmp_path: Path) -> None:
    volume = (MAPS / 255).transpose(1, 2, 0)
    scipy.io.savemat(tmp_path / "one.mat", {"saliency": volume, "frames": np.arange(1.0, 11)})
    assert list(read_all(tmp_path, other_forms=True)[0]) == list(range(FRAMES))
    scipy.io.savemat(tmp_path / "one.mat", {"saliency": volume, "frames": np.arange(10) + 0.5})
    with pytest.raises(InputError, match=r"one.mat has `frames` of type float64: one whole number per map"):
        read_all(tmp_path, other_forms=True)
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "one.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="MATLAB 7.3 file: save it with -v7"):
        read_all(tmp_path, other_forms=True)


def test_one_array_per_frame(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for k in range(FRAMES):
        np.save(tmp_path / f"one/{k:04d}.npy", MAPS[k][None] / 255)
    maps, _ = read_all(tmp_path, other_forms=True)
    np.testing.assert_array_equal([maps[k] for k in range(FRAMES)], MAPS / 255)
    np.save(tmp_path / "one/0003.npy", MAPS)
    with pytest.raises(InputError, match=r"0003.npy has an array of shape \(10, 24, 36\): write one map"):
        read_all(tmp_path, other_forms=True)
    (tmp_path / "one/0003.npy").write_bytes(b"\x93NUMPY garbage")
    with pytest.raises(InputError, match=r"0003.npy is damaged or no .npy of maps"):
        read_all(tmp_path, other_forms=True)


# ---------------------------------------------------------------------------------------------------------------------
# Videos
# ---------------------------------------------------------------------------------------------------------------------


def write_video(path: Path, frames: np.ndarray, codec: str = "FFV1") -> None:
    size = frames.shape[2], frames.shape[1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 12.5, size, True)
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def write_deep(path: Path, frames: np.ndarray) -> None:
    """A video of 10 bits in full range, without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], "gray10le"
        for values in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="gray10le")))
        file.mux(stream.encode())


def test_a_grey_video_is_read_frame_by_frame(tmp_path: Path) -> None:
    grey = np.repeat(MAPS[..., None], 3, axis=-1)
    write_video(tmp_path / "one.avi", grey)
    maps, notes = read_all(tmp_path, other_forms=True)
    np.testing.assert_array_equal([maps[k] for k in range(FRAMES)], MAPS)
    assert any("decoded from a video" in note for note in notes)
    deep = np.random.default_rng(5).integers(0, 1024, MAPS.shape, np.uint16)
    write_deep(tmp_path / "one.mkv", deep)
    notes: Counter[str] = Counter()
    for frame, values in videos.read_video(tmp_path / "one.mkv", len(deep), "refuse", notes):
        assert values.dtype == np.uint16
        np.testing.assert_allclose(values / 65535, deep[frame] / 1023, atol=2e-3 / 16)
    (tmp_path / "one.mkv").unlink()
    write_video(tmp_path / "one.avi", grey[:-1])
    with pytest.raises(InputError, match=r"one.avi has 9 frames, and its video 10"):
        read_all(tmp_path, other_forms=True)
    write_video(tmp_path / "one.avi", np.stack([drawn(levels, "jet") for levels in MAPS]))
    with pytest.raises(InputError, match=r"one.avi, frame 0, is in colour \(a heat map: jet\?\)"):
        read_all(tmp_path, other_forms=True)
    maps, _ = read_all(tmp_path, other_forms=True, colour_maps="colormap:jet")
    assert np.abs(np.stack([maps[k] for k in range(FRAMES)]).astype(int) - MAPS).mean() < 1


# ---------------------------------------------------------------------------------------------------------------------
# What the maps are like
# ---------------------------------------------------------------------------------------------------------------------


def seen(size: tuple[int, int], *maps: np.ndarray) -> dict:
    checks = MapChecks("v", 5, size)
    for frame, values in enumerate(maps):
        checks.see(frame, values)
    return checks.as_record()


def test_maps_on_their_side_are_refused_unless_all_videos_share_one_size() -> None:
    landscape, portrait, square = (level_map(0, size) for size in ((24, 36), (36, 24), (30, 30)))
    with pytest.raises(InputError, match=r"36x24 \(height x width\).*with swapped axes: write maps \[height, width\]"):
        check_upright({"v": seen((240, 360), portrait)})
    check_upright({"v": seen((240, 360), landscape), "on edge": seen((360, 240), landscape)})
    check_upright({"v": seen((240, 360), square), "even": seen((300, 300), landscape)})
    said = remarks({"v": seen((240, 360), square, square)})
    assert said == ["2 maps of 30x30 (height x width) are resized to the shape of their video"]


def test_constant_negative_and_superfluous_maps_are_counted_and_named() -> None:
    levels = level_map(0) / 255
    record = seen(SIZE, levels, levels * 0, levels - 0.5, levels * 0 + 3, levels, levels, levels)
    assert (record["constant"], record["negative"], record["outside"]) == ([1, 3], [2], 2)
    said = "\n".join(remarks({"v": record, "w": seen(SIZE, levels)}))
    for words in ("2 constant maps", "v, frames 1, 3", "1 maps with negative values", "past the end", "2 of video v;"):
        assert words in said
    assert not remarks({"w": seen(SIZE, levels)})

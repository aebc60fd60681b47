"""Still pictures of many forms, as they are displayed."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from avsd_jax.errors import InputError
from avsd_jax.media.pictures import is_picture, moves, read_picture

RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 180, 30), (30, 30, 200), (90, 90, 90)
UPRIGHT = np.kron(np.array([[RED, GREEN, GREY], [BLUE, GREY, GREY]], np.uint8), np.ones((8, 8, 1), np.uint8))


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_pictures_are_read_as_they_are_displayed(tmp_path: Path):
    rgb = Image.fromarray(UPRIGHT)
    grey = rgb.convert("L")
    deep = (np.asarray(grey).astype(np.uint16) << 8) + 77
    clear = rgb.convert("RGBA")
    clear.paste((0, 0, 0, 0), (16, 8, 24, 16))
    over_white = UPRIGHT.copy()
    over_white[8:, 16:] = 255
    as_grey = np.repeat(np.asarray(grey)[..., None], 3, 2)
    white = ("what is transparent is laid over white",)
    cases = {
        "plain.png": (rgb, UPRIGHT, ()),
        "plain.bmp": (rgb, UPRIGHT, ()),
        "plain.ppm": (rgb, UPRIGHT, ()),
        "plain.tif": (rgb, UPRIGHT, ()),
        "opaque.png": (rgb.convert("RGBA"), UPRIGHT, ()),
        "clear.png": (clear, over_white, white),
        "clear.gif": (clear, over_white, white),
        "palette.png": (rgb.quantize(8), UPRIGHT, ()),
        "grey.png": (grey, as_grey, ()),
        "grey_alpha.png": (grey.convert("LA"), as_grey, ()),
        "bits.png": (rgb.convert("1", dither=Image.Dither.NONE), None, ()),
        "grey16.png": (Image.fromarray(deep), as_grey, ("of 16 bits the upper 8 are used",)),
        "grey16.tif": (Image.fromarray(deep), as_grey, ("of 16 bits the upper 8 are used",)),
        "no_suffix": (rgb, UPRIGHT, ()),
    }
    for name, (image, expected, notes) in cases.items():
        path = save(tmp_path / name, image, **({} if "." in name else {"format": "PNG"}))
        assert is_picture(path)
        picture = read_picture(path)
        assert (picture.image.dtype, picture.image.shape, picture.notes) == (np.uint8, UPRIGHT.shape, notes), name
        if expected is not None:
            np.testing.assert_array_equal(picture.image, expected, err_msg=name)
    cv2.imwrite(str(tmp_path / "rgb16.png"), (UPRIGHT[..., ::-1].astype(np.uint16) << 8) + 200)
    np.testing.assert_array_equal(read_picture(tmp_path / "rgb16.png").image, UPRIGHT)
    cv2.imwrite(str(tmp_path / "grey16.pgm"), deep)
    np.testing.assert_array_equal(read_picture(tmp_path / "grey16.pgm").image, as_grey)
    printed = read_picture(save(tmp_path / "printed.jpg", rgb.convert("CMYK"), quality=98))
    assert printed.notes == ("CMYK is converted without its colour profile",)
    assert np.abs(printed.image.astype(int) - UPRIGHT).mean() < 12


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("form", ["png", "jpg", "tif"])
def test_all_eight_exif_orientations_are_applied(turned: int, form: str, tmp_path: Path):
    # What a camera stores that is turned like this: the inverse of what is displayed.
    stored = Image.fromarray(UPRIGHT)
    if form == "tif":  # a form of which Pillow maps files into memory
        stored = stored.convert("RGBA")
    ways = Image.Transpose
    inverse = {2: ways.FLIP_LEFT_RIGHT, 3: ways.ROTATE_180, 4: ways.FLIP_TOP_BOTTOM, 5: ways.TRANSPOSE}
    inverse |= {6: ways.ROTATE_90, 7: ways.TRANSVERSE, 8: ways.ROTATE_270}
    if turned > 1:
        stored = stored.transpose(inverse[turned])
    exif = Image.Exif()
    exif[0x0112] = turned
    image = read_picture(save(tmp_path / f"a.{form}", stored, exif=exif, quality=98, subsampling=0)).image
    assert image.shape == UPRIGHT.shape
    assert np.abs(image.astype(int) - UPRIGHT).mean() < 3


def test_what_cannot_be_read_is_named_with_the_fix(tmp_path: Path):
    rgb = Image.fromarray(UPRIGHT)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    whole = save(tmp_path / "whole.jpg", Image.fromarray(noise)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.webp").write_bytes(b"")
    (tmp_path / "phone.heic").write_bytes(b"ftypheic")
    frames = [Image.fromarray(np.roll(UPRIGHT, i, 1)) for i in range(3)]
    for name in ("moving.gif", "moving.webp", "moving.png", "pages.tif"):
        save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    save(tmp_path / "floats.tif", Image.fromarray(np.zeros((4, 4), np.float32)))
    save(tmp_path / "integers.tif", Image.fromarray(np.full((4, 4), 70_000, np.int32)))
    messages = {
        "cut.jpg": r"cut.jpg is damaged or no picture \(.*truncated.*\): save it again",
        "text.png": r"text.png is damaged or no picture \(its contents are not recognised\)",
        "empty.webp": "empty.webp is damaged or no picture",
        "phone.heic": "phone.heic is of a kind that is not read: save it as JPEG or PNG",
        "moving.gif": "moving.gif holds 3 images: predict it alone, as a video",
        "moving.webp": "moving.webp holds 3 images: save it as a GIF or a video",
        "moving.png": "moving.png holds 3 images: predict it alone",
        "pages.tif": "pages.tif holds 3 images: save each page as a file of its own",
        "floats.tif": r"floats.tif has pixels of unknown range \(mode F\)",
        "integers.tif": r"integers.tif has pixels of unknown range \(mode I\)",
        "missing.png": "missing.png does not exist",
        "loop.png": "loop.png cannot be read .*: give a readable file",
        "two\nlines.png": r"two\\nlines.png is damaged",
        "huge.png": "huge.png has more than 178956970 pixels: make it smaller",
    }
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "two\nlines.png").write_bytes(b"")
    header = save(tmp_path / "huge.png", rgb.convert("1")).read_bytes()
    size = struct.pack(">II", 20_000, 20_000)
    (tmp_path / "huge.png").write_bytes(
        header[:16] + size + header[24:29] + struct.pack(">I", zlib.crc32(b"IHDR" + size + header[24:29])) + header[33:]
    )
    for name, message in messages.items():
        with pytest.raises(InputError, match=message):
            read_picture(tmp_path / name)
        # FFmpeg reads no animations of WebP.
        assert moves(tmp_path / name) == (name in ("moving.gif", "moving.png"))
    # Cameras store a preview behind the picture.
    save(tmp_path / "camera.jpg", rgb, format="MPO", save_all=True, append_images=[rgb.resize((4, 4))])
    assert read_picture(tmp_path / "camera.jpg").image.shape == UPRIGHT.shape
    # A raw file is a TIFF by its contents, and no picture that is read.
    (tmp_path / "raw.srw").write_bytes(save(tmp_path / "a.tif", rgb).read_bytes())
    assert not is_picture(tmp_path / "raw.srw")

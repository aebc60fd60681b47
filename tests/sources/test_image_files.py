"""Images and videos that are damaged inside: found, counted, named, and refused beyond a hundredth."""

import os
import pathlib
import struct
import threading
import time
import zlib

import av
import cv2
import numpy as np
import pytest
from absl import logging
from media_files import regular, write_video

from avsd_jax.errors import InputError
from avsd_jax.sources import damage, image_files, video_damage

SIZE = (96, 128)


def jpeg(seed: int = 0, *options: int) -> bytes:
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), SIZE[::-1])
    image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", image, options)[1].tobytes()


def overwritten(data: bytes, share: float, length: int, seed: int = 1) -> bytes:
    """`length` random bytes instead of those from `share` of the data on; beginning and end stay."""
    at = int(share * len(data))
    noise = np.random.default_rng(seed).integers(0, 256, length, np.uint8).tobytes()
    return data[:at] + noise + data[at + length :]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    return lines


@pytest.mark.parametrize(
    "options",
    [
        (),
        (cv2.IMWRITE_JPEG_QUALITY, 50),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ],
)
def test_damage_between_a_jpegs_beginning_and_end_is_found(options, capfd):
    path = pathlib.Path("img.jpg")
    good = jpeg(0, *options)
    assert damage.concealed(good, path) is None
    for share in (0.3, 0.5, 0.7):
        with pytest.raises(InputError, match=r"img.jpg is (damaged inside|not an image)"):
            damage.Tally(1, "frames").look(path, overwritten(good, share, 200))
    assert damage.concealed(good[:-300] + good[-2:], path)  # cut short, with an end
    assert damage.concealed(good[:-2] + bytes(50) + good[-2:], path)
    assert damage.concealed(cv2.imencode(".png", np.zeros(SIZE, np.uint8))[1].tobytes(), path) is None
    for other in (b"", b"words", good[:200]):
        with pytest.raises(InputError, match=r"img.jpg is not an image, or a damaged one: restore the file"):
            damage.concealed(other, path)
    assert capfd.readouterr().err == ""


def test_what_others_write_to_stderr_meanwhile_is_passed_on(capfd):
    lines = [f"line {number}" for number in range(200)]

    def write() -> None:
        for line in lines:
            os.write(2, f"{line}\n".encode())
            time.sleep(0.0005)

    thread = threading.Thread(target=write)
    thread.start()
    good = jpeg()
    while thread.is_alive():
        assert damage.concealed(good, pathlib.Path("img.jpg")) is None
    damage.concealed(good, pathlib.Path("img.jpg"))
    assert sorted(capfd.readouterr().err.split("\n")) == sorted([*lines, ""])


def frames(folder: pathlib.Path, total: int, damaged: tuple[int, ...]) -> tuple[pathlib.Path, ...]:
    for number in range(1, total + 1):
        data = jpeg()
        data = overwritten(data, 0.4, 200) if number in damaged else data
        (folder / f"img_{number:05d}.jpg").write_bytes(data)
    return image_files.numbered(folder, "img")


def test_damaged_frames_are_named_up_to_a_hundredth_and_then_refused(tmp_path, logged):
    paths = frames(tmp_path, 100, (7,))
    stored = list(image_files.jpegs(paths, SIZE))
    assert stored == [path.read_bytes() for path in paths]
    assert "img_00007.jpg is damaged inside (" in logged[0]
    assert "1 of 100 frames are damaged inside and stored as they are: img_00007.jpg" in logged[1]
    paths[8].write_bytes(overwritten(jpeg(), 0.6, 200))
    with pytest.raises(InputError, match=r"img_00009.jpg is damaged inside .* 2 damaged of 100 frames, more than 1%"):
        list(image_files.jpegs(paths, SIZE))
    with pytest.raises(InputError, match=r"img_00007.jpg is damaged inside .* 1 damaged of 99 frames"):
        list(image_files.jpegs(paths[:99], SIZE))
    with pytest.raises(InputError, match=r"img_00007.jpg is damaged inside .* 1 damaged of 1 maps"):
        image_files.grey(paths[6], damage.Tally(1, "maps"))


def huge_png() -> bytes:
    """A header that states 60,000x60,000 pixels of 16 bits and three colours: 20 GiB."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 16, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""), b"IEND")
    checked = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(checked)


def huge_jpeg() -> bytes:
    """A header that states 65,535x65,535 pixels."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


@pytest.mark.parametrize("content", [huge_png, huge_jpeg])
def test_no_memory_is_asked_for_because_a_header_says_so(tmp_path, content):
    path = tmp_path / "img_00001.jpg"
    path.write_bytes(content())
    for look in (image_files.frame_size, image_files.grey, image_files.is_empty):
        with pytest.raises(InputError, match=r"img_00001.jpg (says \d+ pixels high|has an implausible header)"):
            look(path)


def packets(path: pathlib.Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def damage_packet(path: pathlib.Path, number: int, fill: str = "noise") -> None:
    """Other bytes instead of two thirds of a packet."""
    packet = packets(path)[number]
    data = bytearray(path.read_bytes())
    first, length = packet.pos + packet.size // 3, packet.size - packet.size // 3
    noise = np.random.default_rng(2).integers(0, 256, length, np.uint8).tobytes()
    data[first : first + length] = {"noise": noise, "zeros": bytes(length), "ones": b"\xff" * length}[fill]
    path.write_bytes(data)


@pytest.mark.parametrize("fill", ["noise", "zeros", "ones"])
@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.mp4", "libx264", "yuv420p"), ("a.avi", "mpeg4", "yuv420p"), ("a.avi", "mjpeg", "yuvj420p")],
)
def test_damage_of_a_packet_reaches_to_the_next_key_frame(tmp_path, name, codec, pixels, fill, logged):
    path = write_video(tmp_path / name, regular(40, 25), codec=codec, pixels=pixels, sound=None, size=SIZE)
    assert video_damage.look_through(path) == (40, ())
    assert video_damage.check_video(path) == ()
    keys = [number for number, packet in enumerate(packets(path)) if packet.is_keyframe]
    after = min([key for key in keys if key > 5], default=40)
    damage_packet(path, 5, fill)
    total, runs = video_damage.look_through(path)
    assert total == 40
    damaged = {number for first, last in runs for number in range(first, last + 1)}
    if codec == "mjpeg":
        assert damaged == {6}
    else:
        # In order of display, in which frames that depend on nothing damaged may come between.
        assert 5 <= min(damaged) <= 9
        assert max(damaged) == after
        assert len(damaged) >= after - 9
    with pytest.raises(InputError, match=rf"{name} has {len(damaged)} damaged frames of 40 .*, more than 1%: restore"):
        video_damage.check_video(path)
    assert logged == []


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_zeros_in_a_packet_are_no_valid_code(tmp_path, codec, capfd):
    path = write_video(tmp_path / "a.mp4", regular(12, 25), codec=codec, sound=None, size=SIZE)
    assert video_damage.look_through(path) == (12, ())
    for number in range(2, 12):
        content = path.read_bytes()
        packet = packets(path)[number]
        if packet.size > 24:
            middle = packet.pos + packet.size // 2
            path.write_bytes(content[:middle] + bytes(8) + content[middle + 8 :])
            assert video_damage.look_through(path)[1]
            path.write_bytes(content)
    capfd.readouterr()  # the encoder's chatter


def test_few_damaged_frames_of_many_are_named(tmp_path, logged):
    path = write_video(
        tmp_path / "a.avi", regular(110, 25), codec="mjpeg", pixels="yuvj420p", sound=None, size=(32, 48)
    )
    damage_packet(path, 50)
    said = f"{path} has 1 damaged frames of 110 (51): they are used as they are"
    assert video_damage.check_video(path) == (said,)
    assert logged == [said]

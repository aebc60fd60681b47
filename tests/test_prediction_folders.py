"""Anybody's prediction files: what is found, what is read, and what is refused."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avsd_jax import prediction_folders
from avsd_jax.errors import InputError

LENGTHS = {"one": 5, "two": 12}


def picture(path: Path, level: int = 7, size: tuple[int, int] = (6, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, level, np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("names", "layout", "first", "frames"),
    [
        (["pred_sal_000003.jpg", "pred_sal_000005.jpg"], "stavis", 1, [2, 4]),
        (["img_00001.png", "img_00004.png"], "vinet", 1, [0, 3]),
        (["000000.png", "000004.png"], "numbered", 0, [0, 4]),
        (["0001.png", "0005.png"], "numbered", 1, [0, 4]),
        (["frame-1.JPG", "frame-5.JPG"], "numbered", 1, [0, 4]),
        (["maps/000000.png", "timeline.png", "clip_overlay.mp4"], "numbered", 0, [0]),
        (["000000.png", "._000000.png", ".DS_Store", "Thumbs.db"], "numbered", 0, [0]),
    ],
)
def test_file_names_say_the_frame(tmp_path: Path, names: list[str], layout: str, first: int, frames: list[int]) -> None:
    for name in names:
        if name.endswith(("png", "jpg", "JPG")):
            picture(tmp_path / "one" / name)
        else:
            (tmp_path / "one" / name).write_text("")
    found = prediction_folders.find(tmp_path, "any", LENGTHS)
    assert (found.layout, found.first_frame, list(found.videos)) == (layout, first, ["one"])
    assert list(found.videos["one"].files) == frames
    for _, values, stored in prediction_folders.read(found.videos["one"]):
        assert (values.shape, values.dtype, stored) == ((6, 8), np.uint8, True)


def test_one_video_tells_the_others_what_they_count_from(tmp_path: Path) -> None:
    picture(tmp_path / "one/0002.png")
    picture(tmp_path / "two/0002.png")
    with pytest.raises(InputError, match="count frames from 0 or from 1"):
        prediction_folders.find(tmp_path, "any", LENGTHS)
    assert list(prediction_folders.find(tmp_path, "any", LENGTHS, 1).videos["one"].files) == [1]
    picture(tmp_path / "two/0012.png")
    found = prediction_folders.find(tmp_path, "any", LENGTHS)
    assert {name: list(maps.files) for name, maps in found.videos.items()} == {"one": [1], "two": [1, 11]}
    # What decides scores is more than the files: their meaning, too.
    marks = {prediction_folders.find(tmp_path, "any", LENGTHS, n).videos["one"].fingerprint() for n in (0, 1, 1)}
    assert len(marks) == 2
    picture(tmp_path / "one/0002.png", size=(9, 9))
    assert prediction_folders.find(tmp_path, "any", LENGTHS, 1).videos["one"].fingerprint() not in marks


def test_a_folder_named_like_the_dataset_is_entered(tmp_path: Path) -> None:
    for number in (9, 10):
        picture(tmp_path / "diem/two" / f"pred_sal_{number:06d}.jpg")
    picture(tmp_path / "diem/two/pred_sal_000014.jpg")
    (tmp_path / "diem/three").mkdir()
    found = prediction_folders.find(tmp_path, "DIEM/gaze", LENGTHS)
    assert (found.root, found.unused) == (tmp_path / "diem", ("three",))
    assert list(found.videos["two"].files) == [8, 9]
    assert found.videos["two"].beyond == 1


def test_mixed_files_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "one/000000.png")
    picture(tmp_path / "two/pred_sal_000001.png")
    with pytest.raises(InputError, match="mixes layouts: 'one' is numbered, 'two' is stavis"):
        prediction_folders.find(tmp_path, "any", LENGTHS)
    picture(tmp_path / "two/img_00001.png")
    with pytest.raises(InputError, match=r"'two' has files of several kinds \(img_<number>, pred_sal_<number>\)"):
        prediction_folders.find(tmp_path, "any", LENGTHS)
    picture(tmp_path / "one/000000.jpg")
    with pytest.raises(InputError, match=r"two pictures of frame 0: 000000.jpg and 000000.png"):
        prediction_folders.find(tmp_path, "any", LENGTHS)


def test_pictures_of_every_kind_give_their_first_channel(tmp_path: Path) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    colour = np.stack([grey, grey[::-1], 0 * grey], axis=-1)
    kinds = {
        "L": Image.fromarray(grey),
        "RGB": Image.fromarray(colour),
        "RGBA": Image.fromarray(np.concatenate([colour, 0 * colour[..., :1]], axis=-1)),
        "LA": Image.fromarray(grey).convert("LA"),
        "P": Image.fromarray(grey).convert("P"),
    }
    for name, image in kinds.items():
        image.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(prediction_folders.read_picture(tmp_path / f"{name}.png"), grey, err_msg=name)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "wide.png")
    wide = prediction_folders.read_picture(tmp_path / "wide.png")
    assert wide.dtype == np.uint16
    np.testing.assert_array_equal(wide, grey.astype(np.uint16) * 257)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_damaged_pictures_are_named(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / f"map.{kind}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(InputError, match=f"map.{kind} is damaged or no picture"):
        prediction_folders.read_picture(path)


def test_archives(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).random((5, 4, 6)).astype(np.float32)
    np.savez(tmp_path / "one.npz", maps)
    (tmp_path / "two").mkdir()
    np.savez_compressed(tmp_path / "two/000000.npz", frames=np.array([0, 2]), saliency=maps[:2])
    np.savez_compressed(tmp_path / "two/000100.npz", frames=np.array([7]), saliency=maps[2:3].astype(np.float16))
    found = prediction_folders.find(tmp_path, "any", LENGTHS)
    assert (found.layout, found.unused) == ("npz", ())
    one, two = (list(prediction_folders.read(found.videos[name])) for name in ("one", "two"))
    assert [frame for frame, _, _ in one] == [0, 1, 2, 3, 4]
    assert [frame for frame, _, _ in two] == [0, 2, 7]
    np.testing.assert_array_equal([values for _, values, _ in one], maps)
    np.testing.assert_array_equal(two[1][1], maps[1])
    assert not any(stored for _, _, stored in one)


def test_a_long_archive_is_never_in_memory(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "one.npz", saliency=np.zeros((2000, 50, 80), np.float32))
    maps = prediction_folders.VideoMaps(archives=(tmp_path / "one.npz",))
    tracemalloc.start()
    assert sum(1 for _ in prediction_folders.read(maps)) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6  # all of it: 32 MB


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((1, 2, 2)), "b": np.zeros(3)}, "has no array `saliency`"),
        ({"saliency": np.zeros((2, 2))}, r"shape \(2, 2\)"),
        ({"saliency": np.zeros((2, 2, 2), complex)}, "type complex128"),
        ({"saliency": np.zeros((2, 2, 2)), "frames": np.arange(3)}, r"2 maps and `frames` of shape \(3,\)"),
        ({"saliency": np.zeros((2, 2, 2)), "frames": np.array([0.5, 1])}, "one whole number per map"),
    ],
)
def test_archives_of_other_things_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "one.npz", **arrays)
    with pytest.raises(InputError, match=message):
        list(prediction_folders.read(prediction_folders.VideoMaps(archives=(tmp_path / "one.npz",))))


def test_no_damage_to_an_archive_is_a_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, save in {"plain": np.savez, "small": np.savez_compressed}.items():
        save(tmp_path / f"{name}.npz", saliency=rng.random((3, 20, 20)), frames=np.arange(3))
        data, refused = (tmp_path / f"{name}.npz").read_bytes(), 0
        for trial in range(100):
            damaged = bytearray(data)
            for at in rng.integers(0, (200, len(data))[trial % 2], 3):
                damaged[at] = rng.integers(0, 256)
            (tmp_path / "one.npz").write_bytes(damaged)
            try:
                list(prediction_folders.read(prediction_folders.VideoMaps(archives=(tmp_path / "one.npz",))))
            except InputError:
                refused += 1
        assert refused > 90


@pytest.mark.parametrize("keep", [0, 50, -40])
def test_damaged_archives_are_named(tmp_path: Path, keep: int) -> None:
    np.savez(tmp_path / "one.npz", saliency=np.zeros((2, 9, 9)))
    data = (tmp_path / "one.npz").read_bytes()
    (tmp_path / "one.npz").write_bytes(data[:keep])
    with pytest.raises(InputError, match="one.npz is damaged"):
        list(prediction_folders.read(prediction_folders.VideoMaps(archives=(tmp_path / "one.npz",))))

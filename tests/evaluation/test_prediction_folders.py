"""Third-party prediction files: what is found, what is read, and what is refused."""

import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avsd_jax.errors import InputError
from avsd_jax.evaluation import prediction_folders
from avsd_jax.evaluation.frame_numbers import counting

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
    with pytest.raises(InputError, match=r"two images of frame 0: 000000.jpg and 000000.png"):
        prediction_folders.find(tmp_path, "any", LENGTHS)


@pytest.mark.parametrize(
    ("numbers", "usage", "first"),
    [
        ({"one": [0, 3]}, None, 0),
        ({"one": [0, 3]}, 1, 0),
        ({"one": [2, 5]}, None, 1),
        ({"one": [2, 5]}, 0, 1),
        ({"one": [2, 4]}, 1, 1),
        ({"one": [2, 4]}, 0, 0),
        ({"one": [0, 3], "two": [3, 7]}, None, 0),
        ({"one": [0, 1, 2, 3, 4, 5, 6]}, None, 0),
        ({"one": [2], "two": [1, 6, 12]}, None, 1),
        ({"one": [2, 4]}, None, "--first_frame=0 or --first_frame=1"),
        ({"one": [1, 4]}, 0, "'one' has numbers 1 to 4 of 5 frames"),
        ({"one": [0, 3], "two": [1, 12]}, 1, "'two' seems to count from 1 .it has number 12 and no 0"),
        ({"one": [0, 3], "two": [1, 5, 9]}, 0, "'two' seems to count from 1 .it begins with number 1"),
    ],
)
def test_what_numbers_count_from_is_read_off_them_or_asked(numbers: dict, usage: int | None, first: int | str) -> None:
    if isinstance(first, str):
        with pytest.raises(InputError, match=first):
            counting("maps", numbers, LENGTHS, usage)
    else:
        assert counting("maps", numbers, LENGTHS, usage).first == first
    for told in (0, 1):
        assert counting("maps", numbers, LENGTHS, usage, told).first == told


def test_names_that_count_from_1_are_heeded_where_they_do_not(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / f"one/img_{number:05d}.png")
    found = prediction_folders.find(tmp_path, "any", LENGTHS)
    assert (found.first_frame, list(found.videos["one"].files)) == (0, [0, 1, 2, 3, 4])
    (said,) = found.remarks
    assert "counted from 0 (video 'one' has number 0, though names of layout vinet count from 1)" in said
    told = prediction_folders.find(tmp_path, "any", LENGTHS, 1)
    assert (list(told.videos["one"].files), told.videos["one"].beyond) == ([0, 1, 2, 3], 1)


def test_how_maps_are_read_is_in_their_fingerprint(tmp_path: Path) -> None:
    picture(tmp_path / "one/000000.png")
    np.savez(tmp_path / "two.npz", saliency=np.zeros((2, 3, 4)), frames=np.array([2, 3]))
    ways = [{}, {"colour_maps": "luminance"}, {"sizes": {"one": (9, 9), "two": (9, 9)}}]
    for video, more in (("one", []), ("two", [{"first_frame": 1}])):
        only = {video: LENGTHS[video]}
        marks = {
            prediction_folders.find(tmp_path, "any", only, **way).videos[video].fingerprint() for way in ways + more
        }
        assert len(marks) == len(ways + more)


def nothing(root: Path, **options: bool) -> str:
    with pytest.raises(InputError, match="holds no predictions for the videos of any") as error:
        prediction_folders.find(root, "any", LENGTHS, **options)
    return str(error.value)


def test_folders_of_other_forms_say_what_is_there_and_what_to_do(tmp_path: Path) -> None:
    picture(tmp_path / "a/one/smaps/000000.png")
    assert "one holds smaps; move the maps of one/smaps up into one" in nothing(tmp_path / "a")
    for name in ("one.npy", "one.MP4", "one.mat"):
        (tmp_path / "b" / name).mkdir(parents=True)  # a folder of that name is no such file
    assert "--other_forms" not in nothing(tmp_path / "b")
    for suffix in ("npy", "MP4", "mat", "mkv"):
        (tmp_path / suffix).mkdir()
        (tmp_path / suffix / f"two.{suffix}").write_bytes(b"")
        said = nothing(tmp_path / suffix)
        assert f"it has two.{suffix}; --other_forms=read reads .npy and .mat arrays" in said
    picture(tmp_path / "c/one/000000.tif")
    assert "one holds 000000.tif; --other_forms=read" in nothing(tmp_path / "c")
    assert list(prediction_folders.find(tmp_path / "c", "any", LENGTHS, other_forms=True).videos) == ["one"]
    picture(tmp_path / "d/one/0000_sal.png")
    assert "names of images must end in the frame's number" in nothing(tmp_path / "d")
    picture(tmp_path / "e/run/one/000000.png")
    assert f"give --predictions={tmp_path / 'e/run'}" in nothing(tmp_path / "e")
    assert f"the folder of one video: give --predictions={tmp_path / 'e/run'}" in nothing(tmp_path / "e/run/one")
    picture(tmp_path / "f/noe/000000.png")
    assert "is 'noe' meant for 'one'?" in nothing(tmp_path / "f")
    picture(tmp_path / "g/one.png")
    assert "one image holds one map" in nothing(tmp_path / "g")
    (tmp_path / "h/__MACOSX").mkdir(parents=True)
    assert "it has nothing" in nothing(tmp_path / "h")


def test_what_belongs_to_no_video_or_is_not_read_is_named(tmp_path: Path) -> None:
    for name in ("one/000000.png", "one/mean.png", "one/000001.jpg", "wto/000000.png", "__MACOSX/one/000000.png"):
        picture(tmp_path / name)
    (tmp_path / "one.npy").write_bytes(b"")
    (tmp_path / "desktop.ini").write_bytes(b"")
    found = prediction_folders.find(tmp_path, "any", LENGTHS)
    assert found.unused == ("wto",)
    said = "\n".join(found.remarks)
    for words in ("'wto' (is 'two' meant?)", "not read: one.npy, mean.png", "files with several endings"):
        assert words in said
    assert not any(litter in said for litter in ("MACOSX", "desktop"))


def test_accents_are_compared_as_they_look(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "vid\u00e9o") for form in ("NFC", "NFD"))
    picture(tmp_path / apart / "000000.png")
    with (tmp_path / f"{apart}2.NPZ").open("wb") as file:
        np.savez(file, saliency=np.zeros((5, 3, 4)))
    for video in (composed, f"{composed}2"):
        found = prediction_folders.find(tmp_path, "any", {video: 5})
        assert list(found.videos) == [video]


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_damaged_pictures_are_named(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / f"map.{kind}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(InputError, match=f"map.{kind} is damaged or not an image"):
        prediction_folders.read_image(path)


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

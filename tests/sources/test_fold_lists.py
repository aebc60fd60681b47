"""Fold lists: every format, what is refused, and how a difference from the published ones is reported."""

import pathlib

import pytest
from absl import logging

from avsd_jax.errors import InputError
from avsd_jax.sources import fold_lists
from avsd_jax.sources.fold_checksums import CANONICAL, Canonical, checksum, differing


def write_lists(folder: pathlib.Path, pattern: str, splits: dict[str, list[str]], end: str = "") -> None:
    """Lists in STAViS's form: single spaces, and as in some of the real ones no newline after the last line."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        text = "\n".join(f"{name} {100 + len(name)} 24.999750" for name in names) + end
        (folder / pattern.format(split)).write_text(text)


THREE = {
    "train_1": ["CHI_1_color", "CRA_1_color"],
    "test_1": ["DEP_1_color"],
    "train_2": ["CHI_1_color", "DEP_1_color"],
    "test_2": ["CRA_1_color"],
    "train_3": ["DEP_1_color", "CRA_1_color"],
    "test_3": ["CHI_1_color"],
}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    return lines


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("fold_lists", "ETMD_av_list_{}_fps.txt"),
        ("fold_list", "ETMD_list_{}_fps.txt"),
        ("fold_list/ETMD", "ETMD_av_list_{}_fps.txt"),
    ],
)
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_every_place_and_spelling(folder: str, pattern: str, end: str, tmp_path: pathlib.Path):
    write_lists(tmp_path / folder, pattern, THREE, end)
    lists = fold_lists.read(tmp_path, "etmd")
    assert {split: list(names) for split, names in lists.splits.items() if split != "all"} == THREE
    assert lists.splits["all"] == ("CHI_1_color", "CRA_1_color", "DEP_1_color")
    assert lists.videos["CHI_1_color"] == fold_lists.ListedVideo("CHI_1_color", 111, 24.99975)
    assert len(lists.files) == 6


def test_diems_single_split_stands_for_all_three(tmp_path: pathlib.Path):
    write_lists(tmp_path / "fold_lists", "DIEM_list_{}_fps.txt", {"train": ["b", "a"], "test": ["c"]})
    lists = fold_lists.read(tmp_path, "diem")
    assert lists.splits == {f"train_{n}": ("b", "a") for n in "123"} | {f"test_{n}": ("c",) for n in "123"} | {
        "all": ("a", "b", "c")
    }
    assert any("3 of the 84 recorded videos are listed" in sentence for sentence in lists.oddities)


def test_gasps_lists_hold_several_sets_and_no_lengths(tmp_path: pathlib.Path):
    folder = tmp_path / "fold_lists"
    folder.mkdir()
    for n in "123":
        for part, clips in (("train", ("clip_1", "clip_2")), ("test", ("clip_3",))):
            rows = [f"{clip},25,Other,coutrot1" for clip in clips] + [f"{part}_x,30,Other,DIEM"]
            (folder / f"{part}_stavis_{n}.csv").write_text("\n".join(["video_id,fps,scene_type,dataset", *rows]) + "\n")
    lists = fold_lists.read(tmp_path, "coutrot1")
    assert (lists.splits["train_2"], lists.splits["test_2"]) == (("clip1", "clip2"), ("clip3",))
    assert lists.videos["clip3"] == fold_lists.ListedVideo("clip3", None, 25.0)
    assert any("GASP's, which round the rates" in sentence for sentence in lists.oddities)
    assert fold_lists.read(tmp_path, "diem").splits["train_3"] == ("train_x",)
    with pytest.raises(InputError, match="names no video of coutrot2"):
        fold_lists.read(tmp_path, "coutrot2")
    with pytest.raises(InputError, match=r"lacks the fold list AVAD_list_train_1_fps.txt \(looked in fold_lists"):
        fold_lists.read(tmp_path, "avad")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../secret 10 25.0", r"line 1: '../secret' is not a plain name"),
        ("/etc/passwd 10 25.0", r"line 1: '/etc/passwd' is not a plain name"),
        (".. 10 25.0", r"line 1: '\.\.' is not a plain name"),
        ("a\\b 10 25.0", r"is not a plain name"),
        ("a 10", r"line 1: 'a 10' is not `<video> <frames> <fps>`"),
        ("a 10.5 25.0", r"line 1: 'a 10.5 25.0' is not"),
        ("a 0 25.0", r"line 1: 'a 0 25.0' is not"),
        ("a 10 fast", r"line 1: 'fast' is not a number of frames per second"),
        ("a 10 nan", r"line 1: 'nan' is not a number of frames per second"),
        ("a 10 -25", r"line 1: '-25' is not a number of frames per second"),
        ("a 10 25\na 10 25", r"names a twice"),
        ("DEP_1_color 111 24.999750", r"split 1 of the fold lists both trains and tests on DEP_1_color"),
        ("CHI_1_color 7 24.999750", r"disagree about the frames or rate of CHI_1_color"),
        ("", r"names no video of etmd"),
    ],
)
def test_wrong_lines_are_refused(line: str, message: str, tmp_path: pathlib.Path):
    write_lists(tmp_path / "fold_lists", "ETMD_av_list_{}_fps.txt", THREE)
    (tmp_path / "fold_lists/ETMD_av_list_train_1_fps.txt").write_text(line)
    with pytest.raises(InputError, match=message):
        fold_lists.read(tmp_path, "etmd")


def test_links_are_refused(tmp_path: pathlib.Path):
    write_lists(tmp_path / "elsewhere", "ETMD_av_list_{}_fps.txt", THREE)
    root = tmp_path / "root"
    root.mkdir()
    (root / "fold_lists").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="fold_lists is a link, which is not followed"):
        fold_lists.read(root, "etmd")
    (root / "fold_lists").unlink()
    (root / "fold_lists").mkdir()
    for path in (tmp_path / "elsewhere").iterdir():
        (root / "fold_lists" / path.name).symlink_to(path)
    with pytest.raises(InputError, match="_fps.txt is a link, which is not followed"):
        fold_lists.read(root, "etmd")


def test_missing_double_and_unreadable_lists_are_refused(tmp_path: pathlib.Path):
    with pytest.raises(InputError, match=r"lacks the fold list ETMD_av_list_train_1_fps.txt"):
        fold_lists.read(tmp_path, "etmd")
    with pytest.raises(InputError, match="unknown dataset 'dhf1k': choose one of diem, avad"):
        fold_lists.read(tmp_path, "dhf1k")
    write_lists(tmp_path / "fold_lists", "ETMD_av_list_{}_fps.txt", THREE)
    (tmp_path / "fold_lists/ETMD_av_list_train_1_fps.txt").write_bytes(b"\xff\xfe 1 2")
    with pytest.raises(InputError, match=r"train_1_fps.txt is not UTF-8 text \(byte 0\)"):
        fold_lists.read(tmp_path, "etmd")
    (tmp_path / "fold_lists/ETMD_list_train_1_fps.txt").write_text("a 1 25")
    with pytest.raises(InputError, match="are the same list: keep one of them"):
        fold_lists.read(tmp_path, "etmd")


def test_overlaps_and_omissions_are_reported_and_kept(tmp_path: pathlib.Path):
    splits = THREE | {"test_2": ["DEP_1_color"], "train_2": ["CHI_1_color"]}
    write_lists(tmp_path / "fold_lists", "ETMD_av_list_{}_fps.txt", splits)
    lists = fold_lists.read(tmp_path, "etmd")
    assert lists.splits["test_2"] == ("DEP_1_color",)
    assert lists.oddities == (
        "etmd: tested in more than one split: DEP_1_color (1 and 2)",
        "etmd: tested in no split: CRA_1_color",
        "etmd: in neither list of split 2: CRA_1_color",
    )


def test_differing_names_what_only_one_set_has():
    there = [f"video_{i}" for i in range(60)]
    published = Canonical(60, 0, checksum(there))
    assert differing(reversed(there), published) == frozenset()
    assert differing([*there[:57], "new", "other"], published, there) == {"new", "other", *there[57:]}
    assert differing([*there, "new"], published) == {"new"}
    assert differing(there[1:], published, ["a", "b"]) is None
    assert differing(there[1:], published, [f"x{i}" for i in range(200)] + there) is None


def copy_published(shared: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
    folder = root / "fold_lists"
    folder.mkdir()
    for path in (shared / "fold_lists").glob("*_fps.txt"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


ODD = {
    "diem": ["diem: 81 of the 84 recorded videos are listed; in no list: ami_ib4010_closeup_720x576, "],
    "avad": [
        "avad: tested in more than one split: V26_Piano2 (2 and 3), V39_Guitar4 (1 and 2), V3_Speech3 (1 and 2)",
        "avad: tested in no split: V28_Dog1, V33_Harp, V42_Violin2",
    ],
    "summe": [
        "summe: tested in no split: Scuba, St_Maarten_Landing",
        "summe: in neither list of split 2: St_Maarten_Landing",
        "summe: in neither list of split 3: Scuba",
    ],
}


@pytest.mark.parametrize("dataset", sorted(CANONICAL))
def test_the_published_lists_are_known(dataset: str, shared: pathlib.Path, logged: list[str]):
    lists = fold_lists.read(shared, dataset)
    assert lists.differences == ()
    assert not logged
    assert len(lists.splits["all"]) == CANONICAL[dataset]["all"].videos
    assert checksum(lists.splits["all"]) == CANONICAL[dataset]["all"].checksum
    assert sum(video.num_frames for video in lists.videos.values()) == CANONICAL[dataset]["all"].frames
    for sentence, expected in zip(lists.oddities, ODD.get(dataset, []), strict=True):
        assert sentence.startswith(expected)


def test_changed_lists_are_told_by_the_videos_names(shared: pathlib.Path, tmp_path: pathlib.Path, logged: list[str]):
    folder = copy_published(shared, tmp_path)
    test_1 = folder / "SumMe_list_test_1_fps.txt"
    lines = test_1.read_text().splitlines()
    test_1.write_text("\n".join(["my_own_video 300 25.0", *lines[1:]]))
    missing = lines[0].split()[0]
    differences = fold_lists.read(tmp_path, "summe").differences
    assert differences == (
        "summe test_1 differs from the published list (8 videos here, 8 there): "
        f"only here: my_own_video; only there: {missing}",
    )
    assert logged == list(differences)


def test_what_no_list_names_is_found_among_the_videos_that_are_there(shared: pathlib.Path, tmp_path: pathlib.Path):
    folder = copy_published(shared, tmp_path)
    test = folder / "DIEM_list_test_fps.txt"
    first, rest = test.read_text().split("\n", 1)
    test.write_text(rest)
    (sentence,) = fold_lists.read(tmp_path, "diem").differences
    assert sentence.endswith(
        "(16 videos here, 17 there): which videos differ cannot be determined from the known names"
    )
    (sentence,) = fold_lists.read(tmp_path, "diem", known=["a", first.split()[0]]).differences
    assert sentence.endswith(f"(16 videos here, 17 there): only there: {first.split()[0]}")
    name, frames, rate = first.split()
    test.write_text(f"{name} {int(frames) + 5} {rate}\n{rest}")
    (sentence,) = fold_lists.read(tmp_path, "diem").differences
    assert sentence == "diem test has the published videos, but 27419 frames instead of 27414"

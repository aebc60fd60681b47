"""Labels of consistency: the documented file, the converter from five other forms, and the summary."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import scipy.io
from absl import logging

from avsd_jax import avc_labels
from avsd_jax.common import atomic_files
from avsd_jax.errors import InputError, StorageError
from avsd_jax.sources import label_files

VIDEO = "CHI_1_color"
FRAMES, FPS = 60, 25.0
LABELS = np.array([0] * 25 + [1] * 25 + [0] * 10, np.int8)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A tree with fold lists of one video in training and one in testing."""
    folder = tmp_path / "root/fold_lists"
    folder.mkdir(parents=True)
    for n in "123":
        (folder / f"ETMD_av_list_train_{n}_fps.txt").write_text("LOR_1_color 40 25.000000")
        (folder / f"ETMD_av_list_test_{n}_fps.txt").write_text(f"{VIDEO} {FRAMES} {FPS:.6f}\n")
    return tmp_path / "root"


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    return lines


def output(root: pathlib.Path, video: str = VIDEO) -> pathlib.Path:
    return root / f"av_gt_label/ETMD/{video}.csv"


def as_lines(path: pathlib.Path, labels: np.ndarray) -> None:
    np.savetxt(path, labels)  # as 1.000000000000000000e+00


def as_lines_with_header(path: pathlib.Path, labels: np.ndarray) -> None:
    path.write_bytes(b"\xef\xbb\xbflabel\r\n" + b"\r\n".join(b"%d" % label for label in labels))


def as_frames_from_0(path: pathlib.Path, labels: np.ndarray) -> None:
    path.write_text("".join(f"{frame} {label}\n" for frame, label in enumerate(labels)))


def as_frames_from_1(path: pathlib.Path, labels: np.ndarray) -> None:
    path.write_text("frame, label\n" + "".join(f"{frame},{label}\n" for frame, label in enumerate(labels, 1)))


def as_npy(path: pathlib.Path, labels: np.ndarray) -> None:
    np.save(path, labels.astype(bool))


def as_mat(path: pathlib.Path, labels: np.ndarray) -> None:
    scipy.io.savemat(path, {"label": labels.astype(float)[:, None]}, do_compression=True)


def as_mat_of_many(path: pathlib.Path, labels: np.ndarray) -> None:
    scipy.io.savemat(path, {"fps": 25.0, "avc": labels[None]})


def as_seconds(path: pathlib.Path, labels: np.ndarray) -> None:
    path.write_text("0\n1\n0\n")


def as_segments(path: pathlib.Path, labels: np.ndarray) -> None:
    path.write_text("start_s,end_s,label\n0,1,0\n1.0,2.0,1\n2,2.4,0\n")


@pytest.mark.parametrize(
    ("write", "name", "kind", "flags"),
    [
        (as_lines, "txt", "lines", []),
        (as_lines_with_header, "csv", "lines", []),
        (as_frames_from_0, "txt", "frames", ["--first_frame=0"]),
        (as_frames_from_1, "csv", "frames", ["--first_frame=1"]),
        (as_npy, "npy", "array", []),
        (as_mat, "mat", "array", []),
        (as_mat_of_many, "mat", "array", ["--key=avc"]),
        (as_seconds, "txt", "seconds", []),
        (as_segments, "csv", "segments", []),
    ],
)
def test_every_form_becomes_the_documented_one(
    write: Callable, name: str, kind: str, flags: list[str], root, source, capsys: pytest.CaptureFixture
):
    write(source / f"{VIDEO}.{name}", LABELS)
    (source / "notes.doc").write_text("x")
    command = ["convert", "--dataset=etmd", f"--manual_dir={root}", f"--source={source}", f"--kind={kind}", *flags]
    assert avc_labels.main(command) == 0
    out = capsys.readouterr().out
    assert f"1 files written to {root}/av_gt_label/ETMD, 0 had the same" in out
    assert "1 files of another kind ignored: notes.doc" in out
    expected = "frame,label\n" + "".join(f"{frame},{label}\n" for frame, label in enumerate(LABELS, 1))
    assert output(root).read_text() == expected
    np.testing.assert_array_equal(label_files.load(root, "etmd", VIDEO, FRAMES), LABELS)
    assert avc_labels.main(command) == 0
    assert "0 files written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "name", "text", "message"),
    [
        ("lines", "txt", "0\n2\n", "line 2: the label 2 is neither 0 nor 1"),
        ("lines", "txt", "0\n-1\n", "line 2: the label -1 is neither 0 nor 1"),
        ("lines", "txt", "0\nnan\n", "line 2: 'nan' is not a number"),
        ("lines", "txt", "0\n\n1\n", r"line 2: '' does not have 1 value\(s\)"),
        ("lines", "txt", "1 0\n", r"line 1: '1 0' does not have 1 value\(s\)"),
        ("lines", "txt", "label\n", "has no labels"),
        ("lines", "txt", "", "has no labels"),
        ("lines", "txt", "0\n" * 57, "labels 57 frames of a video that has 60"),
        ("lines", "txt", "0\n" * 63, "labels 63 frames of a video that has 60"),
        (
            "frames",
            "txt",
            "1 0\n3 1\n",
            "line 2: frame 3 where 2 is expected: give every frame once and in order, and --fi",
        ),
        ("frames", "txt", "0 0\n1 1\n", "line 1: frame 0 where 1 is expected"),
        ("frames", "txt", "1 0\n1 1\n", "line 2: frame 1 where 2 is expected"),
        ("seconds", "txt", "0\n1\n", "labels 2 seconds of a video of 60 frames at 25 per second, which has 3"),
        ("seconds", "txt", "0\n1\n0\n0\n", "labels 4 seconds of a video of 60 frames at 25 per second, which has 3"),
        ("segments", "csv", "0,1,0\n0.9,2.4,1\n", "line 2: the segment 0.9 to 2.4 s is empty or begins before 0 or"),
        ("segments", "csv", "0,1,0\n1,1,1\n", "line 2: the segment 1 to 1 s is empty"),
        ("segments", "csv", "-1,2.4,0\n", "line 1: the segment -1 to 2.4 s is empty or begins before 0"),
        ("segments", "csv", "0,1,0\n1.2,2.4,1\n", "omits frame 26 at 1.000 s"),
        ("segments", "csv", "0.1,2.4,0\n", "omits frame 1 at 0.000 s"),
        ("segments", "csv", "0,2.2,0\n", "labels 55 frames of a video that has 60"),
        ("segments", "csv", "0,2.6,0\n", "ends at 2.6 s, the video of 60 frames at 25 per second at 2.400 s"),
    ],
)
def test_wrong_text_is_refused_and_nothing_written(kind, name, text, message, root, source):
    as_lines(source / f"LOR_1_color.{name}", LABELS[:40])  # sorted after the wrong one, and right for kind lines
    (source / f"{VIDEO}.{name}").write_text(text)
    options = {"first_frame": 1} if kind == "frames" else {}
    with pytest.raises(InputError, match=message):
        avc_labels.convert(root, "etmd", source, kind, **options)
    assert not (root / "av_gt_label").exists()


def test_wrong_arrays_are_refused(root, source):
    path = source / f"{VIDEO}.mat"

    def refused(message: str, key: str | None = None):
        with pytest.raises(InputError, match=message):
            avc_labels.convert(root, "etmd", source, "array", key=key)

    as_mat_of_many(path, LABELS)
    refused(r"has 2 variables \(fps, avc\): choose one with --key")
    refused("has no variable 'nothing': choose one of fps, avc", "nothing")
    refused("the label 25.0 of entry 1 is neither 0 nor 1", "fps")
    scipy.io.savemat(path, {"a": np.zeros((2, 30))})
    refused(r"holds float64 \[2, 30\]: save a row or column of numbers")
    scipy.io.savemat(path, {"a": "words"})
    refused("save a row or column of numbers")
    as_mat(path, LABELS)
    content = path.read_bytes()
    for damaged in (content[:140], content[: len(content) - 9], b"", b"MATLAB" * 30):
        path.write_bytes(damaged)
        refused("mat is (not a readable|a damaged) .mat file")
    # The first 512 bytes of a file that MATLAB saves with -v7.3: a version of 2 in the header, then HDF5.
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 48)
    refused("is a MATLAB 7.3 file: save it with -v7")
    path.unlink()
    np.save(source / f"{VIDEO}.npy", np.array([0, 1, None]), allow_pickle=True)
    refused("is not a .npy file of numbers")
    as_npy(source / f"{VIDEO}.npy", LABELS)
    refused("has no variables: leave out --key", "avc")
    np.save(source / f"{VIDEO}.npy", np.array([0, 0.5]))
    refused("the label 0.5 of entry 2 is neither 0 nor 1")


@pytest.mark.parametrize(("rows", "said"), [(58, "the last label is repeated"), (62, "the excess is cut")])
@pytest.mark.parametrize("kind", ["lines", "segments"])
def test_up_to_two_frames_are_cut_or_filled_and_logged(kind, rows, said, root, source, logged):
    if kind == "lines":
        as_lines(source / f"{VIDEO}.txt", np.r_[np.zeros(rows - 1), 1])
    else:
        (source / f"{VIDEO}.txt").write_text(f"0 {(rows - 1) / FPS} 0\n{(rows - 1) / FPS} {rows / FPS} 1\n")
    avc_labels.convert(root, "etmd", source, kind)
    expected = np.zeros(FRAMES, np.int8)
    expected[rows - 1 :] = 1
    np.testing.assert_array_equal(label_files.read(output(root)), expected)
    told = [line for line in logged if "labels" in line]
    assert told == [f"{source}/{VIDEO}.txt labels {rows} frames of a video that has {FRAMES}: {said}"]


def test_times_follow_the_listed_rate(root, source):
    for n in "123":
        (root / f"fold_lists/ETMD_av_list_test_{n}_fps.txt").write_text(f"{VIDEO} 60 24.999750")
    (source / f"{VIDEO}.txt").write_text("0\n1\n0\n")
    avc_labels.convert(root, "etmd", source, "seconds")
    # At this rate frame 26 comes at 1.00001 s.
    np.testing.assert_array_equal(label_files.read(output(root)), LABELS)
    (root / "clock.csv").write_text(f"video,frames,fps\n{VIDEO},60,24\n")
    avc_labels.convert(root, "etmd", source, "seconds", clock=root / "clock.csv", overwrite=True)
    np.testing.assert_array_equal(label_files.read(output(root)), np.repeat([0, 1, 0], [24, 24, 12]))


def test_lengths_may_be_unknown_but_not_for_times(tmp_path, source):
    root = tmp_path / "empty"
    root.mkdir()
    as_lines(source / f"{VIDEO}.txt", LABELS[:7])
    avc_labels.convert(root, "etmd", source, "lines")
    np.testing.assert_array_equal(label_files.read(output(root)), LABELS[:7])
    with pytest.raises(InputError, match="the number of frames and the rate of CHI_1_color are not known: .*--clock"):
        avc_labels.convert(root, "etmd", source, "seconds")


def test_other_labels_are_kept_unless_told(root, source):
    as_lines(source / f"{VIDEO}.txt", LABELS)
    label_files.write(output(root), 1 - LABELS)
    with pytest.raises(InputError, match=r"CHI_1_color.csv holds other labels \(1 such files\): --overwrite"):
        avc_labels.convert(root, "etmd", source, "lines")
    np.testing.assert_array_equal(label_files.read(output(root)), 1 - LABELS)
    assert avc_labels.convert(root, "etmd", source, "lines", overwrite=True).written == (VIDEO,)
    np.testing.assert_array_equal(label_files.read(output(root)), LABELS)
    with pytest.raises(InputError, match="would be replaced by its own conversion"):
        avc_labels.convert(root, "etmd", output(root).parent, "frames", first_frame=1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--kind=words"], "unknown kind 'words': choose one of lines, frames, array, seconds, segments"),
        (["--kind=frames"], "--kind=frames needs --first_frame=0 or --first_frame=1"),
        (["--kind=frames", "--first_frame=2"], "--kind=frames needs --first_frame=0 or --first_frame=1"),
        (["--kind=lines", "--first_frame=1"], "--first_frame is for --kind=frames, not lines"),
        (["--kind=lines", "--key=a"], "--key is for --kind=array, not lines"),
        (["--kind=array"], "has no .mat or .npy file"),
        (["--kind=lines", "--dataset=all"], "unknown dataset 'all': choose one of diem"),
        (["--kind=lines", "--source=nowhere"], "nowhere is not a folder"),
        (["--kind=lines", "--manual_dir=nowhere"], "nowhere is not a folder: give the root of the data's tree"),
        (["--kind=lines", "--clock=nowhere"], "nowhere cannot be read (No such file or directory)"),
    ],
)
def test_wrong_arguments_are_told(flags: list[str], message: str, root, source, capsys: pytest.CaptureFixture):
    as_lines(source / f"{VIDEO}.txt", LABELS)
    command = ["convert", "--dataset=etmd", f"--manual_dir={root}", f"--source={source}", *flags]
    assert avc_labels.main(command) == 2
    *_, error = capsys.readouterr().err.splitlines()  # after warnings of lists that are not the published ones
    assert error.startswith("error: ")
    assert message in error
    assert not (root / "av_gt_label").exists()


def test_files_are_of_the_sets_videos(root, source):
    as_lines(source / "CHI_1_colour.txt", LABELS)
    with pytest.raises(InputError, match="CHI_1_colour.txt is named after no video of etmd: .* such as CHI_1_color"):
        avc_labels.convert(root, "etmd", source, "lines")
    (source / "CHI_1_colour.txt").rename(source / f"{VIDEO}.txt")
    as_lines(source / f"{VIDEO}.csv", LABELS)
    with pytest.raises(InputError, match="are of the same video: keep one of them"):
        avc_labels.convert(root, "etmd", source, "lines")


def test_diems_unlisted_videos_have_labels_too(tmp_path, source):
    folder = tmp_path / "fold_lists"
    folder.mkdir()
    for part in ("train", "test"):
        (folder / f"DIEM_list_{part}_fps.txt").write_text(f"{part}_video 9 29.999700")
    as_lines(source / "ami_ib4010_left_720x576.txt", LABELS)
    assert avc_labels.convert(tmp_path, "diem", source, "lines").written == ("ami_ib4010_left_720x576",)
    as_seconds(source / "ami_ib4010_left_720x576.txt", LABELS)
    with pytest.raises(InputError, match="the rate of ami_ib4010_left_720x576 are not known"):
        avc_labels.convert(tmp_path, "diem", source, "seconds")


@pytest.mark.parametrize(
    "text", ["video,fps\n", "video,frames,fps\na,1\n", "video,frames,fps\na,1,0\n", "video,frames,fps\na,1,2\na,1,2\n"]
)
def test_a_wrong_clock_is_refused(text: str, root, source):
    as_lines(source / f"{VIDEO}.txt", LABELS)
    (root / "clock.csv").write_text(text)
    with pytest.raises(InputError, match="clock.csv.*(does not begin with|is not a video, frames|was there before)"):
        avc_labels.convert(root, "etmd", source, "lines", clock=root / "clock.csv")


def test_links_are_refused(root, source, tmp_path):
    as_lines(tmp_path / "secret.txt", LABELS)
    (source / f"{VIDEO}.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match="CHI_1_color.txt is a link, which is not followed"):
        avc_labels.convert(root, "etmd", source, "lines")
    (tmp_path / "outside").mkdir()
    (root / "av_gt_label").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="av_gt_label is a link, which is not followed"):
        label_files.load(root, "etmd", VIDEO, FRAMES)
    (root / "av_gt_label").unlink()
    (root / "av_gt_label/ETMD").mkdir(parents=True)
    output(root).symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match="CHI_1_color.csv is a link, which is not followed"):
        label_files.load(root, "etmd", VIDEO, FRAMES)


def test_a_failing_write_leaves_the_old_file(root, monkeypatch: pytest.MonkeyPatch):
    label_files.write(output(root), LABELS)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_files.os, "replace", full)
    with pytest.raises(StorageError, match="cannot be written"):
        label_files.write(output(root), 1 - LABELS)
    np.testing.assert_array_equal(label_files.read(output(root)), LABELS)
    assert list(label_files.files(root, "etmd")) == [VIDEO]
    with pytest.raises(InputError, match=r"would hold \[-1, 1\]: labels are 0 or 1"):
        label_files.write(output(root), np.array([-1, 1], np.int8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,0\n", "does not begin with frame,label: make it with python -m avsd_jax.avc_labels convert"),
        ("", "does not begin with frame,label"),
        ("frame,label\n", "has no labels"),
        ("frame,label\n0,1\n", "line 2: '0,1' is not `1,0` or `1,1`"),
        ("frame,label\n1,1\n3,1\n", "line 3: '3,1' is not `2,0` or `2,1`"),
        ("frame,label\n1,-1\n", "line 2: '1,-1' is not"),
    ],
)
def test_wrong_label_files_are_refused(text: str, message: str, root):
    output(root).parent.mkdir(parents=True)
    output(root).write_text(text)
    with pytest.raises(InputError, match=message):
        label_files.load(root, "etmd", VIDEO, FRAMES)


def test_labels_are_found_under_either_name_of_set_and_clip(tmp_path):
    assert (label_files.load(tmp_path, "coutrot1", "clip7", 3) == -1).all()
    label_files.write(tmp_path / "av_gt_label/Coutrot_db1/clip_7.csv", LABELS[24:27])
    np.testing.assert_array_equal(label_files.load(tmp_path, "coutrot1", "clip7", 3), [0, 1, 1])
    assert (label_files.load(tmp_path, "coutrot1", "clip8", 3) == -1).all()
    (tmp_path / "av_gt_label/Coutrot_db1/clip8.mat").touch()
    with pytest.raises(InputError, match=r"clip8.mat is not a label file clip8.csv: convert it with pyt"):
        label_files.load(tmp_path, "coutrot1", "clip8", 3)
    label_files.write(tmp_path / "av_gt_label/Coutrot_db1/clip7.csv", LABELS)
    with pytest.raises(InputError, match="are of the same video"):
        label_files.load(tmp_path, "coutrot1", "clip7", 3)
    (tmp_path / "av_gt_label/Coutrot1").mkdir()
    with pytest.raises(InputError, match="are the same dataset: keep one of them"):
        label_files.load(tmp_path, "coutrot1", "clip7", 3)


def test_summary_counts_shares_transitions_and_lengths(root, capsys: pytest.CaptureFixture):
    label_files.write(output(root), LABELS)
    label_files.write(output(root, "LOR_1_color"), np.ones(40, np.int8))
    label_files.write(root / "av_gt_label/AVAD/V1_Speech1.csv", LABELS[:30])
    summary = avc_labels.summarize(root, "etmd")
    assert (summary.videos, summary.frames, summary.consistent, summary.transitions) == (2, 100, 65, 2)
    assert summary.runs == (25, 25, 10, 40)
    assert summary.seconds == pytest.approx(4.0)
    assert summary.problems == ()
    assert avc_labels.main(["summary", f"--manual_dir={root}", "--dataset=etmd"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert " ".join(heading.split()) == "set videos frames consistent transitions label length: median mean"
    assert " ".join(row.split()) == "etmd 2 100 65.0% 2 25 frames 25.0 frames = 1.00 s"


def test_summary_joins_sets_and_lists_every_problem(tmp_path, root, capsys: pytest.CaptureFixture):
    assert avc_labels.main(["summary", f"--manual_dir={tmp_path}"]) == 2
    assert "or make them with python -m avsd_jax.avc_labels convert" in capsys.readouterr().err
    (tmp_path / "av_gt_label").mkdir()
    label_files.write(tmp_path / "av_gt_label/AVAD/V1_Speech1.csv", LABELS[:30])
    label_files.write(tmp_path / "av_gt_label/SumMe/Scuba.csv", LABELS)
    assert avc_labels.main(["summary", f"--manual_dir={tmp_path}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:4] == ["together", "2", "90", "33.3%"]
    label_files.write(output(root), LABELS[:50])
    label_files.write(output(root, "extra"), LABELS)
    assert avc_labels.main(["summary", f"--manual_dir={root}", "--dataset=etmd"]) == 1
    problems = capsys.readouterr().err
    assert "CHI_1_color.csv labels 50 frames of a video that has 60" in problems
    assert "problem: etmd: 1 listed videos have no labels: LOR_1_color\n" in problems
    assert "problem: etmd: labels of videos that no list names: extra\n" in problems

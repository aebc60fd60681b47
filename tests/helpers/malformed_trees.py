"""Small trees of users' files, and one fault in each: for the tests that `check` and `build` say the same of them."""

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import raw_files
import scipy.io
import stavis_files
from media_files import regular, write_video
from scipy.io import wavfile

from avsd_jax.data import dataset_names
from avsd_jax.sources import label_files

FRAMES = 8
STAVIS, SCDL, DIEM, COUTROT, NTUA, AVE = "stavis", "scdl", "diem", "coutrot", "ntua", "ave"
DATASETS = {STAVIS: "avad", SCDL: "coutrot1", DIEM: "diem", COUTROT: "coutrot2", NTUA: "etmd", AVE: "ave/size-32x24"}
DIEM_VIDEOS = ("BBC_life_64x48", "news_video_64x48", "sport_64x48")
AVE_VIDEOS = {"bell0000000": "Church bell", "horse000000": "Horse", "goat0000000": "Goat"}


@dataclass(frozen=True)
class Fault:
    """One change of a tree.

    Attributes:
        tree: what it is made in: a key of `DATASETS`.
        change: makes it.
        said: part of the message about it; None if the tree is still valid.
        deep: only decoding shows it: `check --thorough` and a build do.
    """

    tree: str
    change: Callable[[Path], object]
    said: str | None
    deep: bool = False


def write_tree(root: Path, tree: str) -> None:
    """Writes a whole tree of three videos, of which the first has labels."""
    dataset = DATASETS[tree]
    if tree == AVE:
        _write_ave(root)
        return
    if tree in (STAVIS, SCDL):
        for number, video in enumerate(stavis_files.VIDEOS[dataset]):
            stavis_files.write_video(root, dataset, video, tree, frames=FRAMES, seed=number)
    videos = DIEM_VIDEOS if tree == DIEM else stavis_files.VIDEOS[dataset]
    if tree == DIEM:
        for video in videos:
            raw_files.write_diem(root, video, FRAMES, size=(48, 64))
    elif tree in (COUTROT, NTUA):
        raw_files.write_set(root, dataset, videos, FRAMES)
    _write_lists(root, dataset, tree, videos)
    labels = root / label_files.FOLDER / dataset_names.SETS[dataset].title / f"{videos[0]}.csv"
    label_files.write(labels, np.ones(FRAMES, np.int8))


def _write_lists(root: Path, dataset: str, tree: str, videos: tuple[str, ...]) -> None:
    folder = root / stavis_files.FOLDERS.get(tree, stavis_files.FOLDERS[STAVIS])[3]
    folder.mkdir(parents=True, exist_ok=True)
    for number in ("",) if dataset == "diem" else ("_1", "_2", "_3"):
        for part, listed in (("train", videos[:2]), ("test", videos[2:])):
            text = "".join(f"{video} {FRAMES} {30 if dataset == 'diem' else 25}\n" for video in listed)
            (folder / f"{dataset_names.SETS[dataset].stavis}_list_{part}{number}_fps.txt").write_text(text)


def _write_ave(root: Path) -> None:
    folder = root / "AVE_Dataset"
    (folder / "AVE").mkdir(parents=True)
    lines = [f"{category}&{video}&good&0&1" for video, category in AVE_VIDEOS.items()]
    for video in AVE_VIDEOS:
        write_video(folder / f"AVE/{video}.mp4", regular(10, 5), size=(48, 64), rate=16_000)
    (folder / "Annotations.txt").write_text("\n".join(lines))
    for name, line in zip(("trainSet", "valSet", "testSet"), lines, strict=True):
        (folder / f"{name}.txt").write_text(line)


# ---------------------------------------------------------------------------------------------------------------------
# Changes. A path is relative to the tree's root.
# ---------------------------------------------------------------------------------------------------------------------


def write(path: str, content: bytes | str) -> Callable[[Path], object]:
    """Writes content into a file, created if missing."""
    data = content.encode() if isinstance(content, str) else content

    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)

    return change


def edit(path: str, change_bytes: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Changes a file's content."""
    return lambda root: (root / path).write_bytes(change_bytes((root / path).read_bytes()))


def empty(path: str) -> Callable[[Path], object]:
    """Leaves a file of no bytes."""
    return write(path, b"")


def cut(path: str, share: float) -> Callable[[Path], object]:
    """Keeps the first part of a file."""
    return edit(path, lambda data: data[: int(share * len(data))])


def flip(path: str, share: float, count: int = 40) -> Callable[[Path], object]:
    """Zeroes bytes in the middle of a file."""

    def change_bytes(data: bytes) -> bytes:
        at = int(share * len(data))
        return data[:at] + bytes(count) + data[at + count :]

    return edit(path, change_bytes)


def damaged_packets(path: str) -> Callable[[Path], object]:
    """Zeroes the second half of a video's packets, with its index intact; the encoder's headers come first."""

    def change_bytes(data: bytes) -> bytes:
        start, end = data.index(b"mdat") + 4, data.rindex(b"moov") - 4
        at = start + (end - start) // 2
        return data[:at] + bytes(end - at) + data[end:]

    return edit(path, change_bytes)


def remove(path: str) -> Callable[[Path], object]:
    """Removes a file or folder."""
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def rename(path: str, name: str) -> Callable[[Path], object]:
    """Gives a file or folder another name."""
    return lambda root: (root / path).rename(root / Path(path).with_name(name))


def replace(old: str, new: str) -> Callable[[bytes], bytes]:
    """Replaces text."""
    return lambda data: data.replace(old.encode(), new.encode())


def as_folder(path: str) -> Callable[[Path], object]:
    """Puts a folder in the place of a file."""
    return lambda root: ((root / path).unlink(), (root / path).mkdir())


def as_link(path: str) -> Callable[[Path], object]:
    """Puts a link to the same file in the place of a file."""
    return lambda root: (
        (root / path).rename(root / "moved"),
        (root / path).symlink_to(root / "moved"),
    )


def named_in_latin_1(folder: str) -> Callable[[Path], object]:
    """Makes a folder whose name is not UTF-8."""
    return lambda root: os.mkdir(os.fsencode(root / folder) + b"/caf\xe9")


def picture(path: str, height: int, width: int) -> Callable[[Path], object]:
    """Writes a grey image of another size."""
    return write(path, cv2.imencode(Path(path).suffix, np.full((height, width), 90, np.uint8))[1].tobytes())


def grey_of_three_channels(path: str) -> Callable[[Path], object]:
    """Writes a grey image as three equal channels."""
    return lambda root: cv2.imwrite(str(root / path), cv2.imread(str(root / path), cv2.IMREAD_COLOR))


def mat(path: str, name: str, value: object) -> Callable[[Path], object]:
    """Writes a MATLAB file of one variable."""
    return lambda root: scipy.io.savemat(root / path, {name: value})


def in_mat(path: str, change_value: Callable[[np.ndarray], object]) -> Callable[[Path], object]:
    """Changes the only variable of a MATLAB file."""

    def change(root: Path) -> None:
        variables = scipy.io.loadmat(root / path, simplify_cells=True)
        [name] = [name for name in variables if not name.startswith("__")]
        scipy.io.savemat(root / path, {name: change_value(variables[name])}, long_field_names=True)

    return change


def wav(path: str, samples: np.ndarray, rate: int = 22_050) -> Callable[[Path], object]:
    """Writes a wav file."""
    return lambda root: wavfile.write(root / path, rate, samples)


def wav_rate(path: str, rate: int) -> Callable[[Path], object]:
    """Changes what a wav file's header gives as its samples per second."""
    return edit(path, lambda data: data[:24] + struct.pack("<I", rate) + data[28:])


def huge_jpeg(path: str) -> Callable[[Path], object]:
    """Gives a JPEG file's header the largest size there is."""

    def change_bytes(data: bytes) -> bytes:
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]

    return edit(path, change_bytes)


def all_files(folder: str, suffix: str, change_one: Callable[[Path], object]) -> Callable[[Path], object]:
    """Changes all files of a folder with that suffix."""
    return lambda root: [change_one(path) for path in sorted((root / folder).glob(f"*{suffix}"))]


def to_png(path: Path) -> None:
    """Writes an image as PNG instead of JPEG."""
    cv2.imwrite(str(path.with_suffix(".png")), cv2.imread(str(path)))
    path.unlink()


# ---------------------------------------------------------------------------------------------------------------------
# The faults
# ---------------------------------------------------------------------------------------------------------------------

_V = "V2_Guitar"
_FRAMES, _NOTES = f"video_frames/AVAD/{_V}", f"annotations/AVAD/{_V}"
_WAV = f"video_audio/AVAD/{_V}/{_V}.wav"
_TRAIN = "fold_lists/AVAD_list_train_1_fps.txt"
_C, _C_NOTES = "video_frame/Coutrot1/clip2", "annotation/Coutrot1/clip2"
_D = f"DIEM/{DIEM_VIDEOS[1]}"
_D_FILM, _D_WAV = f"{_D}/video/{DIEM_VIDEOS[1]}.mp4", f"{_D}/audio/{DIEM_VIDEOS[1]}.wav"
_D_GAZE = f"{_D}/event_data/diem4s04b.asc_{DIEM_VIDEOS[1]}.txt"
_M, _AVI = "Coutrot2/coutrot_database2.mat", "Coutrot2/ERB4_Stimuli/clip_2.avi"
_N, _N_FILM = "SumMe_ETMD/eyetracking/all_videos.mat", "SumMe_ETMD/video/CRA_2_color.mp4"
_N_WAV = "SumMe_ETMD/audio_mono/CRA_2_color.wav"
_A, _A_FILM = "AVE_Dataset", "AVE_Dataset/AVE/horse000000.mp4"
_ONES = np.ones(stavis_files.SIZE, np.uint8)
_LABELS = "av_gt_label/AVAD/V1_Speech1"


def _clip2(value: dict, change_clip: Callable[[dict], object]) -> dict:
    change_clip(value["AudioVisual"]["clip_2"])
    return value


def _with(value: dict, key: str, new: object) -> dict:
    value[key] = new
    return value


def _row(text: bytes, number: int, frame: str) -> bytes:
    lines = text.decode().splitlines()
    lines[number] = "\t".join([frame, *lines[number].split("\t")[1:]])
    return "\n".join(lines).encode()


FAULTS = {
    # STAViS's tree: frames
    "frame_empty": Fault(STAVIS, empty(f"{_FRAMES}/img_00003.jpg"), "img_00003.jpg is empty"),
    "frame_cut": Fault(STAVIS, cut(f"{_FRAMES}/img_00003.jpg", 0.7), "img_00003.jpg is truncated"),
    "frame_of_other_size": Fault(STAVIS, picture(f"{_FRAMES}/img_00003.jpg", 24, 32), "img_00003.jpg has 32x24 pixels"),
    "frame_missing": Fault(STAVIS, remove(f"{_FRAMES}/img_00003.jpg"), "lacks img_00003"),
    "frame_renamed": Fault(STAVIS, rename(f"{_FRAMES}/img_00003.jpg", "image3.jpg"), "lacks img_00003"),
    "frame_is_text": Fault(STAVIS, write(f"{_FRAMES}/img_00003.jpg", "<html>"), "img_00003.jpg is not an image"),
    "frame_is_a_folder": Fault(STAVIS, as_folder(f"{_FRAMES}/img_00003.jpg"), "lacks img_00003"),
    "frame_is_a_link": Fault(STAVIS, as_link(f"{_FRAMES}/img_00003.jpg"), "img_00003.jpg is a link"),
    "frame_huge": Fault(STAVIS, huge_jpeg(f"{_FRAMES}/img_00003.jpg"), "img_00003.jpg"),
    "frames_as_png": Fault(STAVIS, all_files(_FRAMES, ".jpg", to_png), None),
    "frames_from_0": Fault(
        STAVIS,
        all_files(_FRAMES, ".jpg", lambda path: path.rename(path.with_name(f"img_{int(path.stem[4:]) - 1:05d}.jpg"))),
        "img_00000.jpg has the number of another file, or 0",
    ),
    "folder_of_frames_missing": Fault(STAVIS, remove(_FRAMES), f"{_V} is missing"),
    "folder_not_utf8": Fault(STAVIS, named_in_latin_1("video_frames/AVAD"), r"not UTF-8, 'caf\udce9'"),
    "file_of_no_concern": Fault(STAVIS, write(f"{_FRAMES}/Thumbs.db", "x"), None),
    "frame_damaged_inside": Fault(
        STAVIS, flip(f"{_FRAMES}/img_00003.jpg", 0.7), "img_00003.jpg is damaged inside", deep=True
    ),
    # maps and fixations
    "map_damaged_inside": Fault(
        STAVIS, flip(f"{_NOTES}/maps/eyeMap_00004.jpg", 0.7), "eyeMap_00004.jpg is damaged inside", deep=True
    ),
    "map_of_three_equal_channels": Fault(STAVIS, grey_of_three_channels(f"{_NOTES}/maps/eyeMap_00004.jpg"), None),
    "map_empty": Fault(STAVIS, empty(f"{_NOTES}/maps/eyeMap_00004.jpg"), "eyeMap_00004.jpg is empty"),
    "map_cut": Fault(STAVIS, cut(f"{_NOTES}/maps/eyeMap_00004.jpg", 0.7), "eyeMap_00004.jpg is truncated"),
    "map_of_other_size": Fault(
        STAVIS, picture(f"{_NOTES}/maps/eyeMap_00004.jpg", 24, 32), "eyeMap_00004.jpg has 32x24"
    ),
    "last_map_is_text": Fault(STAVIS, write(f"{_NOTES}/maps/eyeMap_00008.jpg", "x"), "eyeMap_00008.jpg is not an im"),
    "maps_fewer": Fault(
        STAVIS,
        lambda root: [(root / _NOTES / f"maps/eyeMap_0000{i}.jpg").unlink() for i in (6, 7, 8)],
        "the numbers of frames differ by more than 2 (list 8, frames 8, maps 5, fixMaps 8)",
    ),
    "map_two_fewer": Fault(
        STAVIS, lambda root: [(root / _NOTES / f"maps/eyeMap_0000{i}.jpg").unlink() for i in (7, 8)], None
    ),
    "fixations_empty": Fault(STAVIS, empty(f"{_NOTES}/fixMap_00005.mat"), "fixMap_00005.mat"),
    "fixations_cut": Fault(STAVIS, cut(f"{_NOTES}/fixMap_00005.mat", 0.8), "fixMap_00005.mat"),
    "fixations_of_other_name": Fault(
        STAVIS, mat(f"{_NOTES}/fixMap_00005.mat", "fixMap", _ONES), "fixMap_00005.mat has no map named eyeMap"
    ),
    "fixations_of_other_size": Fault(
        STAVIS, mat(f"{_NOTES}/fixMap_00008.mat", "eyeMap", _ONES[:9]), "fixMap_00008.mat has 64x9 pixels"
    ),
    "fixations_3d": Fault(
        STAVIS, mat(f"{_NOTES}/fixMap_00005.mat", "eyeMap", np.stack([_ONES] * 3, -1)), "holds numbers of 48x64x3"
    ),
    "fixations_cell": Fault(
        STAVIS,
        mat(f"{_NOTES}/fixMap_00005.mat", "eyeMap", np.array([[_ONES, 1, "x"]], object)),
        "fixMap_00005.mat holds a cell array of 1x3 as eyeMap",
    ),
    "fixations_of_a_huge_cell": Fault(
        STAVIS,
        lambda root: (
            mat(f"{_NOTES}/fixMap_00005.mat", "eyeMap", np.array([[1, 2]], object))(root),
            # The sides, behind the file's header, the variable's tag and its class.
            edit(f"{_NOTES}/fixMap_00005.mat", lambda d: d[:160] + struct.pack("<ii", 40_000, 40_000) + d[168:])(root),
        ),
        "fixMap_00005.mat states a variable of 40000x40000",
    ),
    "fixations_struct": Fault(
        STAVIS, mat(f"{_NOTES}/fixMap_00005.mat", "eyeMap", {"x": 1, "y": 2}), "a struct of 1x1 with fields x, y"
    ),
    "fixations_everywhere": Fault(
        STAVIS, mat(f"{_NOTES}/fixMap_00005.mat", "eyeMap", _ONES), "fixMap_00005.mat marks 3072 of 3072 pixels"
    ),
    # audio
    "audio_empty": Fault(STAVIS, empty(_WAV), f"{_V}.wav"),
    "audio_is_text": Fault(STAVIS, write(_WAV, "no sound"), f"{_V}.wav cannot be read as audio"),
    "audio_missing": Fault(STAVIS, remove(_WAV), f"{_V}.wav is missing"),
    "audio_is_a_folder": Fault(STAVIS, as_folder(_WAV), f"{_V}.wav is missing"),
    "audio_without_samples": Fault(STAVIS, wav(_WAV, np.zeros(0, np.int16)), f"{_V}.wav has no audio samples"),
    "audio_ten_times_too_long": Fault(STAVIS, wav(_WAV, np.zeros(70_560, np.int16)), f"{_V}.wav has 3.20 s of audio"),
    "audio_a_quarter": Fault(STAVIS, wav(_WAV, np.zeros(1764, np.int16)), f"{_V}.wav has 0.08 s of audio"),
    "audio_cut": Fault(STAVIS, cut(_WAV, 0.3), f"{_V}.wav has 0."),
    "audio_of_nan": Fault(STAVIS, wav(_WAV, np.full(7056, np.nan, np.float32)), f"{_V}.wav has 7056 of 7056 samples"),
    "audio_of_1_hz": Fault(STAVIS, wav_rate(_WAV, 1), f"{_V}.wav says 1 samples per second"),
    "audio_of_2_ghz": Fault(STAVIS, wav_rate(_WAV, 2_000_000_000), f"{_V}.wav says 2000000000 samples per second"),
    # lists
    "list_missing": Fault(STAVIS, remove(_TRAIN), "lacks the fold list AVAD_list_train_1_fps.txt"),
    "list_empty": Fault(STAVIS, empty(_TRAIN), "names no video of avad"),
    "list_of_other_columns": Fault(STAVIS, edit(_TRAIN, replace(" 8 ", ",8,")), "train_1_fps.txt, line 1: "),
    "list_not_utf8": Fault(STAVIS, write(_TRAIN, b"caf\xe9 8 25"), "train_1_fps.txt is not UTF-8 text"),
    "list_rate_huge": Fault(STAVIS, write(_TRAIN, f"{_V} 8 1e300"), "says 1e+300 frames per second"),
    "list_rate_tiny": Fault(STAVIS, write(_TRAIN, f"{_V} 8 1e-9"), "says 1e-09 frames per second"),
    "list_length_huge": Fault(STAVIS, write(_TRAIN, f"{_V} 1{'0' * 12} 25"), "says 1000000000000 frames"),
    "list_length_of_5000_digits": Fault(STAVIS, write(_TRAIN, f"{_V} {'1' * 5000} 25"), "line 1: "),
    "list_names_another": Fault(STAVIS, edit(_TRAIN, replace(_V, "V9_Nobody")), "V9_Nobody is missing"),
    "video_in_no_list": Fault(STAVIS, lambda root: stavis_files.write_video(root, "avad", "V9_New", frames=3), None),
    "broken_video_in_no_list": Fault(STAVIS, write("video_frames/AVAD/V9_New/img_00001.jpg", ""), None),
    # labels
    "labels_shorter": Fault(STAVIS, write(f"{_LABELS}.csv", "frame,label\n1,1\n2,0\n"), "labels 2 frames of a video"),
    "labels_one_longer": Fault(
        STAVIS, write(f"{_LABELS}.csv", "frame,label\n" + "".join(f"{n},1\n" for n in range(1, 10))), None
    ),
    "labels_under_another_ending": Fault(STAVIS, rename(f"{_LABELS}.csv", "V1_Speech1.txt"), "is not a label file"),
    "labels_of_other_values": Fault(STAVIS, edit(f"{_LABELS}.csv", replace("3,1", "3,2")), "V1_Speech1.csv, line 4"),
    "labels_empty": Fault(STAVIS, empty(f"{_LABELS}.csv"), "V1_Speech1.csv does not begin with frame,label"),
    "labels_are_a_folder": Fault(STAVIS, as_folder(f"{_LABELS}.csv"), "V1_Speech1.csv is not a label file"),
    "labels_of_an_unlisted_video": Fault(STAVIS, write("av_gt_label/AVAD/V9.csv", "nothing"), None),
    # the survey's tree
    "scdl_frame_empty": Fault(SCDL, empty(f"{_C}/img_00008.jpg"), "clip2/img_00008.jpg is empty"),
    "scdl_fixations_cell": Fault(
        SCDL, mat(f"{_C_NOTES}/fixMap_00001.mat", "eyeMap", np.array([[_ONES]], object)), "a cell array of 1x1"
    ),
    "scdl_twice": Fault(SCDL, lambda root: shutil.copytree(root / _C, root / f"{_C[:-1]}_2"), "are the same video"),
    "scdl_renamed": Fault(SCDL, rename(_C, "clip_2"), None),
    "scdl_maps_missing": Fault(SCDL, remove(f"{_C_NOTES}/maps"), "clip2/maps is missing"),
    # DIEM's archives
    "film_empty": Fault(DIEM, empty(_D_FILM), f"{DIEM_VIDEOS[1]}.mp4"),
    "film_cut": Fault(DIEM, cut(_D_FILM, 0.6), f"{DIEM_VIDEOS[1]}.mp4"),
    "film_missing": Fault(DIEM, remove(_D_FILM), f"{DIEM_VIDEOS[1]} of diem has no video file"),
    "film_audio_missing": Fault(DIEM, remove(_D_WAV), f"{DIEM_VIDEOS[1]}.wav is missing"),
    "gaze_empty": Fault(DIEM, empty(_D_GAZE), "diem4s04b.asc_news_video_64x48.txt is empty"),
    "gaze_of_8_columns": Fault(DIEM, edit(_D_GAZE, replace("\t1498.50", "")), "has 8 columns and not 9"),
    "gaze_far_too_long": Fault(DIEM, edit(_D_GAZE, lambda text: _row(text, -1, "1000000000")), "diem4s04b.asc_news"),
    "gaze_too_long": Fault(DIEM, edit(_D_GAZE, lambda text: _row(text, -1, "40")), "64x48.txt continues to frame 40"),
    "gaze_not_a_number": Fault(DIEM, edit(_D_GAZE, lambda text: _row(text, 2, "nan")), "diem4s04b.asc_news"),
    "gaze_infinite": Fault(DIEM, edit(_D_GAZE, lambda text: _row(text, -1, "inf")), "diem4s04b.asc_news"),
    "gaze_is_a_folder": Fault(DIEM, as_folder(_D_GAZE), None),
    "gaze_missing": Fault(DIEM, remove(f"{_D}/event_data"), "event_data has no file diem<session>s<subject>"),
    "diem_folder_not_utf8": Fault(DIEM, named_in_latin_1("DIEM"), r"not UTF-8, 'caf\udce9'"),
    "film_damaged_inside": Fault(DIEM, damaged_packets(_D_FILM), DIEM_VIDEOS[1], deep=True),
    "gaze_of_another_video": Fault(
        DIEM, rename(_D_GAZE, "diem4s04b.asc_sport_64x48.txt"), "is gaze on another video, sport_64x48"
    ),
    # Coutrot's archives
    "clip_cut": Fault(COUTROT, cut(_AVI, 0.5), "clip2: the numbers of frames differ"),
    "clip_missing": Fault(COUTROT, remove(_AVI), "clip2 of coutrot2 has no video file"),
    "gaze_file_cut": Fault(COUTROT, cut(_M, 0.6), "coutrot_database2.mat"),
    "gaze_file_missing": Fault(COUTROT, remove(_M), "coutrot_database2.mat is missing"),
    "gaze_of_a_wide_screen": Fault(
        COUTROT,
        in_mat(_M, lambda v: _clip2(v, lambda clip: _with(clip["info"], "vidwidth", 1e6))),
        "clip2.info says 1000000 pixels wide",
    ),
    "gaze_of_an_infinite_screen": Fault(
        COUTROT,
        in_mat(_M, lambda v: _clip2(v, lambda clip: _with(clip["info"], "vidheight", np.inf))),
        "says inf pixels",
    ),
    "gaze_is_text": Fault(
        COUTROT, in_mat(_M, lambda v: _clip2(v, lambda clip: _with(clip, "data", "none"))), "AudioVisual.clip2.data is"
    ),
    # SumMe's and ETMD's archive
    "ntua_film_cut": Fault(NTUA, cut(_N_FILM, 0.5), "CRA_2_color.mp4 cannot be read as a video"),
    "ntua_film_twice": Fault(
        NTUA, lambda root: shutil.copy(root / _N_FILM, (root / _N_FILM).with_suffix(".avi")), "are the same video"
    ),
    "ntua_audio_is_text": Fault(NTUA, write(_N_WAV, "x"), "CRA_2_color.wav"),
    "ntua_gaze_cut": Fault(NTUA, cut(_N, 0.6), "all_videos.mat"),
    "ntua_gaze_far_too_long": Fault(
        NTUA,
        in_mat(_N, lambda v: _with(v, "CRA_2_color", np.full((2, 500, 2), 0.5))),
        "CRA_2_color: the numbers of frames differ by more than 2 (list 8, frames 8, gaze 500)",
    ),
    "ntua_gaze_of_a_cell": Fault(
        NTUA,
        in_mat(_N, lambda v: _with(v, "CRA_2_color", np.array([1, "x"], object))),
        "eye_data_all.CRA_2_color is",
    ),
    # AVE
    "ave_film_empty": Fault(AVE, empty(_A_FILM), "horse000000.mp4"),
    "ave_film_cut": Fault(AVE, cut(_A_FILM, 0.5), "horse000000.mp4 cannot be read as a video"),
    "ave_film_missing": Fault(AVE, remove(_A_FILM), "horse000000.mp4 is missing"),
    "ave_film_is_a_folder": Fault(AVE, as_folder(_A_FILM), "horse000000.mp4 is missing"),
    "ave_list_of_4_columns": Fault(AVE, edit(f"{_A}/valSet.txt", replace("&good", "")), "valSet.txt, line 1"),
    "ave_time_of_5000_digits": Fault(AVE, edit(f"{_A}/valSet.txt", replace("&1", "&1" + "0" * 5000)), "valSet.txt, li"),
    "ave_list_not_utf8": Fault(AVE, write(f"{_A}/valSet.txt", b"Horse&caf\xe9&good&0&1"), "valSet.txt is not UTF-8"),
    "ave_name_not_utf8": Fault(AVE, named_in_latin_1(f"{_A}/AVE"), r"not UTF-8, 'caf\udce9'"),
    "ave_film_in_no_list": Fault(AVE, write(f"{_A}/AVE/other.mp4", "x"), None),
}

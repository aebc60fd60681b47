"""STAViS's and the survey's trees of files in small, written for the tests of the datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from raw_files import write_wav

from avsd_jax.data import dataset_names

FOLDERS = {
    "stavis": ("video_frames", "video_audio", "annotations", "fold_lists"),
    "scdl": ("video_frame", "audio", "annotation", "fold_list"),
}
# Small videos by set, as the real ones are named.
VIDEOS = {
    "diem": ("BBC_life_1280x720", "news_video_768x576", "sport_720x576"),
    "avad": ("V1_Speech1", "V2_Guitar", "V31_Bird"),
    "coutrot1": ("clip1", "clip2", "clip46"),
    "coutrot2": ("clip1", "clip2", "clip3"),
    "summe": ("Air_Force_One", "car_over_camera", "paluma_jump"),
    "etmd": ("CHI_1_color", "CRA_2_color", "LOR_1_color"),
}
FRAMES = 12
FPS = "24.999750"
SIZE = (48, 64)
POINTS = ((10, 20), (11, 20), (40, 5))  # (x, y) of the fixations of each frame


def write_lists(root: Path, dataset: str, layout: str = "stavis", frames: int | Mapping[str, int] = FRAMES) -> Path:
    """Fold lists of the set's three videos, the last of which is tested; the last line has no newline."""
    name = dataset_names.SETS[dataset].stavis
    folder = root / FOLDERS.get(layout, FOLDERS["stavis"])[3]
    folder.mkdir(parents=True, exist_ok=True)
    for number in ("",) if dataset == "diem" else ("_1", "_2", "_3"):
        for part, videos in (("train", VIDEOS[dataset][:2]), ("test", VIDEOS[dataset][2:])):
            counts = {video: frames if isinstance(frames, int) else frames[video] for video in videos}
            text = "\n".join(f"{video} {count} {FPS}" for video, count in counts.items())
            (folder / f"{name}_list_{part}{number}_fps.txt").write_text(text)
    return folder


def write_set(root: Path, dataset: str, layout: str = "stavis") -> None:
    """A complete dataset with its lists."""
    for number, video in enumerate(VIDEOS[dataset]):
        write_video(root, dataset, video, layout, seed=number)
    write_lists(root, dataset, layout)


def write_video(
    root: Path,
    dataset: str,
    video: str,
    layout: str = "stavis",
    *,
    frames: int = FRAMES,
    empty_maps: Sequence[int] = (),
    seed: int = 0,
    **sound: object,
) -> None:
    """A video of coloured noise; `empty_maps`, counted from 1, have no gaze."""
    rng = np.random.default_rng(seed)
    pictures, maps, fixations = (folder(root, dataset, video, layout, kind) for kind in ("frames", "maps", "fixations"))
    for path in (pictures, maps):
        path.mkdir(parents=True)
    for frame in range(1, frames + 1):
        image = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), SIZE[::-1])
        cv2.imwrite(str(pictures / f"img_{frame:05d}.jpg"), image)
        binary = np.zeros(SIZE, np.uint8)
        if frame not in empty_maps:
            for x, y in POINTS:
                binary[y, x] = 1
        density = cv2.GaussianBlur(binary.astype(np.float32), (0, 0), 3)
        grey = np.round(255 * density / density.max()) if density.any() else density
        cv2.imwrite(str(maps / f"eyeMap_{frame:05d}.jpg"), grey.astype(np.uint8))
        scipy.io.savemat(fixations / f"fixMap_{frame:05d}.mat", {"eyeMap": binary}, do_compression=True)
    options = {"seconds": frames / 25, "rate": 22_050, "channels": 1} | sound
    write_wav(folder(root, dataset, video, layout, "sound") / f"{video}.wav", **options)


def folder(root: Path, dataset: str, video: str, layout: str, kind: str) -> Path:
    """Where a video's files of a kind lie."""
    name = dataset_names.SETS[dataset]
    frames, sound, annotations, _ = FOLDERS[layout]
    spelling = name.stavis if layout == "stavis" else name.title
    where = {"frames": frames, "sound": sound, "maps": annotations, "fixations": annotations}[kind]
    path = root / where / spelling / video
    return path / "maps" if kind == "maps" else path

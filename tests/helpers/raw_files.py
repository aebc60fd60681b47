"""The eye-tracking sets as their owners' archives unpack, in small: written for the tests of raw data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.io
from media_files import regular, waveform, write_video
from scipy.io import wavfile

BLINK, FIXATION, SACCADE, ERROR = 0, 1, 2, -1


def viewer_file(folder: Path, video: str, stem: str, rows: Sequence[Sequence[float]]) -> Path:
    """A DIEM viewer: rows (frame, left x, left y, left event, right x, right y, right event), on the screen."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{frame}\t{lx:.2f}\t{ly:.2f}\t1503.00\t{le}\t{rx:.2f}\t{ry:.2f}\t1498.50\t{re}"
        for frame, lx, ly, le, rx, ry, re in rows
    ]
    path = folder / f"{stem}.asc_{video}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def fixating(frames: int, x: float, y: float) -> list[tuple[float, ...]]:
    """Rows of a viewer whose two eyes rest on a place of the screen."""
    return [(n, x, y, FIXATION, x, y, FIXATION) for n in range(1, frames + 1)]


def write_wav(path: Path, seconds: float, rate: int = 48_000, channels: int = 2, silent: bool = False) -> Path:
    """A 16-bit wav file with a click at its beginning, or silent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.zeros(round(seconds * rate)) if silent else waveform([0.0], rate, seconds)
    samples = np.round(sound * 32767).astype(np.int16)
    wavfile.write(path, rate, np.stack([samples] * channels, 1) if channels > 1 else samples)
    return path


def write_diem(root: Path, video: str, frames: int = 12, **options: object) -> Path:
    """A video's folder with two viewers of two sessions who look at the middle of the screen; returns it."""
    width, height = map(int, video.rsplit("_", 1)[1].split("x"))
    folder = root / "DIEM" / video
    (folder / "video").mkdir(parents=True)
    settings = {"sound": None, "size": (height, width)} | options
    write_video(folder / f"video/{video}.mp4", regular(frames), **settings)
    write_wav(folder / f"audio/{video}.wav", frames / 30)
    viewer_file(folder / "event_data", video, "diem1s04", fixating(frames, 640, 480))
    viewer_file(folder / "event_data", video, "diem4s04b", fixating(frames, 660, 470))
    return folder


def clip(data: np.ndarray, size: tuple[int, int] | None = (576, 720)) -> dict[str, np.ndarray | dict[str, float]]:
    """A clip's struct in Coutrot's files, of gaze [D, n, v] and (height, width)."""
    fields: dict = {"data": data}
    if size:
        fields["info"] = {"fps": 25.0, "nframe": float(data.shape[1]), "vidwidth": size[1], "vidheight": size[0]}
    return fields


def write_coutrot(root: Path, number: int, conditions: Mapping[str, Mapping[str, dict]]) -> Path:
    """The MATLAB file of a set: by condition, then by clip, what `clip` returns."""
    path = root / f"Coutrot{number}/coutrot_database{number}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    structs = {"Header": {"author": "x"}, **conditions}
    scipy.io.savemat(path, {f"Coutrot_Database{number}": structs}, do_compression=True, long_field_names=True)
    return path


def write_clip(root: Path, number: int, name: str, frames: int = 10, **options: object) -> Path:
    """A clip's video, where the owner's zip file puts it."""
    folder = root / f"Coutrot{number}" / f"ERB{number + 2}_Stimuli"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"size": (96, 120), "codec": "mpeg4", "sound": "mp2", "rate": 44_100} | options
    return write_video(folder / f"{name}.avi", regular(frames, 25), **settings)


def write_ntua(root: Path, gaze: Mapping[str, np.ndarray], folder: str = "SumMe_ETMD") -> Path:
    """The MATLAB file of SumMe and ETMD: gaze [D, n, v] by video."""
    path = root / folder / "eyetracking/all_videos.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"eye_data_all": dict(gaze)}, do_compression=True)
    return path


def write_ntua_video(root: Path, video: str, frames: int = 10, fps: float = 25, folder: str = "SumMe_ETMD") -> Path:
    """A video of 64x48 and its audio of 16 kHz; returns the video's file."""
    path = root / folder / f"video/{video}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(root / folder / f"audio_mono/{video}.wav", frames / fps, 16_000, 1)
    return write_video(path, regular(frames, fps), size=(48, 64), sound=None)


def write_set(root: Path, dataset: str, videos: Sequence[str], frames: int = 12) -> None:
    """A complete dataset without its lists: all viewers look at the middle of the image, and beside it."""
    middle = np.tile(np.array([(0.5, 0.5), (0.55, 0.45)]).T[:, None], (1, frames, 1))
    pixels = middle * np.array([720, 576])[:, None, None]
    match dataset:
        case "diem":
            for video in videos:
                width, height = map(int, video.rsplit("_", 1)[1].split("x"))
                write_diem(root, video, frames, size=(height // 8, width // 8))
        case "coutrot1" | "coutrot2":
            number = int(dataset[-1])
            names = [video.replace("clip", "clip_") for video in videos]
            own = "OriginalSounds" if number == 1 else "AudioVisual"
            write_coutrot(root, number, {own: {name: clip(pixels) for name in names}})
            for name in names:
                write_clip(root, number, name, frames)
        case _:
            write_ntua(root, dict.fromkeys(videos, middle))
            for video in videos:
                write_ntua_video(root, video, frames)

"""The files that the documentation names, in small: made once, copied for each page."""

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import jax
import numpy as np
import stavis_files
import tiny_run
from ml_collections import ConfigDict

from avsd_jax import datasets
from avsd_jax.common.parallel import make_mesh
from avsd_jax.data import dataset_names
from avsd_jax.data.catalog import open_store
from avsd_jax.training import loop
from configs import avc
from datasets_tfds.sounding_shapes.generator import generate_video
from datasets_tfds.sounding_shapes.sounding_shapes_dataset_builder import Builder

ROOT = Path(__file__).parents[2]
TINY = "sounding_shapes/tiny"


def build(folder: Path) -> Path:
    """Makes all files in a new folder, beside a copy of the checkout; returns it."""
    folder.mkdir(parents=True)
    _checkout(folder)
    videos = [generate_video(Builder.BUILDER_CONFIGS[1].generator, "docs", index) for index in range(3)]
    for name, video in zip(("INPUT", "VIDEOS/garden", "VIDEOS/street"), videos, strict=True):
        _write_video(folder / f"{name}.mp4", video)
    cv2.imwrite(str(folder / "PICTURE.jpg"), videos[0].frames[0][..., ::-1])
    (folder / "LIST.txt").write_text("VIDEOS/garden.mp4\n")
    (folder / "FOLDER").mkdir()
    for number, video in enumerate(videos):
        cv2.imwrite(str(folder / f"FOLDER/picture{number}.jpg"), video.frames[9][..., ::-1])
    _write_own(folder, videos)
    if datasets.main(["build", f"--dataset={TINY}", f"--data_dir={folder / 'data'}", "--workers=1"]):
        raise RuntimeError("the tiny dataset could not be built")
    _write_maps(folder)
    _write_trees(folder)
    _train(folder)
    return folder


def copy(template: Path, folder: Path) -> Path:
    """Copies the template for a page."""
    return shutil.copytree(template, folder, symlinks=True)


def _checkout(folder: Path) -> None:
    """Copies what is tracked or new, and links the environment as make has it."""
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        if not name.startswith("tests/") and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)


def _write_video(path: Path, video: object, scale: int = 2) -> None:
    """Writes a generated video with its sound, enlarged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(video.fps).limit_denominator(1000))
        height, width = video.frames.shape[1:3]
        stream.height, stream.width, stream.pix_fmt = scale * height, scale * width, "yuv420p"
        track = container.add_stream("aac", rate=video.sample_rate)
        track.layout = "mono"
        for image in video.frames:
            large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
        container.mux(stream.encode(None))
        sound = av.AudioFrame.from_ndarray(video.waveform[None], format="s16", layout="mono")
        sound.sample_rate = video.sample_rate
        container.mux(track.encode(sound))
        container.mux(track.encode(None))


def _write_own(folder: Path, videos: list) -> None:
    """Own eye-tracking data, `MINE`, as docs/own_data.md describes."""
    for name, video in zip(("garden", "kitchen", "street"), videos, strict=True):
        _write_video(folder / f"MINE/videos/{name}.mp4", video, scale=1)
        table = folder / f"MINE/fixations/{name}.csv"
        table.parent.mkdir(exist_ok=True)
        rows = ["frame,x,y,viewer", *(f"{int(f)},{x:.1f},{y:.1f},{int(v)}" for f, v, x, y in video.fixations)]
        table.write_text("\n".join(rows) + "\n")


def _write_maps(folder: Path) -> None:
    """Maps of two models for the test videos of the tiny dataset."""
    store = open_store(TINY, "test", folder / "data")
    for model, sigma in (("my_maps", 3), ("other_maps", 9)):
        for number, video in enumerate(store.videos):
            (folder / model / video.id).mkdir(parents=True)
            for frame in range(video.num_frames):
                level = cv2.GaussianBlur(store.density(number, frame).astype(np.float32), (0, 0), sigma)
                cv2.imwrite(
                    str(folder / model / video.id / f"{frame:06d}.png"),
                    np.rint(level / level.max() * 255).astype(np.uint8),
                )


def _write_trees(folder: Path) -> None:
    """The owners' files of the six datasets in STAViS's layout, `FILES`, and AVC labels for one of them, `LABELS`."""
    for dataset in dataset_names.SETS:
        stavis_files.write_set(folder / "FILES", dataset)
    for name, label in (("ANN", 3), ("BOB", 4)):
        rows = [f"{frame},{int(frame % 7 < label)}" for frame in range(1, 41)]
        (folder / f"{name}.csv").write_text("\n".join(["frame,label", *rows, ""]))
    (folder / "LABELS").mkdir()
    for video in stavis_files.VIDEOS["avad"]:
        labels = [frame % 4 // 2 for frame in range(stavis_files.FRAMES)]
        (folder / f"LABELS/{video}.txt").write_text("".join(f"{label}\n" for label in labels))


def _train(folder: Path) -> None:
    """Runs of two steps: `runs/tiny`, the tests' smallest gated network, and `runs/classifier`, a classifier alone."""
    for path in (Path(__file__).parents[1] / "helpers/extra_models").glob("*.py"):
        shutil.copy2(path, folder / "avsd_jax/models" / path.name)
    tiny_run.add_extra_models()
    options = {"model_name": "tiny_gated", "model": ConfigDict({"clip_size": 8, "gate": "classifier"}), "tags": ()}
    config = tiny_run.tiny_config(folder / "data", total_steps=2, batch_size=2, **options)
    loop.train(config, folder / "runs/tiny", mesh=make_mesh(jax.devices()[:1]))
    config = avc.get_config("l3net_demo").unlock()
    config.update(dataset=TINY, data_dir=str(folder / "data"), total_steps=2, batch_size=2, warmup_steps=0)
    loop.train(config.lock(), folder / "runs/classifier", mesh=make_mesh(jax.devices()[:1]))


SMALL = {
    "--config.total_steps": 2,
    "--config.batch_size": 2,
    "--config.frame_size": "(32,64)",
    "--config.model.clip_size": 2,
    "--config.model.width": 0.25,
    "--config.eval_stride": 40,
}
"""Options that make a training by `configs/own.py` take a minute, all of it compilation."""

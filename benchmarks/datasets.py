"""Benchmark of the speed of builds, the space of datasets, and random access to clips by storage format.

    python -m benchmarks.datasets [--frames=21000] [--reads=60] [--work_dir=DIR] [--results_json=FILE]

It writes a tree of files in STAViS's layout (videos of 350 frames of 640x480 with maps of the same size, as in AVAD),
builds it by one and by several processes, and reads clips of 32 frames with the map, fixations and audio of their
target from random positions: from records that hold a chunk of consecutive frames (as the builders write them), for
several chunk lengths, and from records that hold one clip each. Reads are timed with and without decoding images, each
with an empty cache of ours; files are in the system's cache if memory allows.

Besides wall-clock time, the processor time of all processes is measured, which is the time on one idle core. Reads are
reported in processor time only.
"""

import functools
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.io
from absl import app, flags
from array_record.python import array_record_data_source
from scipy.io import wavfile

from avsd_jax.common.atomic_files import write_json
from avsd_jax.common.cli import run as run_command
from avsd_jax.data import catalog, schema
from avsd_jax.data.store import VideoStore
from avsd_jax.sources import build as building
from avsd_jax.sources import fold_lists, layouts
from avsd_jax.sources.build_options import BuildOptions
from datasets_tfds import base

_FRAMES = flags.DEFINE_integer("frames", 21_000, "Frames of the tree.", lower_bound=700)
_WORK_DIR = flags.DEFINE_string("work_dir", None, "Folder to write to; by default a temporary one, removed at the end.")
_READS = flags.DEFINE_integer("reads", 60, "Clips that are read from each storage format.", lower_bound=1)
_JSON = flags.DEFINE_string("results_json", None, "Also write the results to this file.")

LENGTH, SIZE, FPS, RATE = 350, (480, 640), 25.0, 22_050
CLIP = 32
CHUNKS = (16, 32, 64, 128)
STRIDES = (32, 8)
# Number of videos by which storage formats are compared.
COMPARED = 6
# Number of different images; builds depend on the number of files, not on their content.
_POOL = 40


def write_tree(root: Path, videos: int) -> int:
    """Writes a tree in STAViS's layout; returns its size in bytes."""
    rng = np.random.default_rng(0)
    frames, maps, fixations = zip(*(_pictures(rng) for _ in range(_POOL)), strict=True)
    names = [f"V{number}_Speech" for number in range(1, videos + 1)]
    tone = (8000 * rng.standard_normal(int(LENGTH / FPS * RATE))).astype(np.int16)
    size = 0
    for number, name in enumerate(names):
        folders = [root / "video_frames/AVAD" / name, root / "annotations/AVAD" / name / "maps"]
        folders += [root / "annotations/AVAD" / name, root / "video_audio/AVAD" / name]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for frame in range(1, LENGTH + 1):
            which = (number * 7 + frame) % _POOL
            files = {
                folders[0] / f"img_{frame:05d}.jpg": frames[which],
                folders[1] / f"eyeMap_{frame:05d}.jpg": maps[which],
                folders[2] / f"fixMap_{frame:05d}.mat": fixations[which],
            }
            for path, content in files.items():
                path.write_bytes(content)
                size += len(content)
        wavfile.write(folders[3] / f"{name}.wav", RATE, tone)
        size += 2 * len(tone)
    (root / "fold_lists").mkdir()
    for number in fold_lists.NUMBERS:
        for part, chosen in (("train", names[: -len(names) // 3]), ("test", names[-len(names) // 3 :])):
            lines = "\n".join(f"{name} {LENGTH} 24.999750" for name in chosen)
            (root / f"fold_lists/AVAD_list_{part}_{number}_fps.txt").write_text(lines)
    return size


def _pictures(rng: np.random.Generator) -> tuple[bytes, bytes, bytes]:
    """Generates a frame with the detail of a photograph, a map of the gaze of twenty people, and their fixations."""
    frame = np.zeros((*SIZE, 3), np.float32)
    for scale in (160, 40, 10, 3):
        noise = rng.standard_normal((SIZE[0] // scale, SIZE[1] // scale, 3)).astype(np.float32)
        frame += 12 * scale**0.3 * cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    binary = np.zeros(SIZE, np.uint8)
    y, x = (np.clip(rng.normal(length / 2, length / 6, 20), 0, length - 1).astype(int) for length in SIZE)
    binary[y, x] = 1
    density = cv2.GaussianBlur(binary.astype(np.float32), (0, 0), 0.03 * SIZE[1])
    grey = np.round(255 * density / density.max()).astype(np.uint8)
    with tempfile.NamedTemporaryFile(suffix=".mat") as file:
        scipy.io.savemat(file.name, {"eyeMap": binary}, do_compression=True)
        fixations = Path(file.name).read_bytes()
    jpegs = (cv2.imencode(".jpg", np.clip(frame + 128, 0, 255).astype(np.uint8))[1], cv2.imencode(".jpg", grey)[1])
    return *(jpeg.tobytes() for jpeg in jpegs), fixations


OpenStore = Callable[[], VideoStore]


class Records(Sequence):
    """Records of array_record files, parsed as TFDS does."""

    def __init__(self, files: Sequence[Path]):
        self._source = array_record_data_source.ArrayRecordDataSource([os.fspath(file) for file in files])
        self._features = schema.features()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, record: int) -> dict[str, Any]:
        return self._features.deserialize_example_np(self._source[record])


def clips_of(video: schema.SourceVideo, stride: int) -> Iterator[schema.SourceVideo]:
    """Yields the clips of a video that begin at every `stride`-th frame, as videos."""
    frames, density = list(video.frames), list(video.density)
    for first in range(0, video.num_frames - CLIP + 1, stride):
        low, high = np.searchsorted(video.fixations[:, 0], [first, first + CLIP])
        start, stop = (int(frame / video.fps * video.sample_rate) for frame in (first, first + CLIP))
        yield schema.SourceVideo(
            **vars(video)
            | {
                "num_frames": CLIP,
                "frames": frames[first : first + CLIP],
                "density": density[first : first + CLIP],
                "fixations": video.fixations[low:high] - np.float32([first, 0, 0, 0]),
                "avc_label": video.avc_label[first : first + CLIP],
                "audio": video.audio[start:stop],
            }
        )


def store_of(videos: Sequence[base.ReadVideo], folder: Path, chunk_frames: int) -> OpenStore:
    """Writes videos with chunks of a length; returns a function that opens them with an empty cache."""
    folder.mkdir()
    files = [folder / f"video.{number}" for number in range(len(videos))]
    written = [base.write_video(read, file, chunk_frames) for read, file in zip(videos, files, strict=True)]
    index = [schema.VideoIndex.from_json(video.index) for video in written]
    return functools.partial(VideoStore, folder.name, Records(files), index, chunk_frames)


def clips_per_second(open_store: OpenStore, reads: int, decode: bool) -> float:
    """Measures clips read from random positions in one thread, per second of processor time."""
    rng = np.random.default_rng(1)
    start = time.process_time()
    for _ in range(reads):
        store = open_store()  # otherwise clips would be in the cache already
        video = int(rng.integers(len(store.videos)))
        index = store.videos[video]
        first = int(rng.integers(index.num_frames - CLIP + 1))
        if decode:
            store.frames(video, range(first, first + CLIP))
            store.density(video, first + CLIP - 1)
            store.fixations(video, first + CLIP - 1)
            sound = (int(frame / index.fps * index.sample_rate) for frame in (first, first + CLIP))
            store.audio(video, *sound)
        else:
            length = store.chunk_frames[video]
            for number in range(first // length, (first + CLIP - 1) // length + 1):
                store.chunk(video, number)
    return reads / (time.process_time() - start)


def build(root: Path, data_dir: Path, workers: int) -> dict[str, float]:
    """Measures wall-clock and processor time of a build, and its size in bytes."""
    start, used = time.monotonic(), _processor_seconds()
    building.build("avad", data_dir, manual_dir=root, num_workers=workers, overwrite=True)
    seconds, used = time.monotonic() - start, _processor_seconds() - used
    folder = Path(catalog.open_builder("avad", data_dir).data_path)
    sizes = {(status := path.stat()).st_ino: status.st_size for path in folder.iterdir()}
    return {"seconds": seconds, "processor_seconds": used, "bytes": sum(sizes.values())}


def _processor_seconds() -> float:
    """Returns the time of this process and of its finished children."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def compare(root: Path, work_dir: Path, reads: int) -> Iterator[dict[str, Any]]:
    """Measures storage formats with the same videos."""
    source = layouts.find(root, "avad", BuildOptions())[1]
    listed = list(fold_lists.read(root, "avad").videos.values())[:COMPARED]

    def read(listed: fold_lists.ListedVideo) -> schema.SourceVideo:
        return source.read(listed.video, listed)

    forms = {f"chunks of {n}": ([lambda v=v: read(v) for v in listed], n) for n in CHUNKS}
    for stride in STRIDES:
        clips = [clip for video in listed for clip in clips_of(read(video), stride)]
        forms[f"clips of {CLIP}, one from each {stride} frames"] = ([lambda c=c: c for c in clips], CLIP)
    for number, (name, (videos, chunk_frames)) in enumerate(forms.items()):
        open_store = store_of(videos, work_dir / f"form.{number}", chunk_frames)
        size = sum(path.stat().st_size for path in (work_dir / f"form.{number}").iterdir())
        yield {
            "storage": name,
            "bytes": size,
            "clips_per_second": clips_per_second(open_store, reads, decode=True),
            "undecoded_clips_per_second": clips_per_second(open_store, reads, decode=False),
        }


def run(frames: int, reads: int, work_dir: Path) -> dict[str, Any]:
    """Runs all measurements."""
    videos = frames // LENGTH
    root = work_dir / "manual"
    size = write_tree(root, videos)
    print(f"{videos} videos, {videos * LENGTH} frames, {size / 1e6:.0f} MB of files", flush=True)
    builds = {}
    for workers in sorted({1, os.cpu_count() or 1}):
        builds[workers] = built = build(root, work_dir / "data", workers)
        for clock in ("seconds", "processor_seconds"):
            per_second = {"videos": videos / built[clock], "MB": size / built[clock] / 1e6}
            print(
                f"built by {workers} process(es) in {built[clock]:.0f} {clock.replace('_', ' ')}: "
                f"{60 * per_second['videos']:.1f} videos/min, {LENGTH * per_second['videos']:.0f} frames/s, "
                f"{per_second['MB']:.1f} MB/s",
                flush=True,
            )
        print(f"{built['bytes'] / 1e6:.0f} MB = {built['bytes'] / size:.2f} of the files", flush=True)
    forms = []
    for form in compare(root, work_dir, reads):
        forms.append(form)
        print(
            f"{form['storage']}: {form['bytes'] / 1e6:.0f} MB, {form['clips_per_second']:.1f} clips/s "
            f"({form['undecoded_clips_per_second']:.0f} without decoding)",
            flush=True,
        )
    return {"videos": videos, "frames": videos * LENGTH, "bytes": size, "builds": builds, "storage": forms}


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    del argv
    if _WORK_DIR.value:
        Path(_WORK_DIR.value).mkdir(parents=True)
    work_dir = Path(_WORK_DIR.value or tempfile.mkdtemp(prefix="datasets_benchmark."))
    try:
        results = run(_FRAMES.value, _READS.value, work_dir)
    finally:
        shutil.rmtree(work_dir)
    if _JSON.value:
        write_json(Path(_JSON.value), results)


if __name__ == "__main__":
    sys.exit(run_command(lambda: app.run(main)))

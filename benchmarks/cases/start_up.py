"""Start-up.

Seconds of fresh processes, from their start to their end, with the compilation cache that a user has. "predict" is
`python -m avsd_jax.predict` of a 10 s video of 640x360 with the default options: cold, with an empty cache of compiled
programs, and warm, after another run. "first map" is such a process that ends when it has the map of the first frame,
for the default model and for networks of random weights at their published size. The imports are those of a script that
does nothing else; PyTorch's is the peer.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from avsd_jax.common import huge_pages
from benchmarks.measure import Row, Run, Setting, Spread, compare, optional, timed
from benchmarks.networks import NETWORKS

ROOT = Path(__file__).parents[2]
IMPORTS = {
    "import jax": "import jax; jax.devices()",
    "import avsd_jax.predict": "import avsd_jax.predict",
    "import torch": "import torch",
}
# Prediction as the command does it, up to the first map.
FIRST_MAP = """
import os
import sys

from avsd_jax.common.programs import keep_programs
from avsd_jax.media.reading import read_frames
from avsd_jax.media.survey import survey
from avsd_jax.prediction.predictor import Predictor

keep_programs()
predictor = Predictor(*sys.argv[2:])
info = survey(sys.argv[1]).info
with predictor.opened(info, read_frames(info.path), predictor.traits.settings("exact", None, None, None)) as (_, pairs):
    next(pairs)
    os._exit(0)  # waits for nothing that was begun
"""


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of imports and of predictions."""
    few = replace(setting, rounds=setting.pick(3, 1), budget=0.0)
    with tempfile.TemporaryDirectory() as folder:
        yield from _imports(few, Path(folder))
        yield from _predictions(replace(few, rounds=setting.pick(2, 1)), Path(folder))


def process(arguments: Sequence[str], setting: Setting, cache: Path) -> Callable[[], None]:
    """Returns what runs Python with a compilation cache of its own."""
    own = {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    own |= {"JAX_PLATFORMS": "cpu"} if setting.device == "cpu" else {}
    # A command asks for huge pages itself.
    kept_out = ("COMPILATION_CACHE", *(["GLIBC_TUNABLES"] if huge_pages.asked_for() else []))
    others = {name: value for name, value in os.environ.items() if not any(part in name for part in kept_out)}

    def call() -> None:
        done = subprocess.run([sys.executable, *arguments], env=others | own, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{arguments} failed: {done.stderr[-500:]}")

    return call


def _done(result: object) -> None:
    """Waits for nothing: the process has ended."""


def _imports(setting: Setting, folder: Path) -> Iterator[Row]:
    runs, not_run = {}, {}
    for name, script in IMPORTS.items():
        package = "av" if "predict" in name else name.partition(" ")[2]
        if optional(package):
            # Otherwise they would be withheld from the new process, too.
            runs[name] = Run(process(["-c", script], setting, folder / "imports"), _done, huge_pages=True)
        else:
            not_run[name] = f"needs {package}"
    yield from compare(setting, "imports", runs, unit="process", not_run=not_run)


def _predictions(setting: Setting, folder: Path) -> Iterator[Row]:
    missing = [name for name in ("av", "cv2", "PIL", "ml_collections") if not optional(name)]
    if missing:
        yield Row("predict, 10 s of video", "ours", not_run=f"needs {', '.join(missing)}")
        return
    from benchmarks.cases.video import random_predictor
    from benchmarks.video_files import write_video

    video = str(write_video(folder / "video.mp4", 250, 640, 360))
    whole = ["-m", "avsd_jax.predict", video, f"--out={folder / 'out'}"]
    yield from _cold_and_warm("predict, 10 s of video", whole, setting, folder / "cache")
    yield from _cold_and_warm("first map, default model", ["-c", FIRST_MAP, video], setting, folder / "cache")
    for network in NETWORKS:
        if network.name in setting.pick(("vinet", "stavis"), ("stavis",)):
            random_predictor(network, folder / network.name, setting.seed)
            first = ["-c", FIRST_MAP, video, str(folder / network.name)]
            yield from _cold_and_warm(f"first map, {network.title}", first, setting, folder / "cache")


def _cold_and_warm(group: str, arguments: Sequence[str], setting: Setting, cache: Path) -> Iterator[Row]:
    """Yields the rows of a process that finds no compiled programs, and of the next one."""
    run = process(arguments, setting, cache)
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(setting.rounds):
        shutil.rmtree(cache, ignore_errors=True)
        for own in seconds.values():
            own.append(timed(run)[0])
    for name, own in seconds.items():
        spread = Spread.of([1e3 * x for x in own])
        yield Row(group, name, "process", spread, rounds=len(own), headline=f"{group}, {name}")

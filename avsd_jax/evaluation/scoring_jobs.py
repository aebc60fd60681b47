"""The jobs of an evaluation, one per video: in parallel, and never repeated.

Every finished video is a file with a digest of all that affects its scores: the code, the dataset's files, the
protocol and the predictions. A command that was killed finds its finished videos and continues with the others.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from tqdm import tqdm

from avsd_jax.common import beam, code_digest
from avsd_jax.common.atomic_files import write_json
from avsd_jax.common.logs import stage
from avsd_jax.common.programs import keep_programs
from avsd_jax.common.worker_processes import end_with_parent, one_thread_each
from avsd_jax.errors import InputError
from avsd_jax.evaluation import bounds, prediction_folders
from avsd_jax.evaluation.evaluation_inputs import Source
from avsd_jax.evaluation.map_checks import MapChecks
from avsd_jax.evaluation.prediction_folders import VideoMaps
from avsd_jax.scoring.protocols import Protocol
from avsd_jax.scoring.scorer import Predicted, Scorer

# The modules that make a frame's score; when they or what they import change, finished videos are scored again.
SCORING_MODULES = ("avsd_jax.scoring.scorer", "avsd_jax.evaluation.scoring_jobs")


@dataclass(frozen=True)
class Job:
    """One video to score, as sent to a worker process.

    Attributes:
        source: location of the ground truth.
        stamp: digest of the dataset's files, in case they are rebuilt while a process holds the store.
        video: its number in the store.
        maps: its predictions.
        target: the file to write.
        fingerprint: digest of all that affects the result.
        frames: length of the video, for the progress bar.
        bounds: also score chance, the centre and one human.
    """

    source: Source
    stamp: str
    video: int
    maps: VideoMaps
    protocol: Protocol
    precision: str
    target: Path
    fingerprint: str
    frames: int
    bounds: bool = False

    def anywhere(self) -> "Job":
        """Returns the job for a process that runs in another folder."""
        return dataclasses.replace(
            self, source=self.source.anywhere(), maps=self.maps.anywhere(), target=self.target.absolute()
        )


def digest(value: Any) -> str:
    """Returns the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@functools.cache
def code() -> str:
    """Returns a digest of the scoring code."""
    return code_digest.digest(*SCORING_MODULES)


def run(
    jobs: Sequence[Job], workers: int, progress: bool, beam_options: Sequence[str] | None = None
) -> dict[Path, dict[str, Any]]:
    """Scores videos.

    Args:
        jobs: the videos.
        workers: number of processes; 1 works in this one.
        progress: show a bar on stderr.
        beam_options: flags of Apache Beam, which then scores the videos instead of these processes.

    Returns:
        The results by their files; see `score_video`. Existing ones are not computed again.

    Raises:
        InputError: see `score_video`; or a worker process died.
    """
    for folder in {job.target.parent for job in jobs}:
        for partial in folder.glob(".*.partial"):  # left by a run that was killed while writing
            partial.unlink(missing_ok=True)
    done = {job.target: result for job in jobs if (result := _finished(job)) is not None}
    left = sorted((job for job in jobs if job.target not in done), key=lambda job: -job.frames)
    total = sum(job.frames for job in jobs)
    with tqdm(total=total, unit="frame", disable=not progress, dynamic_ncols=True) as bar:
        bar.update(total - sum(job.frames for job in left))
        workers = min(workers, len(left))
        if beam_options is not None:
            finished = _on_beam(left, beam_options)
        elif workers > 1:
            finished = _in_processes(left, workers)
        else:
            finished = ((job, score_video(job)) for job in left)
        for job, result in finished:
            done[job.target] = result
            bar.update(job.frames)
    return done


def _finished(job: Job) -> dict[str, Any] | None:
    """Returns a video's result from an earlier run; None if there is none, or one of other inputs."""
    try:
        result = json.loads(job.target.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("fingerprint") == job.fingerprint else None


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yields results as they finish. Processes are spawned: a forked child of a process with threads can hang."""
    context = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool,
    ):
        futures = {pool.submit(score_video, job): job for job in jobs}
        try:
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        except KeyboardInterrupt:
            for child in multiprocessing.active_children():  # otherwise they would finish their videos first
                child.terminate()
            raise
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died, perhaps for lack of memory: run the command again with fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _on_beam(jobs: Sequence[Job], flags: Sequence[str]) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yields results when Beam has computed all of them; the workers write them to the files of the jobs."""
    if not jobs:
        return
    stage(f"scoring {len(jobs)} videos on Apache Beam")
    with one_thread_each():  # the processes of a DirectRunner inherit it
        results = beam.run(_beam_work, [job.anywhere() for job in jobs], flags, jobs[0].target.parent)
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, beam.Lost):
            raise InputError(f"{job.target.stem} was not scored, {result.why}: run the command again")
        yield job, result


def _beam_work() -> Callable[[Job], dict[str, Any]]:
    _use_one_thread()
    return score_video


def _start_worker() -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent reports it, and ends its workers
    _use_one_thread()


def _use_one_thread() -> None:
    # A process per core, each with one thread; several processes cannot share an accelerator.
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    jax.config.update("jax_platforms", "cpu")
    keep_programs()
    cv2.setNumThreads(1)


def score_video(job: Job) -> dict[str, Any]:
    """Scores a video and writes its result.

    Returns:
        `fingerprint`; `frames`: numbers of the scored frames; `scores`: metric -> value per frame, None if there is
        none; `undefined`: metric -> frames that have no such score because of their map, and not because of their
        ground truth; `beyond`: predictions past the end of the video; `ground_truth`: a digest of it; `maps`: the
        result of `MapChecks.as_record`; and on request `bounds`: the result of `bounds.of_video`.

    Raises:
        InputError: a prediction is damaged, not grey or not finite, or a frame has two.
    """
    scorer = _scorer(job.source, job.stamp, job.protocol, job.precision)
    video = scorer.store.videos[job.video]
    checks = MapChecks(video.id, video.num_frames, (video.map_height, video.map_width))

    def maps() -> Iterator[Predicted]:
        for frame, values, stored in prediction_folders.read(job.maps, checks.notes):
            if checks.see(frame, values) and frame >= job.protocol.unscored_start:
                yield Predicted(job.video, frame, values, stored=stored)

    scores: dict[int, dict[str, float]] = {}
    undefined: list[tuple[int, tuple[str, ...]]] = []
    for row, values in scorer.stream(maps()):
        scores[row.frame] = values
        lacking = tuple(metric for metric in job.protocol.metrics if np.isnan(values[metric]))
        if lacking:
            undefined.append((row.frame, lacking))
    possible = scorer.possible(job.video, [frame for frame, _ in undefined])
    blamed = [(frame, metric) for frame, lacking in undefined for metric in lacking if metric in possible[frame]]
    seen = checks.as_record()
    seen["outside"] += job.maps.beyond
    frames = sorted(scores)
    result = {
        "fingerprint": job.fingerprint,
        "video": video.id,
        "ground_truth": scorer.truth_digest(job.video),
        "beyond": seen["outside"],
        "frames": frames,
        "scores": {m: [None if np.isnan(x := scores[f][m]) else x for f in frames] for m in job.protocol.metrics},
        "undefined": {m: sorted(f for f, metric in blamed if metric == m) for m in job.protocol.metrics},
        "maps": seen,
    }
    if job.bounds:
        result["bounds"] = bounds.of_video(scorer, job.video, frames)
    write_json(job.target, result)
    return result


@functools.lru_cache(maxsize=4)
def _scorer(source: Source, stamp: str, protocol: Protocol, precision: str) -> Scorer:
    """Returns the scorer, one per split and process."""
    del stamp
    return Scorer(source.open(), protocol, precision)

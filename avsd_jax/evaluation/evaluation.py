"""Evaluation of folders of maps against the ground truth of a dataset or a folder."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from avsd_jax.common import beam
from avsd_jax.common.atomic_files import make_folder
from avsd_jax.data import catalog
from avsd_jax.errors import InputError
from avsd_jax.evaluation import (
    bounds,
    earlier_scores,
    evaluation_inputs,
    evaluation_rows,
    leaks,
    map_checks,
    score_files,
    scoring_jobs,
    undefined_scores,
)
from avsd_jax.evaluation.evaluation_inputs import Split
from avsd_jax.evaluation.scoring_jobs import Job, code, digest
from avsd_jax.map_files import colour
from avsd_jax.scoring import extra_metrics, protocols
from avsd_jax.scoring.protocols import Protocol
from avsd_jax.scoring.summary import Frames, summarise

PRECISIONS = ("float64", "float32")


def evaluate(
    predictions: str | Path | Sequence[str | Path],
    dataset: str | None,
    splits: Sequence[str] = ("test",),
    *,
    ground_truth: str | Path | None = None,
    ground_truth_first_frame: int | None = None,
    data_dir: str | Path = catalog.DEFAULT_DATA_DIR,
    protocol: Protocol | str = protocols.NATIVE,
    out: str | Path,
    workers: int = 1,
    precision: str = "float64",
    first_frame: int | None = None,
    metrics: str | Sequence[str] | None = None,
    pool: str | None = None,
    colour_maps: str = colour.REFUSE,
    other_forms: bool = False,
    undefined: str | None = None,
    with_bounds: bool = False,
    pages: bool = False,
    beam_options: Sequence[str] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores folders of predictions and writes the result.

    Args:
        predictions: a folder for all splits, or a sequence of one per split.
        dataset: `name` or `name/config`, in any case, built in `data_dir`; None with `ground_truth`.
        splits: names of splits. Their videos are pooled, or their means averaged, depending on the protocol.
        ground_truth: a folder of ground truth instead of a dataset, see `ground_truth_folder`.
        ground_truth_first_frame: 0 or 1, the number of the first frame in that folder; None: inferred.
        data_dir: folder of built datasets.
        protocol: how to score, or the name of one of `protocols.PROTOCOLS`.
        out: folder to write to; created if missing. Finished videos in it are not scored again, unless something that
            affects their scores has changed. Scores of another evaluation in it are refused, not overwritten.
        workers: number of processes; 1 scores in this one.
        precision: "float64" or "float32".
        first_frame: 0 or 1, the number of the first frame in the predictions; None: inferred.
        colour_maps: "refuse", "luminance" or "colormap:NAME", how maps in colour are read.
        other_forms: read `.npy`, `.mat`, videos and `.tif` as well.
        undefined: "omit", "worst" or "error", how frames without a score because of their map are treated; None: the
            rule of the protocol.
        metrics: metrics instead of the protocol's, see `extra_metrics.with_metrics`.
        pool: negatives of the s-AUC instead of the protocol's, see `Protocol.pool`.
        with_bounds: score chance, the centre and one human on the same frames.
        pages: also write a page per video, see `video_pages`.
        beam_options: flags of Apache Beam, which then scores the videos instead of `workers`, see docs/many_videos.md.
        progress: show a bar on stderr.

    Returns:
        The content of `scores.json`: `dataset` (with the digest and options of the build), `ground_truth` (digests by
        video), `predictions` (folder, split, layout, encoding, ...), `protocol`,
        `precision`, `join`, `coverage` (frames scored, missing, unscored, beyond), `missing` (videos, frames by video),
        `undefined` (frames by metric that have no score because of their map), `leaks` (warnings about published
        weights that have seen these videos), `maps` (how they were read, notes),
        the entries of `scoring.summary.summarise`, `versions` and `seconds`; and on request `bounds`, see
        `bounds.summary`.

    Raises:
        InputError: data or predictions are missing, damaged or ambiguous; the videos have no eye-tracking data; an
            argument is not one of its choices; or `out` cannot be written to.
    """
    started = time.monotonic()
    predictions = [predictions] if isinstance(predictions, str | Path) else predictions
    given = evaluation_inputs.sources(dataset, splits, data_dir, ground_truth, ground_truth_first_frame)
    settings = Settings.of(
        protocol=protocol,
        metrics=metrics,
        pool=pool,
        undefined=undefined,
        workers=workers,
        precision=precision,
        first_frame=first_frame,
        colour_maps=colour_maps,
        other_forms=other_forms,
        with_bounds=with_bounds,
        pages=pages,
        beam_options=beam_options,
    )
    names = [source.split for source in given]
    earlier_scores.check_same(Path(out), given[0].dataset, names, predictions, settings.protocol.name, ground_truth)
    earlier_scores.set_aside(Path(out))
    parts = evaluation_inputs.open_splits(predictions, given, settings.reading)
    return score(parts, settings, Path(out), started, progress)


@dataclass(frozen=True)
class Settings:
    """How an evaluation is computed, as `evaluate` explains it.

    Attributes:
        protocol: with its metrics, pool and rule for frames without a score.
        workers, precision, with_bounds, pages, beam_options: as for `evaluate`.
        reading: options of `prediction_folders.find`.
    """

    protocol: Protocol
    workers: int
    precision: str
    reading: Mapping[str, Any]
    with_bounds: bool
    pages: bool
    beam_options: Sequence[str] | None = None

    @classmethod
    def of(
        cls,
        *,
        protocol: Protocol | str = protocols.NATIVE,
        metrics: str | Sequence[str] | None = None,
        pool: str | None = None,
        undefined: str | None = None,
        workers: int = 1,
        precision: str = "float64",
        first_frame: int | None = None,
        colour_maps: str = colour.REFUSE,
        other_forms: bool = False,
        with_bounds: bool = False,
        pages: bool = False,
        beam_options: Sequence[str] | None = None,
    ) -> "Settings":
        """Builds settings of the arguments of `evaluate`.

        Raises:
            InputError: an argument is not one of its choices.
        """
        protocol = protocols.get(protocol) if isinstance(protocol, str) else protocol
        protocol = extra_metrics.with_pool(extra_metrics.with_metrics(protocol, metrics), pool)
        protocol = undefined_scores.with_rule(protocol, undefined)
        if with_bounds and protocol.definitions != "mit":
            raise InputError(f"--bounds are not defined for protocol {protocol.name}: score with another one")
        if precision not in PRECISIONS:
            raise InputError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
        if workers < 1:
            raise InputError(f"workers={workers}: give 1 or more")
        reading = {"first_frame": first_frame, "colour_maps": colour_maps, "other_forms": other_forms}
        beam.pipeline_options(beam_options)  # fails here if there is no Beam
        return cls(protocol, workers, precision, reading, with_bounds, pages, beam_options)


def score(
    parts: Sequence[Split], settings: Settings, out: Path, started: float, progress: bool = True
) -> dict[str, Any]:
    """Scores opened splits of a dataset; returns and writes what `evaluate` does.

    Args:
        parts: the splits with their predictions.
        settings: how.
        out: folder to write to.
        started: time by `time.monotonic`, from which `seconds` counts.
        progress: show a bar on stderr.

    Raises:
        InputError: as for `evaluate`.
    """
    protocol, splits, dataset = settings.protocol, [part.name for part in parts], parts[0].source.dataset
    source, files, told = evaluation_inputs.dataset_record(parts)
    stamp = digest([source, files])
    jobs = {(part.name, video): job for part in parts for video, job in _jobs(part, stamp, settings, out)}
    make_folder(out)  # fails here, before the scoring
    done = scoring_jobs.run(list(jobs.values()), settings.workers, progress, settings.beam_options)
    results = {key: done[job.target] for key, job in jobs.items()}
    several = len(parts) > 1
    seen = {f"{split}/{video}" if several else video: result for (split, video), result in results.items()}
    maps = {video: result["maps"] for video, result in seen.items()}
    map_checks.check_upright(maps)
    lacking = undefined_scores.count(seen, protocol)
    rows = [row for part in parts for row in evaluation_rows.rows(part, results, protocol)]
    reading = settings.reading
    record = {
        "dataset": source,
        "ground_truth": evaluation_rows.ground_truth(results, several),
        "predictions": [_part_record(part, protocol) for part in parts],
        **_summary(rows, dataset, splits, protocol),
        "precision": settings.precision,
        "coverage": evaluation_rows.coverage(rows, results),
        "missing": evaluation_rows.missing(rows, several),
        "undefined": lacking,
        "leaks": sorted({said for part in parts for said in leaks.of_maps(part.found.videos.values(), dataset)}),
        "maps": {
            "colour_maps": reading["colour_maps"],
            "other_forms": "read" if reading["other_forms"] else "refuse",
            "remarks": told + [remark for part in parts for remark in part.found.remarks] + map_checks.remarks(maps),
        },
        "versions": versions(),
        "seconds": round(time.monotonic() - started, 3),
    }
    if settings.with_bounds:
        record["bounds"] = bounds.summary(
            rows, results, protocol.metrics, lambda own: _summary(own, dataset, splits, protocol)
        )
    score_files.write(out, record, rows)
    if settings.pages:
        _write_pages(parts, out)
    earlier_scores.forget(out)
    return record


def versions() -> dict[str, str]:
    """Returns the versions of what computes scores."""
    return {name: metadata.version(name) for name in ("avsd-jax", "jax", "numpy")}


def _write_pages(parts: Sequence[Split], out: Path) -> None:
    from avsd_jax.evaluation.pages import video_pages  # imports drawing libraries

    name = "+".join(dict.fromkeys(part.given.absolute().name for part in parts))
    model = video_pages.Model(name, score_files.load(out), {part.name: part.found for part in parts})
    video_pages.write(out, [model], {part.name: part.store for part in parts})


def _jobs(part: Split, stamp: str, settings: Settings, out: Path) -> Iterator[tuple[str, Job]]:
    """Builds a job for each video that has predictions."""
    for number, video in enumerate(part.store.videos):
        if video.id not in part.found.videos:
            continue
        maps = part.found.videos[video.id]
        # Fields of the protocol that only affect averages are included, too: scoring again is cheap enough.
        deciding = [
            code(),
            stamp,
            part.name,
            video.to_json(),
            settings.protocol.as_record(),
            settings.precision,
            maps.fingerprint(),
            settings.with_bounds,
        ]
        target = out / "videos" / quote(part.name, safe="") / f"{quote(video.id, safe=' ')}.json"
        yield (
            video.id,
            Job(
                part.source,
                stamp,
                number,
                maps,
                settings.protocol,
                settings.precision,
                target,
                digest(deciding),
                video.num_frames,
                settings.with_bounds,
            ),
        )


def _part_record(part: Split, protocol: Protocol) -> dict[str, Any]:
    found = part.found
    return {
        "folder": str(found.root),
        "split": part.name,
        "layout": found.layout,
        "encoding": protocol.encoding() if found.holds_arrays else "images as they are",
        "first_frame": found.first_frame,
        "unused": list(found.unused),
    }


def _summary(
    rows: Sequence[Mapping[str, Any]], dataset: str, splits: Sequence[str], protocol: Protocol
) -> dict[str, Any]:
    wanted = "missing" if protocol.missing == "zero" else "scored"
    counted = [row for row in rows if row["status"] == "scored" or row["status"] == wanted]
    if not any(row["status"] == "scored" for row in counted):
        raise InputError("no frame to score: the predictions hold none of the frames that the protocol scores")
    videos = sorted({row["video"] for row in rows})
    number = {video: i for i, video in enumerate(videos)}
    frames = Frames(
        part=np.array([splits.index(row["split"]) for row in counted], int),
        video=np.array([number[row["video"]] for row in counted], int),
        frame=np.array([row["frame"] for row in counted], int),
        label=np.array([row["label"] for row in counted], int),
        scores={m: np.array([row[m] for row in counted], float) for m in protocol.metrics},  # None becomes NaN
    )
    by_split = protocol.joins_by_mean(dataset)
    join = "mean of the splits' means" if by_split else "videos of all splits pooled"
    return {
        "protocol": protocol.as_record(),
        "join": join if len(splits) > 1 else "one split",
        **summarise(frames, videos, protocol, splits=splits, by_split=by_split),
    }

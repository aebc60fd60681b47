"""The survey's Table IV: every row that this library computes, beside the published value.

    python -m benchmarks.table4 [--dataset=sounding_shapes|six|NAME,...] [--data_dir=data] [--checkpoints=FOLDER]
                                [--models=gbvs,itti] [--stride=5] [--limit=VIDEOS] [--out=runs/table4]

Models without weights are scored at once. A model with weights is scored if FOLDER has its folder, converted or
trained (`FOLDER/aclnet`, `FOLDER/stavis_star`; `FOLDER/stavis/test_1` ... for one per split); otherwise its row says
which command makes it. Maps are scored as `python -m avsd_jax.main --mode=eval` does, on every `--stride`-th frame of
the test split or of the three folds, by the published tables' protocol on the survey's datasets and `native` elsewhere.
The embedded dataset is built if it is absent. An interrupted run resumes. Writes `table4.json` and `table4.md`.
"""

import argparse
import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from avsd_jax.common import atomic_files, cli, code_digest, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.config.base import base
from avsd_jax.data import catalog
from avsd_jax.data.dataset_digest import dataset_digest
from avsd_jax.errors import InputError
from avsd_jax.evaluation import published, several_inputs
from avsd_jax.experiment.run import provenance
from avsd_jax.runs.checkpoint import CONFIG_FILE, NO_VARIABLES, load_for_inference, read_config, saved_steps
from avsd_jax.runs.components import Inference
from avsd_jax.runs.stores import scoring_store
from avsd_jax.scoring import protocols
from avsd_jax.scoring.over_datasets import over_datasets
from avsd_jax.scoring.paired import paired_differences
from avsd_jax.scoring.protocols import Protocol
from avsd_jax.scoring.summary import Frames, summarise
from avsd_jax.sources.build import build
from avsd_jax.training.score import make_predict_fn, score_frames, spread_videos
from benchmarks.stored_frames import kept
from benchmarks.table4_report import report
from benchmarks.table4_rows import NOTES, Row, select, weights

# Differences of interest: what sound adds to the best model without weights.
PAIRS = (("gbvs_av", "gbvs"),)
BATCH = 8
"""Frames that a model maps together; the cost of a frame depends on it."""


@dataclass(frozen=True)
class Task:
    """What is scored, and how.

    Attributes:
        datasets: the name of a built dataset by its short name.
        splits: names of splits.
        data_dir: folder of built datasets.
        protocol: of the scores.
        stride: distance between scored frames.
        limit: number of videos of each split; 0 for all.
    """

    datasets: Mapping[str, str]
    splits: tuple[str, ...]
    data_dir: str
    protocol: Protocol
    stride: int
    limit: int

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Task":
        """Builds the task of a command line; builds datasets that need no files.

        Raises:
            InputError: a dataset is not built, or has no such split.
        """
        names = several_inputs.name_folders(args.dataset)
        for name in names.values():
            if not catalog.is_of_files(name.partition("/")[0]):
                build(name, args.data_dir, num_workers=os.cpu_count() or 1)
        catalog.open_builders(list(names.values()), args.data_dir)
        splits = args.split.split(",") if args.split else several_inputs.usual_splits(names, args.data_dir)
        for name in names.values():
            for split in splits:
                catalog.open_store(name, split, args.data_dir).require_gaze("score on a dataset with eye-tracking data")
        surveyed = all(published.canonical(name) for name in names.values())
        protocol = protocols.get(args.protocol or (published.PROTOCOL if surveyed else protocols.NATIVE.name))
        return cls(names, tuple(splits), args.data_dir, protocol, args.stride, args.limit)

    def configured(self, config: ConfigDict, dataset: str, split: str) -> ConfigDict:
        """Returns a configuration that scores on a split of one of the datasets."""
        config = config.copy_and_resolve_references().unlock()
        with config.ignore_type():
            config.update(dataset=dataset, data_dir=self.data_dir, test_split=split)
            config.update(eval_stride=self.stride, eval_batch_size=BATCH)
        return config.lock()


@dataclass(frozen=True)
class Result:
    """The scores of a row on a dataset.

    Attributes:
        frames: parts are splits; videos are numbered by their position in `ids`.
        ids: of the videos.
        seconds: of a frame, in the model alone.
        frame_size: height and width that the model read.
    """

    frames: Frames
    ids: list[str]
    seconds: float
    frame_size: tuple[int, int]


class _Timed:
    """A prediction function that measures itself, once it is compiled."""

    def __init__(self, model: Any, variables: Mapping[str, Any]):
        self._predict, self._compiled = make_predict_fn(model, variables), False
        self.seconds, self.rows = 0.0, 0

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if not self._compiled:
            self._predict(batch)
            self._compiled = True
        started = time.perf_counter()
        output = self._predict(batch)
        self.seconds += time.perf_counter() - started
        self.rows += len(batch["video_index"])
        return output


def score(row: Row, title: str, task: Task, folders: Mapping[str, Path], out: Path) -> Result:
    """Scores a row on a dataset; scores that are stored are read.

    Args:
        row: its model is in the library.
        title: short name of the dataset.
        task: what is scored.
        folders: of the weights by split; {} for a model without.
        out: scores are written to its `scores/`.

    Raises:
        InputError: the weights are damaged, or those of another network.
    """
    name, configs = task.datasets[title], {}
    for split in task.splits:
        config, _ = _load(row, folders.get(split), weights_too=False)
        configs[split] = task.configured(config, name, split)
    stores = {split: scoring_store(config) for split, config in configs.items()}
    ids = list(dict.fromkeys(video.id for store in stores.values() for video in store.videos))
    path = out / "scores" / f"{row.method.replace('*', '_star').replace('#', '_oracle')}-{title}.npz"
    frames, seconds = kept(
        path,
        [_digest(row, name, task, folders, configs)],
        lambda: _score(row, task, folders, configs, ids),
    )
    return Result(frames, ids, seconds, tuple(next(iter(configs.values())).frame_size))


def _score(
    row: Row, task: Task, folders: Mapping[str, Path], configs: Mapping[str, ConfigDict], ids: Sequence[str]
) -> tuple[Frames, float]:
    """Returns the scored frames, and the seconds of one in the model.

    A video that several splits test is scored once by the same weights, and counts in each of them.
    """
    number = {video: i for i, video in enumerate(ids)}
    done: dict[tuple[Path | None, str], Frames] = {}
    found, seconds, rows = [], 0.0, 0
    for i, (split, config) in enumerate(configs.items()):
        folder, store = folders.get(split), scoring_store(config)
        chosen = spread_videos(store, task.limit or len(store.videos))
        left = [video for video in chosen if (folder, store.videos[video].id) not in done]
        if left:
            parts, variables = Inference.from_config(config), _load(row, folder)[1]
            predict = _Timed(parts.model, variables)
            own = score_frames(config, parts, variables, predict, protocol=task.protocol, videos=left)
            seconds, rows = seconds + predict.seconds, rows + predict.rows
            done |= {(folder, store.videos[video].id): own[own.video == video] for video in left}
        for video in (store.videos[video].id for video in chosen):
            found.append(_placed(done[folder, video], i, number[video]))
    return _joined(found), seconds / rows


def _placed(frames: Frames, part: int, video: int) -> Frames:
    count = len(frames.frame)
    return Frames(np.full(count, part), np.full(count, video), frames.frame, frames.label, frames.scores)


def _joined(parts: Sequence[Frames]) -> Frames:
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ("part", "video", "frame", "label")}
    return Frames(scores={m: np.concatenate([p.scores[m] for p in parts]) for m in parts[0].scores}, **columns)


def _load(row: Row, folder: Path | None, weights_too: bool = True) -> tuple[ConfigDict, Mapping[str, Any]]:
    """Returns the configuration and, on request, the variables of a row."""
    if folder is None:
        return base(row.model), NO_VARIABLES
    config, variables = load_for_inference(folder) if weights_too else (read_config(folder), {})
    if row.gate:
        config = config.copy_and_resolve_references().unlock()
        config.model.gate = row.gate  # the labels may open the gate of a model with a classifier
    return config, variables


def _digest(row: Row, dataset: str, task: Task, folders: Mapping[str, Path], configs: Mapping[str, ConfigDict]) -> str:
    """Returns a digest of all that decides about a row's scores."""
    deciding = [
        {split: json.loads(config.to_json()) for split, config in configs.items()},
        {
            split: [str(folder), saved_steps(folder), (folder / CONFIG_FILE).stat().st_mtime_ns]
            for split, folder in folders.items()
        },
        dataset_digest(str(catalog.open_builder(dataset, task.data_dir).data_path)),
        [row.model, task.protocol.as_record(), task.stride, task.limit, _code()],
    ]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


@functools.cache
def _code() -> str:
    """Returns a digest of the whole package: models, and what they consist of, are looked up by name."""
    files = sorted(code_digest.PACKAGE.glob("**/*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def summary(
    rows: Sequence[Row], results: Mapping[str, Mapping[str, Result]], task: Task, needs: Mapping[str, str]
) -> dict[str, Any]:
    """Computes the record that `table4.json` holds.

    Args:
        rows: all rows of the table.
        results: by method and dataset.
        task: what was scored.
        needs: method -> what a row without scores needs.
    """
    entries = []
    for row in rows:
        entry = {"method": row.method, "kind": row.kind, "model": row.model, "gate": row.gate}
        entry |= {"note": NOTES.get(row.model, ""), "needs": needs.get(row.method, "")}
        entry["published"] = {title: _published(row, name) for title, name in task.datasets.items()}
        own = results.get(row.method, {})
        entry["datasets"] = {title: _summarised(result, title, task) for title, result in own.items()}
        if len(own) > 1:
            splits = [task.protocol.joins_by_mean(task.datasets[title]) for title in own]
            entry["mean"] = over_datasets([result.frames for result in own.values()], splits, task.protocol)
        entries.append(entry)
    return {
        "protocol": task.protocol.as_record(),
        "splits": list(task.splits),
        "stride": task.stride,
        "limit": task.limit,
        "datasets": dict(task.datasets),
        "rows": entries,
        "pairs": [entry for pair in PAIRS for entry in _paired(rows, pair, results, task)],
        "batch": BATCH,
        "machine": {"device": jax.devices()[0].device_kind, "cores": os.cpu_count()},
        "versions": provenance(),
    }


def _summarised(result: Result, title: str, task: Task) -> dict[str, Any]:
    by_split = task.protocol.joins_by_mean(task.datasets[title])
    found = summarise(result.frames, result.ids, task.protocol, splits=task.splits, by_split=by_split)
    kept_keys = ("scores", "frame_scores", "intervals", "counts", "nan")
    timing = {"ms": 1000 * result.seconds, "frame_size": list(result.frame_size)}
    return {key: found[key] for key in kept_keys if key in found} | timing


def _published(row: Row, dataset: str) -> dict[str, float]:
    """Returns the published scores of a row; {} if there are none, or they cannot be right."""
    found = [one for one in published.table4(dataset) if one.method == row.method and one.comparable]
    return dict(found[0].scores) if found else {}


def _paired(
    rows: Sequence[Row], pair: tuple[str, str], results: Mapping[str, Mapping[str, Result]], task: Task
) -> list[dict[str, Any]]:
    """Returns the differences of two models, if both were scored: an entry for each dataset."""
    methods = [next((row.method for row in rows if row.model == model), "") for model in pair]
    a, b = (results.get(method, {}) for method in methods)
    entries = []
    for title in (title for title in a if title in b):
        by_split = task.protocol.joins_by_mean(task.datasets[title])
        found = paired_differences(a[title].frames, b[title].frames, "video", by_split)
        entries.append({"a": methods[0], "b": methods[1], "dataset": title, "groups": found["groups"]})
    return entries


def run(args: argparse.Namespace) -> str:
    """Scores the rows that can be scored, writes the results into `args.out` and returns them as text.

    Raises:
        InputError: a dataset is not built, there is no such row, or a folder of weights is another model's.
    """
    out, checkpoints = Path(args.out), Path(args.checkpoints) if args.checkpoints else None
    if checkpoints is not None and not checkpoints.is_dir():
        raise InputError(f"no folder {checkpoints}: give --checkpoints the folder that holds one folder per model")
    rows = select(args.models)
    task = Task.of(args)
    ready: dict[str, dict[str, Path]] = {}
    needs: dict[str, str] = {}
    for row in rows:
        if not row.exists:
            needs[row.method] = f"a model {row.model}, which this version does not have"
            continue
        found = weights(row, checkpoints, task.splits) if row.learned else {}
        if row.learned and not found:
            needs[row.method] = f"weights: `{row.command(checkpoints or 'CHECKPOINTS')}`"
        else:
            ready[row.method] = found
    chosen = [row for row in rows if row.method in ready]
    results: dict[str, dict[str, Result]] = {}
    for k, row in enumerate(chosen, 1):
        for title in task.datasets:
            logs.stage(f"scoring {k} of {len(chosen)}: {row.method} on {title}")
            results.setdefault(row.method, {})[title] = score(row, title, task, ready[row.method], out)
    record = summary(rows, results, task, needs)
    text = report(record)
    atomic_files.write_json(out / "table4.json", record)
    atomic_files.write_text(out / "table4.md", text)
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m benchmarks.table4", __doc__)
    add = parser.add_argument
    add("--dataset", default="sounding_shapes", metavar="NAME[,NAME...]", help="or six (default: sounding_shapes)")
    add("--split", help="splits, joined by commas (default: test, or the folds test_1,test_2,test_3)")
    add("--data_dir", default=catalog.DEFAULT_DATA_DIR, help="folder of built datasets")
    add("--checkpoints", metavar="FOLDER", help="holds a folder of weights per model, named after it")
    add("--models", default="", metavar="NAME[,NAME...]", help="rows to score, by model or method (default: all)")
    add("--stride", type=cli.positive, default=5, help="distance between scored frames (default: 5)")
    add("--limit", type=cli.at_least(0), default=0, metavar="VIDEOS", help="of each split, for a quick look")
    add("--protocol", choices=tuple(protocols.PROTOCOLS), help="of the scores (default: see above)")
    add("--out", default="runs/table4", help="folder to write to (default: runs/table4)")
    return cli.run(lambda: _table4_command_line(parser.parse_args(argv)))


def _table4_command_line(args: argparse.Namespace) -> None:
    with logs.shown():
        keep_programs()
        print(run(args))


if __name__ == "__main__":
    sys.exit(main())

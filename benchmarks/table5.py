"""The survey's Table V on the embedded benchmark: four classifiers of audio-visual consistency, alone and as the gate.

    python -m benchmarks.table5 [--workdir=runs/table5] [--seeds=0,1,2] [--config=configs/avinet.py:demo]
                                [--config.FIELD=VALUE ...]

Each seed trains the saliency network of the demo once, gated by labels, and each classifier alone, for the same steps
and batch. As training with `train_gate="labels"` does not depend on the classifier, each one then gates this network.
An interrupted run resumes. Writes `table5.json`, `table5.md` and `reliability.png`.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from avsd_jax.common import atomic_files, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.data import pipeline
from avsd_jax.errors import InputError
from avsd_jax.evaluation import published
from avsd_jax.experiment import command_line
from avsd_jax.experiment.comparison import derive
from avsd_jax.experiment.run import provenance, run
from avsd_jax.runs.checkpoint import load_for_inference, saved_steps
from avsd_jax.runs.components import Inference
from avsd_jax.runs.stores import scoring_store
from avsd_jax.scoring import calibration, figures, markdown
from avsd_jax.scoring.evaluator import SaliencyEvaluator
from avsd_jax.scoring.groups import classifier_scores
from avsd_jax.scoring.paired import paired_differences
from avsd_jax.scoring.protocols import NATIVE, TABLE_METRICS
from avsd_jax.scoring.summary import Frames, summarise
from avsd_jax.training.score import make_predict_fn
from benchmarks.gating import numbers, spread
from benchmarks.segment_kinds import accuracy_by_segment
from benchmarks.stored_frames import kept

# Row -> title, name in the survey's table, changes of the row.
OPTIONS = {"width": 0.25, "frame_size": 64, "sample_rate": 16000}
# Half of the demo's: AVID takes most of the time.
BATCH = 16
CLASSIFIERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "l3net": ("L3-Net", "L3Net", {"model": {"classifier": "l3net", "classifier_options": OPTIONS}}),
    "avenet": ("AVE-Net", "AVENet", {"model": {"classifier": "avenet", "classifier_options": OPTIONS}}),
    "avid": ("AVID", "AVID", {"model": {"classifier": "avid", "classifier_options": OPTIONS}}),
    "avid_ws": (
        "AVID+ws",
        "AVID+ws",
        {"model": {"classifier": "avid", "classifier_options": OPTIONS}, "avc_supervision": "weak"},
    ),
}
REFERENCES = {"never": "none: V", "always": "none: AV", "labels": "the labels: AV#"}
NUMBERS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC", "ece": "ECE"}
SALIENCY, GATED = "saliency", "av_star"


def training_config(demo: ConfigDict, seed: int) -> ConfigDict:
    """Returns the rows that one seed trains: the preparation of the demo's AV*, its saliency network, the classifiers.

    Raises:
        InputError: the configuration has no row `av_star` that starts from a classifier's.
    """
    config = demo.copy_and_resolve_references().unlock()
    config.seed = seed
    config.model.classifier_options = ConfigDict(OPTIONS)  # those of the demo's classifier are not all classifiers'
    changes = config.row_changes
    prepared = changes[GATED].init_parts.get("classifier", "") if GATED in config.rows else ""
    if not prepared:
        raise InputError(f"the configuration has no row {GATED!r} that starts from a classifier's: give a demo")
    star = changes[GATED].to_dict()
    if star.get("weights"):  # it is put together: what counts is how its saliency network was trained
        star = changes[star["weights"]].to_dict()
        star["init_parts"] = star.get("init_parts", {})
    star["label"], star["model"] = "", star.get("model", {}) | {"gate": "labels"}
    star["init_parts"] = {part: row for part, row in star["init_parts"].items() if part != "classifier"}
    alone = changes[prepared].to_dict()
    rows = {name: changes[name].to_dict() for name in _stages(changes, star)} | {SALIENCY: star}
    for name, (_, _, own) in CLASSIFIERS.items():
        rows[name] = alone | own | {"label": "", "batch_size": BATCH, "model": alone.get("model", {}) | own["model"]}
    config.rows, config.row_changes = tuple(rows), ConfigDict(rows)
    return config.lock()


def _stages(changes: ConfigDict, row: Mapping[str, Any]) -> list[str]:
    """Returns the rows that a row starts from, directly or not, in the order of their training."""
    found: list[str] = []
    for source in (row.get("init", ""), *row.get("init_parts", {}).values()):
        if source:
            found += [name for name in (*_stages(changes, changes[source]), source) if name not in found]
    return found


def score(config: ConfigDict, folder: Path) -> dict[str, Frames]:
    """Scores a seed's saliency network under each gate; scores that are stored are read.

    Args:
        config: of the seed, see `training_config`.
        folder: of its runs; scores are written to `scores/`.

    Returns:
        Row or reference -> scored frames.
    """
    saliency = next(row for row in derive(config, folder) if row.name == SALIENCY)
    gates = {name: ("classifier", name) for name in CLASSIFIERS} | {gate: (gate, "") for gate in REFERENCES}
    return {name: _scored(saliency.config, folder, *gate) for name, gate in gates.items()}


def _scored(config: ConfigDict, folder: Path, gate: str, classifier: str) -> Frames:
    path = folder / "scores" / f"{classifier or gate}.npz"
    steps = [*_steps(folder / SALIENCY), *(_steps(folder / classifier) if classifier else ()), config.eval_stride]
    return kept(path, steps, lambda: (_score(config, folder, gate, classifier), 0.0))[0]


def _score(config: ConfigDict, folder: Path, gate: str, classifier: str) -> Frames:
    _, variables = load_for_inference(folder / SALIENCY)
    config = config.copy_and_resolve_references().unlock()
    config.model.gate = gate
    if classifier:
        with config.model.unlocked(), config.model.ignore_type():
            config.model.update(CLASSIFIERS[classifier][2]["model"])
        _, own = load_for_inference(folder / classifier)
        variables = {name: {**tree, "classifier": own[name]} for name, tree in variables.items()}
    parts, store = Inference.from_config(config), scoring_store(config)
    scorer = SaliencyEvaluator(store, smooth_sigma=config.smooth_sigma, examples=0)
    batches = pipeline.eval_batches(store, parts.spec, batch_size=config.eval_batch_size, stride=config.eval_stride)
    frames, _ = scorer.score_frames(make_predict_fn(parts.model, variables), batches)
    return frames


def _steps(run_folder: Path) -> list[int]:
    """Returns the last saved step of a run, by which stored scores are recognised."""
    return saved_steps(run_folder)[-1:]


def joined(seeds: Sequence[Frames]) -> Frames:
    """Joins the frames of seeds, which become parts; where there is a classifier, with its `accuracy` as a score."""
    number = np.concatenate([np.full(len(frames.part), i) for i, frames in enumerate(seeds)])
    columns = {
        name: np.concatenate([getattr(frames, name) for frames in seeds]) for name in ("video", "frame", "label")
    }
    scores = {metric: np.concatenate([frames.scores[metric] for frames in seeds]) for metric in seeds[0].scores}
    margin = None if seeds[0].margin is None else np.concatenate([frames.margin for frames in seeds])
    if margin is not None:
        right = (margin > 0) == (columns["label"] == 1)
        scores["accuracy"] = np.where(columns["label"] < 0, np.nan, right.astype(float))
    gate = np.concatenate([frames.gate for frames in seeds])
    return Frames(part=number, scores=scores, gate=gate, margin=margin, **columns)


def summary(config: ConfigDict, by_seed: Sequence[Mapping[str, Frames]]) -> dict[str, Any]:
    """Computes the record that `table5.json` holds.

    Args:
        config: of any seed.
        by_seed: what `score` returns, for each.
    """
    store = scoring_store(config)
    ids, seeds = [video.id for video in store.videos], [str(i) for i in range(len(by_seed))]
    frames = {name: joined([scored[name] for scored in by_seed]) for name in by_seed[0]}
    rows = {}
    for name, own in frames.items():
        found = summarise(own, ids, NATIVE, splits=seeds, by_split=True)
        rows[name] = {key: found[key] for key in ("scores", "intervals", "avc")}
        if own.margin is not None:
            each = [classifier_scores(s[name].label, s[name].margin, s[name].gate) for s in by_seed]
            keys = (*NUMBERS, "majority_baseline")
            rows[name]["classifier"] = {key: spread([one[key] for one in each]) for key in keys}
            rows[name]["by_segment"] = accuracy_by_segment(config, ids, own)
            logits = np.stack([np.zeros_like(own.margin), own.margin], axis=-1)
            rows[name]["reliability"] = [bin._asdict() for bin in calibration.reliability(logits, own.label)]
    pairs = [
        {"a": a, "b": b, **paired_differences(frames[a], frames[b], "video", by_split=True)["groups"]["all"]}
        for a, b in itertools.combinations(CLASSIFIERS, 2)
    ]
    return {"seeds": len(by_seed), "rows": rows, "pairs": pairs, "versions": provenance()}


def report(record: Mapping[str, Any]) -> str:
    """Formats the record as Markdown."""
    rows, titles = record["rows"], {name: title for name, (title, _, _) in CLASSIFIERS.items()}
    known = {name: _survey(name) for name in CLASSIFIERS}
    head = f"{record['seeds']} seeds. Classifiers: mean ± sample standard deviation over seeds.\n"
    alone = {"classifier": list(titles.values())}
    for key, title in NUMBERS.items():
        alone[title] = [_pm(rows[name]["classifier"][key]) for name in CLASSIFIERS]
    baseline = rows["avid"]["classifier"]["majority_baseline"][0]
    alone["survey's accuracy"] = [f"{known[name]['accuracy']:.4f}" for name in CLASSIFIERS]
    gated = {"gate": [*titles.values(), *REFERENCES.values()]}
    for metric in TABLE_METRICS:
        cells = [rows[name]["scores"]["all"][metric] for name in (*CLASSIFIERS, *REFERENCES)]
        gated[markdown.arrow(metric)] = [markdown.number(cell) for cell in cells]
    for metric in TABLE_METRICS:
        values = [f"{known[name][metric]:.3f}" for name in CLASSIFIERS]
        gated[f"survey's {metric}"] = [*values, *[""] * len(REFERENCES)]
    paired = {"difference": [f"{titles[pair['a']]} - {titles[pair['b']]}" for pair in record["pairs"]]}
    for metric in ("accuracy", *TABLE_METRICS):
        entries = [pair[metric] for pair in record["pairs"]]
        paired[metric] = [
            markdown.bracketed(entry["difference"], entry["interval"], "+") + (" \\*" if entry["better"] else "")
            for entry in entries
        ]
    kinds = {"classifier": list(titles.values())}
    for kind in rows["avid"]["by_segment"]:
        kinds[kind] = [markdown.percent(rows[name]["by_segment"][kind]) for name in CLASSIFIERS]
    parts = [
        f"{head}\nMajority baseline: {baseline:.3f}.\n",
        markdown.table(alone),
        "The saliency network under each gate; the survey's scores are the means of its three datasets.\n",
        markdown.table(gated),
        "Paired differences, 95 % intervals over videos; an asterisk marks those that are significant (sign flips over "
        "videos, Holm's correction over the metrics).\n",
        markdown.table(paired),
        *(
            ["Accuracy by what is heard, and by the distance from a change of it.\n", markdown.table(kinds)]
            if kinds
            else ()
        ),
    ]
    return "\n".join(parts)


def _survey(name: str) -> dict[str, float]:
    """Returns the survey's accuracy and mean scores of a classifier."""
    lines = [line for line in published.lines("table5") if line["classifier"] == CLASSIFIERS[name][1]]
    means = {m: float(np.mean([float(x["value"]) for x in lines if x["metric"] == m])) for m in TABLE_METRICS}
    return means | {"accuracy": next(float(x["value"]) for x in lines if x["metric"] == "accuracy") / 100}


def _pm(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} ± {values[1]:.3f}"


def repeat(demo: ConfigDict, workdir: Path, seeds: Sequence[int]) -> str:
    """Trains and scores every seed, writes the results into `workdir` and returns them as text."""
    by_seed = []
    for seed in seeds:
        config = training_config(demo, seed)
        run(config, workdir / f"seed_{seed}", "train")
        by_seed.append(score(config, workdir / f"seed_{seed}"))
    record = summary(config, by_seed)
    text = report(record)
    atomic_files.write_json(workdir / "table5.json", record)
    atomic_files.write_text(workdir / "table5.md", text)
    bins = {
        title: [calibration.Bin(**one) for one in record["rows"][name]["reliability"]]
        for name, (title, _, _) in CLASSIFIERS.items()
    }
    image = Image.fromarray(figures.reliability(bins))
    atomic_files.write(workdir / "reliability.png", lambda file: image.save(file, "PNG"))
    return text


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses a command line: `config`, `workdir` and `seeds`.

    Raises:
        InputError: an option is unknown or has a wrong value.
    """
    parser = command_line.parser("python -m benchmarks.table5", __doc__, "configs/avinet.py:demo", "runs/table5")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="training seeds (default: 0,1,2)")
    return command_line.parse(parser, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return command_line.run(lambda: _table5_command_line(parse(argv)))


def _table5_command_line(args: argparse.Namespace) -> None:
    with logs.shown(args.verbose):
        keep_programs(args.config.compilation_cache)
        print(repeat(args.config, args.workdir, args.seeds))


if __name__ == "__main__":
    sys.exit(main())

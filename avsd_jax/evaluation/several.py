"""Evaluation on several datasets in one call: each as if it were alone, and the mean over them.

The output folder has a folder per dataset with what `evaluate` writes for one, which `compare` reads; beside them

    scores.json    the mean over the datasets with intervals, what each was scored on, and which were skipped
    scores.md      the same as tables, and for the six audio-visual datasets the means of the survey's published rows
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avsd_jax.common.atomic_files import make_folder, write_json, write_text
from avsd_jax.data import catalog, dataset_names
from avsd_jax.evaluation import earlier_scores, evaluation, published, score_files, several_inputs
from avsd_jax.evaluation.evaluation import Settings
from avsd_jax.scoring.markdown import AVERAGE_TITLES, GROUP_TITLES, arrow, bracketed, table
from avsd_jax.scoring.over_datasets import over_datasets
from avsd_jax.scoring.protocols import TABLE_METRICS
from avsd_jax.scoring.summary import ENTRIES

# Of a dataset's record, what the record of several repeats; everything is in the dataset's own scores.json.
_REPEATED = ("dataset", "join", "counts", "coverage", "missing", "nan", "scores", "frame_scores", "intervals")


def evaluate_several(
    predictions: str | Path | Sequence[str | Path],
    datasets: str | Sequence[str],
    splits: Sequence[str] | None = None,
    *,
    data_dir: str | Path = catalog.DEFAULT_DATA_DIR,
    out: str | Path,
    skip_missing: bool = False,
    progress: bool = True,
    **choices: Any,
) -> dict[str, Any]:
    """Scores folders of predictions on several datasets and writes the results.

    Args:
        predictions: a folder for all splits, or a sequence of one per split; `several_inputs` defines where each
            dataset's predictions are in it.
        datasets: as `dataset_names.members` takes them, such as "six" or "diem,avad".
        splits: names of splits, which all datasets must have; None: those that are tested, see
            `several_inputs.usual_splits`.
        data_dir: folder of built datasets.
        out: folder to write to; see the module.
        skip_missing: skip datasets that are not built or have no predictions; the record says which.
        progress: show a bar on stderr.
        choices: protocol, metrics, ..., as `evaluation.evaluate` takes them.

    Returns:
        The content of `scores.json`: `dataset` (`name`, all `splits`), `predictions` (folders), `protocol`,
        `precision`, `datasets` (by name: `folder` and entries of its own record), `skipped` (name -> reason), `mean`
        (see `over_datasets`), `versions` and `seconds`.

    Raises:
        InputError: as `evaluate`, for any of the datasets, before anything is scored; one message names all that are
            not built or have no predictions.
    """
    started = time.monotonic()
    out, roots = Path(out), [predictions] if isinstance(predictions, str | Path) else list(predictions)
    titles, settings = several_inputs.name_folders(datasets), Settings.of(**choices)
    splits = several_inputs.usual_splits(titles, data_dir) if splits is None else list(splits)
    name = _joined_name(datasets)
    earlier_scores.check_same(out, name, splits, roots, settings.protocol.name)
    earlier_scores.set_aside(out)
    opened, skipped = several_inputs.open_several(
        roots, titles, splits, data_dir, settings.reading, skip_missing=skip_missing
    )
    for title, parts in opened.items():
        folders = [part.found.root for part in parts]
        earlier_scores.check_same(out / title, titles[title], splits, folders, settings.protocol.name)
    make_folder(out)
    for title in titles:
        earlier_scores.set_aside(out / title)
    records = {
        title: evaluation.score(parts, settings, out / title, time.monotonic(), progress)
        for title, parts in opened.items()
    }
    frames = [score_files.load(out / title).frames for title in records]
    by_split = [settings.protocol.joins_by_mean(titles[title]) for title in records]
    record = {
        "dataset": {"name": name, "splits": splits},
        "predictions": [{"folder": str(root)} for root in roots],
        "protocol": settings.protocol.as_record(),
        "precision": settings.precision,
        "datasets": {
            title: {"folder": title, **{key: own[key] for key in _REPEATED if key in own}}
            for title, own in records.items()
        },
        "skipped": skipped,
        "mean": over_datasets(frames, by_split, settings.protocol),
        "versions": evaluation.versions(),
        "seconds": round(time.monotonic() - started, 3),
    }
    write_text(out / "scores.md", markdown(record))
    write_json(out / "scores.json", record)
    earlier_scores.forget(out)
    return record


def _joined_name(datasets: str | Sequence[str]) -> str:
    """Returns the name of several datasets together: "six", or their names joined by commas."""
    if isinstance(datasets, str) and "," not in datasets:
        return datasets.strip()
    return ",".join(dataset_names.members(datasets))


def markdown(record: Mapping[str, Any]) -> str:
    """Formats the record of several datasets as Markdown: the mean, the datasets side by side, then each of them."""
    datasets, mean, protocol = record["datasets"], record["mean"], record["protocol"]
    sections = [
        f"# {record['dataset']['name']}, {', '.join(record['dataset']['splits'])}: protocol `{protocol['name']}`\n",
        f"Scored: {', '.join(datasets)}."
        + "".join(f" **Skipped: {title}, {why}.**" for title, why in record["skipped"].items())
        + "\n",
    ]
    for average in protocol["averages"]:
        key = ENTRIES[average]
        sections.append(f"## Mean over {len(datasets)} datasets, {AVERAGE_TITLES[average]}\n\n" + _means(record, key))
        sections.append(f"## All frames, {AVERAGE_TITLES[average]}\n\n" + _side_by_side(record, key))
    interval = mean["intervals"]
    videos = [own["counts"]["videos"]["all"] for own in datasets.values()]
    sections.append(
        f"In brackets: {100 * interval['level']:.0f} % intervals, {interval['method']} ({interval['resamples']} "
        f"draws). Each dataset counts once. Arrows point to better values.{score_files.few([min(videos)])}\n"
    )
    if own := _published(record):
        sections.append(own)
    for own in datasets.values():
        name = f"{own['dataset']['name']} {', '.join(own['dataset']['splits'])}"
        sections.append(f"## {name}\n\nEverything: [{own['folder']}/scores.md]({own['folder']}/scores.md)\n")
        for average in protocol["averages"]:
            sections.append(
                f"{AVERAGE_TITLES[average].capitalize()}:\n\n"
                + score_files.scores_table({**own, "protocol": protocol}, ENTRIES[average])
            )
    sections.append(_how(record))
    return "\n".join(sections)


def _means(record: Mapping[str, Any], key: str) -> str:
    mean, metrics = record["mean"], record["protocol"]["metrics"]
    groups = [group for group in GROUP_TITLES if any(mean["datasets"][group].values())]
    columns = {"": [GROUP_TITLES[g] for g in groups]}
    columns["datasets"] = [str(max(mean["datasets"][g].values())) for g in groups]
    for m in metrics:
        columns[arrow(m)] = [bracketed(mean[key][g][m], mean["intervals"][key][g][m]) for g in groups]
    return table(columns)


def _side_by_side(record: Mapping[str, Any], key: str) -> str:
    datasets, mean = record["datasets"], record["mean"]
    counts = [own["counts"] for own in datasets.values()]
    columns = {"": [*datasets, "**mean**"]}
    for what in ("videos", "frames"):
        columns[what] = [*(str(count[what]["all"]) for count in counts), str(sum(c[what]["all"] for c in counts))]
    for m in record["protocol"]["metrics"]:
        cells = [bracketed(own[key]["all"][m], own["intervals"][key]["all"][m]) for own in datasets.values()]
        columns[arrow(m)] = [*cells, bracketed(mean[key]["all"][m], mean["intervals"][key]["all"][m])]
    return table(columns)


def _published(record: Mapping[str, Any]) -> str:
    """Formats the means of Table IV over the scored datasets; "" if it does not have all of them."""
    names = [published.canonical(own["dataset"]["name"]) for own in record["datasets"].values()]
    if None in names:
        return ""
    text = f"## Beside the survey's Table IV, all frames, means over {', '.join(names)}\n\n"
    if record["protocol"]["name"] != published.PROTOCOL:
        text += score_files.not_comparable(record)
    rows, left_out = published.table4_means(names)
    ours = {m: record["mean"]["scores"]["all"].get(m) for m in TABLE_METRICS} if "scores" in record["mean"] else {}
    text += score_files.beside(ours, rows)
    text += "\nMeans of the printed values; the survey prints no such means."
    if left_out:
        text += f" Left out, because a printed row cannot be right: {', '.join(left_out)}."
    return text + " `*`: gated by a classifier of audio-visual consistency; `#`: by the labels.\n"


def _how(record: Mapping[str, Any]) -> str:
    lines = ["## How it was made\n"]
    lines += [f"- Predictions `{part['folder']}`." for part in record["predictions"]]
    for title, own in record["datasets"].items():
        coverage, missing = own["coverage"], own["missing"]["videos"]
        lines.append(
            f"- {title}: {own['join']}; {coverage['scored']} frames scored, {coverage['missing']} without prediction, "
            f"{coverage['unscored']} not scored by the protocol"
            + (f"; **{len(missing)} videos without any prediction**." if missing else ".")
        )
    lines.append(f"- {record['precision']}; {', '.join(f'{name} {v}' for name, v in record['versions'].items())}.")
    return "\n".join(lines) + "\n"

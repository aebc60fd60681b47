"""Tables of many models on the same frames, with a test for every pair, in Markdown, CSV and LaTeX."""

import csv
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avsd_jax.common.atomic_files import write_json, write_text
from avsd_jax.evaluation import same_frames
from avsd_jax.evaluation.score_files import Evaluation, few
from avsd_jax.metrics import LOWER_IS_BETTER
from avsd_jax.scoring import significance
from avsd_jax.scoring.groups import GROUPS, members
from avsd_jax.scoring.markdown import AVERAGE_TITLES, GROUP_TITLES, arrow, best, number, p_value, table
from avsd_jax.scoring.paired import paired_differences
from avsd_jax.scoring.summary import Table

_PAIR = ("difference", "p", "p_holm", "better", "frames")


def compare_many(
    evaluations: Sequence[Evaluation], names: Sequence[str], *, common_frames: bool = False
) -> dict[str, Any]:
    """Compares several evaluations on the same frames, with the paired differences of every two of them.

    Args:
        evaluations: at least two, as `score_files.load` reads them.
        names: of the models, all different.
        common_frames: restrict all to the frames that all scored; otherwise they must have scored the same.

    Returns:
        `models` (name -> folder), `dataset`, `protocol`, `frames`, `left_out` (by name), `test`, and for each average
        that the protocol reports ("video", "frame") `groups[group]`: `videos`, `scores[metric][name]`, `best[metric]`
        (the names, all if several are equal), and `pairs`, each with `a`, `b` and `metrics[metric]`: `difference`
        a - b, `interval`, `p`, `p_holm` corrected for all pairs and metrics of the group, `better` ("a", "b", None),
        `frames`, `videos`.

    Raises:
        InputError: protocol, precision, dataset, ground truth or frames differ; the message names the difference.
    """
    frames, common, beside = same_frames.align(evaluations, common_frames)
    by_split = evaluations[0].record["join"].startswith("mean")
    record: dict[str, Any] = {
        "models": {name: str(e.folder) for name, e in zip(names, evaluations, strict=True)},
        "dataset": evaluations[0].record["dataset"],
        "protocol": evaluations[0].record["protocol"],
        "frames": common,
        "left_out": dict(zip(names, beside, strict=True)),
    }
    for average in record["protocol"]["averages"]:
        pairs = {
            (a, b): paired_differences(frames[i], frames[j], average, by_split)
            for (i, a), (j, b) in itertools.combinations(enumerate(names), 2)
        }
        record["test"] = next(iter(pairs.values()))["test"] | {
            "correction": "Holm, over the pairs and metrics of a group"
        }
        groups: dict[str, Any] = {}
        for group in GROUPS:
            rows = members(frames[0].label, group)
            if not rows.any():
                continue
            means = {
                m: {
                    name: float(Table.of(f, f.scores[m], rows).mean(average, by_split)[0])
                    for name, f in zip(names, frames, strict=True)
                }
                for m in record["protocol"]["metrics"]
            }
            means = {m: {n: None if v != v else v for n, v in by.items()} for m, by in means.items()}
            groups[group] = {
                "videos": len(set(frames[0].video[rows].tolist())),
                "scores": means,
                "best": {m: _best(by, m) for m, by in means.items()},
                "pairs": _tested({pair: found["groups"][group] for pair, found in pairs.items()}),
            }
        record[average] = {"groups": groups}
    return record


def _best(scores: Mapping[str, float | None], metric: str) -> list[str]:
    highest = best(list(scores.values()), metric)
    return [name for name, value in scores.items() if value is not None and value == highest]


def _tested(pairs: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the pairs of a group, with p-values corrected for all of them."""
    raw = {(pair, m): entry["p"] for pair, by in pairs.items() for m, entry in by.items() if entry["p"] is not None}
    together = dict(zip(raw, significance.holm({str(i): p for i, p in enumerate(raw.values())}).values(), strict=True))
    tested = []
    for pair, by in pairs.items():
        metrics = {}
        for m, entry in by.items():
            p = together.get((pair, m))
            told = p is not None and p <= significance.LEVEL
            higher = "b" if (entry["difference"] or 0) < 0 else "a"
            better = {"a": "b", "b": "a"}[higher] if m in LOWER_IS_BETTER else higher
            metrics[m] = entry | {"p_holm": p, "better": better if told else None}
        tested.append({"a": pair[0], "b": pair[1], "metrics": metrics})
    return tested


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes `compare.md`, `.csv`, `.tex`, `.json` and `compare_pairs.csv`, each atomically.

    Raises:
        InputError: the folder cannot be written to.
    """
    write_text(folder / "compare.md", markdown(record))
    write_text(folder / "compare.csv", _csv(_score_rows(record)))
    write_text(folder / "compare_pairs.csv", _csv(_pair_rows(record)))
    write_text(folder / "compare.tex", latex(record))
    write_json(folder / "compare.json", record)


def markdown(record: Mapping[str, Any]) -> str:
    """Formats the tables as Markdown, best in bold, each with its pairs below."""
    sections = [
        f"# {len(record['models'])} models: {_title(record)}\n",
        "\n".join(f"- {name}: `{folder}`" for name, folder in record["models"].items()) + "\n",
        f"{record['frames']} frames that all scored{_left_out(record)}. Bold: the best of a column.\n",
    ]
    for average, group, found in _tables(record):
        sections.append(f"## {GROUP_TITLES[group]}, {AVERAGE_TITLES[average]} ({found['videos']} videos)\n")
        columns = {"": list(record["models"])} | {arrow(m): _cells(found, m, "**{}**") for m in found["scores"]}
        sections.append(table(columns))
        sections.append("Differences of pairs, with p-values:\n")
        pairs = {"": [f"{pair['a']} - {pair['b']}" for pair in found["pairs"]]}
        pairs |= {arrow(m): [_difference(pair["metrics"][m]) for pair in found["pairs"]] for m in found["scores"]}
        sections.append(table(pairs))
    test = record["test"]
    smallest = min((found["videos"] for _, _, found in _tables(record)), default=0)
    sections.append(
        f"p: {test['method']}, corrected ({test['correction']}); bold where at most {test['level']}. Arrows point to "
        f"better values.{few([smallest])}\n"
    )
    return "\n".join(sections)


def latex(record: Mapping[str, Any]) -> str:
    """Formats the tables in LaTeX, for the package booktabs; best in bold."""
    parts = ["% needs \\usepackage{booktabs}"]
    for average, group, found in _tables(record):
        arrows = [arrow(m, r"$\downarrow$", r"$\uparrow$") for m in found["scores"]]
        cells = {m: _cells(found, m, r"\textbf{{{}}}") for m in found["scores"]}
        caption = f"{_title(record).replace('`', '')}, {GROUP_TITLES[group].lower()}, {AVERAGE_TITLES[average]}"
        parts += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(cells)}}}",
            r"\toprule",
            " & ".join(["Model", *arrows]) + r" \\",
            r"\midrule",
            *(
                " & ".join([escaped(name), *(column[i] for column in cells.values())]) + r" \\"
                for i, name in enumerate(record["models"])
            ),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Escapes the special characters of LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def _tables(record: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    for average in (average for average in AVERAGE_TITLES if average in record):
        for group, found in record[average]["groups"].items():
            yield average, group, found


def _title(record: Mapping[str, Any]) -> str:
    dataset = record["dataset"]
    return f"{dataset['name']} {', '.join(dataset['splits'])}, protocol `{record['protocol']['name']}`"


def _left_out(record: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{n} of {name}" for name, n in record["left_out"].items() if n)
    return f" ({counts} left out)" if counts else ""


def _cells(found: Mapping[str, Any], metric: str, bold: str) -> list[str]:
    bests = found["best"][metric]
    return [bold.format(number(v)) if name in bests else number(v) for name, v in found["scores"][metric].items()]


def _difference(entry: Mapping[str, Any]) -> str:
    text = f"{number(entry['difference'], '+')} ({p_value(entry['p_holm'])})"
    return f"**{text}**" if entry["better"] else text


def _score_rows(record: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for average, group, found in _tables(record):
        for name in record["models"]:
            scores = {m: by[name] for m, by in found["scores"].items()}
            yield {"average": average, "group": group, "model": name, "videos": found["videos"]} | scores


def _pair_rows(record: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for average, group, found in _tables(record):
        for pair in found["pairs"]:
            for metric, entry in pair["metrics"].items():
                low, high = entry["interval"] or (None, None)
                names = {"average": average, "group": group, "metric": metric, "a": pair["a"], "b": pair["b"]}
                told = {key: entry[key] for key in _PAIR} | {"better": entry["better"] and pair[entry["better"]]}
                yield names | told | {"low": low, "high": high, "videos": sum(entry["videos"].values())}


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

"""The report of Table IV as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from avsd_jax.evaluation import published
from avsd_jax.evaluation.score_files import few
from avsd_jax.scoring.markdown import GROUP_TITLES, arrow, bracketed, number, table
from avsd_jax.scoring.protocols import TABLE_METRICS


def report(record: Mapping[str, Any]) -> str:
    """Formats the record of `benchmarks.table4`: the mean over datasets, a table for each, and what each row needs."""
    rows, titles = record["rows"], list(record["datasets"])
    sections = ["# Table IV\n", _protocol(record)]
    if len(titles) > 1:
        heads = [one for one in rows if "mean" in one]
        if heads:
            sections.append(f"## Mean over {len(titles)} datasets, all frames\n\n" + _means(heads))
    for title in titles:
        sections.append(f"## {record['datasets'][title]}, all frames\n\n" + _of_dataset(record, title))
        for group in ("consistent", "inconsistent"):
            scored = [row for row in rows if _counts(row, title)["frames"].get(group)]
            if scored:
                head = f"### {GROUP_TITLES[group]}: {_frames(_counts(scored[0], title), group)}"
                cells = {"method": [row["method"] for row in scored]} | _scores(scored, title, group)
                sections.append(f"{head}\n\n{table(cells)}")
    if record["pairs"]:
        sections.append(_pairs(record["pairs"]))
    if notes := [f"- {row['method']}: {row['note']}." for row in rows if row["note"]]:
        sections.append("## Notes\n\n" + "\n".join(notes) + "\n")
    if lacking := [f"- {row['method']} needs {row['needs']}" for row in rows if row["needs"]]:
        sections.append("## Rows without scores\n\n" + "\n".join(lacking) + "\n")
    return "\n".join(sections)


def _protocol(record: Mapping[str, Any]) -> str:
    protocol, machine, versions = record["protocol"], record["machine"], record["versions"]
    stride, names = record["stride"], list(record["datasets"].values())
    scored = [row for row in record["rows"] if row["datasets"]][:1]  # every one on the same frames
    counted = {name: _counts(row, title) for title, name in record["datasets"].items() for row in scored}
    which = "every frame" if stride == 1 else f"one frame in {stride}"
    limit = f", at most {record['limit']} videos of each" if record["limit"] else ""
    lines = [
        f"Protocol `{protocol['name']}`: {which} of {', '.join(record['splits'])}{limit}. Scores are means over "
        "videos, in brackets their 95 % intervals, percentile bootstrap over videos.",
        f"`ms`: a frame in the compiled model alone, in batches of {record['batch']}, without reading, a gate's "
        f"classifier and scoring ({machine['device']}, {machine['cores']} cores).",
    ]
    lines += [f"{name}: {_frames(counts, 'all')}." for name, counts in counted.items()]
    if any(published.canonical(name) for name in names):
        lines.append("*Survey's* columns are the values printed in its Table IV, of all frames.")
        if protocol["name"] != published.PROTOCOL:
            lines.append(f"**Not directly comparable:** these are of protocol `{published.PROTOCOL}`.")
    else:
        lines.append("The survey's values are of its six datasets, and stand beside those only.")
    lines.append(f"avsd-jax {versions['avsd-jax']} ({versions['commit']}), jax {versions['jax']}.")
    return " ".join(lines) + "\n"


def _frames(counts: Mapping[str, Any], group: str) -> str:
    """Returns the numbers of frames and videos in words."""
    videos = counts["videos"][group]
    return f"{counts['frames'][group]} frames of {videos} video{'s' * (videos != 1)}"


def _counts(row: Mapping[str, Any], title: str) -> Mapping[str, Any]:
    return row["datasets"].get(title, {}).get("counts", {"frames": {}, "videos": {}})


def _of_dataset(record: Mapping[str, Any], title: str) -> str:
    rows = record["rows"]
    columns = {"method": [row["method"] for row in rows], "supervision": [row["kind"] for row in rows]}
    columns |= _scores(rows, title, "all")
    own = [row["datasets"].get(title) for row in rows]
    columns["ms"] = [f"{one['ms']:.1f} at {one['frame_size'][0]}x{one['frame_size'][1]}" if one else "-" for one in own]
    columns["scored"] = ["needs " + row["needs"].partition(":")[0] if row["needs"] else "yes" for row in rows]
    columns |= _survey([row["published"][title] for row in rows])
    videos = [_counts(row, title)["videos"]["all"] for row in rows if title in row["datasets"]][:1]
    warning = few(videos).strip() if videos else ""
    return table(columns) + (f"\n{warning}\n" if warning else "")


def _scores(rows: Sequence[Mapping[str, Any]], title: str, group: str) -> dict[str, list[str]]:
    """Returns columns of scores with intervals, "-" for a row without."""
    metrics = [m for row in rows for own in row["datasets"].values() for m in own["scores"]["all"]]
    columns = {}
    for metric in dict.fromkeys(metrics):
        cells = []
        for own in (row["datasets"].get(title) for row in rows):
            score = own and own["scores"][group][metric]
            cells.append(bracketed(score, own["intervals"]["scores"][group][metric]) if own else "-")
        columns[arrow(metric)] = cells
    return columns


def _means(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = {"method": [row["method"] for row in rows], "supervision": [row["kind"] for row in rows]}
    for metric in rows[0]["mean"]["scores"]["all"]:
        cells = [
            bracketed(row["mean"]["scores"]["all"][metric], row["mean"]["intervals"]["scores"]["all"][metric])
            for row in rows
        ]
        columns[arrow(metric)] = cells
    return table(columns | _survey([_mean_of(list(row["published"].values())) for row in rows]))


def _survey(rows: Sequence[Mapping[str, float]]) -> dict[str, list[str]]:
    """Returns columns of published scores; none if no row has any."""
    if not any(rows):
        return {}
    return {f"survey's {metric}": [number(row.get(metric)) for row in rows] for metric in TABLE_METRICS}


def _mean_of(published_scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the means of a row's published scores over datasets; {} if one of them has none."""
    if not all(published_scores):
        return {}
    return {m: sum(one[m] for one in published_scores) / len(published_scores) for m in published_scores[0]}


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for pair in pairs:
        columns: dict[str, list[str]] = {f"{pair['a']} - {pair['b']}, {pair['dataset']}": []}
        head = next(iter(columns))
        for group, metrics in pair["groups"].items():
            if not any(entry["frames"] for entry in metrics.values()):
                continue
            columns[head].append(GROUP_TITLES[group])
            for metric, entry in metrics.items():
                cell = bracketed(entry["difference"], entry["interval"], "+") + (" \\*" if entry["better"] else "")
                columns.setdefault(arrow(metric), []).append(cell)
        lines.append(table(columns))
    return (
        "## Paired differences\n\nOver the same frames, mean over videos; an asterisk marks those that are significant "
        "(sign flips over videos, Holm's correction over the metrics).\n\n" + "\n".join(lines)
    )

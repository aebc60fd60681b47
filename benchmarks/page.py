"""The page of a benchmark's records, in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from benchmarks.measure import Row, Spread

DEVICES = {"cpu": "CPU", "gpu": "GPU"}
FILL = "python -m benchmarks.run --device={0} --publish"


def table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Returns a table; columns after the first are aligned to the right."""
    head = [" | ".join(columns), "|".join(["---"] + ["---:"] * (len(columns) - 1))]
    return "\n".join([f"| {head[0]} |", f"|{head[1]}|", *(f"| {' | '.join(line)} |" for line in lines)])


def number(value: float | str) -> str:
    """Formats a number with three significant digits; a text stays as it is."""
    if isinstance(value, str):
        return value
    if value != value:
        return ""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.1e}"


def spread(value: Spread | None) -> str:
    """Formats a median and its range."""
    return "" if value is None else f"{number(value.median)} ({number(value.low)}–{number(value.high)})"


def group_table(rows: Sequence[Row]) -> str:
    """Returns the table of the rows of one group."""
    units = [row.unit for row in rows if row.unit]
    peers = list(dict.fromkeys(row.against for row in rows if row.against))
    titles = list(dict.fromkeys(title for row in rows for title in row.values))
    columns = [rows[0].group]
    columns += [f"ms a {units[0]}"] if units else []
    columns += [f"times as fast as {peers[0]}" if len(peers) == 1 else "times as fast"] if peers else []
    columns += titles
    return table(columns, (_line(row, len(columns), bool(units), len(peers), titles) for row in rows))


def _line(row: Row, columns: int, timed: bool, peers: int, titles: Sequence[str]) -> list[str]:
    if row.not_run:
        reason = f"not run: {row.not_run}"
        return [f"{row.name} ({reason})"] if columns == 1 else [row.name, reason, *[""] * (columns - 2)]
    cells = [row.name, *([spread(row.ms)] if timed else [])]
    if peers:
        cells.append(f"{spread(row.ratio)} as {row.against}" if peers > 1 and row.ratio else spread(row.ratio))
    return cells + [number(row.values[title]) if title in row.values else "" for title in titles]


def case_tables(rows: Sequence[Row]) -> str:
    """Returns the tables of all groups of a case."""
    return "\n\n".join(group_table(list(own)) for _, own in groupby(rows, lambda row: row.group))


def machine_line(machine: Mapping[str, Any]) -> str:
    """Returns a sentence on what computed a record."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']:g} GB"]
    if "accelerator" in machine:
        parts.insert(0, f"{machine['accelerator']} of {machine['accelerator_memory_gb']:g} GB")
    parts += [f"Python {machine['python']}, {versions}"]
    parts += [f"{name}={value}" for name, value in machine["switches"].items()]
    when = f"{machine['date']}, commit {machine['commit']}" if machine["commit"] else machine["date"]
    return "; ".join([*parts, when]) + "."


def render(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns the page of the records of `benchmarks.run`, one for each device at most."""
    by_device = {record["setting"]["device"]: record for record in records}
    lines = [
        "# Performance",
        "",
        "Measured and written by `python -m benchmarks.run --device=cpu|gpu --publish`; the records are in",
        "`benchmarks/results`. We and the peer take turns in one process. A time is the median of all rounds, in",
        "brackets the smallest and the largest; a ratio is that of the times of the same round, and so is its range.",
        "",
    ]
    for device, title in DEVICES.items():
        if device in by_device:
            quick = ", --quick" if by_device[device]["setting"]["quick"] else ""
            lines.append(f"- **{title}**{quick}: {machine_line(by_device[device]['machine'])}")
        else:
            lines.append(f"- **{title}**: not measured: no {title} at hand; `{FILL.format(device)}` fills it.")
    lines += ["", "## Summary", "", summary(by_device), ""]
    cases: dict[str, Any] = {}
    for record in by_device.values():
        for name, case in record["cases"].items():
            cases.setdefault(name, case)
    for name, case in cases.items():
        lines += [f"## {case['title']}", "", *([case["text"], ""] if case["text"] else [])]
        for device, title in DEVICES.items():
            own = by_device.get(device, {}).get("cases", {}).get(name)
            if own:
                lines += [f"### {case['title']}: {title}", "", case_tables([Row.from_json(r) for r in own["rows"]]), ""]
    return "\n".join(lines).rstrip() + "\n"


def summary(by_device: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the table of all rows with a headline: how many times as fast as their peers, on each device."""
    cells: dict[str, dict[str, str]] = {}
    for device, record in by_device.items():
        for case in record["cases"].values():
            for row in map(Row.from_json, case["rows"]):
                if row.headline:
                    compared = f"{number(row.ratio.median)} x {row.against}" if row.ratio else ""
                    time = f"{number(row.ms.median)} ms a {row.unit}" if row.ms else row.not_run
                    cells.setdefault(row.headline, {})[device] = f"{time}, {compared}" if compared else time
    lines = [[name, *(found.get(device, "not measured") for device in DEVICES)] for name, found in cells.items()]
    return table(["measured", *DEVICES.values()], lines)

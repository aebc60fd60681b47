"""Writes the page of plots of scaling from a record of `benchmarks.run`.

    python -m benchmarks.scaling_page FILE.json [--page=docs/scaling.md]

The plots are a PNG file beside the page.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from avsd_jax.common import cli
from avsd_jax.errors import InputError
from avsd_jax.scoring.figures import curves
from benchmarks import page, run
from benchmarks.measure import Row

PAGE = Path("docs/scaling.md")
ALONG = {"frames": "frames of a clip", "pixels": "pixels of a frame", "clips": "clips of a batch"}
_TITLE = 40
COLLECTIVES = {"moved / gradients": "bytes moved / bytes of gradients", "share of one device's": "work of a device"}


def plots(rows: Sequence[Row]) -> dict[str, Image.Image]:
    """Draws by title the plot of each sweep, beside a proportional growth, and those of data parallelism."""
    found = {}
    for title, own in groupby((row for row in rows if not row.not_run), lambda row: row.group):
        lines, along = list(own), title.rpartition(": ")[2]
        if along in ALONG:
            points = [(int(row.values[along]), row.ms.median) for row in lines]
            first, cost = points[0]
            # A time is that of one map: clips of a batch cost the same at best.
            growth = [(n, cost if along == "clips" else cost * n / first) for n, _ in points]
            series = {"measured": points, "constant" if along == "clips" else "proportional": growth}
            found[title] = Image.fromarray(curves(series, "ms a map", ALONG[along]))
        else:
            found |= {
                f"{title}: {name}": Image.fromarray(curves(_by_executor(lines, column), name, "devices"))
                for column, name in COLLECTIVES.items()
            }
    return found


def _by_executor(rows: Sequence[Row], column: str) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        series.setdefault(row.name.partition(",")[0], []).append((int(row.values["devices"]), row.values[column]))
    if column.startswith("share"):
        devices = [n for n, _ in next(iter(series.values()))]
        series["1 / devices"] = [(n, 1 / n) for n in devices]
    return series


def write(record: dict, target: Path) -> None:
    """Writes the page and its plots.

    Raises:
        InputError: the record does not have the case.
    """
    case = record["cases"].get("scaling")
    if case is None:
        raise InputError(
            "the record has no case 'scaling': run python -m benchmarks.run --cases=scaling --out=FILE.json"
        )
    rows = [Row.from_json(row) for row in case["rows"]]
    drawn = plots(rows)
    sheet(drawn).save(target.with_suffix(".png"), optimize=True)
    lines = ["# Scaling", "", case["text"], "", page.machine_line(record["machine"]), ""]
    lines += [f"![{', '.join(drawn)}]({target.stem}.png)", "", page.case_tables(rows)]
    target.write_text("\n".join(lines) + "\n")


def sheet(drawn: Mapping[str, Image.Image]) -> Image.Image:
    """Pastes plots under their titles, two beside each other."""
    width, height = next(iter(drawn.values())).size
    found = Image.new("RGB", (2 * width, -(-len(drawn) // 2) * (height + _TITLE)), "white")
    draw = ImageDraw.Draw(found)
    for number, (title, image) in enumerate(drawn.items()):
        x, y = number % 2 * width, number // 2 * (height + _TITLE)
        draw.text((x + width / 2, y + _TITLE / 2), title, "black", ImageFont.load_default(18), anchor="mm")
        found.paste(image, (x, y + _TITLE))
    return found.convert("P", palette=Image.Palette.ADAPTIVE, colors=32)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m benchmarks.scaling_page", __doc__)
    parser.add_argument("record", type=Path, help="JSON file that benchmarks.run wrote")
    parser.add_argument("--page", type=Path, default=PAGE, help=f"Markdown file to write (default: {PAGE})")
    return cli.run(lambda: _command(parser.parse_args(argv)))


def _command(args: argparse.Namespace) -> None:
    (record,) = run.load([args.record])
    write(record, args.page)


if __name__ == "__main__":
    sys.exit(main())

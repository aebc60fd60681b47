"""Scores of an earlier run in the folder that a new one writes to: never overwritten by others, never taken for new."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from avsd_jax.errors import InputError, storage_error

_FILES = ("scores.json", "scores.csv", "scores.md")
_PAGES = "pages"
PAGES_MARK = '<meta name="generator" content="avsd_jax.video_pages">'
"""What tells an index of pages from a file of the user's own."""
_ASIDE = "earlier"


def check_same(
    out: Path,
    dataset: str,
    splits: Sequence[str],
    predictions: Sequence[str | Path],
    protocol: str,
    ground_truth: str | Path | None = None,
) -> None:
    """Sees to it that a folder holds no scores, or those of an earlier run of the same evaluation.

    Raises:
        InputError: it holds scores of another dataset, other splits, other predictions or by another protocol.
    """
    found = out / _FILES[0]
    try:
        record = json.loads(found.read_text(encoding="utf-8"))
        there = {
            "dataset": record["dataset"]["name"],
            "splits": record["dataset"]["splits"],
            "predictions": list(dict.fromkeys(os.path.realpath(part["folder"]) for part in record["predictions"])),
            "protocol": record["protocol"]["name"],
            "ground truth": record["dataset"].get("options", {}).get("folder", "") if ground_truth else "",
        }
    except (OSError, ValueError, KeyError, TypeError):
        return  # nothing, or nothing that anybody could miss
    given = list(dict.fromkeys(os.path.realpath(folder) for folder in predictions))
    # Predictions may lie one folder deeper, in one named like the dataset.
    deeper = [os.path.dirname(folder) for folder in there["predictions"]]
    same = {
        "dataset": there["dataset"] == dataset,
        "splits": there["splits"] == list(splits),
        "predictions": given in (there["predictions"], deeper),
        "protocol": _base(there["protocol"]) == _base(protocol),
        # Two folders of one name are two datasets.
        "ground truth": not ground_truth or os.path.realpath(there["ground truth"]) == os.path.realpath(ground_truth),
    }
    for what, agrees in same.items():
        if not agrees:
            value = there[what] if isinstance(there[what], str) else ", ".join(there[what])
            raise InputError(
                f"{out} holds the scores of another evaluation ({what} {value}): give another --out, or remove it"
            )


def _base(protocol: str) -> str:
    """A protocol's name without what was said about frames that have no score: the same evaluation, counted again."""
    return ", ".join(part for part in protocol.split(", ") if not part.startswith("undefined="))


def are_pages(folder: Path) -> bool:
    """Returns whether a folder holds pages that `video_pages` wrote."""
    index = folder / "index.html"
    return index.is_file() and PAGES_MARK in index.read_text(encoding="utf-8", errors="replace")


def set_aside(out: Path) -> None:
    """Moves the earlier scores to a folder of their own: if this run fails, they do not pass for its result."""
    present = [out / name for name in _FILES if (out / name).exists()]
    if present and are_pages(out / _PAGES):
        present.append(out / _PAGES)
    if not present:
        return
    try:
        (out / _ASIDE).mkdir(exist_ok=True)
        if out / _PAGES in present and (out / _ASIDE / _PAGES).exists():
            shutil.rmtree(out / _ASIDE / _PAGES)  # a folder replaces no other
        for path in present:
            os.replace(path, out / _ASIDE / path.name)
    except OSError as error:
        raise storage_error(error, out) or InputError(
            f"{out} cannot be written to ({error.strerror}): give another --out"
        ) from error


def forget(out: Path) -> None:
    """Removes what was set aside: the new scores are there."""
    shutil.rmtree(out / _ASIDE, ignore_errors=True)

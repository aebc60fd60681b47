"""Protection of the scores of an earlier run in the output folder: not overwritten by others, not mistaken for new."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from avsd_jax.errors import InputError, storage_error

_FILES = ("scores.json", "scores.csv", "scores.md")
_PAGES = "pages"
PAGES_MARK = '<meta name="generator" content="avsd_jax.video_pages">'
"""Distinguishes an index of pages from a file of the user."""
_ASIDE = "earlier"


def check_same(
    out: Path,
    dataset: str,
    splits: Sequence[str],
    predictions: Sequence[str | Path],
    protocol: str,
    ground_truth: str | Path | None = None,
) -> None:
    """Checks that a folder holds no scores, or those of an earlier run of the same evaluation.

    Raises:
        InputError: it holds scores of a different dataset, splits, predictions or protocol.
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
        return  # nothing, or nothing of value
    given = list(dict.fromkeys(os.path.realpath(folder) for folder in predictions))
    # Predictions may be one folder deeper, in one named like the dataset.
    deeper = [os.path.dirname(folder) for folder in there["predictions"]]
    same = {
        "dataset": there["dataset"] == dataset,
        "splits": there["splits"] == list(splits),
        "predictions": given in (there["predictions"], deeper),
        "protocol": _base(there["protocol"]) == _base(protocol),
        # Two folders of the same name are different datasets.
        "ground truth": not ground_truth or os.path.realpath(there["ground truth"]) == os.path.realpath(ground_truth),
    }
    for what, agrees in same.items():
        if not agrees:
            value = there[what] if isinstance(there[what], str) else ", ".join(there[what])
            raise InputError(
                f"{out} holds the scores of another evaluation ({what} {value}): give another --out, or remove it"
            )


def _base(protocol: str) -> str:
    """Returns a protocol's name without its rule for frames without a score, which does not change the evaluation."""
    return ", ".join(part for part in protocol.split(", ") if not part.startswith("undefined="))


def are_pages(folder: Path) -> bool:
    """Returns whether a folder holds pages that `video_pages` wrote."""
    index = folder / "index.html"
    return index.is_file() and PAGES_MARK in index.read_text(encoding="utf-8", errors="replace")


def set_aside(out: Path) -> None:
    """Moves the earlier scores to a separate folder, so that they are not taken for the result of a failed run."""
    present = [out / name for name in _FILES if (out / name).exists()]
    if present and are_pages(out / _PAGES):
        present.append(out / _PAGES)
    if not present:
        return
    try:
        (out / _ASIDE).mkdir(exist_ok=True)
        if out / _PAGES in present and (out / _ASIDE / _PAGES).exists():
            shutil.rmtree(out / _ASIDE / _PAGES)  # a folder cannot replace another
        for path in present:
            os.replace(path, out / _ASIDE / path.name)
    except OSError as error:
        raise storage_error(error, out) or InputError(
            f"{out} cannot be written to ({error.strerror}): give another --out"
        ) from error


def forget(out: Path) -> None:
    """Removes the scores that were set aside, once the new ones are written."""
    shutil.rmtree(out / _ASIDE, ignore_errors=True)

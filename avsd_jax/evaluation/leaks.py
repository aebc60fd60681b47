"""Published weights that were trained, or selected, on videos of which others are scored."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from avsd_jax.evaluation.prediction_folders import VideoMaps

# Model -> dataset -> what its published weights have seen of the test lists of STAViS's protocol. DAVE was trained and
# selected on the lists of its own collection of videos, AVE.
SEEN: Mapping[str, Mapping[str, str]] = {
    "dave": {
        "diem": "8 of the 17 test videos are in its training list and 6 in its validation list",
        "coutrot1": "17, 15 and 11 of the 20 test videos of splits 1, 2 and 3 are in its training list",
        "coutrot2": "3, 5 and 4 of the 5 test videos of splits 1, 2 and 3 are in its training list",
    }
}
_CLEAN = "AVAD, ETMD and SumMe are clean"

# Of `timeline.json`, in front of the rows: enough for all of its fields.
_HEAD_BYTES = 2**16


def sentence(model: str, source: str | None, dataset: str) -> str | None:
    """Returns the warning about scores of published weights on a dataset; None if there is nothing to warn of.

    Args:
        model: name of the model.
        source: the published file that its weights come from; None: from none.
        dataset: name of a dataset, in any case, with or without a configuration.
    """
    seen = SEEN.get(model, {}).get(dataset.lower().partition("/")[0])
    if not source or seen is None:
        return None
    return f"{model} was imported from {source}, and the published weights have seen {dataset}: {seen} ({_CLEAN})"


def of_maps(videos: Iterable[VideoMaps], dataset: str) -> list[str]:
    """Returns the warnings about maps that `avsd_jax.predict` wrote, once each, from the records beside them.

    Args:
        videos: the maps.
        dataset: whose videos they are of.
    """
    found = {}
    for maps in videos:
        first = next(iter((*maps.files.values(), *maps.archives)), None)
        header = {} if first is None else _header(first.parent.parent / "timeline.json")
        found[sentence(str(header.get("model")), header.get("imported_from"), dataset)] = None
    return [warning for warning in found if warning]


def _header(path: Path) -> Mapping[str, str]:
    """Returns the fields of a timeline in front of its rows; none if there is no such file."""
    try:
        with path.open(errors="replace") as file:
            head = file.read(_HEAD_BYTES)
        return json.loads(head.partition(',\n  "frames": [')[0] + "\n}")
    except (OSError, ValueError):
        return {}

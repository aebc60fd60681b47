"""What the record of a run says about its model, without the places and names of the machine that it was made on."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from avsd_jax.common import hub
from avsd_jax.common.wording import some
from avsd_jax.config.fields import FIELDS, REQUIRED
from avsd_jax.errors import InputError
from avsd_jax.runs import temperature
from avsd_jax.runs.checkpoint import STEPS_FOLDER, load_newest, load_step, saved_steps
from avsd_jax.runs.origin import imported_from
from avsd_jax.runs.places import without_folders

REPORT = "report.json"
# Fields of a record beside those of a configuration that are shared.
_OTHERS = ("source",)
# Of the record of a calibration.
_OF_CALIBRATION = ("temperature", "step", "dataset", "split", "every", "videos", "frames", "ece_before", "ece_after")
_PATH = re.compile(r"^(~|/|\\|[A-Za-z]:[\\/]|\.\.?[\\/]|file:)")


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of a model on a test split.

    Attributes:
        record: of the real audio, as `avsd_jax.scoring.evaluator` returns it; None of a step scored during training.
        means: metric -> mean over videos.
        versions: of what computed them.
    """

    record: Mapping[str, Any] | None
    means: Mapping[str, float | None]
    versions: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Record:
    """A model with what is known about it.

    Attributes:
        source: its folder or address, for messages.
        config: its configuration, without places.
        variables: without a temperature.
        step: of the run; 0 of a converted model.
        weak: whether it was trained on maps instead of eye-tracking data.
        begun: whether it started from other runs, which may be folders that are not named.
        imported: name of the published file that its weights began with; None: of none, or not recorded.
        scores: None if there are none of this step.
        no_scores: why not, as a clause.
        calibration: the record of its temperature, None without one of this step.
    """

    source: str
    config: ConfigDict
    variables: Mapping[str, Any]
    step: int
    weak: bool
    begun: bool
    imported: str | None
    scores: Scores | None
    no_scores: str
    calibration: Mapping[str, Any] | None

    @classmethod
    def of(cls, directory: str | Path, step: int | None = None) -> "Record":
        """Reads a run, a converted or a shared model, as `predict` does.

        Args:
            directory: of it, or its address on a hub.
            step: of several that are saved; by default the newest.

        Raises:
            InputError: there is no such model or step, or its record lacks fields or has a path where none belongs.
        """
        place = hub.pinned(directory)
        config, variables, step = load_newest(place) if step is None else load_step(place, step)
        lacking = sorted(REQUIRED - set(config)) if step else []  # a converted model has less of a record
        if lacking:
            raise InputError(f"{place}: its config.json lacks {some(lacking, 3, ', ')} of a training: restore it")
        folder = hub.folder(place)
        scores, no_scores = _scores(folder, config, step)
        cleaned = without_places(config)
        imported = imported_from(config)
        if imported:
            cleaned.source = Path(imported).name
        return cls(
            source=place,
            config=cleaned,
            variables=variables,
            step=step,
            weak=bool(config.get("target_maps")),
            begun=any([config.get("init"), *config.get("init_parts", {}).values()]),
            imported=cleaned.get("source"),
            scores=scores,
            no_scores=no_scores,
            calibration=_calibration(folder, step),
        )


def without_places(config: ConfigDict) -> ConfigDict:
    """Returns a record without folders of the machine, rows and unknown fields; addresses on a hub stay.

    Raises:
        InputError: another field has a path.
    """
    result = without_folders(ConfigDict({k: config[k] for k in config if k in FIELDS or k in _OTHERS}))
    with result.unlocked(), result.ignore_type():
        for field, value in {"rows": (), "row_changes": ConfigDict()}.items():
            if field in result:
                result[field] = value
        if result.get("source"):
            result.source = Path(result.source).name
    _check_no_path(json.loads(result.to_json()), hub.CONFIG)
    return result


def _check_no_path(record: Any, file: str) -> None:
    for field, text in _texts(record, ""):
        if _PATH.match(text):
            raise InputError(f"{field}={text!r} of the record is a path, which would be shared: correct {file}")


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yields the strings within a record, with their names."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(part, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, name)


def _calibration(folder: Path, step: int) -> dict[str, Any] | None:
    """Returns the record of the temperature of a step; None if there is none."""
    path = folder / temperature.FILE
    if not temperature.joined(folder, step, {"params": {}}).get("calibration"):  # none, or of another step
        return None
    record = json.loads(path.read_text())
    record = {name: record[name] for name in _OF_CALIBRATION if name in record}
    _check_no_path(record, temperature.FILE)
    return record


# ---------------------------------------------------------------------------------------------------------------------
# Scores
# ---------------------------------------------------------------------------------------------------------------------


def _scores(folder: Path, config: ConfigDict, step: int) -> tuple[Scores | None, str]:
    """Returns the scores of a step, or why there are none."""
    kept = folder / STEPS_FOLDER / str(step) / "metrics" / "metrics"
    if kept.is_file():  # the best step of a run
        return Scores(None, json.loads(kept.read_text()), {}), ""
    for place in (folder, folder.absolute().parent):
        found = _row(place / REPORT, folder.absolute().name, config)
        if found is None:
            continue
        record, row, effort = found
        steps = max(1, round(effort * record["config"].get("total_steps", 0)))
        newest = saved_steps(folder)[-1:] or [step]
        if step and (steps != step or newest != [step]):
            return None, f"the report is of step {steps}, and this is step {step}"
        real = row["conditions"]["real"]
        return Scores(real, real["scores"]["all"], record.get("versions", {})), ""
    return None, "the run has no report"


def _row(path: Path, name: str, config: ConfigDict) -> tuple[dict[str, Any], dict[str, Any], float] | None:
    """Returns a report, the row of a run in it, and the share of the steps that the row took; None if it has none.

    Raises:
        InputError: the report is damaged.
    """
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
        changes = record["config"].get("row_changes", {}).get(name, {})
        for row in record["rows"]:
            if row["label"] == config.get("run_name") and (not record["config"].get("rows") or "label" in changes):
                return record, row, float(changes.get("effort", 1))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): score the run again, or remove it") from error
    return None

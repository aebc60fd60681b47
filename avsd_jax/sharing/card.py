"""The model card of a shared model: what its record says, and where it says nothing, that."""

from collections.abc import Mapping
from typing import Any

from avsd_jax.common import hub
from avsd_jax.common.wording import some
from avsd_jax.config.base import completed
from avsd_jax.data import dataset_names
from avsd_jax.metrics import METRICS
from avsd_jax.runs.components import model_from_config
from avsd_jax.runs.weights_file import Kept
from avsd_jax.scoring.groups import GROUPS
from avsd_jax.scoring.markdown import GROUP_TITLES, arrow, bracketed, number, percent, table
from avsd_jax.sharing import parity
from avsd_jax.sharing.front_matter import front_matter
from avsd_jax.sharing.record import Record

_NOT_RECORDED = "not recorded"
_WHEN = ("before", "after")
_INSTALL = 'pip install ".[hub]"  # in the folder of a checkout of avsd_jax'


def card(record: Record, kept: Kept, address: str, licence: str, version: str) -> str:
    """Returns the README.md of a shared model.

    Args:
        record: of the model.
        kept: its weights.
        address: where it can be had: on a hub, or "FOLDER".
        licence: identifier of its licence; "" if it is not stated.
        version: of this library.
    """
    parts = [
        front_matter(_fields(record, licence)),
        f"# {_title(record)}\n",
        _summary(record, kept, version),
        _use(record, address),
        _data(record),
        _training(record),
        _scores(record),
        _calibration(record),
        _origin(record, licence),
    ]
    return "\n".join(part for part in parts if part)


def _fields(record: Record, licence: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"library_name": "avsd-jax"} | ({"license": licence} if licence else {})
    fields["tags"] = ["saliency", "eye-tracking", "audio-visual", "jax", "flax", record.config.model_name]
    names = _datasets(record)
    if record.step and names:
        fields["datasets"] = names
    if record.scores is not None:
        fields["metrics"] = [metric.lower() for metric in METRICS if metric in record.scores.means]
        fields["model-index"] = [{"name": _title(record), "results": [_result(record)]}]
    return fields


def _result(record: Record) -> dict[str, Any]:
    config, scores = record.config, record.scores
    metrics = [
        {"type": metric.lower(), "name": metric, "value": round(scores.means[metric], 6)}
        for metric in METRICS
        if scores.means.get(metric) is not None
    ]
    return {
        "task": {"type": "saliency-prediction", "name": "Saliency prediction"},
        "dataset": {"type": config.dataset, "name": config.dataset, "split": config.test_split},
        "metrics": metrics,
    }


def _title(record: Record) -> str:
    name, config = record.config.model_name, record.config
    if name == "avc":
        return f"avc: {config.model.classifier}"
    gate = config.get("model", {}).get("gate", "")
    return f"{name} (gate: {gate})" if gate else name


def _is_classifier(record: Record) -> bool:
    return record.config.model_name == "avc"


def _maps(record: Record) -> bool:
    """Returns whether the model predicts maps, as far as its record tells."""
    return not _is_classifier(record) and not model_from_config(record.config).num_tags


def _datasets(record: Record) -> list[str]:
    named = record.config.get("dataset", "")
    return list(dict.fromkeys(name.partition("/")[0] for name in dataset_names.members(named))) if named else []


# ---------------------------------------------------------------------------------------------------------------------
# Sections
# ---------------------------------------------------------------------------------------------------------------------


def _summary(record: Record, kept: Kept, version: str) -> str:
    count = sum(array.size for key, array in kept.arrays.items() if key.startswith("params/"))
    kind = "A classifier of audio-visual consistency" if _is_classifier(record) else "A model of visual attention"
    made = (
        f"step {record.step} of a training run" if record.step else "converted or computed, not trained by this library"
    )
    made = made if kept.arrays else "none: the model is computed"
    error = parity.error(record.config)
    parity_text = (
        f"{error}: largest difference from the output of the official code on the same random weights at the published "
        "size, relative to its largest value"
        if error
        else "not measured for this architecture"
    )
    rows = {
        "": ["architecture", "weights", "parameters", "written by", "parity of the architecture"],
        "value": [f"`{record.config.model_name}`", made, f"{count:,}", f"avsd_jax {version}", parity_text],
    }
    lacking = ""
    if kept.missing:
        lacking = f"\nTo start other runs from: it lacks {some(kept.missing, 5, ', ')} of its model.\n"
    return f"{kind} in JAX, by avsd_jax.\n\n{table(rows)}{lacking}"


def _use(record: Record, address: str) -> str:
    where = "" if hub.is_address(address) else f"`{address}` is the folder of this file. "
    if _is_classifier(record):
        shell = f"python -m avsd_jax.avc INPUT.mp4 --out=runs/consistency --checkpoint={address}"
    elif _maps(record):
        shell = f"python -m avsd_jax.predict INPUT.mp4 --out=runs/prediction --checkpoint={address}"
    else:
        shell = f"python -m avsd_jax.main --config=FILE --workdir=DIR --config.init_parts.PART={address}"
    python = f'from avsd_jax import load_model\n\nmodel, variables = load_model("{address}")\n'
    if _maps(record):
        python = (
            f'from avsd_jax import Predictor\n\npredictor = Predictor("{address}")\n'
            'result = predictor.run("INPUT.mp4", "runs/prediction")\nprint(result.files)\n'
        )
    pinned = "Add `@COMMIT` to the address to name this version. " if hub.is_address(address) else ""
    return (
        f"## Use\n\n{where}{pinned}The weights are safetensors: no code is executed.\n\n"
        f"```sh\n{_INSTALL}\n{shell}\n```\n\n```python\n{python}```\n"
    )


def _data(record: Record) -> str:
    config = record.config
    if not record.step:
        return f"## Data\n\nTraining data: {_NOT_RECORDED}.\n"
    lines = [
        f"- Datasets: {', '.join(dataset_names.members(config.dataset))}.",
        f"- Trained on the split `{config.train_split}`, test split `{config.test_split}`.",
        "- Targets: "
        + ("maps predicted by other models (weak supervision)." if record.weak else "the datasets' eye-tracking data."),
        f"- Clips: {model_from_config(config).clip_size} frames of {config.frame_size[0]}x{config.frame_size[1]} "
        f"pixels, frame step {config.frame_step}, sampler `{config.sampler}`, preprocessing `{config.preprocessing}`.",
    ]
    if config.calibration_share:
        lines.append(f"- Held out of training for calibration: {percent(config.calibration_share)} of the videos.")
    return "## Data\n\n" + "\n".join(lines) + "\n"


def _training(record: Record) -> str:
    if not record.step:
        return ""
    config = record.config
    weights = ", ".join(f"{name} {weight:g}" for name, weight in config.losses.items() if weight)
    average = f", average of the parameters with decay {config.ema_decay:g}" if config.ema_decay else ""
    return (
        "## Training\n\n"
        f"- {record.step} steps of {config.batch_size} clips, seed {config.seed}{average}.\n"
        f"- Optimizer {config.optimizer}, learning rate {config.learning_rate:g}, schedule {config.schedule}.\n"
        f"- Losses: {weights or 'none'}; rho {config.rho:g}.\n"
        "- `config.json` has every field.\n"
    )


def _scores(record: Record) -> str:
    scores, config = record.scores, record.config
    if scores is None:
        return f"## Scores\n\nScores: {_NOT_RECORDED} ({record.no_scores}).\n"
    found = scores.record
    if found is None:
        means = table({arrow(m): [number(scores.means[m])] for m in METRICS if m in scores.means})
        return (
            f"## Scores\n\nOf this step during training, which was chosen by {config.best_metric}: the mean over "
            f"{config.evaluate_videos} videos of `{config.test_split}`, one frame in {config.evaluate_stride}. "
            f"Intervals: {_NOT_RECORDED}.\n\n{means}"
        )
    text = [f"## Scores\n\n{_protocol(record, found)}\n", _score_table(found)]
    for name, own in found.get("datasets", {}).items():
        text.append(f"### {name}\n\n{_score_table(own)}")
    avc = found.get("avc") or {}
    if avc.get("accuracy") is not None:
        text.append(
            f"Audio-visual consistency: accuracy {percent(avc['accuracy'])}, balanced "
            f"{percent(avc.get('balanced_accuracy'))}, AUC {number(avc.get('auc'))}, expected calibration error "
            f"{number(avc.get('ece'))}.\n"
        )
    versions = ", ".join(f"{name} {version}" for name, version in scores.versions.items())
    text.append(f"Computed by: {versions or _NOT_RECORDED}.\n")
    return "\n".join(text)


def _protocol(record: Record, found: Mapping[str, Any]) -> str:
    protocol, counts, interval = found["protocol"], found["counts"], found.get("intervals") or {}
    blur = f", blurred with sigma {protocol['smooth_sigma']:g} px" if protocol["smooth_sigma"] else ""
    text = (
        f"{counts['frames']['all']} frames of {counts['videos']['all']} videos of `{record.config.test_split}` "
        f"({record.config.dataset}), one frame in {record.config.eval_stride}. Protocol "
        f"`{protocol['name']}`: {protocol['resize']}{blur}; s-AUC: {protocol['s_auc']}; mean {protocol['average']}."
    )
    if not interval:
        return f"{text} Intervals: {_NOT_RECORDED}."
    return (
        f"{text} In brackets: {100 * interval['level']:.0f} % intervals, {interval['method']} ({interval['resamples']} "
        f"draws, seed {interval['seed']})."
    )


def _score_table(found: Mapping[str, Any]) -> str:
    groups = [group for group in GROUPS if found["counts"]["frames"].get(group)]
    intervals = (found.get("intervals") or {}).get("scores", {})
    columns = {"": [f"{GROUP_TITLES[group]} ({found['counts']['frames'][group]})" for group in groups]}
    for metric in METRICS:
        own = [(found["scores"][g].get(metric), intervals.get(g, {}).get(metric)) for g in groups]
        columns[arrow(metric)] = [bracketed(*pair) for pair in own]
    return table(columns)


def _calibration(record: Record) -> str:
    found = record.calibration
    if found is None:
        return ""
    where = ", ".join(str(found[key]) for key in ("dataset", "split") if found.get(key)) or _NOT_RECORDED
    errors = [number(found.get(f"ece_{when}")) if f"ece_{when}" in found else _NOT_RECORDED for when in _WHEN]
    return (
        f"## Calibration\n\nThe classifier's logits are divided by the temperature {found['temperature']:.4g}, fitted "
        f"on {found.get('frames', _NOT_RECORDED)} frames ({where}); expected calibration error there "
        f"{errors[0]} before, {errors[1]} after. `calibration.json` holds it, and `avc` and `predict` use it.\n"
    )


def _origin(record: Record, licence: str) -> str:
    config = completed(record.config)
    begun = [place for place in (config.get("init"), *config.get("init_parts", {}).values()) if place]
    commits = dict(tuple(pair) for pair in config.revisions)
    shown = ", ".join(f"`{place}` at {commits.get(place, 'a commit that is not recorded')}" for place in begun)
    lines = [f"- Licence of these weights: {f'`{licence}`' if licence else 'not stated'}."]
    if record.imported:
        lines.append(
            f"- The weights began with the published file `{record.imported}`, whose owner's licence applies, too."
        )
    if shown:
        lines.append(f"- Started from {shown}.")
    elif record.begun:
        lines.append("- Started from other runs of its owner.")
    elif record.step:
        lines.append(f"- The weights that it began with were drawn from the seed {config.seed}.")
    elif not record.imported:
        lines.append(f"- Where the weights come from: {_NOT_RECORDED}.")
    return "## Origin and licence\n\n" + "\n".join(lines) + "\n"

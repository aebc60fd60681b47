"""The rows of a comparison: one configuration each, derived from the configuration file.

`config.rows` names them in training order and `config.row_changes` says what each changes:

  label    how tables name it; a row without a label is a stage that others start from and is not scored
  init     row whose variables it starts from
  init_parts  rows whose variables start single submodules of it
  weights  row whose variables it is scored with; it trains nothing itself (the label oracle)
  effort   factor on `total_steps`
  others   fields of the configuration; `model` is merged option by option
"""

from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from avsd_jax import config_checks
from avsd_jax.by_name import load_module
from avsd_jax.errors import InputError

_OWN_FIELDS = ("label", "init", "init_parts", "weights", "effort")


@dataclass(frozen=True)
class Row:
    """One line of the comparison.

    Attributes:
        name: its folder's name.
        label: its name in tables; empty where it is not scored.
        config: its whole configuration.
        folder: where it is trained.
        weights: folder whose variables it is scored with; `folder` itself where it trains.
    """

    name: str
    label: str
    config: ConfigDict
    folder: Path
    weights: Path

    @property
    def trains(self) -> bool:
        """Whether the row has a training of its own."""
        return self.folder == self.weights


def plan(config: ConfigDict, workdir: str | Path) -> list[Row]:
    """The rows of a configuration in training order; a configuration without rows is one row in `workdir`.

    Raises:
        InputError: a row says nothing of itself, or refers to one that does not come before it; or its configuration
            cannot be run, see `config_checks.check`.
    """
    workdir = Path(workdir)
    if not config.rows:
        config_checks.check(config)
        return [Row(config.run_name, config.run_name, config, workdir, workdir)]
    rows: list[Row] = []
    for name in config.rows:
        if name not in config.row_changes:
            raise InputError(f"row {name!r} is not in row_changes: choose among {', '.join(config.row_changes)}")
        changes = config.row_changes[name]
        for source in _sources(changes):
            known = [row.name for row in rows]
            if source not in known:
                raise InputError(f"row {name!r} needs {source!r}, which is no row before it ({', '.join(known)})")
        weights = changes.get("weights", "") or name
        rows.append(
            Row(
                name,
                changes.label,
                _row_config(config, name, changes, workdir),
                workdir / name,
                workdir / weights,
            )
        )
        config_checks.check(rows[-1].config)
    return rows


def _sources(changes: ConfigDict) -> list[str]:
    """The rows that a row takes variables from."""
    parts = changes.get("init_parts", ConfigDict()).values()
    return [source for source in (changes.get("init", ""), changes.get("weights", ""), *parts) if source]


def _row_config(config: ConfigDict, name: str, changes: ConfigDict, workdir: Path) -> ConfigDict:
    result = config.copy_and_resolve_references()
    result.rows, result.row_changes = (), ConfigDict()
    result.run_name = changes.label or name
    if changes.get("init", ""):
        result.init = str(workdir / changes.init)
    for part, source in changes.get("init_parts", ConfigDict()).items():
        result.init_parts[part] = str(workdir / source) if source else ""
    # A comparison that is cut to a step or two still trains each of its rows.
    result.total_steps = max(min(1, config.total_steps), round(config.total_steps * changes.get("effort", 1)))
    with result.ignore_type():
        for field, value in changes.items():
            if field != "model" and field not in _OWN_FIELDS:
                result[field] = value
    if result.model_name != config.model_name:
        # Another model keeps the options that it has: a visual-only one has no fusion and no gate.
        fields = load_module("avsd_jax.models", result.model_name, "model").Model.__dataclass_fields__
        result.model = ConfigDict({k: v for k, v in result.model.items() if k in fields})
    with result.model.unlocked():  # it may have options that the configuration's model does not
        result.model.update(changes.get("model", {}))
    return result.lock()

"""The rows of the survey's Table IV as models of this library, and the folders of their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from avsd_jax import models
from avsd_jax.common.by_name import available
from avsd_jax.errors import InputError
from avsd_jax.evaluation import published
from avsd_jax.runs.checkpoint import CONFIG_FILE, read_config
from avsd_jax.torch_weights.layouts import NAMES

# Method of the survey -> module of avsd_jax/models.
MODELS = {
    "ITTI": "itti",
    "GBVS": "gbvs",
    "SBF": "sbf",
    "AWS-D": "awsd",
    "GradCAM++": "gradcam_pp",
    "WSS": "wss",
    "MWS": "mws",
    "STANet": "stanet",
    "DeepVS": "deepvs",
    "ACLNet": "aclnet",
    "STAViS": "stavis",
    "AViNet": "avinet",
}
GATED = ("stanet", "stavis", "avinet")
OURS = {"gbvs_av": "unsupervised, audio-visual"}
"""Models that the survey does not have -> how they are supervised."""

NOTES = {
    "itti": "the variant of the GBVS toolbox; the survey does not say which one it used",
    "awsd": "adaptive whitening with our own constants: the published code is closed, and no parity is claimed",
    "gradcam_pp": "the survey does not name its classifier",
}
# Mark of a method -> gate, ending of its folder and variant of its configuration.
_GATES = {"": ("always", "", "paper"), "*": ("classifier", "_star", "star"), "#": ("labels", "_oracle", "oracle")}


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        method: its name in the survey, with a mark of its gate; for ours, the model's.
        kind: how it is supervised.
        model: module of `avsd_jax/models`.
        gate: what opens the model's gate; "" without one.
        folders: names of the folder of its weights among the checkpoints; the first that exists is taken.
        variant: of the model's configuration, which trains it.
    """

    method: str
    kind: str
    model: str
    gate: str = ""
    folders: tuple[str, ...] = ()
    variant: str = ""

    @property
    def exists(self) -> bool:
        """Returns whether the library has the model."""
        return self.model in available("avsd_jax.models")

    @property
    def learned(self) -> bool:
        """Returns whether the model has weights."""
        return models.is_learned(self.model)

    def command(self, checkpoints: str | Path) -> str:
        """Returns the command that makes the folder of its weights."""
        folder = Path(checkpoints) / self.folders[0]
        if self.gate in ("", "always") and self.model in NAMES:
            return f"python -m avsd_jax.convert --model={self.model} --checkpoint=FILE --out={folder}"
        file, variant = (self.model, self.variant) if self.gate else ("baselines", self.model)
        return f"python -m avsd_jax.main --config=configs/{file}.py:{variant} --workdir={folder} --mode=train"


def table_rows() -> list[Row]:
    """Returns all rows of Table IV in its order, each kind of ours after the survey's of that supervision."""
    rows = []
    for known in published.table4(published.DATASETS[0]):
        name = known.method.rstrip("*#")
        model, mark = MODELS[name], known.method[len(name) :]
        gate, ending, variant = _GATES[mark]
        if model not in GATED:
            rows.append(Row(known.method, known.kind, model, folders=(model,)))
            continue
        # The weights of a model gated by a classifier serve the labels as well.
        folders = (model + ending, *((f"{model}_star",) if gate == "labels" else ()))
        rows.append(Row(known.method, known.kind, model, gate, folders, variant))
    last = max(i for i, row in enumerate(rows) if row.kind == "unsupervised") + 1
    return rows[:last] + [Row(name, kind, name, folders=(name,)) for name, kind in OURS.items()] + rows[last:]


def select(names: str) -> list[Row]:
    """Returns the rows of some models or methods, joined by commas; all for "".

    Raises:
        InputError: there is no such row.
    """
    rows, wanted = table_rows(), [name.strip().lower() for name in names.split(",") if name.strip()]
    known = {word: [row for row in rows if word in (row.model, row.method.lower())] for word in wanted}
    lacking = [word for word, found in known.items() if not found]
    if lacking:
        choices = ", ".join(dict.fromkeys(row.model for row in rows))
        raise InputError(
            f"Table IV has no row {lacking[0]!r}: choose among the models {choices}, or the survey's names"
        )
    return [row for row in rows if not wanted or any(row in found for found in known.values())]


def weights(row: Row, checkpoints: Path | None, splits: Sequence[str]) -> dict[str, Path]:
    """Returns the folder of a row's weights by split; {} if there is none.

    `checkpoints/<name>` is a model folder, or holds one per split, `checkpoints/<name>/<split>`.

    Raises:
        InputError: there is a folder of that name, which holds no model, not one for each split, or another model.
    """
    for name in row.folders if checkpoints is not None else ():
        folder = checkpoints / name
        if not folder.is_dir():
            continue
        found = {split: folder if (folder / CONFIG_FILE).is_file() else folder / split for split in splits}
        for place in dict.fromkeys(found.values()):
            _check(row, place, read_config(place), own=name == row.folders[0])
        return found
    return {}


def _check(row: Row, folder: Path, config: ConfigDict, own: bool) -> None:
    """Checks that a folder holds the model of a row; `own`: and its gate, which is replaced otherwise."""
    gate = config.model.get("gate", "") if row.gate else ""
    if config.model_name != row.model or (own and gate != row.gate):
        gated = f" with gate={gate}" if gate else ""
        wanted = row.model + (f" with gate={row.gate}" if row.gate else "")
        raise InputError(f"{folder} holds {config.model_name}{gated}, and {row.method} is {wanted}: move it away")

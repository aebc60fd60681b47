"""The valid values of the fields of a configuration; `avsd_jax.config.base` has their meaning and defaults."""

from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.common.parallel import EXECUTORS
from avsd_jax.common.value_kinds import FLAG, MAPPING, NAME, TEXT, Kind, choice, listed, mapping_of, real, whole
from avsd_jax.errors import InputError
from avsd_jax.metrics import METRICS
from avsd_jax.models.common.network import PRECISIONS

SCHEDULES = ("constant", "cosine", "steps")
SUPERVISIONS = ("labels", "weak")
COMPUTE_DTYPES = ("float32", "bfloat16", "float16")

_WEIGHT = real(0)
_SIZE = "height and width in pixels: give two whole numbers of 8192 or less, as in (64,96)"
_RATES = "list of pairs (regular expression, factor of 0 or more): give some, as in (('trunk/',0.1),('',1.0)), or ()"
_WORDS = "list of words: give some, as in ('dog','bell'), or ()"
_SHARES = "list of shares of all steps: give numbers between 0 and 1, as in (0.5,0.75)"

_RATE = Kind(
    lambda entry: (
        None
        if isinstance(entry, list | tuple)
        and len(entry) == 2
        and not TEXT.complaint(entry[0])
        and not _WEIGHT.complaint(entry[1])
        else "is no pair"
    )
)


_REVISION = Kind(
    lambda entry: (
        None
        if isinstance(entry, list | tuple) and len(entry) == 2 and not any(TEXT.complaint(part) for part in entry)
        else "is no pair"
    )
)


def _range_complaint(value: object) -> str | None:
    pair = isinstance(value, list | tuple) and len(value) == 2 and not any(whole(1).complaint(x) for x in value)
    if value in ((), []) or (pair and value[0] <= value[1]):
        return None
    return "is no range of steps: give the first and the last, as in (10,15), or ()"


FIELDS: dict[str, Kind] = {
    "run_name": NAME,
    "seed": whole(0, 2**32 - 1),  # Grain takes seeds of 32 bits
    "model_name": NAME,
    "model": MAPPING,
    "init": TEXT,
    "init_parts": mapping_of(TEXT, "folders"),
    "revisions": listed(_REVISION, "list of pairs (hf:// address, commit): leave it to the run"),
    "dataset": NAME,
    "data_dir": NAME,
    "build_data": FLAG,
    "split": whole(1),
    "train_split": NAME,
    "test_split": NAME,
    "calibration_share": real(0, below=1),
    "target_maps": TEXT,
    "frame_size": listed(whole(1, 8192), _SIZE, 2),  # larger frames than 8192 pixels fit no accelerator
    "frame_step": whole(1),
    "sampler": NAME,
    "sampler_options": MAPPING,
    "preprocessing": NAME,
    "preprocessing_options": MAPPING,
    "flip": FLAG,
    "samples_per_video": whole(1),
    "avc_supervision": choice(SUPERVISIONS),
    "data_threads": whole(0, 1024),
    "losses": MAPPING,  # of weights, by term
    "rho": real(0, 1),
    "side_epochs": whole(0),
    "tags": listed(NAME, _WORDS),
    "total_steps": whole(1),
    "batch_size": whole(1),
    "optimizer": NAME,
    "optimizer_options": MAPPING,
    "learning_rate": real(0, finite=False),  # an infinite one is found by the check of each step
    "rates": listed(_RATE, _RATES),
    "schedule": choice(SCHEDULES, "choose constant, cosine or steps"),
    "rate_drops": listed(real(above=0, below=1), _SHARES),
    "rate_factor": real(above=0, most=1),
    "warmup_steps": whole(0),
    "clip_norm": real(0, finite=False),
    "ema_decay": real(0, below=1),
    "compute_dtype": choice(COMPUTE_DTYPES),
    "remat": FLAG,
    "precision": choice(PRECISIONS),
    "compilation_cache": TEXT,
    "executor": choice(EXECUTORS),
    "log_every": whole(1),
    "checkpoint_every": whole(1),
    "keep_checkpoints": whole(1),
    "tensorboard": FLAG,
    "evaluate_every": whole(0),
    "evaluate_videos": whole(1),
    "evaluate_stride": whole(1),
    "best_metric": choice(METRICS),
    "profile_steps": Kind(_range_complaint),
    "eval_stride": whole(1),
    "eval_batch_size": whole(1),
    "avc_every": real(0),
    "smooth_sigma": real(0),
    "audit": FLAG,
    "rows": listed(NAME, _WORDS),
    "row_changes": mapping_of(MAPPING, "fields by row"),
}

# Fields that the earliest records have: if one is missing, a file is incomplete or was not made from `base()`. All
# others have defaults.
REQUIRED = frozenset(
    (
        *("run_name", "seed", "model_name", "model", "init", "init_parts"),
        *("dataset", "data_dir", "train_split", "test_split", "frame_size", "frame_step", "sampler", "preprocessing"),
        *("samples_per_video", "data_threads", "total_steps", "batch_size", "optimizer", "optimizer_options"),
        *("learning_rate", "schedule", "warmup_steps", "clip_norm", "ema_decay", "compute_dtype", "executor"),
        *("log_every", "checkpoint_every", "keep_checkpoints", "tensorboard", "eval_stride", "eval_batch_size"),
    )
)

# The fields of the section `scam`, which the configurations of `python -m avsd_jax.scam` have: the weakly supervised
# stage. All are required.
SCAM_FIELDS: dict[str, Kind] = {
    "scam.coarse": listed(NAME, _WORDS),  # rows trained on whole frames
    "scam.fine": listed(NAME, _WORDS),  # rows trained on boxes
    "scam.rule": NAME,  # how activation maps become images
    "scam.confidence": real(0, 1),  # threshold of a classifier's confidence
    "scam.side": whole(8, 8192),  # side of the plane of boxes and maps, pixels
    "scam.box_threshold": _WEIGHT,  # edge of a box, times a map's mean
    "scam.smooth": FLAG,  # whether maps are smoothed in time
    "scam.map_threshold": _WEIGHT,  # below which a map is cut, times its mean
}

# The own fields of a row of a comparison (see `avsd_jax.experiment.comparison`).
ROW_FIELDS: dict[str, Kind] = {
    "label": TEXT,  # its name in tables; empty where it is not scored; required
    "init": TEXT,  # row to start from
    "init_parts": mapping_of(TEXT, "rows"),  # rows that start single submodules
    "weights": TEXT,  # row whose variables are scored
    "effort": real(above=0),  # factor on total_steps
    "model": MAPPING,  # options of the model that it changes
}


def check_fields(config: Mapping[str, Any] | ConfigDict, names: Collection[str] = ()) -> None:
    """Raises InputError, which names the field, if a value is invalid or a required field is missing.

    Args:
        config: a configuration, or the record of a run.
        names: fields to check; by default all.
    """
    for name in names or FIELDS:
        _check(config, name, name, FIELDS[name], required=name in REQUIRED)
    if "losses" in config and "losses" in (names or FIELDS):
        for name, weight in config["losses"].items():
            choice(losses.available()).check("entry of losses", name)
            _WEIGHT.check(f"losses.{name}", weight)
    if not names and "scam" in config:
        MAPPING.check("scam", config["scam"])
        for name, kind in SCAM_FIELDS.items():
            _check(config["scam"], name, name.partition(".")[2], kind, required=True)


def check_row_fields(changes: Mapping[str, Any] | ConfigDict, row: str) -> None:
    """Raises InputError, which names the field, if a row of a comparison has an invalid value."""
    for name, kind in ROW_FIELDS.items():
        _check(changes, f"row_changes.{row}.{name}", name, kind, required=name == "label")


def _check(section: Mapping[str, Any] | ConfigDict, path: str, name: str, kind: Kind, *, required: bool) -> None:
    if name in section:
        kind.check(path, section[name])
    elif required:
        raise InputError(f"the configuration has no {path}: give it one")

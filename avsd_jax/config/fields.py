"""The fields of a configuration: what each may hold, what it is for, and what stands for one that a file lacks.

`docs/configurations.md` shows this table to users.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.common.parallel import EXECUTORS
from avsd_jax.common.value_kinds import FLAG, MAPPING, NAME, TEXT, Kind, choice, listed, mapping_of, real, whole
from avsd_jax.errors import InputError

SCHEDULES = ("constant", "cosine", "steps")
COMPUTE_DTYPES = ("float32", "bfloat16", "float16")

# A field that every configuration has; one that may be left out, and then nothing stands for it.
_REQUIRED, _NONE = object(), object()


@dataclasses.dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        kind: what it may hold.
        meaning: what it is for.
        default: what stands for it in a configuration that lacks it.
    """

    kind: Kind
    meaning: str
    default: Any = _REQUIRED


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

FIELDS: dict[str, Field] = {
    "run_name": Field(NAME, "name of the run in logs and tables"),
    # Grain takes seeds of 32 bits.
    "seed": Field(whole(0, 2**32 - 1), "decides everything that is random"),
    "model_name": Field(NAME, "module of avsd_jax/models"),
    "model": Field(MAPPING, "the model's options"),
    "init": Field(TEXT, "folder of a run to start from, or empty"),
    "init_parts": Field(mapping_of(TEXT, "folders"), "folders of runs that start single submodules, or empty"),
    "dataset": Field(NAME, "dataset to train and score on, or several joined by commas"),
    "data_dir": Field(NAME, "folder of prepared datasets"),
    "build_data": Field(FLAG, "whether the dataset is built where it is missing", False),
    "split": Field(whole(1), "number of the fold, where the names of the splits depend on one", _NONE),
    "train_split": Field(NAME, "split to train on"),
    "test_split": Field(NAME, "split to score on"),
    "target_maps": Field(TEXT, "folder of maps that stand for the viewers' density, or empty", ""),
    # Larger frames than 8192 pixels fit no accelerator.
    "frame_size": Field(listed(whole(1, 8192), _SIZE, 2), "height and width of the model's frames, pixels"),
    "frame_step": Field(whole(1), "distance between the frames of a clip"),
    "sampler": Field(NAME, "module of avsd_jax/data/samplers"),
    "sampler_options": Field(MAPPING, "the sampler's options", {}),
    "preprocessing": Field(NAME, "module of avsd_jax/data/preprocessing"),
    "preprocessing_options": Field(MAPPING, "the preprocessing's options", {}),
    "flip": Field(FLAG, "whether half of the training clips are mirrored", False),
    "samples_per_video": Field(whole(1), "clips of each video in an epoch"),
    "data_threads": Field(whole(0, 1024), "threads that prepare clips"),
    "loss": Field(choice(losses.LOSSES), "loss of the map", "kl"),
    "rho": Field(real(0, 1), "the map's share of the loss beside a classifier's", 0.5),
    "bce_weight": Field(_WEIGHT, "weight of the cross entropy", 0.0),
    "cc_weight": Field(_WEIGHT, "weight of CC", 0.0),
    "sim_weight": Field(_WEIGHT, "weight of SIM", 0.0),
    "nss_weight": Field(_WEIGHT, "weight of NSS", 0.0),
    "side_epochs": Field(whole(0), "epochs in which side maps lose their weight; 0: not trained", 0),
    "tags": Field(listed(NAME, _WORDS), "words about videos that the model learns to tell", ()),
    "tag_weight": Field(_WEIGHT, "weight of the tags", 0.0),
    "side_tag_weight": Field(_WEIGHT, "weight of the tags of an earlier layer", 0.0),
    "total_steps": Field(whole(1), "updates of the whole training"),
    "batch_size": Field(whole(1), "clips of an update, over all devices"),
    "optimizer": Field(NAME, "adam, adamw, sgd or dampened_sgd"),
    "optimizer_options": Field(MAPPING, "the optimizer's options"),
    # An infinite rate is a number: what it does to a model is found by the check of each step.
    "learning_rate": Field(real(0, finite=False), "learning rate after the warm-up"),
    "rates": Field(listed(_RATE, _RATES), "factors on the learning rate by parameter; () for none", ()),
    "schedule": Field(choice(SCHEDULES, "choose constant, cosine or steps"), "how the learning rate falls"),
    "rate_drops": Field(
        listed(real(above=0, below=1), _SHARES), "when schedule='steps' divides the rate by ten", (1 / 3, 2 / 3)
    ),
    "warmup_steps": Field(whole(0), "updates in which the learning rate rises"),
    "clip_norm": Field(real(0, finite=False), "largest norm of the gradient; 0 for no limit"),
    "ema_decay": Field(real(0, below=1), "of the average of parameters; 0 for no average"),
    "compute_dtype": Field(choice(COMPUTE_DTYPES), "number format of the network's arithmetic"),
    "executor": Field(choice(EXECUTORS), "how a step is spread over devices"),
    "log_every": Field(whole(1), "updates between lines of the log"),
    "checkpoint_every": Field(whole(1), "updates between checkpoints"),
    "keep_checkpoints": Field(whole(1), "checkpoints that are kept"),
    "tensorboard": Field(FLAG, "whether TensorBoard files are written"),
    "eval_stride": Field(whole(1), "every which frame is scored"),
    "eval_batch_size": Field(whole(1), "clips that are scored at once"),
    "smooth_sigma": Field(real(0), "blur of scored maps, pixels; 0 for none", 0.0),
    "audit": Field(FLAG, "whether models are scored on false sound, too", True),
    "rows": Field(listed(NAME, _WORDS), "rows of a comparison in order; () for one run", ()),
    "row_changes": Field(mapping_of(MAPPING, "fields by row"), "what each row of a comparison changes", {}),
    "scam": Field(MAPPING, "the weakly supervised stage", _NONE),
}

# The fields of the section `scam`.
SCAM_FIELDS: dict[str, Field] = {
    "scam.coarse": Field(listed(NAME, _WORDS), "rows trained on whole frames"),
    "scam.fine": Field(listed(NAME, _WORDS), "rows trained on boxes"),
    "scam.rule": Field(NAME, "how activation maps become pictures"),
    "scam.confidence": Field(real(0, 1), "what a classifier's confidence must exceed"),
    "scam.side": Field(whole(8, 8192), "side of the plane of boxes and maps, pixels"),
    "scam.box_threshold": Field(_WEIGHT, "edge of a box, times a map's mean"),
    "scam.smooth": Field(FLAG, "whether maps are smoothed in time"),
    "scam.map_threshold": Field(_WEIGHT, "below which a map is cut, times its mean"),
}

# What a row of a comparison says of itself (see `avsd_jax.experiment.comparison`).
ROW_FIELDS: dict[str, Field] = {
    "label": Field(TEXT, "the row's name in tables; empty where it is not scored"),
    "init": Field(TEXT, "row to start from", ""),
    "init_parts": Field(mapping_of(TEXT, "rows"), "rows that start single submodules", {}),
    "weights": Field(TEXT, "row whose variables are scored", ""),
    "effort": Field(real(above=0), "factor on total_steps", 1),
    "model": Field(MAPPING, "options of the model that it changes", {}),
}


def check_fields(config: Mapping[str, Any] | ConfigDict, names: Iterable[str] = ()) -> None:
    """Raises InputError, which names the field, where one has a value of another kind, or is missing and required.

    Args:
        config: a configuration, or the record of a run.
        names: fields to look at; by default all.
    """
    for name in names or FIELDS:
        _check(config, name, name, FIELDS[name])
    if not names and "scam" in config:
        for name, field in SCAM_FIELDS.items():
            _check(config["scam"], name, name.partition(".")[2], field)


def check_row_fields(changes: Mapping[str, Any] | ConfigDict, row: str) -> None:
    """Raises InputError, which names the field, where a row of a comparison says something of another kind."""
    for name, field in ROW_FIELDS.items():
        _check(changes, f"row_changes.{row}.{name}", name, field)


def completed(config: ConfigDict) -> ConfigDict:
    """A copy, in which the defaults stand for the fields that the configuration lacks."""
    result = config.copy_and_resolve_references()
    with result.unlocked():
        for name, field in FIELDS.items():
            if name not in result and field.default not in (_REQUIRED, _NONE):
                result[name] = field.default
    return result


def _check(section: Mapping[str, Any] | ConfigDict, path: str, name: str, field: Field) -> None:
    if name not in section:
        if field.default is _REQUIRED:
            raise InputError(f"the configuration has no {path} ({field.meaning}): give it one")
        return
    field.kind.check(path, section[name])

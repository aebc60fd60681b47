"""Checks of a configuration before anything is written or compiled."""

from absl import logging
from ml_collections import ConfigDict

from avsd_jax.common.by_name import load_module
from avsd_jax.config.fields import check_fields
from avsd_jax.errors import InputError
from avsd_jax.experiment import dry_run
from avsd_jax.runs.components import Components


def validate(config: ConfigDict) -> Components:
    """Builds what a run of this configuration needs; `dry_run.trace` checks the shapes.

    What depends on data, devices or earlier runs is checked where they are read.

    Args:
        config: with all fields, see `avsd_jax.config.base.completed`.

    Raises:
        InputError: a field is missing, is out of range, or names an unknown component.
    """
    check_fields(config)
    try:
        config.to_json()
    except (TypeError, ValueError) as error:
        raise InputError(f"the configuration holds what config.json cannot ({error}): give plain values") from error
    if config.warmup_steps > config.total_steps:  # as in a demo that is shortened for a trial
        logging.warning("%s: warmup_steps exceeds total_steps: learning_rate is not reached", config.run_name)
    try:
        load_module("avsd_jax.models", config.model_name, "model")
    except InputError as error:
        raise InputError(f"model_name: {error}") from error
    parts = Components.from_config(config)
    if config.avc_supervision == "weak" and (parts.model.gate, parts.model.train_gate) == ("classifier", "labels"):
        raise InputError(
            "avc_supervision='weak' gives no labels of frames, which model.train_gate='labels' follows: set "
            "model.train_gate='predicted', or avc_supervision='labels'"
        )
    dry_run.check_data(config, parts.spec)
    return parts

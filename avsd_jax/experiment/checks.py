"""What is wrong with a configuration, said before anything is written or compiled."""

from absl import logging
from ml_collections import ConfigDict

from avsd_jax.common.by_name import load_module
from avsd_jax.config.fields import check_fields
from avsd_jax.errors import InputError
from avsd_jax.experiment import dry_run
from avsd_jax.runs.components import clip_spec, model_from_config
from avsd_jax.runs.optimizer import make_optimizer


def check(config: ConfigDict) -> None:
    """Raises what can be said at once of a run of this configuration; `dry_run.trace` finds what is left.

    What depends on data, on devices or on earlier runs is left to those who read them.

    Args:
        config: with all fields, see `config_fields.completed`.

    Raises:
        InputError: a field is missing, has a value that means nothing, or names what there is not.
    """
    check_fields(config)
    try:
        config.to_json()
    except (TypeError, ValueError) as error:
        raise InputError(f"the configuration holds what config.json cannot ({error}): give plain values") from error
    if config.warmup_steps > config.total_steps:  # as where a demo is cut short to try it out
        logging.warning("%s: warmup_steps exceeds total_steps: learning_rate is not reached", config.run_name)
    if config.loss == "kl" and config.bce_weight:
        logging.warning("%s: loss='kl' has no cross entropy: bce_weight is not read", config.run_name)
    try:
        load_module("avsd_jax.models", config.model_name, "model")
    except InputError as error:
        raise InputError(f"model_name: {error}") from error
    model_from_config(config)
    make_optimizer(config)
    clip_spec(config)
    dry_run.try_data(config)

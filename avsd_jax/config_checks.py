"""What is wrong with a configuration, said before anything is written or compiled."""

from absl import logging
from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.errors import InputError
from avsd_jax.experiment import clip_spec, model_from_config
from avsd_jax.optimizer import make_optimizer
from avsd_jax.parallel import EXECUTORS

_AT_LEAST_1 = ("batch_size", "eval_batch_size", "eval_stride", "samples_per_video", "frame_step")
_AT_LEAST_1 += ("log_every", "checkpoint_every", "keep_checkpoints", "model.clip_size", "total_steps")
_AT_LEAST_0 = ("warmup_steps", "data_threads", "seed", "side_epochs")
_AT_LEAST_0 += ("learning_rate", "clip_norm", "smooth_sigma", "rho", "ema_decay")
_CHOICES = {"compute_dtype": ("float32", "bfloat16", "float16"), "executor": tuple(EXECUTORS), "loss": losses.LOSSES}


def check(config: ConfigDict) -> None:
    """Raises what a run of this configuration would, were it started.

    What depends on data, on devices or on earlier runs is left to those who read them.

    Raises:
        InputError: a field has a value that means nothing, or names what there is not.
    """
    given = {"model.clip_size": config.model.get("clip_size", 1)} | dict(config)
    weights = tuple(name for name in config if name.endswith("_weight"))
    for least, names in ((1, _AT_LEAST_1), (0, _AT_LEAST_0 + weights)):
        for name in names:
            if not given.get(name, least) >= least:  # NaN is not
                raise InputError(f"{name}={given[name]} is too small: give {least} or more")
    if config.rho > 1:
        raise InputError(f"rho={config.rho} is too large: give the map's share of the loss, from 0 to 1")
    if config.ema_decay >= 1:
        raise InputError(f"ema_decay={config.ema_decay} is too large: give less than 1, or 0 for no average")
    size = config.frame_size
    if not (isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        raise InputError(f"frame_size={size} is no height and width in pixels: give two whole numbers, as in (64,96)")
    for name, choices in _CHOICES.items():
        if given.get(name, choices[0]) not in choices:
            raise InputError(f"unknown {name} {given[name]!r}: choose one of {', '.join(choices)}")
    if config.warmup_steps > config.total_steps:  # as where a demo is cut short to try it out
        logging.warning("%s: warmup_steps exceeds total_steps: learning_rate is not reached", config.run_name)
    model_from_config(config)
    make_optimizer(config)
    spec = clip_spec(config)
    _ = spec.sampling, spec.preparation

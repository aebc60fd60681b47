"""The optimiser and its learning rate, from a configuration."""

import optax
from ml_collections import ConfigDict

from avsd_jax.errors import InputError

OPTIMIZERS = {"adam": optax.adam, "adamw": optax.adamw, "sgd": optax.sgd}


def make_schedule(config: ConfigDict) -> optax.Schedule:
    """Learning rate by step: `constant` (the published recipes have no schedule) or `cosine`, after a warm-up.

    Raises:
        InputError: unknown `config.schedule`.
    """
    if config.schedule == "constant":
        after = optax.constant_schedule(config.learning_rate)
    elif config.schedule == "cosine":
        decay_steps = max(1, config.total_steps - config.warmup_steps)
        after = optax.cosine_decay_schedule(config.learning_rate, decay_steps)
    else:
        raise InputError(f"unknown schedule {config.schedule!r}: choose constant or cosine")
    warmup = optax.linear_schedule(0.0, config.learning_rate, max(1, config.warmup_steps))
    return optax.join_schedules([warmup, after], [config.warmup_steps])


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """The whole chain: optional clipping of the global gradient norm, then the named optimiser.

    Raises:
        InputError: unknown `config.optimizer`.
    """
    if config.optimizer not in OPTIMIZERS:
        raise InputError(f"unknown optimizer {config.optimizer!r}: choose one of {', '.join(OPTIMIZERS)}")
    update = OPTIMIZERS[config.optimizer](make_schedule(config), **config.optimizer_options)
    if not config.clip_norm:
        return update
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), update)

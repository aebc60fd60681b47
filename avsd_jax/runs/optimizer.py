"""The optimiser and its learning rate, from a configuration."""

import functools
import inspect
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from avsd_jax.common.leaves import joined
from avsd_jax.common.value_kinds import FLAG, NOTHING, Kind, choice, either, of_annotation, real
from avsd_jax.config.fields import COMPUTE_DTYPES, check_fields
from avsd_jax.errors import InputError

Rates = Sequence[tuple[str, float]]


def dampened_sgd(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, dampening: float = 0.9, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Builds PyTorch's SGD with momentum and dampening, which `optax.sgd` does not have.

    The direction is the first gradient, and then `momentum * direction + (1 - dampening) * gradient`. With the two
    equal that is an average of gradients, in which the first counts 1 / (1 - dampening) times as much as the others.

    Args:
        learning_rate: constant or schedule.
        momentum, dampening: see above.
        weight_decay: adds this share of every parameter to its gradient.
    """
    decay = optax.add_decayed_weights(weight_decay) if weight_decay else optax.identity()
    return optax.chain(decay, _dampened_trace(momentum, dampening), optax.scale_by_learning_rate(learning_rate))


class _Trace(NamedTuple):
    count: jax.Array
    trace: optax.Updates


def _dampened_trace(momentum: float, dampening: float) -> optax.GradientTransformation:
    def init(params: optax.Params) -> _Trace:
        return _Trace(jnp.zeros((), jnp.int32), optax.tree.zeros_like(params))

    def update(grads: optax.Updates, state: _Trace, params: optax.Params = None) -> tuple[optax.Updates, _Trace]:
        del params
        later = state.count > 0

        def follow(old: jax.Array, grad: jax.Array) -> jax.Array:
            return jnp.where(later, momentum * old + (1 - dampening) * grad, grad)

        trace = jax.tree.map(follow, state.trace, grads)
        return trace, _Trace(optax.safe_increment(state.count), trace)

    return optax.GradientTransformation(init, update)


def sgd(
    learning_rate: optax.ScalarOrSchedule,
    momentum: float | None = None,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Builds `optax.sgd` with PyTorch's weight decay, which adds this share of every parameter to its gradient."""
    update = optax.sgd(learning_rate, momentum, nesterov)
    return optax.chain(optax.add_decayed_weights(weight_decay), update) if weight_decay else update


def adam(
    learning_rate: optax.ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Builds `optax.adam` with PyTorch's weight decay, which `adamw` applies to the parameters instead."""
    update = optax.adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return optax.chain(optax.add_decayed_weights(weight_decay), update) if weight_decay else update


# Options that a configuration may set, if an optimiser has them; its other parameters are not plain values.
OPTIONS: dict[str, Kind] = {
    "b1": real(0, below=1),
    "b2": real(0, below=1),
    "dampening": real(0, 1),
    "eps": real(0),
    "eps_root": real(0),
    "momentum": either(real(0, below=1), NOTHING),
    "mu_dtype": either(choice(COMPUTE_DTYPES), NOTHING),
    "nesterov": FLAG,
    "weight_decay": real(0),
}

OPTIMIZERS = {"adam": adam, "adamw": optax.adamw, "sgd": sgd, "dampened_sgd": dampened_sgd}


def clip_by_global_norm(clip_norm: Any) -> optax.GradientTransformation:
    """Builds `optax.clip_by_global_norm` with one factor for all gradients, which takes XLA a third of the kernels.

    Args:
        clip_norm: largest norm of the gradient, all parameters together.
    """

    def update(
        updates: optax.Updates, state: optax.EmptyState, params: optax.Params = None
    ) -> tuple[optax.Updates, optax.EmptyState]:
        del params
        norm = optax.tree.norm(joined(updates))
        factor = jnp.where(norm < clip_norm, 1.0, clip_norm / norm)
        return jax.tree.map(lambda x: (x * factor).astype(x.dtype), updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def scale_by_rates(rates: Rates) -> optax.GradientTransformation:
    """Scales the learning rates of groups of parameters.

    Args:
        rates: (regular expression, factor on the learning rate); the first that is found in a parameter's path, such as
            "visual_model/trunk/conv1/kernel", counts. A factor of 0 leaves a parameter unchanged.

    Raises:
        InputError: an entry is no pair of an expression and a factor; and, when the optimiser is made for a model, no
            expression is found in a parameter's path.
    """
    for entry in rates:
        try:
            re.compile(entry[0])
            float(entry[1])
        except (re.error, TypeError, ValueError, IndexError) as error:
            raise InputError(f"{entry!r} in rates is no pair (regular expression, factor): {error}") from error

    def factor(path: tuple[Any, ...]) -> float:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        for pattern, value in rates:
            if re.search(pattern, name):
                return value
        raise InputError(f"no entry of rates is for the parameter {name}: add one, such as ('', 1.0) at the end")

    def scaled(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
        rate = factor(path)
        return rate * update if rate else jnp.zeros_like(update)

    def init(params: optax.Params) -> optax.EmptyState:
        jax.tree_util.tree_map_with_path(lambda path, _: factor(path), params)
        return optax.EmptyState()

    def update(
        updates: optax.Updates, state: optax.EmptyState, params: optax.Params = None
    ) -> tuple[optax.Updates, optax.EmptyState]:
        del params
        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(init, update)


def make_schedule(config: ConfigDict) -> optax.Schedule:
    """Builds the learning rate by step, after a warm-up: `constant`, `cosine` (to 0) or `steps`.

    `steps` multiplies it by `config.rate_factor` at each of `config.rate_drops`, which are shares of all steps.

    Raises:
        InputError: unknown `config.schedule`, or `steps` without any `config.rate_drops`.
    """
    check_fields(config, ("schedule", "learning_rate", "total_steps", "warmup_steps", "rate_drops", "rate_factor"))
    if config.schedule == "constant":
        after = optax.constant_schedule(config.learning_rate)
    elif config.schedule == "cosine":
        decay_steps = max(1, config.total_steps - config.warmup_steps)
        after = optax.cosine_decay_schedule(config.learning_rate, decay_steps)
    else:
        after = optax.piecewise_constant_schedule(config.learning_rate, _drops(config))
    warmup = optax.linear_schedule(0.0, config.learning_rate, max(1, config.warmup_steps))
    return optax.join_schedules([warmup, after], [config.warmup_steps])


def _drops(config: ConfigDict) -> dict[int, float]:
    """Returns factors on the learning rate, by the step after the warm-up from which they apply."""
    if not config.rate_drops:
        raise InputError("rate_drops=() gives schedule='steps' no step: give shares of all steps, or schedule=constant")
    factor = config.get("rate_factor", 0.1)
    drops: dict[int, float] = {}
    for share in config.rate_drops:
        step = round(share * config.total_steps) - config.warmup_steps
        drops[step] = factor * drops.get(step, 1.0)
    return drops


def make_optimizer(config: ConfigDict) -> optax.GradientTransformationExtraArgs:
    """Builds the whole chain: optional clipping of the gradient norm, the named optimiser, optional `config.rates`.

    `update(gradients, state, params, learning_rate=..., clip_norm=...)` takes the numbers that differ between runs
    and steps, so that a program compiled for one run serves another. Equal configurations give the same object.

    Raises:
        InputError: unknown `config.optimizer`, an option that it does not have, or a value of another type or range.
    """
    check_fields(config, ("optimizer", "optimizer_options", "clip_norm", "rates"))
    if config.optimizer not in OPTIMIZERS:
        raise InputError(f"unknown optimizer {config.optimizer!r}: choose one of {', '.join(OPTIMIZERS)}")
    parameters = inspect.signature(OPTIMIZERS[config.optimizer]).parameters
    known = sorted(set(parameters) & set(OPTIONS))
    options = {}
    for option, value in config.optimizer_options.items():
        if option not in known:
            raise InputError(
                f"optimizer_options: optimizer {config.optimizer!r} has no option {option!r}: choose among "
                + ", ".join(known)
            )
        for kind in (of_annotation(parameters[option].annotation), OPTIONS[option]):
            kind.check(f"optimizer_options.{option}", value)
        options[option] = float(value) if type(value) is int else value
    rates = tuple(tuple(entry) for entry in config.rates)
    return _chain(config.optimizer, tuple(sorted(options.items())), bool(config.clip_norm), rates)


@functools.lru_cache(maxsize=64)
def _chain(
    name: str, options: tuple[tuple[str, Any], ...], clips: bool, rates: tuple[tuple[str, float], ...]
) -> optax.GradientTransformationExtraArgs:
    """Builds the optimiser of these options; see `make_optimizer`."""

    def build(learning_rate: Any, clip_norm: Any) -> optax.GradientTransformation:
        # As a schedule, so that the state counts steps: checkpoints hold that count.
        chain = [OPTIMIZERS[name](optax.constant_schedule(learning_rate), **dict(options))]
        if clips:
            chain.insert(0, clip_by_global_norm(clip_norm))
        if rates:
            chain.append(scale_by_rates(rates))
        return optax.chain(*chain) if len(chain) > 1 else chain[0]

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params = None,
        *,
        learning_rate: Any,
        clip_norm: Any = None,
        **_: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        return build(learning_rate, clip_norm).update(updates, state, params)

    return optax.GradientTransformationExtraArgs(build(0.0, 1.0).init, update)

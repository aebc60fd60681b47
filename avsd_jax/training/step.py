"""One update: forward, loss, gradients, new state."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from avsd_jax import losses
from avsd_jax.common.parallel import sum_over_devices
from avsd_jax.training.hyperparameters import Hyperparameters
from avsd_jax.training.remat import recomputed_blocks
from avsd_jax.training.state import TrainState, all_finite, norm_and_finite

Batch = Mapping[str, Any]
Step = Callable[[TrainState, Batch, Hyperparameters], tuple[TrainState, dict[str, Any]]]


def cast_floats(tree: Any, dtype: Any) -> Any:
    """Casts the floating-point leaves of a tree; integers, keys and booleans are unchanged."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def share_of_mean(values: jax.Array, weights: jax.Array, axis_name: str | None) -> jax.Array:
    """Returns this device's contribution to the weighted mean over the whole batch; 0 if no example counts.

    The contributions of all devices sum to the mean, however the weights are distributed, and so do their gradients.
    """
    whole = sum_over_devices(jnp.sum(weights), axis_name)
    return jnp.sum(values * weights) / jnp.maximum(whole, 1)


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    terms: Sequence[str],
    *,
    axis_name: str | None = None,
    compute_dtype: Any = jnp.float32,
    remat: bool = False,
) -> Step:
    """Builds `step(state, batch, hyperparameters) -> (state, metrics)`: one update on the loss of eq. 3.

    `metrics` holds scalars by name; under `finite` whether the gradients and each part of the new state are all finite
    (norms overflow earlier, so they cannot tell), under `damaged` whether each entry of the batch is not.

    Args:
        model: takes `(batch, train=True)` and returns the output dictionary.
        optimizer: the whole chain, clipping included; may take `learning_rate` and `clip_norm`.
        terms: names of the terms of the loss (see `losses.present`); their weights are among the hyperparameters.
        axis_name: the mapped axis under pmap, None under jit.
        compute_dtype: of the forward and backward pass; parameters, batch statistics and losses stay float32.
        remat: whether the backward pass computes the network's blocks again instead of keeping what they computed.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def loss_fn(
        params: Any, state: TrainState, batch: Batch, hyperparameters: Hyperparameters
    ) -> tuple[jax.Array, Any]:
        rng = jax.random.fold_in(jax.random.key(hyperparameters.seed), state.step)
        if axis_name is not None:
            rng = jax.random.fold_in(rng, jax.lax.axis_index(axis_name))
        audible = {k: batch[k] for k in ("avc_audio",) if k in batch}
        variables = {"params": cast_floats(params, compute_dtype), "batch_stats": state.batch_stats}
        with recomputed_blocks() if remat else contextlib.nullcontext():
            output, updates = model.apply(
                variables,
                # Rounding the waveform would lose quiet audio: the classifier gets it in float32.
                cast_floats({k: v for k, v in batch.items() if k != "avc_audio"}, compute_dtype) | audible,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": rng},
            )
        output = cast_floats(output, jnp.float32)
        values = losses.compute(output, batch, terms, hyperparameters.side_weight)
        shares = {name: share_of_mean(*weighted, axis_name) for name, weighted in values.items()}
        loss = losses.total(shares, hyperparameters.weights, hyperparameters.rho)
        if "avc_logits" in output:
            hits = jnp.argmax(output["avc_logits"], -1) == batch["avc_label"]
            shares["avc_accuracy"] = share_of_mean(hits, batch["avc_label"] >= 0, axis_name)
        return loss, (shares | {"loss": loss}, updates["batch_stats"])

    def step(state: TrainState, batch: Batch, hyperparameters: Hyperparameters) -> tuple[TrainState, dict[str, Any]]:
        grads, (metrics, batch_stats) = jax.grad(loss_fn, has_aux=True)(state.params, state, batch, hyperparameters)
        grads, metrics = sum_over_devices((grads, metrics), axis_name)
        # Behind a barrier the update of a parameter needs the same kernels as that of any other of its shape, and no
        # reader brings the gradients into a layout of its own.
        grads = jax.lax.optimization_barrier(grads)
        updates, opt_state = optimizer.update(
            grads,
            state.opt_state,
            state.params,
            learning_rate=hyperparameters.learning_rate,
            clip_norm=hyperparameters.clip_norm,
        )
        params = optax.apply_updates(state.params, updates)
        ema = state.ema_params
        if ema is not None:
            ema = optax.incremental_update(params, ema, hyperparameters.ema_update)
        norms = {"l2_grads": grads, "l2_params": params, "l2_updates": updates}
        read = {name: norm_and_finite(tree) for name, tree in norms.items()}
        metrics |= {name: norm for name, (norm, _) in read.items()}
        metrics["finite"] = {"gradients": read["l2_grads"][1], "parameters": read["l2_params"][1]}
        parts = {"batch statistics": batch_stats, "optimizer state": opt_state, "averaged parameters": ema}
        metrics["finite"] |= {name: norm_and_finite(tree)[1] for name, tree in parts.items()}
        damaged = {name: jnp.logical_not(all_finite(entry)).astype(jnp.int32) for name, entry in batch.items()}
        metrics["damaged"] = sum_over_devices(damaged, axis_name)
        return TrainState(state.step + 1, params, batch_stats, opt_state, ema), metrics

    return step

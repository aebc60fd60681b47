"""Training and evaluation of one model: read top to bottom."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from absl import logging
from clu import parameter_overview
from flax import linen as nn
from ml_collections import ConfigDict
from tqdm import tqdm

from avsd_jax.common.parallel import check_batch_size, make_executor, make_mesh
from avsd_jax.data import pipeline
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.runs import checkpoint
from avsd_jax.runs.components import clip_spec, model_from_config
from avsd_jax.runs.initial import initial_variables
from avsd_jax.runs.optimizer import make_optimizer
from avsd_jax.runs.run_folder import MAY_CHANGE, check_can_continue, check_processes_agree, check_same_run, locked
from avsd_jax.runs.stores import training_store
from avsd_jax.training.hyperparameters import hyperparameters_by_step, loss_switches
from avsd_jax.training.metric_writer import LogWindow, MetricWriter, NoWriter
from avsd_jax.training.preemption import Preempted, Preemption
from avsd_jax.training.program import compiled_step
from avsd_jax.training.score import for_model
from avsd_jax.training.state import TrainState, all_finite, create_state, from_items, to_items
from avsd_jax.training.target_warnings import DensityWatch, warn_of_labels


class NonFiniteLossError(RuntimeError):
    """The loss or what a step made became NaN or infinite; the message names step, batch and last good checkpoint."""


__all__ = ["MAY_CHANGE", "NonFiniteLossError", "Preempted", "check_same_run", "train"]

# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


def training_batches(config: ConfigDict, store: VideoStore, start_step: int) -> Iterator[dict[str, np.ndarray]]:
    """This process's part of every global batch from `start_step` on; the order depends on seed and step alone."""
    return pipeline.train_batches(
        store,
        clip_spec(config),
        batch_size=config.batch_size,
        seed=config.seed,
        start_step=start_step,
        num_threads=config.data_threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


def train(
    config: ConfigDict,
    workdir: str | Path,
    *,
    store: VideoStore | None = None,
    mesh: Any = None,
    writer: Any = None,
) -> TrainState:
    """Trains one model into `workdir` and returns its last state.

    A run starts from (1) the newest readable checkpoint of `workdir`, else (2) the run `config.init` where its entries
    have a place in the model, else (3) the draw of `config.seed`. A run that was stopped and started again ends with
    the parameters of one that never stopped.

    Args:
        config: as the files in `configs/` make it.
        workdir: folder of the run; made if missing.
        store: the videos to train on; what the configuration names by default.
        mesh: devices to run on; all by default.
        writer: takes `write_scalars(step, scalars)` and `close()`; `metrics.jsonl` and TensorBoard by default.

    Raises:
        InputError: data that is not prepared, an unknown name, or a workdir of another configuration or in use.
        NonFiniteLossError: the loss, the gradients or the new state became NaN or infinite; nothing of it is saved.
        Preempted: SIGTERM or Ctrl-C came; the state is saved.
        StorageError: the disk is full or read-only; what was saved before stays whole.
    """
    workdir = Path(workdir)
    mesh = make_mesh() if mesh is None else mesh
    check_batch_size(config.batch_size, mesh)
    executor = make_executor(config.executor, mesh)
    model, optimizer = model_from_config(config, executor.axis_name), make_optimizer(config)
    hyperparameters_by_step(config)
    store = training_store(config) if store is None else store
    training_batches(config, store, 0)  # fails here, before the long start, where the data does not fit

    check_processes_agree(config, workdir)
    with locked(workdir):
        return _train_locked(config, workdir, store, executor, model, optimizer, writer)


def _train_locked(
    config: ConfigDict,
    workdir: Path,
    store: VideoStore,
    executor: Any,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    writer: Any,
) -> TrainState:
    """The part of `train` that has the folder for itself."""
    check_can_continue(config, workdir)
    state, checkpointer = start_or_resume(config, workdir, model)
    if jax.process_index() == 0:  # not earlier: what no model can be made of must not hold the folder
        checkpoint.write_config(workdir, config)
    start_step = int(state.step)
    if start_step >= config.total_steps:
        checkpointer.close()
        return state
    warn_of_labels(config, store)

    if writer is None:
        first = jax.process_index() == 0
        writer = MetricWriter(workdir, resume_step=start_step, tensorboard=config.tensorboard) if first else NoWriter()
    state = executor.place_state(state)
    compile_step = functools.partial(
        compiled_step, model, optimizer, loss_switches(config), executor, config.compute_dtype
    )
    with Preemption() as preemption, contextlib.ExitStack() as stack:
        stack.callback(writer.close)
        stack.callback(checkpointer.close)
        state = run_steps(config, store, state, compile_step, executor, checkpointer, writer, preemption)
    return executor.fetch_state(state)


def run_steps(
    config: ConfigDict,
    store: VideoStore,
    state: TrainState,
    compile_step: Callable,
    executor: Any,
    checkpointer: Any,
    writer: Any,
    preemption: Preemption,
) -> TrainState:
    """The loop: feed, step, look at what came out, log, save."""
    start_step = int(executor.fetch_state(state).step)
    hyperparameters, batches = hyperparameters_by_step(config), training_batches(config, store, start_step)
    program = None
    bar = tqdm(
        total=config.total_steps,
        initial=start_step,
        desc=config.run_name,
        unit="step",
        mininterval=1.0,
        disable=jax.process_index() != 0,
    )
    sums, since, densities = LogWindow(), time.monotonic(), DensityWatch(store.name)
    with bar:
        for step in range(start_step + 1, config.total_steps + 1):
            batch = next(batches)
            arguments = (state, executor.place_batch(for_model(batch)), hyperparameters(step - 1))
            if program is None:
                program = compile_step(arguments)
            state, metrics = program.run(*arguments)
            metrics = executor.fetch_metrics(metrics)
            finite = metrics.pop("finite")
            metrics = {k: float(v) for k, v in metrics.items()}
            check_finite(metrics["loss"], finite, step, batch, checkpointer)
            densities.add(batch, metrics, last=step == config.total_steps)
            sums.add(metrics)
            bar.update()
            if step == start_step + 1:
                compile_seconds, since = time.monotonic() - since, time.monotonic()
                logging.info("first step (with compilation): %.1f s", compile_seconds)
                writer.write_scalars(step, metrics | {"compile_seconds": compile_seconds})
            elif step % config.log_every == 0 or step == config.total_steps:
                seconds = (time.monotonic() - since) / sums.count
                speed = {"steps_per_second": 1 / seconds, "examples_per_second": config.batch_size / seconds}
                means = sums.means()
                writer.write_scalars(step, means | speed | {"learning_rate": arguments[-1].learning_rate})
                bar.set_postfix(loss=f"{means['loss']:.3f}")
                sums, since = LogWindow(), time.monotonic()
            stop = preemption.reached()
            if stop or step % config.checkpoint_every == 0 or step == config.total_steps:
                checkpointer.save(step, to_items(executor.fetch_state(state)))
            if stop or (step == config.total_steps and preemption.reached()):  # perhaps while it was saved
                raise Preempted(f"stopped after step {step} as asked; the same command continues from there")
    return state


def check_finite(
    loss: float, finite: Mapping[str, Any], step: int, batch: Mapping[str, np.ndarray], checkpointer: Any
) -> None:
    """Raises NonFiniteLossError on NaN or infinity, before the state of that step can be saved.

    Args:
        loss: of the step.
        finite: for the gradients and each part of the new state whether all of it is finite.
        step: number of updates done.
        batch: what the step was made on.
        checkpointer: says what was saved before.
    """
    bad = [name for name, good in finite.items() if not good]
    if np.isfinite(loss) and not bad:
        return
    what = f"loss is {loss}" if not np.isfinite(loss) else f"NaN or infinity in the {' and the '.join(bad)}"
    ids = [f"{v}:{f}" for v, f in zip(batch["video_index"], batch["frame_index"], strict=True)]
    good = checkpointer.latest_step()
    saved = "no checkpoint was saved before" if good is None else f"the last good checkpoint is step {good}"
    raise NonFiniteLossError(
        f"{what} at step {step} on the clips (video:frame) {', '.join(ids)}; {saved}; "
        + _advice(batch, None if good is None else checkpointer.run_folder)
    )


def _advice(batch: Mapping[str, np.ndarray], run_folder: Path | None) -> str:
    """What to do after a step that is not finite; `run_folder` is where an earlier one was saved, if any was."""
    damaged = [name for name, values in for_model(batch).items() if not np.isfinite(values).all()]
    if damaged:
        return f"the clips' {' and '.join(damaged)} hold NaN or infinity: correct the dataset"
    advice = "lower learning_rate or set clip_norm"
    if run_folder is None:
        return f"{advice}, and give the command again"
    return (
        f"{advice}, which makes another run: give another --workdir, and --config.init={run_folder} to start from that "
        "checkpoint"
    )


def start_or_resume(config: ConfigDict, workdir: Path, model: nn.Module) -> tuple[TrainState, checkpoint.Checkpointer]:
    """The state to continue from, in host memory; see `train` for the order of what is tried.

    Raises:
        InputError: what the run would start from is not finite, or no saved step can be used.
    """
    fresh = create_state(initial_variables(config, model), make_optimizer(config), bool(config.ema_decay))
    # As NumPy arrays a step comes back on any number of devices; the executor places it.
    fresh = jax.tree.map(np.asarray, fresh)
    checkpointer = checkpoint.Checkpointer(workdir, keep=config.keep_checkpoints)
    restored = checkpointer.restore_latest(to_items(fresh))
    if restored is None:
        if not all_finite(fresh):
            raise InputError("the run would start from NaN or infinite parameters: give another init or init_parts")
        logging.info("parameters:\n%s", parameter_overview.get_parameter_overview(fresh.params))
        return fresh, checkpointer
    step, items = restored
    if not all_finite(items):
        raise InputError(
            f"step {step} of {workdir} holds NaN or infinite values: remove {checkpointer.step_folder(step)}, and the "
            "run resumes from the step before"
        )
    logging.info("resuming at step %d", step)
    return from_items(items), checkpointer


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation
# ---------------------------------------------------------------------------------------------------------------------

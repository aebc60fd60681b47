"""The training loop of one model, in the order in which it runs."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from clu import parameter_overview
from ml_collections import ConfigDict
from tqdm import tqdm

from avsd_jax.common.parallel import check_batch_size, make_executor, make_mesh
from avsd_jax.config.fields import check_fields
from avsd_jax.data import pipeline
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.runs import checkpoint
from avsd_jax.runs.components import Components
from avsd_jax.runs.initial import initial_variables
from avsd_jax.runs.run_folder import MAY_CHANGE, check_can_continue, check_processes_agree, check_same_run, locked
from avsd_jax.runs.stores import scoring_store, training_store
from avsd_jax.training.best_step import BestStep
from avsd_jax.training.feed import Feed
from avsd_jax.training.finite import NonFiniteLossError, check_finite
from avsd_jax.training.hyperparameters import hyperparameters_by_step
from avsd_jax.training.metric_writer import MetricWriter, NoWriter
from avsd_jax.training.preemption import Preempted, Preemption
from avsd_jax.training.profile import Profile
from avsd_jax.training.program import Program, compiled_step
from avsd_jax.training.state import TrainState, all_finite_on_host, create_state, from_items, to_items
from avsd_jax.training.target_warnings import DensityWatch, warn_of_labels
from avsd_jax.training.window import Window

__all__ = ["MAY_CHANGE", "NonFiniteLossError", "Preempted", "check_same_run", "train"]

# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


def training_batches(
    config: ConfigDict, spec: ClipSpec, store: VideoStore, start_step: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields this process's part of each global batch from `start_step` on; seed and step alone decide the order."""
    return pipeline.train_batches(
        store,
        spec,
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
    parts: Components | None = None,
    store: VideoStore | None = None,
    mesh: Any = None,
    writer: Any = None,
) -> TrainState:
    """Trains one model into `workdir` and returns its last state.

    A run starts from (1) the newest readable checkpoint of `workdir`, else (2) the run `config.init`, for the entries
    that the model shares with it, else (3) random values from `config.seed`. A run that was stopped and resumed ends
    with the parameters of an uninterrupted one.

    Args:
        config: as the files in `configs/` make it.
        workdir: folder of the run; made if missing.
        parts: the objects built from the configuration; built here by default.
        store: the videos to train on; by default those that the configuration names.
        mesh: devices to run on; all by default.
        writer: takes `write_scalars(step, scalars)` and `close()`; `metrics.jsonl` and TensorBoard by default.

    Raises:
        InputError: data that is not built, an unknown name, or a workdir that is in use or of another configuration.
        NonFiniteLossError: the loss, the gradients or the new state became NaN or infinite; nothing of it is saved.
        Preempted: SIGTERM or Ctrl-C was received; the state is saved.
        StorageError: the disk is full or read-only; earlier checkpoints stay intact.
    """
    workdir = Path(workdir)
    mesh = make_mesh() if mesh is None else mesh
    scored = ("evaluate_every", "evaluate_videos", "evaluate_stride", "best_metric")
    check_fields(config, ("remat", *scored, "profile_steps"))
    check_batch_size(config.batch_size, mesh)
    executor = make_executor(config.executor, mesh)
    parts = (Components.from_config(config) if parts is None else parts).over(executor.axis_name)
    store = training_store(config) if store is None else store
    training_batches(config, parts.spec, store, 0)  # data that does not fit fails before the long start
    if config.evaluate_every:
        scoring_store(config)

    check_processes_agree(config, workdir)
    with locked(workdir):
        return _train_locked(config, parts, workdir, store, executor, writer)


def _train_locked(
    config: ConfigDict,
    parts: Components,
    workdir: Path,
    store: VideoStore,
    executor: Any,
    writer: Any,
) -> TrainState:
    """Trains as `train` does, once the folder is locked."""
    check_can_continue(config, workdir)
    state, checkpointer = start_or_resume(config, parts, workdir)
    if jax.process_index() == 0:  # not earlier: a configuration without a model must not hold the folder
        checkpoint.write_config(workdir, config)
    start_step = int(state.step)
    if start_step >= config.total_steps:
        checkpointer.close()
        return state
    warn_of_labels(parts.model, parts.spec, store)

    if writer is None:
        first = jax.process_index() == 0
        writer = MetricWriter(workdir, resume_step=start_step, tensorboard=config.tensorboard) if first else NoWriter()
    compile_step = functools.partial(
        compiled_step, parts.step_model, parts.optimizer, parts.terms, executor, config.compute_dtype, config.remat
    )
    state = executor.place_state(state)
    with Preemption() as preemption, contextlib.ExitStack() as stack:
        stack.callback(writer.close)
        stack.callback(checkpointer.close)
        best = None
        if config.evaluate_every:
            best = BestStep(config, parts.over(None), workdir, scoring_store(config))
            stack.callback(best.close)
        state = run_steps(
            config, parts, store, start_step, state, compile_step, executor, checkpointer, writer, preemption, best
        )
    return executor.fetch_state(state)


def run_steps(
    config: ConfigDict,
    parts: Components,
    store: VideoStore,
    start_step: int,
    state: TrainState,
    compile_step: Callable,
    executor: Any,
    checkpointer: checkpoint.Checkpointer,
    writer: Any,
    preemption: Preemption,
    best: BestStep | None,
) -> TrainState:
    """Runs the loop: step, take the next batch meanwhile; when due, check the metrics, score, log and save."""
    hyperparameters = hyperparameters_by_step(config, parts)
    batches = training_batches(config, parts.spec, store, start_step)
    window = Window(executor.fetch_metrics, functools.partial(check_finite, checkpointer=checkpointer))
    densities = DensityWatch(store.name)
    with (
        Feed(batches, lambda batch: executor.place_batch(parts.step_inputs(batch))) as feed,
        _bar(config, start_step) as bar,
        Profile(checkpointer.run_folder / "profile", config.profile_steps) as profile,
    ):
        batch, placed = next(feed)
        program, compile_seconds = _compile(compile_step, (state, placed, hyperparameters(start_step)))
        window.restart_clock()
        for step in range(start_step + 1, config.total_steps + 1):
            first, last = step == start_step + 1, step == config.total_steps
            numbers = hyperparameters(step - 1)
            with profile.step(step):
                state, metrics = program.run(state, placed, numbers)
            densities.add(batch, metrics, last)
            clips = _clips(batch)
            if not last:  # while the devices compute
                batch, placed = next(feed)
            window.add(step, clips, metrics)
            bar.update()

            stop = preemption.reached()
            saves = stop or last or step % config.checkpoint_every == 0
            scores = best is not None and best.is_due(step)
            logs = first or last or step % config.log_every == 0
            if saves or scores or logs or window.is_full():
                window.look()
            profile.after(step, window.look)
            line = {}
            if first:
                line |= window.means() | {"compile_seconds": compile_seconds} | program.costs
                window.restart_clock()
            elif logs:
                line |= window.means() | window.speed(config.batch_size) | device_memory()
                line |= {"learning_rate": float(numbers.learning_rate)}
                window.restart()
                bar.set_postfix(loss=f"{line['loss']:.3f}")
            with window.clock_stopped():
                if scores:
                    line |= best.score(step, executor.fetch_state(state).eval_variables)
                if line:
                    writer.write_scalars(step, line)
                if saves:
                    checkpointer.save(step, to_items(executor.fetch_state(state)))
            if stop or (last and preemption.reached_by_now()):  # the request may come during the save
                words = f"stopped after step {step} as asked; the same command continues from there"
                raise Preempted(words, together=True)
    return state


def _compile(compile_step: Callable, arguments: tuple[Any, ...]) -> tuple[Program, float]:
    """Returns the compiled step and the seconds that compilation took: few if an equal one was compiled before."""
    began = time.monotonic()
    program = compile_step(arguments)
    seconds = time.monotonic() - began
    logging.info("training step compiled in %.1f s", seconds)
    return program, seconds


def _bar(config: ConfigDict, start_step: int) -> tqdm:
    """Creates the progress bar, which only the first process shows."""
    return tqdm(
        total=config.total_steps,
        initial=start_step,
        desc=config.run_name,
        unit="step",
        mininterval=1.0,
        disable=jax.process_index() != 0,
    )


def _clips(batch: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the clips of a batch as "video:frame"."""
    return [f"{v}:{f}" for v, f in zip(batch["video_index"], batch["frame_index"], strict=True)]


def device_memory() -> dict[str, int]:
    """Returns the peak memory in bytes of the first local device, if its backend reports it (a CPU does not)."""
    counts = jax.local_devices()[0].memory_stats()
    return {"device_memory_peak_bytes": counts["peak_bytes_in_use"]} if counts else {}


def start_or_resume(config: ConfigDict, parts: Components, workdir: Path) -> tuple[TrainState, checkpoint.Checkpointer]:
    """Returns the state to continue from, in host memory; `train` documents where it is looked for.

    Raises:
        InputError: the initial state is not finite, or no saved step can be used.
    """
    fresh = create_state(initial_variables(config, parts), parts.optimizer, bool(config.ema_decay))
    # NumPy arrays can be restored on any number of devices; the executor places them.
    fresh = jax.tree.map(np.asarray, fresh)
    checkpointer = checkpoint.Checkpointer(workdir, keep=config.keep_checkpoints)
    restored = checkpointer.restore_latest(to_items(fresh))
    if restored is None:
        if not all_finite_on_host(fresh):
            raise InputError("the run would start from NaN or infinite parameters: give another init or init_parts")
        logging.info("parameters:\n%s", parameter_overview.get_parameter_overview(fresh.params))
        return fresh, checkpointer
    step, items = restored
    if not all_finite_on_host(items):
        raise InputError(
            f"step {step} of {workdir} holds NaN or infinite values: remove {checkpointer.step_folder(step)}, and the "
            "run resumes from the step before"
        )
    logging.info("resuming at step %d", step)
    return from_items(items), checkpointer

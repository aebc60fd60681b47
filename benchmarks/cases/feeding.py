"""Feeding of the training loop.

ViNet's training step, as the loop runs it, with clips that threads decode and prepare meanwhile, and with one batch
that is on the device already. The videos are random, of 360x640 pixels, encoded as a built dataset is, and more than
the caches hold, so every clip is decoded. A turn begins and ends with an empty pipeline. At least 0.95 is wanted: input
that is ready in time.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.measure import Row, Run, Setting, compare, no_compilation_cache, optional

QUICK = False
_PACKAGES = ("grain", "cv2", "ml_collections", "tensorflow_datasets")
_VIDEOS, _FRAMES, _SIZE = 4, 48, (360, 640)
_CACHE_BYTES = 4 << 20
_ROUNDS = 3  # of 40 s each on two cores


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the step with either input."""
    on_gpu = setting.device == "gpu"
    clips = 4 if on_gpu else 1
    frames = 8 if setting.quick and not on_gpu else 32
    group = f"ViNet, training, {clips} clip{'s' * (clips > 1)} of {frames} frames of 224x384"
    missing = [name for name in _PACKAGES if optional(name) is None]
    if missing:
        yield Row(group, "clips as they are decoded", not_run=f"needs {', '.join(missing)}")
        return
    epochs = setting.pick(300, 100) if on_gpu else 2
    loop = _Loop(clips, frames, "bfloat16" if on_gpu else "float32", setting.seed)
    steps = epochs * _VIDEOS // clips
    runs = {
        "one batch, on the device": Run(lambda: loop.fixed(steps), units=steps, huge_pages=True),
        "clips as they are decoded": Run(
            lambda: loop.fed(epochs), units=steps, headline="training, real input", huge_pages=True
        ),
    }
    few = dataclasses.replace(setting, rounds=min(setting.rounds, _ROUNDS))
    yield from compare(few, group, runs, unit="step", against="one batch, on the device")


class _Loop:
    """The steps of a training run, without its files."""

    def __init__(self, clips: int, frames: int, dtype: str, seed: int):
        from avsd_jax.common.parallel import make_executor, make_mesh
        from avsd_jax.config.base import base
        from avsd_jax.runs.components import Components
        from avsd_jax.training.hyperparameters import hyperparameters_by_step
        from avsd_jax.training.program import compiled_step
        from avsd_jax.training.state import create_state

        self._config = config = base("vinet")
        config.model.clip_size, config.batch_size, config.compute_dtype = frames, clips, dtype
        self._parts = parts = Components.from_config(config)
        self._store = _random_videos(seed)
        self._executor = executor = make_executor("jit", make_mesh(jax.devices()[:1]))
        self._batch = next(self._batches())
        self._placed = executor.place_batch(parts.step_inputs(self._batch))
        variables = jax.jit(parts.model.init)({"params": jax.random.key(seed)}, self._batch)
        self._state = executor.place_state(create_state(variables, parts.optimizer, keep_ema=False))
        self._numbers = hyperparameters_by_step(config, parts)(0)
        with no_compilation_cache():
            self._program = compiled_step(
                *(parts.step_model, parts.optimizer, parts.terms, executor, dtype, False),
                (self._state, self._placed, self._numbers),
            )

    def fixed(self, steps: int) -> Any:
        """Takes so many steps with the same batch."""
        return self._take(itertools.repeat((self._batch, self._placed), steps))

    def fed(self, epochs: int) -> Any:
        """Takes a step with each batch of so many passes over the videos."""
        from avsd_jax.training.feed import Feed

        batches = self._batches(epochs)
        with Feed(batches, lambda batch: self._executor.place_batch(self._parts.step_inputs(batch))) as feed:
            return self._take(feed)

    def _take(self, batches: Iterator[Any]) -> Any:
        from avsd_jax.training.window import Window

        window = Window(self._executor.fetch_metrics, lambda *_: None)
        for step, (_, placed) in enumerate(batches):
            self._state, metrics = self._program.run(self._state, placed, self._numbers)
            window.add(step, [], metrics)
        return metrics

    def _batches(self, epochs: int = 1) -> Iterator[dict[str, np.ndarray]]:
        from avsd_jax.data import pipeline

        size, threads = self._config.batch_size, self._config.data_threads
        return pipeline.train_batches(
            *(self._store, self._parts.spec), batch_size=size, seed=0, num_threads=threads, num_epochs=epochs
        )


def _random_videos(seed: int) -> Any:
    """Returns a store of smooth random frames in memory."""
    import cv2

    from avsd_jax.data import schema
    from avsd_jax.data.store import VideoStore

    rng = np.random.default_rng(seed)
    height, width = _SIZE

    def picture(*channels: int) -> np.ndarray:
        return cv2.resize(rng.integers(0, 256, (18, 32, *channels), np.uint8), (width, height))

    videos = [
        schema.SourceVideo(
            video_id=f"video{number}",
            fps=25.0,
            num_frames=_FRAMES,
            height=height,
            width=width,
            frames=[schema.encode_jpeg(picture(3)) for _ in range(_FRAMES)],
            density=[schema.encode_png(picture())] * _FRAMES,
            fixations=np.array([[frame, 0, width / 2, height / 2] for frame in range(_FRAMES)], np.float32),
            num_viewers=1,
            avc_label=np.ones(_FRAMES, np.int8),
            audio=np.zeros(_FRAMES * 640, np.int16),
            sample_rate=16000,
        )
        for number in range(_VIDEOS)
    ]
    records = [record for video in videos for record in schema.encode(video)]
    index = [schema.index_of(video) for video in videos]
    return VideoStore("random videos", records, index, schema.CHUNK_FRAMES, _CACHE_BYTES)

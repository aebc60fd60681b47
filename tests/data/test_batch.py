"""The one contract of a batch, and that a sampler or a preprocessing is one file."""

import pathlib

import numpy as np
import pytest
from videos import memory_store, source_video

from avsd_jax.batch import ENTRIES, ClassifierInputs, batch_shapes, model_inputs, step_inputs, zeros
from avsd_jax.data import preprocessing, samplers
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.pipeline import eval_batches, train_batches

CLOCK = ClassifierInputs(num_frames=2, frame_rate=8.0, frame_size=16, sample_rate=8000, audio_seconds=0.5)


@pytest.mark.parametrize(
    "spec",
    [
        ClipSpec(4, (16, 32), avc=CLOCK, tags=("dog", "bell")),
        ClipSpec(4, (16, 32), audio=False),
        ClipSpec(3, (16, 16), sampler=samplers.create("centred"), preprocessing=preprocessing.create("stanet")),
    ],
    ids=["everything", "vision alone", "stanet"],
)
def test_batches_are_what_their_specification_says(spec: ClipSpec):
    store = memory_store([source_video(num_frames=12)])
    host = {key for key, entry in ENTRIES.items() if entry.reader == "host"}
    for batches in (train_batches, eval_batches):
        options = {"seed": 0} if batches is train_batches else {}
        batch = next(batches(store, spec, batch_size=2, num_threads=0, **options))
        expected = batch_shapes(spec, 2)
        assert batch.keys() == expected.keys() | host
        for key, shape in expected.items():
            assert (batch[key].shape, batch[key].dtype) == (shape.shape, shape.dtype), key
        assert step_inputs(batch).keys() == zeros(spec, 2).keys() == expected.keys()
        # Targets stay on the host where nothing is trained.
        assert model_inputs(batch).keys() == expected.keys() - {"density", "fixations", "tags", "video_index"}


def test_a_new_sampler_or_preprocessing_is_one_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "backwards.py").write_text(
        "import dataclasses\n"
        "from avsd_jax.data.samplers import vinet\n"
        "from avsd_jax.data.window import Window\n\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Sampler(vinet.Sampler):\n"
        "    ahead: int = 0\n\n"
        "    def eval_window(self, target, num_frames, clip_size, frame_step):\n"
        "        first = min(target + self.ahead, num_frames - 1)\n"
        "        frames = tuple(max(0, first - i * frame_step) for i in range(clip_size))\n"
        "        return Window(frames, target, audio_first=frames[-1], audio_last=first)\n"
    )
    (tmp_path / "halves.py").write_text(
        "import dataclasses\n"
        "from avsd_jax.data.preprocessing import stavis\n\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Preprocessing(stavis.Preprocessing):\n"
        "    factor: float = 0.5\n\n"
        "    def normalise(self, frames):\n"
        "        return super().normalise(frames) * self.factor\n"
    )
    for package in (samplers, preprocessing):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    store = memory_store([source_video(num_frames=12)])

    def shown(sampler: str, name: str, **options: int) -> np.ndarray:
        chosen = samplers.create(sampler, **options)
        spec = ClipSpec(2, (16, 32), sampler=chosen, preprocessing=preprocessing.create(name))
        return next(eval_batches(store, spec, batch_size=12, num_threads=0))["video"]

    ours, theirs = shown("backwards", "halves", ahead=1), shown("vinet", "stavis")
    np.testing.assert_allclose(ours[3:-1], theirs[4:, ::-1] / 2)

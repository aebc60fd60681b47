"""Self-supervised pre-training from its configuration: AVID, CMA from its memory, and the classifier from both."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from config_files import CONFIGS, load
from flax import linen as nn
from ml_collections import ConfigDict

from avsd_jax.batch import ClassifierInputs
from avsd_jax.common.parallel import make_mesh
from avsd_jax.errors import InputError
from avsd_jax.experiment.comparison import derive
from avsd_jax.models import avid_instance
from avsd_jax.nn import cross_modal_nce as nce
from avsd_jax.runs.checkpoint import save_variables
from avsd_jax.runs.components import Inference
from avsd_jax.runs.initial import initial_variables
from avsd_jax.training import loop

SMALL = {"width": 0.03, "num_frames": 2, "frame_size": 16, "sample_rate": 8000, "audio_seconds": 0.25}
INPUTS = ClassifierInputs(2, 16.0, 16, 8000, 0.25)


def stages(data_dir: pathlib.Path, folder: pathlib.Path, **changes: object) -> dict[str, ConfigDict]:
    """The rows of `configs/avc.py:avid_pretrain_demo`, at a size that compiles soon."""
    config = load(CONFIGS / "avc.py").get_config("avid_pretrain_demo").unlock()
    config.update(dataset="sounding_shapes/tiny", data_dir=str(data_dir), build_data=False, frame_size=(8, 8))
    config.update(total_steps=3, batch_size=8, schedule="constant", warmup_steps=0, log_every=1)
    config.update(checkpoint_every=100, tensorboard=False, **changes)
    config.model.classifier_options = ConfigDict(SMALL)
    for row in ("instance", "agreement"):
        config.row_changes[row].model.update(instances=4, negatives=16, within_negatives=4)
        config.row_changes[row].model.classifier_options = ConfigDict(SMALL)
    config.row_changes.agreement.model.positives = 2
    return {row.name: row.config for row in derive(config, folder)}


def train(config: ConfigDict, folder: pathlib.Path, devices: int = 1) -> loop.TrainState:
    return jax.device_get(loop.train(config, folder, mesh=make_mesh(jax.devices()[:devices])))


def changed(config: ConfigDict, **fields: object) -> ConfigDict:
    with config.unlocked():
        result = config.copy_and_resolve_references()
    result.unlock().update(**fields)
    return result.lock()


class Shallow(nn.Module):
    """Embeds as `avid` does, and compiles in a second."""

    def setup(self) -> None:
        self.video_proj, self.audio_proj = nn.Dense(8), nn.Dense(8)

    @nn.nowrap
    def front_end(self, waveform: jax.Array) -> jax.Array:
        return waveform

    def embed(self, frames: jax.Array, audio: jax.Array, train: bool) -> dict[str, jax.Array]:
        return {"video": self.video_proj(frames.mean((1, 2, 3))), "audio": self.audio_proj(audio)}


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders that take the place of AVID's."""
    monkeypatch.setattr(avid_instance.classifiers, "create", lambda name, **options: Shallow())
    monkeypatch.setattr(avid_instance.classifiers, "inputs", lambda name, options: INPUTS)


@pytest.mark.slow
def test_two_stages(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, shallow: None) -> None:
    rows = stages(tiny_data_dir, tmp_path)
    whole = train(rows["instance"], tmp_path / "instance")
    memory = nce.Memory(**jax.tree.map(jnp.asarray, whole.batch_stats["memory"]))
    assert memory.z > 0
    np.testing.assert_allclose(np.linalg.norm(memory.video, axis=1), 1, rtol=1e-5)

    # The memory is part of what is saved: a run that was stopped ends with the same bits.
    for steps in (1, 3):
        stopped = train(changed(rows["instance"], total_steps=steps), tmp_path / "stopped")
    jax.tree.map(np.testing.assert_array_equal, stopped, whole)

    agreement = train(rows["agreement"], tmp_path / "agreement")
    similar = agreement.batch_stats["similar"]
    np.testing.assert_array_equal(similar, nce.mine_positives(memory, 2))
    assert agreement.batch_stats["memory"]["z"] == memory.z
    assert '"cma_nce"' in (tmp_path / "agreement/metrics.jsonl").read_text()


@pytest.mark.slow
def test_a_classifier_starts_from_what_was_learned(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    rows = stages(tiny_data_dir, tmp_path)
    # Another model than that of shallow encoders, whose programs are kept.
    model = ConfigDict(rows["instance"].model.to_dict() | {"negatives": 14})
    config = changed(rows["instance"], model=model)
    learned = initial_variables(config, Inference.from_config(config))
    save_variables(tmp_path / "agreement", config, learned)
    config = changed(rows["classifier"], seed=1)
    start = initial_variables(config, Inference.from_config(config))
    for part in ("video_model", "audio_model", "video_proj"):
        jax.tree.map(np.testing.assert_array_equal, start["params"][part], learned["params"][part])
    assert "classifier_0" in start["params"]
    assert start["batch_stats"].keys() == {"video_model", "audio_model"}


@pytest.mark.slow
def test_several_devices_share_one_memory(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, shallow: None) -> None:
    config = stages(tiny_data_dir, tmp_path)["instance"]
    # Another model than the other tests', whose programs are kept; Adam's first steps would follow a gradient's sign.
    model = ConfigDict(config.model.to_dict() | {"negatives": 15})
    config = changed(config, model=model, optimizer="sgd", learning_rate=0.01)
    one, eight = (train(config, tmp_path / str(n), n) for n in (1, 8))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    # Mapped devices draw negatives of their own; all know all embeddings.
    config = changed(config, total_steps=1)
    one, mapped = (train(changed(config, executor=name), tmp_path / name, n) for name, n in (("jit", 1), ("pmap", 8)))
    for bank in ("video", "audio"):
        banks = [state.batch_stats["memory"][bank] for state in (one, mapped)]
        np.testing.assert_allclose(*banks, atol=1e-5)
    assert mapped.batch_stats["memory"]["z"] > 0


def test_mistakes_are_named(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path) -> None:
    rows = stages(tiny_data_dir, tmp_path)
    model = ConfigDict(rows["instance"].model.to_dict() | {"instances": 9})
    with pytest.raises(InputError, match=r"has 4 videos and the model's memory 9 rows: set model\.instances=4"):
        train(changed(rows["instance"], model=model), tmp_path / "wrong")
    with pytest.raises(InputError, match=r"model\.positives=2 are found in the memory of a run of AVID"):
        train(changed(rows["agreement"], init=""), tmp_path / "early")
    assert not (tmp_path / "early/config.json").exists()

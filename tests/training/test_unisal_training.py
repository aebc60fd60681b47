"""UNISAL's loss, rates and clips, and steps of its variant with sound by configuration."""

import drawn
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from config_files import CONFIGS, load
from flax import linen as nn
from one_vector import one_vector_step
from videos import memory_store, source_video

from avsd_jax import losses
from avsd_jax.batch import zeros
from avsd_jax.data.pipeline import train_batches
from avsd_jax.data.samplers import unisal as sampler
from avsd_jax.models import unisal, unisal_av
from avsd_jax.runs.components import Components
from avsd_jax.runs.optimizer import make_schedule
from avsd_jax.training.hyperparameters import hyperparameters_by_step

VARIANTS = ("frozen", "paper")


class Trunk(nn.Module):
    """Stands for MobileNetV2, which takes most of the time to compile."""

    norms: object
    width: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> dict[str, jax.Array]:
        norm = self.norms.create("norm")(nn.Conv(4, (3, 3), (8, 8))(x), use_running_average=not train)
        return {"4x": norm, "2x": norm[:, ::2, ::2], "1x": norm[:, ::4, ::4]}


@pytest.mark.slow
def test_two_steps_with_sound(monkeypatch):
    monkeypatch.setattr(unisal, "MobileNetV2", Trunk)
    heard = lambda waveform, train: {"conv7": waveform[:, ::5000, None] * jnp.ones(4)}  # noqa: E731
    monkeypatch.setattr(unisal_av, "SoundNet", lambda width, axis_name, name: heard)
    config = load(CONFIGS / "unisal_av.py").get_config("oracle").unlock()
    config.model.update(clip_size=3, width=0.02, domains=("DHF1K",))
    rates = config.rates
    config.update(frame_size=(64, 64), batch_size=2, rates=(), flip=False)
    parts = Components.from_config(config)
    videos = memory_store([source_video(size=(60, 80))])
    batches = train_batches(videos, parts.spec, batch_size=2, seed=0, num_threads=0)
    before = drawn.variables(drawn.shapes(parts.model, zeros(parts.spec)))
    state, step, unravel = one_vector_step(parts, before)
    numbers = hyperparameters_by_step(config, parts)
    for number in range(2):
        batch = parts.step_inputs(next(batches))
        assert batch["audio"].shape == (2, 3, 35280)
        assert batch["frame_labels"].shape == (2, 3)
        state, metrics = step(state, batch, numbers(number))
        assert all(jax.tree.leaves(metrics["finite"])), metrics
        assert {"log_kl", "nss", "cc"} <= metrics.keys()
    moved = {
        jax.tree_util.keystr(path, simple=True, separator="/"): bool((np.asarray(new) != old).any())
        for (path, new), old in zip(
            jax.tree.leaves_with_path(unravel(state.params)), jax.tree.leaves(before["params"]), strict=True
        )
    }
    assert all(change for path, change in moved.items() if "rnn/u" in path or "smoothing" in path or "cnn" in path)
    stats = {
        name: (state.batch_stats["visual_model"][name], before["batch_stats"]["visual_model"][name])
        for name in ("cnn", "rnn")
    }
    same = {name: jax.tree.map(np.array_equal, *pair) for name, pair in stats.items()}
    assert all(jax.tree.leaves(same["cnn"])), "the trunk's norms keep the statistics of its pretraining"
    assert not any(jax.tree.leaves(same["rnn"]))
    # The trunk is found by the rates.
    assert rates[0] == ("(^|/)cnn/", 0.1)
    assert any(path.startswith("visual_model/cnn/") for path in moved)


def test_the_divergence_is_that_of_a_density_from_its_logarithm():
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((3, 6, 8)).astype(np.float32), rng.random((3, 6, 8), np.float32)
    target[1, :3], target[2] = 0, 0
    s = np.exp(logits) / np.exp(logits).sum((1, 2), keepdims=True)
    s, target = jnp.asarray(s), jnp.asarray(target)
    found = losses.log_kl(jnp.log(s), target)
    np.testing.assert_allclose(found, [*losses.kl(s[:2], target[:2]), 0], rtol=1e-5)


def test_rates_are_four_fifths_after_each_epoch():
    rates = []
    for variant in VARIANTS:
        config = load(CONFIGS / "unisal.py").get_config(variant)
        schedule = make_schedule(config)
        rates += [float(schedule(step)) for step in range(0, config.total_steps, 42)]
    np.testing.assert_allclose(rates, 0.04 * 0.8 ** np.arange(16), rtol=1e-5)


def test_frames_of_a_training_clip_are_some_way_apart():
    draw = sampler.Sampler(step=5)
    for length, distance in ((200, 5), (56, 5), (30, 2), (3, 1)):
        window = draw.train_window(np.random.default_rng(0), 0, length, 12, 1, lambda frame: False)
        assert {b - a for a, b in zip(window.frames, window.frames[1:], strict=False)} <= {distance, 0}
        assert max(window.frames) < length
    assert draw.eval_window(7, 200, 3, 1).frames == (7, 8, 9)

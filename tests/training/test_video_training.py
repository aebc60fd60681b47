"""ACLNet and DeepVS are trained by their losses, as the documentation says."""

import json
import re

import drawn
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from one_vector import OneVector
from videos import memory_store, source_video

from avsd_jax import losses
from avsd_jax.batch import zeros
from avsd_jax.config.base import base
from avsd_jax.data.pipeline import train_batches
from avsd_jax.losses.aclnet import aclnet_loss
from avsd_jax.losses.deepvs import deepvs_kl
from avsd_jax.models import aclnet, create, deepvs
from avsd_jax.runs.components import Components
from avsd_jax.training.hyperparameters import hyperparameters_by_step
from avsd_jax.training.state import create_state
from avsd_jax.training.step import make_train_step

RUNS = {
    "aclnet": ({"clip_size": 2, "width": 0.05}, {"aclnet": 1.0, "aclnet_attention": 1.0, "kl": 0.1}),
    "deepvs": ({"clip_size": 3, "gap": 1, "width": 0.02, "frozen_frames": True}, {"deepvs_kl": 1.0}),
}
# Stage 2 of DeepVS, as docs/video_models.md gives it.
STAGE_2 = ((r"^lstm_layer\d/i\d/|^deconv2?/", 1.0), ("", 0.0))


class Trunk(nn.Module):
    """Stands for the networks of single frames, which take most of the time to compile and are plain convolutions."""

    stride: int = 8

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.relu(nn.Conv(8, (3, 3), (self.stride, self.stride))(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(RUNS))
def test_two_steps(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aclnet, "VGG16", lambda width, pool_strides, name: lambda x: {"conv5": Trunk(name=name)(x)})
    monkeypatch.setattr(
        deepvs.Model, "_om_cnn", lambda self, now, later, train: (Trunk(16, name="om")(now), now[:, ::4, ::4, :1])
    )
    model, weights = RUNS[name]
    config = base(name)
    config.model.update(model)
    config.losses.update(dict.fromkeys(config.losses, 0.0) | weights)
    config.update(frame_size=(64, 64), rho=1.0, rates=())
    parts = Components.from_config(config)
    videos = memory_store([source_video(size=(60, 80))])
    batches = train_batches(videos, parts.spec, batch_size=2, seed=0, num_threads=0)
    variables = drawn.variables(drawn.shapes(parts.model, zeros(parts.spec)))
    vector, unravel = jax.flatten_util.ravel_pytree(variables["params"])
    state = create_state({"batch_stats": {}, "params": vector}, parts.optimizer, keep_ema=False)
    step = drawn.step_jit(make_train_step(OneVector(parts.model, unravel), parts.optimizer, parts.terms))
    numbers = hyperparameters_by_step(config, parts)
    for number in range(2):
        state, metrics = step(state, parts.step_inputs(next(batches)), numbers(number))
        assert all(jax.tree.leaves(metrics["finite"])), metrics
        assert weights.keys() <= metrics.keys()
    moved = jax.tree.map(lambda a, b: bool((np.asarray(a) != b).any()), variables["params"], unravel(state.params))
    moved = {jax.tree_util.keystr(k, simple=True, separator="/"): v for k, v in jax.tree.leaves_with_path(moved)}
    assert moved["om/Conv_0/kernel" if name == "deepvs" else "vgg/Conv_0/kernel"] == (
        name == "aclnet"
    )  # frozen in stage 2
    learning = ("lstm_layer", "deconv") if name == "deepvs" else ("conv_lst_m2d", "readout", "att_conv5")
    assert all(change for path, change in moved.items() if path.startswith(learning))


def test_the_rates_of_deepvs_leave_out_what_the_official_optimiser_does(shared):
    """The released checkpoint has no Adam slots of the recurrent kernels, nor of what stage 2 freezes."""
    table = json.loads((shared / "parity/baselines/deepvs_layers.json").read_text())
    slots = {name.removeprefix("inference/") for name in table["variables_with_adam_slots"]}
    shapes = drawn.shapes(create("deepvs"), {"video": jax.ShapeDtypeStruct((1, 21, 448, 448, 3), jnp.float32)})
    paths = drawn.flat_shapes(shapes["params"])
    rate = lambda rates, path: next(factor for pattern, factor in rates if re.search(pattern, path))  # noqa: E731
    stored = {path: re.sub(r"(\d)/([ih]\d)/", r"\1\2/", path) for path in paths}
    stored = {path: name.replace("kernel", "weights").replace("bias", "biases") for path, name in stored.items()}
    assert {stored[path] for path in paths if rate(STAGE_2, path)} == slots
    frozen = {stored[path] for path in paths if not rate(create("deepvs").defaults["rates"], path)}
    assert frozen == {f"lstm_layer{layer}h{gate}/weights" for layer in (1, 2) for gate in (1, 2, 3, 4)}


def test_losses_are_those_of_the_papers():
    rng = np.random.default_rng(0)
    pred, density = (rng.random((3, 8, 10), np.float32) for _ in range(2))
    fixations = (rng.random((3, 8, 10)) > 0.9).astype(np.float32)
    density[2] *= 0.09  # counts as none
    expected, divergences = [], []
    for p, g, f in zip(*(np.float64(x) for x in (pred, density, fixations)), strict=True):
        s, t = p / p.max() / (p / p.max()).sum(), g / g.sum()
        kl = (t * np.log(t / s)).sum()
        z = (p - p.mean()) / p.std()
        expected.append((10 * kl - 2 * np.corrcoef(p.ravel(), g.ravel())[0, 1]) * (g.max() > 0.1) - z[f > 0].mean())
        divergences.append(kl)
    ours, theirs = drawn.fast_jit(aclnet_loss), drawn.fast_jit(deepvs_kl)
    found = ours(7 * pred, density, fixations)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(theirs(3 * pred, density), divergences, rtol=2e-3)
    zero = jnp.zeros((1, 8, 10))
    for function in (lambda p: aclnet_loss(p, zero, zero), lambda p: deepvs_kl(p, zero)):
        value, gradient = drawn.fast_jit(jax.value_and_grad(lambda p, f=function: f(p).sum()))(zero)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_terms_of_maps_are_means_over_the_frames_of_a_clip():
    """A clip of three frames, one of which has no target, costs the mean of the other two; one without any, nothing."""
    rng = np.random.default_rng(1)
    maps, density = (jnp.asarray(rng.random((2, 3, 8, 10), np.float32)) for _ in range(2))
    density = density.at[0, 1].set(0).at[1].set(0)
    output = {"saliency": maps, "logits": maps, "attention": maps[..., ::2, ::2]}
    batch = {"density": density, "fixations": (density > 0.9).astype(jnp.float32)}
    names = ("kl", "cc", "nss", "stavis_bce", "aclnet", "aclnet_attention")
    terms = drawn.fast_jit(lambda o, b: losses.compute(o, b, names))(output, batch)
    assert {name: value.shape for name, (value, _) in terms.items()} == dict.fromkeys(names, (2,))
    frame = drawn.fast_jit(losses.kl)(maps[0], density[0])
    np.testing.assert_allclose(terms["kl"][0][0], (frame[0] + frame[2]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(terms["kl"][1], [1, 0])
    np.testing.assert_array_equal(terms["stavis_bce"][1], [1, 1])
    each = drawn.fast_jit(aclnet_loss)(maps[0], density[0], batch["fixations"][0])
    np.testing.assert_allclose(terms["aclnet"][0], [each.sum(), 0], rtol=1e-6)

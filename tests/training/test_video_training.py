"""ACLNet and DeepVS are trained by their losses and scored, as the documentation says."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_run import tiny_config

from avsd_jax import losses, models
from avsd_jax.common.parallel import make_mesh
from avsd_jax.losses.aclnet import aclnet_loss
from avsd_jax.losses.deepvs import deepvs_kl
from avsd_jax.runs.components import Inference
from avsd_jax.runs.initial import initial_variables
from avsd_jax.training import loop, score
from avsd_jax.training.metric_writer import read_scalars

RUNS = {
    "aclnet": (
        {"clip_size": 2, "width": 0.05},
        {"losses": ConfigDict({"aclnet": 1.0, "aclnet_attention": 1.0, "kl": 0.1})},
    ),
    "deepvs": (
        {"clip_size": 3, "gap": 1, "width": 0.02, "frozen_frames": True},
        {
            "losses": ConfigDict({"deepvs_kl": 1.0, "deepvs_coarse": 0.5}),
            "optimizer_options": ConfigDict({"weight_decay": 5e-6}),
            "rates": ((r"^lstm_layer\d/i\d/|^deconv2?/", 1.0), ("", 0.0)),
        },
    ),
}


@pytest.mark.parametrize("name", list(RUNS))
def test_two_steps_and_scores(name: str, tiny_data_dir: Path, tmp_path: Path):
    model, changes = RUNS[name]
    fields = {**models.create(name).defaults, **changes, "frame_size": (64, 64)}
    config = tiny_config(tiny_data_dir, model_name=name, model=ConfigDict(model), **fields).unlock()
    config.update(total_steps=2, batch_size=2, log_every=1, eval_stride=40, audit=False)
    state = loop.train(config.lock(), tmp_path, mesh=make_mesh(jax.devices()[:1]))
    lines = read_scalars(tmp_path / "metrics.jsonl")
    assert {*changes["losses"], "loss"} <= lines[-1].keys()
    assert all(math.isfinite(line["loss"]) for line in lines)
    parts = Inference.from_config(config)
    begin = initial_variables(config, parts)
    moved = jax.tree.map(lambda a, b: bool(np.abs(a - b).max() > 0), begin["params"], state.params)
    if name == "aclnet":
        assert all(jax.tree.leaves(moved["conv_lst_m2d"]) + jax.tree.leaves(moved["readout"]))
    else:
        paths = {"/".join(str(k.key) for k in path): v for path, v in jax.tree.leaves_with_path(moved)}
        trained = {path for path, value in paths.items() if value}
        assert trained == {p for p in paths if p.startswith(("lstm_layer1/i", "lstm_layer2/i", "deconv/", "deconv2/"))}
        jax.tree.map(np.testing.assert_array_equal, begin["batch_stats"], state.batch_stats)
    record = score.evaluate(config, parts, state.eval_variables)["real"]
    assert math.isfinite(record["scores"]["all"]["CC"])


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
    found = aclnet_loss(*map(jnp.asarray, (7 * pred, density, fixations)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(deepvs_kl(jnp.asarray(3 * pred), jnp.asarray(density)), divergences, rtol=2e-3)
    zero = jnp.zeros((1, 8, 10))
    for function in (lambda p: aclnet_loss(p, zero, zero), lambda p: deepvs_kl(p, zero)):
        value, gradient = jax.value_and_grad(lambda p, f=function: f(p).sum())(zero)
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
    terms = losses.compute(output, batch, names)
    assert {name: value.shape for name, (value, _) in terms.items()} == dict.fromkeys(names, (2,))
    frame = losses.kl(maps[0], density[0])
    np.testing.assert_allclose(terms["kl"][0][0], (frame[0] + frame[2]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(terms["kl"][1], [1, 0])
    np.testing.assert_array_equal(terms["stavis_bce"][1], [1, 1])
    each = aclnet_loss(maps[0], density[0], batch["fixations"][0])
    np.testing.assert_allclose(terms["aclnet"][0], [each.sum(), 0], rtol=1e-6)

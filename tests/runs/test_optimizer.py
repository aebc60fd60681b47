"""What optax does not have: dampening, rates by group, a schedule in steps; and STAViS's recorded training steps."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from avsd_jax.errors import InputError
from avsd_jax.runs.optimizer import clip_by_global_norm, dampened_sgd, make_optimizer, make_schedule, scale_by_rates


def settings(**changes: object) -> ConfigDict:
    return ConfigDict(
        {
            "optimizer": "dampened_sgd",
            "optimizer_options": {},
            "learning_rate": 0.01,
            "schedule": "constant",
            "rate_drops": (29 / 60, 44 / 60),
            "warmup_steps": 0,
            "total_steps": 60 * 38,
            "clip_norm": 0.0,
            "rates": (),
        }
        | changes
    )


def test_dampened_sgd_is_what_pytorch_documents() -> None:
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((4, 3)).astype(np.float32)
    optimizer = dampened_sgd(0.1, momentum=0.9, dampening=0.6, weight_decay=0.01)
    parameter = jnp.asarray(rng.standard_normal(3), jnp.float32)
    expected, buffer = np.asarray(parameter), None
    state = optimizer.init(parameter)
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, parameter)
        parameter = optax.apply_updates(parameter, updates)
        decayed = gradient + 0.01 * expected
        buffer = decayed if buffer is None else 0.9 * buffer + 0.4 * decayed
        expected = expected - 0.1 * buffer
        np.testing.assert_allclose(parameter, expected, rtol=1e-6)


def test_sgd_decays_weights_before_momentum_as_pytorch_does() -> None:
    gradients = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    optimizer = make_optimizer(settings(optimizer="sgd", optimizer_options=options))
    parameter = jnp.ones(4)
    expected, buffer, state = np.ones(4), np.zeros(4), optimizer.init(parameter)
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, parameter, learning_rate=0.01)
        parameter = optax.apply_updates(parameter, updates)
        decayed = gradient + 0.01 * expected
        buffer = 0.9 * buffer + decayed
        expected = expected - 0.01 * (decayed + 0.9 * buffer)
        np.testing.assert_allclose(parameter, expected, rtol=1e-6)


def test_rates_are_those_of_the_first_entry_found() -> None:
    params = {"trunk": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}, "head": {"kernel": jnp.full(2, jnp.inf)}}
    rates = [("trunk/.*bias", 2.0), ("trunk", 0.5), ("head", 0.0)]
    scale = scale_by_rates(rates)
    updates, _ = scale.update(params, scale.init(params))
    assert updates["trunk"]["bias"].tolist() == [2, 2]
    assert updates["trunk"]["kernel"].tolist() == [0.5, 0.5]
    assert updates["head"]["kernel"].tolist() == [0, 0], "what is not trained is left alone whatever its gradient"
    with pytest.raises(InputError, match="no entry of rates is for the parameter head/kernel"):
        scale_by_rates(rates[:2]).init(params)


def test_an_entry_of_rates_that_is_no_expression_is_named() -> None:
    with pytest.raises(InputError, match=r"\('\(', 1.0\) in rates is no pair"):
        scale_by_rates([("trunk", 0.5), ("(", 1.0)])


def test_rates_scale_the_steps_of_any_optimizer() -> None:
    config = settings(optimizer="adam", rates=(("a", 1.0), ("b", 0.1)), clip_norm=1.0)
    params = {"a": jnp.ones(3), "b": jnp.ones(3)}
    optimizer = make_optimizer(config)
    gradients, numbers = {"a": jnp.ones(3), "b": jnp.ones(3)}, {"learning_rate": 0.01, "clip_norm": 1.0}
    updates, _ = optimizer.update(gradients, optimizer.init(params), params, **numbers)
    np.testing.assert_allclose(updates["a"], 10 * updates["b"], rtol=1e-5)


def test_clipping_by_one_factor_is_optaxs() -> None:
    ours, theirs = clip_by_global_norm(1.0), optax.clip_by_global_norm(1.0)
    for size in (0.1, 3.0, np.inf):
        grads = {"a": jnp.array([size, -0.5]), "b": jnp.arange(3.0), "half": jnp.full(4, 0.25, jnp.bfloat16)}
        (a, _), (b, _) = (clip.update(grads, clip.init(grads)) for clip in (ours, theirs))
        for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one.astype(float), other.astype(float), rtol=1e-6 if one.size < 4 else 1e-2)


def test_the_schedule_in_steps_is_stavis(shared) -> None:
    recorded = json.loads((shared / "parity/stavis/golden_train_step.json").read_text())
    schedule = make_schedule(settings(schedule="steps"))
    for epoch, multiplier in enumerate(recorded["lr_multiplier_by_epoch_1_to_60"]):
        for step in (38 * epoch, 38 * epoch + 37):
            np.testing.assert_allclose(schedule(step), 0.01 * multiplier, rtol=1e-5)


def test_an_unknown_schedule_names_those_there_are() -> None:
    with pytest.raises(InputError, match="unknown schedule 'exponential': choose constant, cosine or steps"):
        make_schedule(settings(schedule="exponential"))

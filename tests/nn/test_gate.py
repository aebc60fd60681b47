"""The gate of eq. 2: what opens it, what it lets through, and that nothing is learned through it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avsd_jax.errors import InputError
from avsd_jax.nn.gate import AVCGate, predicted_consistent, select

LABELS = jnp.array([1, 0, -1, 1])
LOGITS = jnp.array([[0.0, 3.0], [2.0, -1.0], [-1.0, 0.5], [1.0, 1.0]])


def test_each_source():
    assert AVCGate("always")(3).tolist() == [True] * 3
    assert AVCGate("never")(3).tolist() == [False] * 3
    # Unlabelled clips are left to vision.
    assert AVCGate("labels")(4, labels=LABELS).tolist() == [True, False, False, True]
    # Class 1 is consistent; a tie is not.
    assert AVCGate("classifier")(4, LOGITS).tolist() == [True, False, True, False]


def test_teacher_forcing_is_for_training_only():
    gate = AVCGate("classifier", train_source="labels")
    by_labels = AVCGate("labels")(4, labels=LABELS)
    by_logits = predicted_consistent(LOGITS)
    assert gate(4, LOGITS, LABELS, train=True).tolist() == by_labels.tolist()
    assert gate(4, LOGITS, LABELS, train=False).tolist() == by_logits.tolist()
    paper = AVCGate("classifier", train_source="predicted")
    assert paper(4, LOGITS, LABELS, train=True).tolist() == by_logits.tolist()
    # Other sources have no prediction to replace.
    assert AVCGate("always", train_source="labels")(4, train=True).tolist() == [True] * 4


def test_select_is_equation_2():
    fused, visual = jnp.full((4, 2, 3), 7.0), jnp.zeros((4, 2, 3))
    gate = jnp.array([True, False, False, True])
    weight = gate.astype(jnp.float32)[:, None, None]
    np.testing.assert_array_equal(select(gate, fused, visual), weight * fused + (1 - weight) * visual)


def test_the_flow_not_chosen_cannot_spoil_the_result():
    gate = jnp.array([True, False])
    fused, visual = jnp.array([[1.0], [jnp.nan]]), jnp.array([[jnp.inf], [2.0]])
    assert select(gate, fused, visual).ravel().tolist() == [1.0, 2.0]
    gradients = jax.grad(lambda f, v: select(gate, f, v).sum(), argnums=(0, 1))(fused, visual)
    assert [g.ravel().tolist() for g in gradients] == [[1.0, 0.0], [0.0, 1.0]]


def test_no_gradient_reaches_the_logits():
    gate = AVCGate("classifier")

    def score(logits):
        return select(gate(4, logits), jnp.full((4, 1), 5.0), jnp.ones((4, 1))).sum()

    assert not jax.grad(score)(LOGITS).any()


FUSED, VISUAL = jnp.array([[5.0], [7.0], [-2.0], [3.0]]), jnp.array([[1.0], [2.0], [4.0], [0.0]])


def mixed(mix: str, logits=LOGITS, fused=FUSED, visual=VISUAL, train=False, **options):
    switch = AVCGate("classifier", mix=mix, **options)
    return switch.combine(switch(4, logits, LABELS, train), fused, visual, logits, train)


def gradients(mix: str) -> list[np.ndarray]:
    """Of the sum with respect to logits, fused and visual stream."""
    return [np.asarray(g) for g in jax.grad(lambda *a: mixed(mix, *a).sum(), argnums=(0, 1, 2))(LOGITS, FUSED, VISUAL)]


def test_straight_through_has_the_hard_values_and_the_gradient_of_the_probability():
    np.testing.assert_array_equal(mixed("straight_through"), mixed("hard"))
    hard, straight, soft = (gradients(mix) for mix in ("hard", "straight_through", "soft"))
    assert not hard[0].any()
    assert np.abs(straight[0]).min() > 0
    # The streams learn as with a hard gate, the classifier as with a soft one.
    for of_hard, of_straight in zip(hard[1:], straight[1:], strict=True):
        np.testing.assert_array_equal(of_straight, of_hard)
    np.testing.assert_allclose(straight[0], soft[0], rtol=1e-6)


def test_soft_is_equation_2_with_a_real_number():
    p = jax.nn.softmax(LOGITS)[:, 1:]
    np.testing.assert_allclose(mixed("soft"), p * FUSED + (1 - p) * VISUAL, rtol=1e-6)
    np.testing.assert_allclose(mixed("soft", train=True), mixed("soft"), rtol=1e-6)
    certain = 1000 * jnp.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(mixed("soft", certain), mixed("hard", certain))


def test_only_a_classifier_that_decides_is_mixed():
    forced = mixed("soft", train=True, train_source="labels")
    np.testing.assert_array_equal(forced, select(AVCGate("labels")(4, labels=LABELS), FUSED, VISUAL))
    np.testing.assert_array_equal(AVCGate("always", mix="soft").combine(jnp.ones(4, bool), FUSED, VISUAL), FUSED)


def test_a_hard_gate_lets_no_nan_of_the_other_stream_through():
    gate = AVCGate("classifier")(4, LOGITS)[:, None]
    fused, visual = jnp.where(gate, FUSED, jnp.nan), jnp.where(gate, jnp.nan, VISUAL)
    assert jnp.isfinite(mixed("hard", LOGITS, fused, visual)).all()


def test_mistakes_are_named():
    with pytest.raises(InputError, match="unknown gate_mix 'half': choose one of hard, straight_through, soft"):
        AVCGate(mix="half")
    with pytest.raises(InputError, match="unknown gate 'sometimes': choose one of always, never, labels"):
        AVCGate("sometimes")
    with pytest.raises(InputError, match="unknown train_gate 'soft': choose one of predicted, labels"):
        AVCGate("classifier", "soft")
    with pytest.raises(InputError, match="'avc_label'"):
        AVCGate("labels")(2)
    with pytest.raises(InputError, match="'avc_label'"):
        AVCGate("classifier", "labels")(2, LOGITS[:2], train=True)
    with pytest.raises(InputError, match="logits"):
        AVCGate("classifier")(2)

"""AVID's loss, its memory and CMA's mining against the official code."""

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avsd_jax.errors import InputError
from avsd_jax.nn import cross_modal_nce as nce

RULES = tuple(nce.AGREEMENTS)


@pytest.fixture(params=[0, 1], ids=["seed0", "seed1"])
def recorded(shared, request):
    arrays = golden.load(shared, "avc/avid_nce", request.param)
    assert (arrays["temperature"], arrays["momentum"]) == (nce.TEMPERATURE, nce.MOMENTUM)
    return {name: jnp.asarray(a) if a.dtype.kind in "fi" else a for name, a in arrays.items()}


def _close(x: jax.Array, expected: jax.Array) -> None:
    limit = 1e-4 * np.sqrt(np.mean(np.square(expected)))
    np.testing.assert_allclose(x, expected, rtol=0, atol=limit)


def _mean_loss(*arguments: object) -> tuple[jax.Array, dict]:
    loss, terms = nce.avid_loss(*arguments)
    return loss.mean(), terms


def _two_steps(recorded: dict) -> nce.Memory:
    """Follows the recorded steps, comparing everything."""
    memory = nce.Memory(recorded["view1_mem_0"], recorded["view2_mem_0"], jnp.zeros(()))
    run = jax.jit(jax.value_and_grad(_mean_loss, (0, 1), has_aux=True))
    for step in ("step0", "step1"):
        video, audio, rows, draw = (recorded[f"{step}_{k}"] for k in ("video_emb", "audio_emb", "y", "draw"))
        negatives = nce.skip(draw, rows[:, None])
        np.testing.assert_array_equal(negatives, recorded[f"{step}_neg_index"])
        (loss, terms), grads = run(video, audio, memory, rows, negatives)
        _close(loss, recorded[f"{step}_loss"])
        _close(terms["v2a"].mean(), recorded[f"{step}_loss_v2a"])
        _close(terms["a2v"].mean(), recorded[f"{step}_loss_a2v"])
        _close(terms["z"], recorded[f"{step}_Z"][0])
        _close(grads[0], recorded[f"{step}_grad_video"])
        _close(grads[1], recorded[f"{step}_grad_audio"])
        memory = jax.jit(nce.update_memory)(memory, video, audio, rows, terms["z"])
        _close(memory.video, recorded[f"{step}_view1_mem"])
        _close(memory.audio, recorded[f"{step}_view2_mem"])
    return memory


def test_two_steps_of_avid_and_one_of_cma_equal_the_official_ones(recorded):
    memory = _two_steps(recorded)
    count = int(recorded["cma_pos_k"])
    mined = jax.jit(lambda memory: {rule: nce.mine_positives(memory, count, rule, block=7) for rule in RULES})(memory)
    for rule in RULES:
        np.testing.assert_array_equal(mined[rule], recorded[f"cma_positive_set_{rule}"])
    rows = recorded["cma_y"]
    positives = mined["consensus"][rows]
    negatives = nce.skip(recorded["cma_draw"], positives)
    np.testing.assert_array_equal(negatives, recorded["cma_neg_index"])
    video, audio = recorded["cma_video_emb"], recorded["cma_audio_emb"]
    few = int(recorded["cma_num_negatives_within"])
    instance, terms = nce.avid_loss(video, audio, memory, rows, negatives)
    agreement, within = nce.agreement_loss(video, audio, memory, positives, negatives[:, :few])
    _close((instance + agreement).mean() / 2, recorded["cma_loss"])
    terms |= within
    for ours, theirs in {"v2a": "inst-v2a", "a2v": "inst-a2v", "v2v": "pos-v2v", "a2a": "pos-a2a"}.items():
        _close(terms[ours].mean(), recorded[f"cma_loss_{theirs}"])
    memory = nce.update_memory(memory, video, audio, rows, terms["z"])
    _close(memory.video, recorded["cma_view1_mem"])
    _close(memory.audio, recorded["cma_view2_mem"])


def test_draws_leave_out_what_they_must_and_nothing_else():
    rows = jnp.array([0, 3, 5])
    drawn = nce.draw_negatives(jax.random.key(0), rows, 6, 300)
    assert [set(line) for line in drawn.tolist()] == [set(range(6)) - {row} for row in rows.tolist()]
    positives = jnp.array([[1, 2], [0, 5], [3, 4]])
    drawn = nce.draw_negatives_outside(jax.random.key(0), positives, 6, 300)
    assert [set(line) for line in drawn.tolist()] == [set(range(6)) - set(line) for line in positives.tolist()]


def test_of_several_clips_of_a_video_the_last_one_counts():
    memory = nce.init_memory(jax.random.key(0), 5, 8)
    video, audio = jax.random.normal(jax.random.key(1), (2, 3, 8))
    moved = nce.update_memory(memory, video, audio, jnp.array([4, 1, 4]), memory.z)
    expected = nce.update_memory(memory, video[1:], audio[1:], jnp.array([1, 4]), memory.z)
    for bank, other in ((moved.video, expected.video), (moved.audio, expected.audio)):
        np.testing.assert_array_equal(bank, other)


def test_memory_of_a_checkpoint_and_a_new_one():
    memory = nce.init_memory(jax.random.key(0), 10, 8)
    np.testing.assert_allclose(jnp.linalg.norm(memory.audio, axis=1), 1, rtol=1e-5)
    assert not np.allclose(memory.audio, memory.video)
    stored = {"nce_average.view1_mem": np.asarray(memory.video), "nce_average.view2_mem": np.asarray(memory.audio)}
    for z, expected in ((np.float32(2.5), 2.5), (np.array([2.5], np.float32), 2.5), (np.float32(-1), 0)):
        loaded = nce.memory_from_checkpoint({**stored, "criterion.avg_exp_score": z})
        np.testing.assert_array_equal(loaded.video, memory.video)
        assert loaded.z.shape == ()
        assert loaded.z == expected
    with pytest.raises(InputError, match=r"train_criterion has no 'criterion\.avg_exp_score'"):
        nce.memory_from_checkpoint(stored)


def test_mistakes_are_named():
    memory = nce.init_memory(jax.random.key(0), 4, 8)
    with pytest.raises(InputError, match="unknown agreement 'both': choose one of consensus, union, video, audio"):
        nce.mine_positives(memory, 2, "both")
    with pytest.raises(InputError, match="4 positives of 4 instances: give at most 3"):
        nce.mine_positives(memory, 4)

"""Saliency without training: it follows the region that changes with the audio, and nothing else, if there is one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import fast_jit

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.handcrafted.fusion import moving_regions

FRAMES, SIZE, RATE = 31, 32, 800
LEFT, RIGHT = (slice(8, 20), slice(3, 11)), (slice(12, 24), slice(21, 29))


def rhythm(seed: int) -> np.ndarray:
    """A smooth irregular curve in [0, 1] over the frames."""
    rng = np.random.default_rng(seed)
    knots = np.cumsum(rng.uniform(2, 6, 20))
    return np.interp(np.arange(FRAMES), knots - 4, rng.permutation(np.tile([0.0, 1.0], 10)))


def clip(seen: list, heard: np.ndarray, seed: int = 0) -> dict[str, jax.Array]:
    """A batch of one noisy clip in which patches pulsate, with noise whose loudness follows a curve."""
    rng = np.random.default_rng(seed)
    frames = 0.3 + 0.01 * rng.standard_normal((FRAMES, SIZE, SIZE, 3))
    for (rows, columns), curve in seen:
        frames[:, rows, columns] += 0.25 * curve[:, None, None, None]
    loudness = np.interp(np.arange(FRAMES * RATE) / RATE - 0.5, np.arange(FRAMES), heard)
    audio = 0.3 * loudness * rng.standard_normal(FRAMES * RATE)
    frames = frames.astype(np.float32)
    batch = {
        "video": frames[None, FRAMES // 2 - 1 : FRAMES // 2 + 1],
        "avc_frames": np.repeat(frames[None] - 0.45, 2, axis=1) / 0.225,
        "avc_audio": audio.astype(np.float32)[None],
        "avc_label": np.ones(1, np.int32),
    }
    return {key: jnp.asarray(value) for key, value in batch.items()}


@pytest.fixture(scope="module")
def forward() -> object:
    """The gated model, compiled once: every batch has eight clips of one size."""
    model = models.create("gbvs_av", cues="IM")
    return fast_jit(lambda batch: model.apply({"params": {}}, batch))


@pytest.fixture(scope="module")
def visual() -> object:
    """The visual stream alone."""
    model = models.create("gbvs_av", gate="never", cues="IM")
    return fast_jit(lambda batch: model.apply({"params": {}}, batch))


def eight(make: object) -> dict[str, jax.Array]:
    """A batch of `make(number)`."""
    return jax.tree.map(lambda *x: jnp.concatenate(x), *(make(number) for number in range(8)))


def mass(saliency: jax.Array, patch: tuple[slice, slice]) -> jax.Array:
    return saliency[:, *patch].sum((1, 2)) / saliency.sum((1, 2))


@pytest.mark.slow
def test_the_region_that_changes_with_the_audio_is_raised(forward: object, visual: object) -> None:
    """Whichever it is, and also if picture and audio are a frame apart, as in many files."""

    def make(number: int) -> dict[str, jax.Array]:
        curves = rhythm(2 * number), rhythm(2 * number + 1)
        heard = np.roll(curves[number % 2], (-1, 0, 1)[number % 3])
        return clip(list(zip((LEFT, RIGHT), curves, strict=True)), heard, number)

    batch = eight(make)
    out, alone = forward(batch), visual(batch)
    assert set(alone) == {"master", "gate", "saliency", "logits"}
    assert out["gate"].sum() >= 7
    np.testing.assert_array_equal(out["gate"], out["avc_logits"][:, 1] > out["avc_logits"][:, 0])
    raised = np.stack([mass(out["saliency"], patch) > mass(alone["saliency"], patch) for patch in (LEFT, RIGHT)])
    sounding = np.arange(8) % 2
    assert raised[sounding, np.arange(8)].sum() >= 7
    one = {key: value[:1] for key, value in batch.items()}
    padded = {key: jnp.concatenate([value] * 8) for key, value in one.items()}
    np.testing.assert_allclose(forward(padded)["saliency"][0], out["saliency"][0], atol=1e-5)


@pytest.mark.parametrize("case", ["other rhythm", "silence", "still picture", "steady noise"])
def test_without_agreement_the_visual_map_remains(case: str, forward: object, visual: object) -> None:
    def make(number: int) -> dict[str, jax.Array]:
        heard = np.ones(FRAMES) if case == "steady noise" else rhythm(100 + number)
        return clip([(LEFT, rhythm(2 * number)), (RIGHT, rhythm(2 * number + 1))], heard, number)

    batch = eight(make)
    if case == "silence":
        batch["avc_audio"] *= 0
    if case == "still picture":
        batch |= {"video": 0 * batch["video"] + 0.5, "avc_frames": 0 * batch["avc_frames"]}
    out = forward(batch)
    closed = np.flatnonzero(~np.asarray(out["gate"]))
    assert len(closed) >= (6 if case in ("other rhythm", "steady noise") else 8)
    assert np.isfinite(out["saliency"]).all()
    np.testing.assert_allclose(out["saliency"][closed], visual(batch)["saliency"][closed], atol=1e-6)


def test_time_that_is_missing_does_not_count(forward: object) -> None:
    """At the ends of a video its first or last frame is repeated, without audio: a third of the clip here."""
    batch = eight(lambda number: clip([(LEFT, rhythm(number))], rhythm(number), number))
    frames = batch["avc_frames"]
    batch["avc_frames"] = frames.at[:, :20].set(frames[:, 20:21])
    batch["avc_audio"] = batch["avc_audio"].at[:, : 10 * RATE].set(0)
    assert forward(batch)["gate"].sum() >= 6


def test_a_short_video_says_nothing(forward: object) -> None:
    """Eight frames with eight frames of audio always correlate, and moved audio, which is silent, never does."""
    batch = eight(lambda number: clip([(LEFT, rhythm(number))], rhythm(number + 50), number))
    frames, audio = (np.array(batch[key]) for key in ("avc_frames", "avc_audio"))
    frames[:, :11], frames[:, 19:] = frames[:, 11:12], frames[:, 18:19]
    audio[:, : 11 * RATE], audio[:, 19 * RATE :] = 0, 0
    assert not forward(batch | {"avc_frames": jnp.asarray(frames), "avc_audio": jnp.asarray(audio)})["gate"].any()


def test_gates_and_clips() -> None:
    batch = clip([(LEFT, rhythm(1))], rhythm(5))
    two = {key: jnp.concatenate([value, value]) for key, value in batch.items()}
    two["avc_label"] = jnp.array([1, 0], jnp.int32)
    model = models.create("gbvs_av", gate="labels", cues="I")
    out = jax.jit(lambda batch: model.apply({"params": {}}, batch))(two)
    np.testing.assert_array_equal(out["gate"], [True, False])
    assert models.create("gbvs_av", gate="never").classifier_inputs is None
    init = models.create("gbvs_av").init
    assert jax.tree.leaves(jax.eval_shape(lambda batch: init(jax.random.key(0), batch), batch)) == []
    with pytest.raises(InputError, match="unknown gate 'open'"):
        models.create("gbvs_av", gate="open").apply({"params": {}}, batch)
    with pytest.raises(InputError, match="15 frames are too few"):
        moving_regions.agreement(jnp.zeros((1, 15, 8, 8, 3)), jnp.zeros((1, 1500)))

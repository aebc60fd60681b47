"""Saliency without training: it follows the region that changes with the audio, and nothing else, if there is one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
        "avc_frames": (frames[None] - 0.45) / 0.225,
        "avc_audio": audio.astype(np.float32)[None],
        "avc_label": np.ones(1, np.int32),
    }
    return {key: jnp.asarray(value) for key, value in batch.items()}


@pytest.fixture(scope="module")
def forward() -> object:
    """The gated model, compiled once: every clip has the same size."""
    model = models.create("gbvs_av")
    return jax.jit(lambda batch: model.apply({"params": {}}, batch))


def mass(saliency: jax.Array, patch: tuple[slice, slice]) -> float:
    return float(saliency[0][patch].sum() / saliency[0].sum())


def test_the_region_that_changes_with_the_audio_is_raised(forward: object) -> None:
    curves = rhythm(1), rhythm(2)
    seen = list(zip((LEFT, RIGHT), curves, strict=True))
    visual = models.create("gbvs_av", gate="never").apply({"params": {}}, clip(seen, curves[0]))
    assert set(visual) == {"master", "gate", "saliency", "logits"}
    for sounding, patch in enumerate((LEFT, RIGHT)):
        out = forward(clip(seen, curves[sounding]))
        assert out["avc_logits"][0, 1] > out["avc_logits"][0, 0]
        assert bool(out["gate"][0])
        assert mass(out["saliency"], patch) > mass(visual["saliency"], patch)
        # By a frame late or early, as in many files.
        for shift in (-1, 1):
            assert bool(forward(clip(seen, np.roll(curves[sounding], shift)))["gate"][0])


@pytest.mark.parametrize("case", ["other rhythm", "silence", "still picture", "steady noise"])
def test_without_agreement_the_visual_map_remains(case: str, forward: object) -> None:
    batch = clip([(LEFT, rhythm(1)), (RIGHT, rhythm(2))], np.ones(FRAMES) if case == "steady noise" else rhythm(5))
    if case == "silence":
        batch["avc_audio"] *= 0
    if case == "still picture":
        batch |= {"video": 0 * batch["video"] + 0.5, "avc_frames": 0 * batch["avc_frames"]}
    out = forward(batch)
    assert not out["gate"][0]
    assert np.isfinite(out["saliency"]).all()
    visual = models.create("gbvs_av", gate="never").apply({"params": {}}, batch)
    np.testing.assert_allclose(out["saliency"], visual["saliency"], atol=1e-6)


def test_time_that_is_missing_does_not_count(forward: object) -> None:
    """At the ends of a video its first or last frame is repeated, without audio: a third of the clip here."""
    curve = rhythm(1)
    batch = clip([(LEFT, curve)], curve)
    frames = batch["avc_frames"]
    batch["avc_frames"] = frames.at[:, :10].set(frames[:, 10:11])
    batch["avc_audio"] = batch["avc_audio"].at[:, : 10 * RATE].set(0)
    assert bool(forward(batch)["gate"][0])


def test_gates_and_clips() -> None:
    batch = clip([(LEFT, rhythm(1))], rhythm(5))
    two = {key: jnp.concatenate([value, value]) for key, value in batch.items()}
    two["avc_label"] = jnp.array([1, 0], jnp.int32)
    out = models.create("gbvs_av", gate="labels").apply({"params": {}}, two)
    np.testing.assert_array_equal(out["gate"], [True, False])
    assert models.create("gbvs_av", gate="never").classifier_inputs is None
    assert jax.tree.leaves(models.create("gbvs_av").init(jax.random.key(0), batch)) == []
    with pytest.raises(InputError, match="unknown gate 'open'"):
        models.create("gbvs_av", gate="open").apply({"params": {}}, batch)
    with pytest.raises(InputError, match="7 frames are too few"):
        moving_regions.agreement(jnp.zeros((1, 7, 8, 8, 3)), jnp.zeros((1, 700)))

"""Fusions: one signature, the stated formulas, clear errors. Parity with AViNet is in test_avinet.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import flat_shapes, normal, shapes, variables

from avsd_jax.common.by_name import available
from avsd_jax.errors import InputError
from avsd_jax.models import fusions
from avsd_jax.nn.transformer import Transformer, sinusoid

NAMES = ["bilinear", "bilinear_transformer", "concat", "localisation", "sound_token", "spatial_alignment"]
NAMES += ["transformer"]
# STAViS joins its own feature instead of replacing V by one of the same shape.
SHAPED_LIKE_VISUAL = {"localisation": {"features": 0}}
VISUAL = jnp.maximum(normal(0, 2, 4, 2, 3, 16), 0)
AUDIO = jnp.maximum(normal(1, 2, 3, 16), 0)


def _build(name: str, visual: jax.Array = VISUAL, audio: jax.Array = AUDIO, **options):
    fusion = fusions.create(name, **options)
    return fusion, variables(shapes(fusion, visual, audio))


def test_available():
    assert available("avsd_jax.models.fusions") == NAMES


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_one_signature(name, dtype):
    fusion, drawn = _build(name, **SHAPED_LIKE_VISUAL.get(name, {}))
    cast = jax.tree.map(lambda x: jnp.asarray(x, dtype), drawn["params"])
    out = jax.eval_shape(
        lambda *args: fusion.apply(*args, train=True, rngs={"dropout": jax.random.key(0)}),
        {**drawn, "params": cast},
        jnp.asarray(VISUAL, dtype),
        jnp.asarray(AUDIO, dtype),
    )
    assert (out.shape, out.dtype) == (VISUAL.shape, dtype)


@pytest.mark.parametrize("name", NAMES)
def test_hears(name):
    fusion, drawn = _build(name, **SHAPED_LIKE_VISUAL.get(name, {}))
    one, other = (np.asarray(fusion.apply(drawn, VISUAL, audio)) for audio in (AUDIO, AUDIO[::-1]))
    assert np.isfinite(one).all()
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("name", ["concat", "spatial_alignment", "transformer"])
def test_any_audio(name):
    fusion, drawn = _build(name, audio=normal(2, 2, 5, 8))
    assert fusion.apply(drawn, VISUAL, normal(2, 2, 5, 8)).shape == VISUAL.shape


def test_bilinear_formula():
    fusion, drawn = _build("bilinear")
    kernel, bias = drawn["params"]["bilinear"]["kernel"], drawn["params"]["bilinear"]["bias"]
    assert kernel.shape == (4 * 2 * 3, 2 * 2, 3)
    expected = np.zeros((2, 24, 16))
    for row in range(2):
        for column in range(2):
            for step in range(3):
                seen = VISUAL[:, :, row, 2 * column].max(axis=1)
                weight = kernel[:, 2 * row + column, step]
                expected += weight[None, :, None] * (seen * AUDIO[:, step])[:, None]
    expected = (expected + bias[:, None]).reshape(VISUAL.shape)
    np.testing.assert_allclose(fusion.apply(drawn, VISUAL, AUDIO), expected, rtol=0, atol=2e-5)


def test_bilinear_sizes():
    official = shapes(fusions.create("bilinear"), jnp.zeros((1, 4, 7, 12, 1024)), jnp.zeros((1, 3, 1024)))
    assert flat_shapes(official["params"]) == {"bilinear/kernel": (336, 42, 3), "bilinear/bias": (336,)}
    fusion, drawn = _build("bilinear")
    with pytest.raises(InputError, match="4 visual positions and 3 audio steps to 24 positions"):
        fusion.apply(drawn, VISUAL, AUDIO[:, :2])
    with pytest.raises(InputError, match="the audio has 8 where the visual feature has 16"):
        fusion.apply(drawn, VISUAL, AUDIO[..., :8])


def test_concat_formula():
    fusion, drawn = _build("concat")
    kernel, bias = drawn["params"]["conv"]["kernel"][0, 0, 0], drawn["params"]["conv"]["bias"]
    expected = np.maximum(VISUAL @ kernel[:16] + (AUDIO.mean(1) @ kernel[16:])[:, None, None, None] + bias, 0)
    np.testing.assert_allclose(fusion.apply(drawn, VISUAL, AUDIO), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("residual", [False, True])
def test_alignment_by_copy_formula(residual):
    fusion, drawn = _build("spatial_alignment", residual=residual)
    dense = drawn["params"]["project"]
    vector = AUDIO.mean(1) @ dense["kernel"] + dense["bias"]
    expected = VISUAL * vector[:, None, None, None] + residual * VISUAL
    np.testing.assert_allclose(fusion.apply(drawn, VISUAL, AUDIO), expected, rtol=0, atol=1e-5)


def test_deconvolution_starts_as_a_copy():
    copy, drawn = _build("spatial_alignment")
    deconv = fusions.create("spatial_alignment", align="deconv")
    started = deconv.init(jax.random.key(0), VISUAL, AUDIO)["params"]["deconv"]
    assert started.shape == VISUAL.shape[1:]
    params = {"params": {**drawn["params"], "deconv": started}}
    expected = copy.apply(drawn, VISUAL, AUDIO)
    np.testing.assert_array_equal(deconv.apply(params, VISUAL, AUDIO), expected)
    params["params"]["deconv"] = started.at[0, 1, 2].set(0.0)
    changed = np.any(deconv.apply(params, VISUAL, AUDIO) != expected, axis=(0, -1))
    assert np.argwhere(changed).tolist() == [[0, 1, 2]]


def test_correlation_highlights_where_sound_and_sight_agree():
    visual = VISUAL[:1].at[0, 1, 0, 2].set(3 * AUDIO[0].mean(0))
    fusion, drawn = _build("spatial_alignment", visual, AUDIO[:1], combine="correlate", residual=False)
    drawn["params"] |= {"project": {"kernel": jnp.eye(16), "bias": jnp.zeros(16)}}
    drawn["params"] |= {"scale": jnp.asarray(5.0), "shift": jnp.asarray(0.0)}
    out = np.asarray(fusion.apply(drawn, visual, AUDIO[:1]))
    weight = out.sum(-1) / visual.sum(-1)
    assert np.unravel_index(weight.argmax(), weight.shape) == (0, 1, 0, 2)
    assert weight.max() == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-5)
    silent = fusion.apply(drawn, visual, jnp.zeros_like(AUDIO[:1]))
    np.testing.assert_allclose(silent, visual / 2, rtol=1e-6)


def test_alignment_options_are_checked():
    with pytest.raises(InputError, match="unknown align 'warp': choose one of copy, deconv"):
        _build("spatial_alignment", align="warp")
    with pytest.raises(InputError, match="unknown combine 'sum': choose one of multiply, correlate"):
        _build("spatial_alignment", combine="sum")


def test_positional_code_is_kept_but_not_trained():
    fusion = fusions.create("transformer")
    tree = fusion.init(jax.random.key(0), VISUAL, AUDIO)
    stored = flat_shapes(tree["batch_stats"])
    assert stored == {"transformer/pos_encoder/pe": (27, 1, 8)}
    code = np.asarray(tree["batch_stats"]["transformer"]["pos_encoder"]["pe"])
    np.testing.assert_array_equal(code, sinusoid(27, 8))
    position, pair = np.meshgrid(np.arange(27), np.arange(4), indexing="ij")
    angle = position / 10000 ** (2 * pair / 8)
    np.testing.assert_allclose(code[:, 0, 0::2], np.sin(angle), atol=1e-6)
    np.testing.assert_allclose(code[:, 0, 1::2], np.cos(angle), atol=1e-6)
    # A checkpoint's own code is used, and a training step hands it on.
    other = jax.tree.map(lambda x: x + 1, tree["batch_stats"])
    out, updates = fusion.apply({**tree, "batch_stats": other}, VISUAL, AUDIO, mutable=["batch_stats"])
    assert np.abs(out - fusion.apply(tree, VISUAL, AUDIO)).max() > 1e-3
    assert jax.tree.all(jax.tree.map(np.array_equal, updates["batch_stats"], other))


def test_dropout_is_for_training_only():
    model = Transformer(num_layers=1)
    tokens = normal(0, 2, 5, 8)
    drawn = variables(shapes(model, tokens))
    rngs = [{"dropout": jax.random.key(seed)} for seed in (0, 1)]
    trained = [model.apply(drawn, tokens, train=True, rngs=rng) for rng in rngs]
    tested = [model.apply(drawn, tokens, rngs=rng) for rng in rngs]
    assert np.abs(trained[0] - trained[1]).max() > 1e-3
    np.testing.assert_array_equal(tested[0], tested[1])


def test_heads_must_fit():
    with pytest.raises(InputError, match="24 features, not a multiple of num_heads=5"):
        _build("bilinear_transformer", num_heads=5)
    with pytest.raises(InputError, match=f"unknown fusion 'sum': choose one of {', '.join(NAMES)}"):
        fusions.create("sum")


def test_an_unknown_option_names_those_there_are():
    with pytest.raises(
        InputError, match="fusion 'spatial_alignment' has no option 'heads': choose among align, combine"
    ):
        fusions.create("spatial_alignment", heads=3)

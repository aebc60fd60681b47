"""UNISAL against the official network, its state between clips, and the forms in which its layers are computed."""

import functools

import drawn
import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from avsd_jax import models
from avsd_jax.data.preprocessing import unisal as preprocessing
from avsd_jax.errors import InputError
from avsd_jax.models.unisal import input_size
from avsd_jax.nn.depthwise import _shifted
from avsd_jax.nn.phase_smoothing import RepeatedSmoothing
from avsd_jax.torch_import import to_variables

TINY = {"clip_size": 4, "width": 0.02, "domains": ("DHF1K", "SALICON")}
CASES = [("dyn_DHF1K", 0), ("dyn_DHF1K", 1), ("dyn_UCFSports_target", 1), ("static_SALICON", 0)]
CASES += [pytest.param("dyn_Hollywood", 0, marks=pytest.mark.slow)]  # one more program


@functools.cache
def _forward(**options):
    return drawn.forward_jit(models.create("unisal", **options).apply)


@functools.cache
def _checkpoint(shared, seed: int) -> tuple[dict, dict]:
    return golden.state_dict(shared, "unisal/unisal", seed), golden.load(shared, "unisal/unisal", seed)


@pytest.mark.parametrize(("case", "seed"), CASES)
def test_equals_the_official_network(shared, case: str, seed: int):
    checkpoint, recorded = _checkpoint(shared, seed)
    domain, (_, frames, *_) = case.split("_")[1], recorded[f"{case}:shape"]
    size = {"target_size": recorded[f"{case}:logprob"].shape[-2:]} if case.endswith("_target") else {}
    video = golden.drawn_input(shared, case, recorded[f"{case}:shape"], seed).transpose(0, 1, 3, 4, 2)
    output = _forward(domain=domain, **size)(to_variables("unisal", checkpoint), {"video": video})
    np.testing.assert_allclose(
        output["log_density"], recorded[f"{case}:logprob"].reshape(output["logits"].shape), atol=2e-4
    )
    np.testing.assert_allclose(np.exp(output["log_density"]).sum((-2, -1)), 1, rtol=1e-4)
    np.testing.assert_allclose(output["saliency"].max((-2, -1)), 1)
    assert output["logits"].shape[:2] == (len(video), frames)
    assert ("carry" in output) == case.startswith("dyn")
    if "carry" in output:
        state = np.moveaxis(output["carry"], -1, 1)[:, ::32]
        np.testing.assert_allclose(state, recorded[f"{case}:hidden"], atol=2e-4)


def test_all_of_the_released_checkpoint_has_a_place(shared):
    checkpoint = _checkpoint(shared, 0)[0]
    assert len(checkpoint) == 835
    variables = to_variables("unisal", {f"module.{key}": array for key, array in checkpoint.items()})
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == 3_714_872
    shapes = drawn.shapes(models.create("unisal"), {"video": jax.ShapeDtypeStruct((1, 1, 32, 64, 3), jnp.float32)})
    assert drawn.flat_shapes(variables) == drawn.flat_shapes(shapes)
    key = "rnn.cell_list.0.w_r.conv_dw.weight"
    with pytest.raises(InputError, match=f"has no '{key}', which unisal needs"):
        to_variables("unisal", {k: v for k, v in checkpoint.items() if k != key})


@pytest.fixture(scope="module")
def drawn_model() -> tuple[dict, jax.Array]:
    """Variables and a clip of the tiny model."""
    video = drawn.normal(1, 2, 4, 64, 96, 3)
    return drawn.variables(drawn.shapes(models.create("unisal", **TINY), {"video": video})), video


@pytest.mark.slow
def test_clips_are_one_sequence(drawn_model):
    variables, video = drawn_model
    run = _forward(**TINY)
    whole = run(variables, {"video": video})
    nothing = jnp.zeros_like(whole["carry"])
    first = run(variables, {"video": video[:, :2], "carry": nothing})
    second = run(variables, {"video": video[:, 2:], "carry": first["carry"]})
    joined = np.concatenate([first["log_density"], second["log_density"]], axis=1)
    np.testing.assert_allclose(joined, whole["log_density"], atol=1e-5)
    np.testing.assert_allclose(second["carry"], whole["carry"], atol=1e-5)
    other = run(variables, {"video": video[:, 2:], "carry": nothing})
    assert np.abs(other["log_density"] - second["log_density"]).max() > 1e-3, "the state has no effect"


def test_images_bypass_the_recurrence(drawn_model):
    variables, video = drawn_model
    run, still = _forward(**TINY), _forward(**TINY, static=True)
    several = still(variables, {"video": video})
    assert "carry" not in several
    # As in the released code, a clip of one frame is an image, unless a state says that it is of a video.
    alone = run(variables, {"video": video[:, :1]})
    np.testing.assert_allclose(several["log_density"][:, :1], alone["log_density"], atol=1e-5)
    assert models.create("unisal").carries
    assert not models.create("unisal", domain="SALICON").carries
    assert models.create("unisal", domain="SALICON", static=False).carries


def test_domains_have_norms_priors_and_heads_of_their_own(drawn_model):
    variables, video = drawn_model
    moved = jax.tree_util.tree_map_with_path(
        lambda path, x: x + ("salicon" in jax.tree_util.keystr(path).lower()), variables
    )
    run = _forward(**TINY)
    np.testing.assert_array_equal(run(moved, {"video": video})["logits"], run(variables, {"video": video})["logits"])
    still = _forward(**TINY, domain="SALICON")
    assert np.abs(still(moved, {"video": video})["logits"] - still(variables, {"video": video})["logits"]).max() > 1e-2
    with pytest.raises(InputError, match="unknown domain 'TV' of unisal: choose one of DHF1K, Hollywood"):
        drawn.shapes(models.create("unisal", domain="TV"), {"video": video})
    with pytest.raises(InputError, match=r"video has shape \(4, 64, 96, 3\): give unisal \[b t h w 3\]"):
        jax.eval_shape(models.create("unisal", **TINY).apply, variables, {"video": video[0]})
    with pytest.raises(InputError, match="multiples of 32"):
        jax.eval_shape(models.create("unisal", **TINY).apply, variables, {"video": video[:, :, :50]})


@pytest.mark.parametrize("stride", [1, 2])
def test_shifted_sums_are_the_depthwise_convolution(stride: int):
    x, kernel, cotangent = drawn.normal(0, 2, 6, 9, 5), drawn.normal(1, 3, 3, 1, 5), drawn.normal(2, 2, 6, 9, 5)

    def grouped(x, kernel):
        names = ("NHWC", "HWIO", "NHWC")
        pads = [(1, 1), (1, 1)]
        return lax.conv_general_dilated(x, kernel, (stride,) * 2, pads, dimension_numbers=names, feature_group_count=5)

    def both(convolve):
        y, back = jax.vjp(convolve, x, kernel)
        return y, *back(cotangent[:, : y.shape[1], : y.shape[2]])

    ours, expected = jax.jit(lambda: (both(functools.partial(_shifted, stride)), both(grouped)))()
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize(("factor", "size"), [(8, 41), (4, 5), (2, 7)])
def test_smoothing_of_repeated_pixels_is_that_of_the_large_map(factor: int, size: int):
    maps, kernel = drawn.normal(0, 2, 3, 5), drawn.normal(1, size, size, 1, 1)
    ours = RepeatedSmoothing(factor, size).apply({"params": {"kernel": kernel}}, maps)
    large = np.pad(np.repeat(np.repeat(maps, factor, 1), factor, 2), [(0, 0)] + [(size // 2,) * 2] * 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(large.astype(np.float64), (size, size), (1, 2))
    expected = np.einsum("nhwkl,kl->nhw", windows, np.asarray(kernel)[..., 0, 0])
    np.testing.assert_allclose(ours, expected, atol=2e-6 * np.abs(expected).max())


def test_frames_are_those_of_the_released_code():
    sizes = {(360, 640): (224, 384), (720, 1280): (256, 416), (1280, 720): (416, 256), (480, 640): (288, 384)}
    assert {source: input_size(source) for source in sizes} == sizes
    assert input_size((360, 640), "SALICON") == (256, 416)
    assert [input_size((100, 900), domain) for domain in ("Hollywood", "UCFSports")] == [
        (224, 416),
        (256, 384),
    ]
    rules = preprocessing.Preprocessing()
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:, 32:] = 200
    row = rules.resize_frame(frame, (32, 32))[0, :, 0]
    assert row.max() > 200, "Lanczos's filter overshoots at an edge"
    np.testing.assert_allclose(
        rules.normalise(np.full((1, 1, 3), 255, np.uint8))[0, 0], [2.2489, 2.4286, 2.64], rtol=1e-4
    )
    np.testing.assert_array_equal(rules.to_image(np.array([[0.1, 0.2]])), [[127, 255]])

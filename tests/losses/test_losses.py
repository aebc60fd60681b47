"""Losses against the official ones, their guards, and eq. 3."""

import json
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import rule

from avsd_jax import losses
from avsd_jax.config.base import defaults
from avsd_jax.errors import InputError
from avsd_jax.losses import terms

PARTS = {"kl": 1.0, "ce": 1.0}
LOSSES = {"kldiv": losses.kl, "cc": losses.cc, "similarity": losses.sim, "nss": losses.nss}


@pytest.fixture
def golden(shared: Path) -> list[dict[str, Any]]:
    """Cases of the official losses, with their inputs made by the rule that the file states."""
    cases = json.loads((shared / "parity/vinet/golden_losses.json").read_text())["cases"]
    array = rule(shared).array
    for case in cases:
        drawn = {k: array(f"loss:{k}", case["shape"], case["seed"]) for k in ("pred", "gt", "fix")}
        case["inputs"] = golden_inputs(case["case"], **drawn)
    return cases


def golden_inputs(name: str, pred: np.ndarray, gt: np.ndarray, fix: np.ndarray) -> list[np.ndarray]:
    p = (1 / (1 + np.exp(-pred.astype(np.float64)))).astype(np.float32)
    g = np.exp(2 * gt.astype(np.float64))
    g = (g / g.max(axis=(1, 2), keepdims=True)).astype(np.float32)
    blur = lambda maps: np.stack([cv2.GaussianBlur(m, (11, 11), 0) for m in maps])  # noqa: E731
    p, g = {
        "plain": lambda: (p, g),
        "sparse_gt": lambda: (p, np.where(gt <= 1, 0, g)),
        "pred_with_zeros": lambda: (np.where(pred < -1, 0, p), g),
        "pred_eq_gt": lambda: (g, g),
        "gt_255": lambda: (p, g * 255),
        "blurred": lambda: (blur(p), blur(g)),
        "low_contrast": lambda: ((0.5 + 0.001 * pred).astype(np.float32), g),
        "constant_pred": lambda: (np.full_like(p, 0.5), g),
        "zero_gt": lambda: (p, 0 * g),
    }[name]()
    return [p, g, (fix > 2).astype(np.float32)]


def value_and_gradient(name: str, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def mean(p: jax.Array) -> tuple[jax.Array, jax.Array]:
        values = LOSSES[name](p, jnp.asarray(target))
        return values.mean(), values

    gradient, values = jax.grad(mean, has_aux=True)(jnp.asarray(pred))
    return np.asarray(values), np.asarray(gradient)


def test_official_values_and_gradients(golden: list[dict[str, Any]]) -> None:
    ordinary = ("plain", "sparse_gt", "gt_255", "blurred", "low_contrast")
    for case in golden:
        pred, density, fixations = case["inputs"]
        for name in LOSSES:
            values, gradient = value_and_gradient(name, pred, fixations if name == "nss" else density)
            assert np.isfinite(values).all(), (case["case"], name)
            assert np.isfinite(gradient).all(), (case["case"], name)
            expected = np.array([float(v) for v in case["per_item"][name]])
            if np.isnan(expected).any():
                continue  # where the official loss is NaN, ours is finite: asserted above
            atol = {"low_contrast": 1e-3}.get(case["case"], 1e-5)
            tolerance = {"rtol": 1e-5, "atol": 1e-6} if name == "kldiv" else {"rtol": 0, "atol": atol}
            np.testing.assert_allclose(values, expected, **tolerance, err_msg=f"{case['case']} {name}")
            if case["case"] in ordinary and name != "nss":
                norm = case[f"{name}_grad_norm"]
                np.testing.assert_allclose(np.linalg.norm(gradient), norm, rtol=1e-5)
            if case["case"] in ordinary and name == "kldiv":
                first = gradient.ravel()[:4]
                np.testing.assert_allclose(first, case["kldiv_grad_first4"], rtol=1e-4, atol=1e-8)


def test_kl_pulls_zero_pixels_gently() -> None:
    rng = np.random.default_rng(0)
    density = rng.random((1, 16, 24), np.float32)
    pred = rng.random((1, 16, 24), np.float32) + 0.1
    pred[0, 3, 4], density[0, 3, 4] = 0, 5
    _, gradient = value_and_gradient("kldiv", pred, density)
    uniform_pull = density[0, 3, 4] / density.sum() * density.size / pred.sum()
    assert gradient[0, 3, 4] < 0
    assert abs(gradient[0, 3, 4]) < 2 * uniform_pull  # the official gradient there is 4e9 times that

    for p, d in ((0 * pred, density), (pred, 0 * density), (0 * pred, 0 * density)):
        values, gradient = value_and_gradient("kldiv", p, d)
        assert np.isfinite(values).all()
        assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(value_and_gradient("kldiv", pred, 0 * density)[0], 0)


def test_constant_maps_have_no_correlation() -> None:
    density = np.random.default_rng(0).random((2, 16, 24), np.float32)
    for level in (0.0, 0.1, 0.7, 1e3):
        for name in ("cc", "nss"):
            values, gradient = value_and_gradient(name, np.full_like(density, level), density)
            np.testing.assert_array_equal(values, 0)
            np.testing.assert_array_equal(gradient, 0)


def test_cross_entropy_ignores_unlabelled() -> None:
    logits = jnp.array([[2.0, -1.0], [0.5, 0.5], [3.0, 4.0]])
    found = losses.cross_entropy(logits, jnp.array([1, 0, -1]))
    np.testing.assert_allclose(found, [3 + np.log1p(np.exp(-3)), np.log(2), 0], rtol=1e-6)


def make_batch(seed: int = 0) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    rng = np.random.default_rng(seed)
    saliency, density = rng.random((2, 6, 8, 12), np.float32)
    density[1] = 0  # no fixations
    output = {
        "saliency": jnp.asarray(saliency),
        "avc_logits": jnp.asarray(rng.normal(size=(6, 2)), jnp.float32),
    }
    batch = {
        "density": jnp.asarray(density),
        "fixations": jnp.asarray(rng.random((6, 8, 12)) < 0.1, jnp.float32),
        "avc_label": jnp.array([1, 0, -1, 1, -1, 0]),
        "mask": jnp.array([True, True, True, True, True, False]),
    }
    return output, batch


def mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    return (values * weights).sum() / weights.sum()


def test_eq_3() -> None:
    output, batch = make_batch()
    found = losses.compute(output, batch, losses.present(PARTS, 0.5))
    assert set(found) == {"kl", "ce"}
    np.testing.assert_array_equal(found["kl"][1], [1, 0, 1, 1, 1, 0])
    np.testing.assert_array_equal(found["ce"][1], [1, 1, 0, 1, 0, 0])
    means = {name: mean(*term) for name, term in found.items()}
    np.testing.assert_allclose(losses.total(means, PARTS, 0.5), 0.5 * means["ce"] + 0.5 * means["kl"])
    np.testing.assert_allclose(losses.total(means, PARTS, 0.8), 0.2 * means["ce"] + 0.8 * means["kl"], rtol=1e-6)

    without = losses.compute({"saliency": output["saliency"]}, batch, ("kl", "ce"))
    assert set(without) == {"kl"}
    np.testing.assert_allclose(losses.total({"kl": mean(*without["kl"])}, PARTS, 0.1), means["kl"])
    assert losses.present(PARTS | {"cc": 0.0}, 1.0) == ("kl",)

    weights = PARTS | {"cc": 1.0, "sim": 0.5, "nss": 0.25}
    means = {name: mean(*term) for name, term in losses.compute(output, batch, tuple(weights)).items()}
    saliency = means["kl"] - means["cc"] - 0.5 * means["sim"] - 0.25 * means["nss"]
    np.testing.assert_allclose(losses.total(means, weights, 0.5), 0.5 * (means["ce"] + saliency), rtol=1e-6)


def test_tags_are_told_by_eye_in_every_clip_and_by_ear_where_it_is_consistent() -> None:
    output, batch = make_batch()
    rng = np.random.default_rng(1)
    logits = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    batch["tags"] = jnp.asarray(rng.random((6, 3)) < 0.5, jnp.float32)
    p = 1 / (1 + np.exp(-np.asarray(logits, float)))
    expected = -np.log(np.where(batch["tags"] == 1, p, 1 - p)).sum(1)

    seen = losses.compute({"saliency": output["saliency"], "tag_logits": logits}, batch, ("kl", "tags"))
    np.testing.assert_allclose(seen["tags"][0], expected, rtol=1e-5)
    np.testing.assert_array_equal(seen["tags"][1], batch["mask"])
    means = {name: mean(*term) for name, term in seen.items()}
    np.testing.assert_allclose(
        losses.total(means, {"kl": 1.0, "tags": 2.0}, 0.5), means["kl"] + 2 * means["tags"], rtol=1e-6
    )

    heard = losses.compute({"heard_logits": logits}, batch, ("kl", "heard"))
    assert set(heard) == {"heard"}
    np.testing.assert_allclose(heard["heard"][0], expected, rtol=1e-5)
    np.testing.assert_array_equal(heard["heard"][1], [1, 0, 0, 1, 0, 0])
    np.testing.assert_allclose(
        losses.total({"heard": mean(*heard["heard"])}, {"heard": 1.0}, 0.5), mean(*heard["heard"])
    )
    for name, entry in (("tags", "tag_logits"), ("heard", "heard_logits")):
        with pytest.raises(InputError, match="'tags'"):
            losses.compute({entry: logits}, {k: v for k, v in batch.items() if k != "tags"}, (name,))


def test_terms_add_up_over_any_split() -> None:
    output, batch = make_batch()

    def sums(rows: slice) -> dict[str, np.ndarray]:
        rest = {k: v[rows] for k, v in batch.items()}
        part = losses.compute({k: v[rows] for k, v in output.items()}, rest, ("kl", "ce"))
        return {k: np.array([(v * w).sum(), w.sum()]) for k, (v, w) in part.items()}

    whole, left, right = sums(slice(None)), sums(slice(0, 2)), sums(slice(2, None))
    for name in whole:
        np.testing.assert_allclose(left[name] + right[name], whole[name], rtol=1e-6)


def test_missing_target_is_named() -> None:
    output, batch = make_batch()
    for key in ("density", "avc_label", "fixations"):
        rest = {k: v for k, v in batch.items() if k != key}
        with pytest.raises(InputError, match=key):
            losses.compute(output, rest, ("kl", "ce", "nss"))


# ---------------------------------------------------------------- STANet's losses


def plain_bce(logits: np.ndarray, density: np.ndarray) -> np.ndarray:
    """PyTorch's BCEWithLogitsLoss of each map, in float64."""
    p = 1 / (1 + np.exp(-np.asarray(logits, float)))
    return -(density * np.log(p) + (1 - density) * np.log(1 - p)).mean((1, 2))


def test_the_cvpr_loss_takes_the_map_for_logits() -> None:
    output, batch = make_batch()
    found = losses.compute({"saliency": output["saliency"]}, batch, ("stanet_cvpr",))
    expected = plain_bce(output["saliency"], np.asarray(batch["density"], float))
    np.testing.assert_allclose(found["stanet_cvpr"][0], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["stanet_cvpr"][1], [1, 0, 1, 1, 1, 0])


@pytest.mark.parametrize("frames", [1, 3])
def test_the_later_loss_adds_up_the_scales_of_the_target_frame(frames: int) -> None:
    output, batch = make_batch()
    scales = np.random.default_rng(0).normal(size=(6, frames, 2, 8, 12)).astype(np.float32)
    names = ("stanet_2021_bce", "stanet_2021_kl")
    found = losses.compute({"saliency": output["saliency"], "scale_logits": jnp.asarray(scales)}, batch, names)
    density, target = np.asarray(batch["density"], float), scales[:, frames // 2]
    bce = sum(plain_bce(target[:, i], density) for i in range(2))
    np.testing.assert_allclose(found["stanet_2021_bce"][0], bce, rtol=1e-5)
    counted = np.asarray(found["stanet_2021_kl"][1]) > 0
    p, g = 1 / (1 + np.exp(-target[counted].astype(float))), density[counted, None]
    p, g = (x / x.sum((2, 3), keepdims=True) for x in (p, g))
    kld = (g * np.log(2.2e-16 + g / (p + 2.2e-16))).sum((1, 2, 3))
    np.testing.assert_allclose(found["stanet_2021_kl"][0][counted], kld, rtol=1e-5)
    means = {name: mean(*term) for name, term in found.items()}
    np.testing.assert_allclose(losses.total(means, dict.fromkeys(names, 1.0), 0.5), sum(means.values()), rtol=1e-6)
    with pytest.raises(InputError, match="the model has no scale_logits, which the loss 'stanet_2021_bce' needs"):
        losses.compute({"saliency": output["saliency"]}, batch, names)


# ---------------------------------------------------------------- STAViS's loss

STAVIS = {"stavis_bce": 0.1, "stavis_cc": 2.0, "stavis_nss": 1.0}


def stavis_case(shared: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Output and batch of a recorded case; the density in [0, 1], as the pipeline gives it."""
    draw = lambda name: rule(shared).array(f"loss:{name}", (4, 1, 112, 112), seed)[:, 0]  # noqa: E731
    density = np.clip(np.floor(60 * np.abs(draw("gt").astype(np.float64))), 0, 255).astype(np.float32)
    density[1] = 0
    fixations = (draw("fix") > 2.5).astype(np.float32)
    fixations[2] = 0
    logits = draw("pred") * np.float32(1.5) - np.float32(1)
    sides = np.stack([draw(f"pred{i}") for i in range(4)], axis=1)
    saliency = 1 / (1 + np.exp(-logits))
    output = {"logits": logits, "saliency": saliency, "side_logits": sides}
    return jax.tree.map(jnp.asarray, output), {"density": density / np.float32(255), "fixations": fixations}


def per_example(terms: dict[str, losses.Values]) -> np.ndarray:
    """The official total of each example."""
    values = {name: value * weight for name, (value, weight) in terms.items()}
    return np.asarray(jax.vmap(lambda one: losses.total(one, STAVIS, 0.5))(values))


@pytest.mark.parametrize("seed", [0, 1])
def test_stavis_terms_equal_the_official_ones(shared: Path, seed: int) -> None:
    recorded = json.loads((shared / "parity/stavis/golden_losses.json").read_text())["cases"][f"seed{seed}"]
    output, batch = stavis_case(shared, seed)
    for name, mask in {"valid_all": (1, 1, 1, 1), "valid_1110": (1, 1, 1, 0)}.items():
        expected = recorded[name]
        terms = losses.compute(output, batch | {"mask": np.array(mask, bool)}, tuple(STAVIS))
        masked = {k: np.asarray(value * weight) for k, (value, weight) in terms.items()}
        np.testing.assert_allclose(masked["stavis_bce"], expected["bce_sum_per_sample"], rtol=1e-5)
        np.testing.assert_allclose(-masked["stavis_cc"], expected["neg_cc_per_sample"], atol=1e-5)
        np.testing.assert_allclose(-masked["stavis_nss"], expected["neg_nss_per_sample"], atol=1e-5)
        np.testing.assert_allclose(per_example(terms), expected["total_per_sample"], rtol=1e-5)

    def mean_total(logits: jax.Array) -> jax.Array:
        terms = losses.compute({"logits": logits, "saliency": jax.nn.sigmoid(logits)}, batch, tuple(STAVIS))
        return losses.total({k: jnp.mean(value) for k, (value, _) in terms.items()}, STAVIS, 0.5)

    loss, gradient = jax.value_and_grad(mean_total)(jnp.asarray(output["logits"]))
    np.testing.assert_allclose(loss, recorded["valid_all"]["mean_total"], rtol=1e-5)
    norms = np.sqrt(np.sum(np.square(gradient), axis=(1, 2)))
    np.testing.assert_allclose(norms, recorded["valid_all"]["grad_l2_per_sample"], rtol=1e-4)
    np.testing.assert_allclose(gradient[0, 5, 7], recorded["valid_all"]["grad_at_[0,0,5,7]"], rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_deep_supervision_fades_as_officially(shared: Path, seed: int) -> None:
    recorded = json.loads((shared / "parity/stavis/golden_losses.json").read_text())["cases"][f"seed{seed}"]
    output, batch = stavis_case(shared, seed)
    weight = losses.side_schedule(total_steps=60 * 38, epochs=60)
    for epoch in (1, 30, 60):
        for step in (38 * (epoch - 1), 38 * epoch - 1):  # the first and the last of the epoch
            terms = losses.compute(output, batch, tuple(STAVIS), weight(step))
            expected = recorded[f"deep_supervision_epoch{epoch}_of_60_total_per_sample"]
            np.testing.assert_allclose(per_example(terms), expected, rtol=1e-5)
    assert losses.side_schedule(100, 0) is None


def test_stavis_loss_has_finite_gradients_where_the_official_one_has_none() -> None:
    logits = jnp.full((1, 8, 8), -6.0)
    batch = {"density": np.zeros((1, 8, 8), np.float32), "fixations": np.zeros((1, 8, 8), np.float32)}

    def loss(logits: jax.Array) -> jax.Array:
        terms = losses.compute({"logits": logits, "saliency": jax.nn.sigmoid(logits)}, batch, tuple(STAVIS))
        return losses.total({k: v.sum() for k, (v, _) in terms.items()}, STAVIS, 0.5)

    assert np.isfinite(jax.grad(loss)(logits)).all()


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(InputError, match="unknown loss 'l2': choose one of .*cc, ce, .*, kl, .*stavis_bce"):
        losses.compute({"saliency": jnp.zeros((1, 8, 8))}, {}, ("l2",))


def test_a_new_loss_is_one_file_and_its_weight_is_a_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mse.py").write_text(
        "from avsd_jax.losses import base\n\n"
        "class Term(base.Term):\n"
        "    def __call__(self, given):\n"
        "        return ((given.output['saliency'] - given.density()) ** 2).mean((1, 2)), given.with_density()\n"
    )
    monkeypatch.setattr(terms, "__path__", [*terms.__path__, str(tmp_path)])
    assert defaults().losses.mse == 0
    output, batch = make_batch()
    weights = {"kl": 0.5, "mse": 3.0}
    found = losses.compute(output, batch, losses.present(weights, 1.0))
    means = {name: mean(*term) for name, term in found.items()}
    squares = np.mean((np.asarray(output["saliency"]) - np.asarray(batch["density"])) ** 2, (1, 2))
    np.testing.assert_allclose(means["mse"], squares[[0, 2, 3, 4]].mean(), rtol=1e-6)
    np.testing.assert_allclose(losses.total(means, weights, 1.0), 0.5 * means["kl"] + 3 * means["mse"], rtol=1e-6)


def test_weights_are_no_constants_of_a_compiled_program() -> None:
    """Another weight compiles nothing: the same program gives its loss."""
    output, batch = make_batch()
    found = losses.compute(output, batch, ("kl", "ce", "cc"))
    means = {name: mean(*term) for name, term in found.items()}
    compiled = jax.jit(losses.total)
    for weights, rho in (({"kl": 1.0, "ce": 1.0, "cc": 0.1}, 0.5), ({"kl": 0.3, "ce": 2.0, "cc": 0.7}, 0.9)):
        np.testing.assert_allclose(compiled(means, weights, rho), losses.total(means, weights, rho), rtol=1e-6)
    assert compiled._cache_size() == 1

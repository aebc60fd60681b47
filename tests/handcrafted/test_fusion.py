"""Hand-crafted fusions: the recorded values at float64, and what holds for any input."""

from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from avsd_jax.errors import InputError
from avsd_jax.handcrafted.fusion import cca, correlation, em, kcca, localisation, maps, mutual_information

ALL_CORRELATIONS, INFORMATION = jax.jit(cca.cca), jax.jit(mutual_information.gaussian)


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "parity/baselines/golden_handcrafted.npz") as archive:
        return dict(archive)


@pytest.fixture
def exact():
    with jax.enable_x64(True):
        yield


def close(found, expected, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=tolerance)


def test_canonical_correlations_are_the_recorded_ones(recorded, exact):
    @jax.jit
    def computed(x, y):
        gaussian = kcca.kcca(x, y, kappa=5.0, sigma=3.0).correlations[:4]
        linear = kcca.kcca(x, y, kappa=0.1 * len(x), kernel="linear")
        return cca.cca(x, y).correlations, cca.cca(x, y, 0.1), gaussian, linear

    x, y = recorded["cca/X"], recorded["cca/Y"]
    plain, ridge, gaussian, linear = computed(x, y)
    close(plain, recorded["cca/correlations"])
    close(ridge.correlations, recorded["cca/correlations_ridge0.1"])
    close(gaussian, recorded["kcca/rho_sigma3_kappa5"])
    close(linear.correlations[:4], ridge.correlations)  # a different way to the same
    x, y = x - x.mean(0), y - y.mean(0)
    close((x @ ridge.wx[:, 0]) @ (y @ ridge.wy[:, 0]) / len(x), ridge.correlations[0])
    close(linear.a[:, 0] @ x @ x.T @ y @ y.T @ linear.b[:, 0], ridge.correlations[0])


def test_mutual_information_is_the_recorded_one(recorded, exact):
    x, y = recorded["cca/X"], recorded["cca/Y"]
    close(INFORMATION(x, y), recorded["mi/gaussian"])
    found = jax.jit(lambda a, v: (mutual_information.scalar(a, v), mutual_information.histogram(a, v)))
    scalar, histogram = found(x[:, 0], y[:, 0])
    close(scalar, recorded["mi/scalar_X0_Y0"])
    joint = np.histogram2d(x[:, 0], y[:, 0], 8)[0] / len(x)
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    close(histogram, (joint[joint > 0] * np.log(joint[joint > 0] / apart[joint > 0])).sum())


def test_weights_by_expectation_maximisation_are_the_recorded_ones(recorded, exact):
    densities = recorded["em/densities"].reshape(5, 30, 40)
    counts = np.bincount(recorded["em/fixation_index"], minlength=1200).reshape(30, 40)
    fit = jax.jit(em.fit)
    found = fit(7 * densities, counts)  # of any scale
    close(found.weights, recorded["em/weights_200"])
    close(found.log_likelihood, recorded["em/loglik_200"])
    unseen = fit(densities, 0 * counts)
    close(unseen.weights, 0.2)
    assert unseen.log_likelihood == 0
    close(em.fuse(densities, unseen.weights), densities.mean(0))


def test_regions_that_move_with_the_audio_score_highest():
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(2, 40, 3))
    regions = rng.normal(size=(2, 5, 40, 2))
    regions[:, 3] += 4 * audio[..., :2]
    # A constant region, and units of any size: float32 would lose small numbers beside large ones.
    regions[:, 1] = 0.1
    regions = regions * np.array([1e-4, 1e5])
    scores = jax.jit(cca.region_scores)(regions, audio)
    assert scores.argmax(-1).tolist() == [3, 3]
    assert scores[0, 3] > 0.95
    assert scores[:, 1].tolist() == [0, 0]
    joint = jax.jit(cca.joint_region_scores, static_argnums=2)(regions / [1e-4, 1e5], audio, 0.1)
    assert joint.argmax(-1).tolist() == [3, 3]


@hypothesis.settings(max_examples=8)
@hypothesis.given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_correlations_do_not_depend_on_the_features_basis(seed, scale):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    mixing = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, 3) * scale
    found, mixed, information = ALL_CORRELATIONS(x, y), ALL_CORRELATIONS(x @ mixing + 5 * scale, y), INFORMATION(x, y)
    close(mixed.correlations, found.correlations, 1e-4)
    assert np.all((found.correlations >= 0) & (found.correlations <= 1))
    close(information, -0.5 * np.log(1 - np.asarray(found.correlations) ** 2).sum(), 1e-4)


@pytest.mark.parametrize(
    "refused",
    [
        lambda x: cca.cca(x[:4], x[:4]),
        lambda x: cca.cca(x, x, -1.0),
        lambda x: mutual_information.gaussian(x[:4], x[:4]),
        lambda x: kcca.kcca(x, x, kappa=0.0),
        lambda x: kcca.kcca(x, x, kappa=1.0, kernel="cubic"),
        lambda x: correlation.sliding_correlation(x[..., None], x[:, 0], 0),
        lambda x: correlation.fuse(x[..., None], x[:, 0], rule="mean"),
        lambda x: mutual_information.histogram(x, x, 0),
        lambda x: em.fit(x[None], x, -1),
        lambda x: maps.fuse(x, x, "mean"),
        lambda x: localisation.by_similarity(x[None, :, :], x[0], "dot"),
    ],
)
def test_what_has_no_answer_is_refused(refused):
    with pytest.raises(InputError, match="give|choose"):
        refused(np.eye(20, 3, dtype=np.float32))


def test_places_that_vary_with_the_audio_are_kept():
    rng = np.random.default_rng(1)
    audio = rng.random(24).astype(np.float32)
    visual = np.full((24, 3, 4), 0.1, np.float32)
    visual[:, 1, 2] = 0.2 + audio
    visual[:, 0, 0] = 2 - audio

    @jax.jit
    def fused(v, a):
        rules = [correlation.fuse(v, a, 8, rule) for rule in correlation.RULES]
        return *rules, mutual_information.fuse(v, a, 8), correlation.sliding_correlation(v, a, 8)

    rectified, half, informed, r = fused(visual, audio)
    close(r[:, 1, 2], 1, 1e-5)
    close(r[:, 0, 0], -1, 1e-5)
    still = np.ones((3, 4), bool)
    still[1, 2] = still[0, 0] = False
    assert not np.asarray(r)[:, still].any()
    expected = np.zeros_like(visual)
    expected[:, 1, 2] = visual[:, 1, 2]
    close(rectified, expected, 1e-5)
    close(half, np.where(still, visual / 2, expected), 1e-5)
    informed = np.asarray(informed)
    assert np.isfinite(informed).all()
    assert informed[:, ~still].min() > 0.1
    assert not informed[:, still].any()
    # The windows at the ends lie inside of the clip.
    window = np.corrcoef(visual[:8, 1, 2] ** 2, audio[:8])[0, 1]
    close(correlation.sliding_correlation(visual**2, audio, 8)[:5, 1, 2], window, 1e-5)


def test_maps_are_fused_by_their_formulas():
    rng = np.random.default_rng(2)
    visual, audio = rng.random((2, 2, 3, 4), np.float32)
    v = np.asarray(maps.normalised(visual))
    close(v.min((1, 2)), 0)
    close(v.max((1, 2)), 1, 1e-6)
    formulas = {
        "product": v * audio,
        "sum": (v + audio) / 2,
        "max": np.maximum(v, audio),
        "min": np.minimum(v, audio),
        "probabilistic_sum": v + audio - v * audio,
        "enhanced": v * (1 + audio),
        "nonlinear": v + audio + v * audio,
    }
    assert set(formulas) == set(maps.RULES)
    found = jax.jit(lambda v, a: {rule: maps.fuse(v, a, rule) for rule in maps.RULES})(visual, audio)
    for rule, expected in formulas.items():
        close(found[rule], expected, 1e-6)
    curve = maps.over_pixels(np.array([1, 3, 2], np.uint8))
    close(curve.ravel(), [0, 1, 0.5], 1e-6)
    assert maps.product(np.ones((3, 4, 5)), curve).shape == (3, 4, 5)
    # 0.1 has no exact representation: a constant map stays constant.
    close(maps.normalised(np.full((1, 3, 3), 0.1) * 3, flat=0.5), 0.5)


def test_sounding_objects_are_located():
    rng = np.random.default_rng(3)
    audio = rng.random(20)
    frames = np.zeros((20, 8, 12))
    frames[:, 4:6, 6:8] = np.cumsum(audio * (-1) ** np.arange(20))[:, None, None]  # moves by the audio
    found = np.asarray(jax.jit(lambda f, a: localisation.by_correlation(f, a, 10, 2))(frames, audio))
    assert found.shape == (20, 4, 6)
    assert found[8:].reshape(12, -1).argmax(1).tolist() == [2 * 6 + 3] * 12
    assert not localisation.by_correlation(frames[:1], audio[:1]).any()

    class_maps, tags = rng.normal(size=(3, 3, 4)), np.array([0, 3, 0, 1])
    visual = rng.normal(size=(3, 4, 5))
    visual[1, 2] = 3 * (vector := rng.normal(size=5))
    visual[0, 0] = 0

    @jax.jit
    def located(m, p, v, a):
        heard = localisation.by_class_maps(m, p), localisation.by_class_maps(m, 0 * p)
        return *heard, localisation.by_similarity(v * 1e25, a), localisation.by_similarity(v, a, "euclidean")

    heard, silent, similar, distance = map(np.asarray, located(class_maps, tags, visual, vector))
    close(heard, np.maximum(class_maps, 0) @ [0, 0.75, 0, 0.25], 1e-6)
    assert not silent.any()
    close(similar[1, 2], 1, 1e-6)
    assert similar[0, 0] == 0
    assert similar.argmax() == 6
    close(distance, -np.linalg.norm(visual - vector, axis=-1), 1e-5)

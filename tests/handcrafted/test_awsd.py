import cv2
import jax.numpy as jnp
import numpy as np
from drawn import forward_jit

from avsd_jax.handcrafted.image.awsd import awsd, lab
from avsd_jax.handcrafted.image.whitening import distinctness, whiten

fast_awsd, fast_whiten, fast_distinctness = forward_jit(awsd), forward_jit(whiten), forward_jit(distinctness)


def test_whitening_decorrelates_and_no_linear_map_changes_the_distance() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2, 500, 4)) @ (np.eye(4) + 0.3 * rng.standard_normal((4, 4))) + 3
    white = np.asarray(fast_whiten(vectors.astype(np.float32)))
    np.testing.assert_allclose(white.mT @ white / 500, np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-4)
    expected = np.stack(
        [np.einsum("ni,ij,nj->n", x - x.mean(0), np.linalg.inv(np.cov(x.T, bias=True)), x - x.mean(0)) for x in vectors]
    )
    turned = vectors @ (np.eye(4) + 0.3 * rng.standard_normal((4, 4)))
    for given in (vectors, turned):
        np.testing.assert_allclose(fast_distinctness(given.astype(np.float32)), expected, rtol=1e-4, atol=1e-4)


def test_whitening_leaves_out_what_does_not_vary() -> None:
    shape = (2, 500, 4)
    vectors = np.random.default_rng(0).standard_normal((*shape[:2], 1)).astype(np.float32) * np.float32([1, 2, -1, 0])
    # One direction has signal.
    np.testing.assert_allclose(np.mean(fast_distinctness(vectors), -1), 1, atol=1e-4)
    assert not np.asarray(fast_whiten(np.ones(shape, np.float32))).any()


def test_lab_is_the_standards() -> None:
    colours = jnp.asarray([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]], jnp.float32).T[:, :, None]
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(np.asarray(forward_jit(lab)(colours))[..., 0].T, expected, atol=0.05)


def test_what_moves_unlike_the_rest_stands_out_of_a_clip() -> None:
    rng = np.random.default_rng(0)
    texture, patch = (cv2.GaussianBlur(rng.random((48, 64, 3), np.float32), (0, 0), 1.5) for _ in range(2))
    clip = np.repeat(texture[None], 5, 0)
    for t, frame in enumerate(clip):
        frame[20:32, 36:48] = patch[20:32, 20 - 2 * t : 32 - 2 * t]
    found = fast_awsd(np.stack([clip, np.repeat(clip[-1:], 5, 0)]))  # and the last frame, at rest
    inside = np.asarray(found["master"])[:, 20:32, 36:48].sum((-2, -1))
    assert inside[0] > 1.3 * inside[1]


def test_any_clip_has_a_finite_map() -> None:
    clips = np.random.default_rng(0).random((4, 2, 1, 5, 3), np.float32)
    clips[1], clips[2], clips[3] = 0, 0.3, np.nan
    found = fast_awsd(clips)
    assert found["saliency"].shape == (4, 1, 5)
    assert not np.asarray(found["saliency"][1:]).any()  # nothing stands out
    np.testing.assert_allclose(np.sum(found["master"], (-2, -1)), 1, rtol=1e-5)

"""STANet's classifiers of tags against the official networks."""

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import forward_jit, normal, shapes, variables
from slow import slow_except

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.scam import cam
from avsd_jax.torch_import import options, to_variables

# Our name of a recorded array, by the case's.
RELEASE = {"x1ss": "side_tag_logits", "x2ss": "tag_logits", "map1": "maps_before", "map2": "maps_after"}


def _run(shared, name: str, case: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    checkpoint = golden.state_dict(shared, f"stanet/{case}")
    model = models.create(name, **options(name, checkpoint))
    # Not compiled as a whole: the blocks of all these networks have few shapes, whose programs they share.
    return jax.device_get(model.apply(to_variables(name, checkpoint), jax.tree.map(jnp.asarray, batch)))


def _frames(shared, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Frames [..., H, W, 3]."""
    return np.moveaxis(2 * golden.drawn_input(shared, name, shape), -3, -1)


def _assert_close(ours: np.ndarray, recorded: np.ndarray) -> None:
    assert ours.shape == recorded.shape
    np.testing.assert_allclose(ours, recorded, rtol=0, atol=1e-4 * np.abs(recorded).max())


def _first_channels(x: np.ndarray) -> np.ndarray:
    """The recorded part [C, H, W] of a feature [B, H, W, C]: the first sample's first 64 channels."""
    return golden.channels_first(x)[0, :64]


def _assert_cams(out: dict[str, np.ndarray], recorded: dict[str, np.ndarray], rule: str) -> None:
    """The images, up to a step of brightness where a value lies on the border between two."""
    for i, tag in enumerate(np.atleast_1d(recorded["class_idx"])):
        ours = cam.RULES[rule](np.asarray(out["class_maps"][i, ..., tag]))
        picture = recorded["out_cam_u8"][i]
        if ours.shape != picture.shape:
            ours = cam.enlarged(ours, len(picture))
        assert np.abs(ours.astype(int) - picture).max() <= 1
        assert (ours != picture).mean() < 0.02


@pytest.mark.slow
def test_s_equals_the_official_network(shared):
    recorded = golden.load(shared, "stanet/scam_s")
    out = _run(shared, "scam_s", "scam_s", {"video": _frames(shared, "img", (2, 3, 256, 256))[:, None]})
    _assert_close(_first_channels(out["features"]), recorded["tap_features_b0_c0_63"])
    _assert_close(golden.channels_first(out["self_gate"]), recorded["tap_extra_gate_s"])
    for name, key in RELEASE.items():
        ours = out[key] if out[key].ndim == 2 else golden.channels_first(out[key])
        _assert_close(ours, recorded[f"out_{name}"])
    np.testing.assert_array_equal(out["tag_scores"].argmax(-1), recorded["class_idx"])
    _assert_cams(out, recorded, "rectified")


@pytest.mark.slow
def test_sa_equals_the_official_network(shared):
    recorded = golden.load(shared, "stanet/scam_sa")
    video = _frames(shared, "img", (2, 3, 256, 256))[:, None]
    spectrogram = golden.drawn_input(shared, "aud", (2, 257, 48))
    out = _run(shared, "scam_sa", "scam_sa", {"video": video, "spectrogram": spectrogram})
    _assert_close(out["heard"], recorded["tap_audio_model"])
    _assert_close(_first_channels(out["sound_map"]), recorded["tap_Aup_b0_c0_63"])
    _assert_close(_first_channels(out["features"]), recorded["tap_features_b0_c0_63"])
    _assert_close(golden.channels_first(out["self_gate"]), recorded["tap_extra_gate_s"])
    _assert_close(golden.channels_first(out["sound_mask"]), recorded["tap_extra_convs"])
    for name, key in RELEASE.items():
        ours = out[key] if out[key].ndim == 2 else golden.channels_first(out[key])
        _assert_close(ours, recorded[f"out_{name}"])
    _assert_cams(out, recorded, "rectified")


@pytest.mark.slow
def test_st_equals_the_official_network(shared):
    recorded = golden.load(shared, "stanet/scam_st")
    target, before, after = (_frames(shared, f"img{i}", (1, 3, 256, 256)) for i in (1, 2, 3))
    out = _run(shared, "scam_st", "scam_st", {"video": np.stack([before, target, after], axis=1)})
    for called, place in enumerate((1, 0, 2), start=1):  # the official code is called with the target first
        _assert_close(out["side_tag_logits"][:, place], recorded[f"out_x{called}ss"])
        _assert_close(out["tag_logits"][:, place], recorded[f"out_x{called}sss"])
        _assert_close(golden.channels_first(out["self_gate"][:, place])[:, 0], recorded[f"tap_gate_f{called}"])
    _assert_close(_first_channels(out["features"][:, 1]), recorded["tap_features_f1_c0_63"])
    _assert_close(golden.channels_first(out["maps_before"][:, 1]), recorded["out_map1"])
    _assert_close(golden.channels_first(out["maps_after"][:, 1]), recorded["out_mapall1"])
    np.testing.assert_array_equal(out["tag_scores"].argmax(-1), recorded["class_idx"])
    _assert_cams(out, recorded, "rectified")


@pytest.mark.slow
@pytest.mark.parametrize(("case", "side"), [("s_coarse", 256), ("s_fine", 356)])
def test_the_first_s_equals_the_official_network(shared, case, side):
    recorded = golden.load(shared, f"stanet/cvpr_{case}")
    video = _frames(shared, "img", (2, 3, side, side))[:, None]
    out = _run(shared, "scam_cvpr_s", f"scam_cvpr_{case}", {"video": video})
    _assert_close(_first_channels(out["features"]), recorded["tap_feature_b0_c0_63"])
    _assert_first_release(out, recorded)


@pytest.mark.slow
def test_the_first_sa_equals_the_official_network(shared):
    recorded = golden.load(shared, "stanet/cvpr_sa_coarse")
    batch = {
        "video": _frames(shared, "img", (2, 3, 224, 224))[:, None],
        "spectrogram": golden.drawn_input(shared, "audio", (2, 1, 257, 48))[:, 0],
        "switch": recorded["switch"][:, 1],
    }
    out = _run(shared, "scam_cvpr_sa", "scam_cvpr_sa_coarse", batch)
    _assert_close(golden.channels_first(out["sound_map"]), recorded["tap_Aup3"])
    _assert_close(golden.channels_first(out["attention"]), recorded["tap_attention"])
    _assert_close(_first_channels(out["features"]), recorded["tap_feature_b0_c0_63"])
    _assert_first_release(out, recorded)


@pytest.mark.slow
def test_the_first_st_equals_the_official_network(shared):
    recorded = golden.load(shared, "stanet/cvpr_st_coarse")
    video = _frames(shared, "video", (1, 3, 3, 256, 256))
    out = _run(shared, "scam_cvpr_st", "scam_cvpr_st_coarse", {"video": video})
    _assert_close(golden.channels_first(out["reduced"][0]), recorded["tap_rfb"])
    _assert_close(golden.channels_first(out["context"])[:, :, None], recorded["tap_refineST"])
    _assert_close(golden.channels_first(out["features"]), recorded["tap_refine"])
    _assert_close(out["tag_logits"], recorded["out_logits"])
    tag = int(recorded["class_idx"])
    assert out["tag_scores"].argmax() == tag
    _assert_close(out["class_maps"][0, ..., tag], recorded["our_cam_raw"])


def _assert_first_release(out: dict[str, np.ndarray], recorded: dict[str, np.ndarray]) -> None:
    _assert_close(out["tag_logits"], recorded["out_logits"])
    np.testing.assert_array_equal(out["tag_scores"].argmax(-1), recorded["class_idx"])
    raw = np.stack([maps[..., tag] for maps, tag in zip(out["class_maps"], recorded["class_idx"], strict=True)])
    _assert_close(raw, recorded["out_cam_raw"])
    _assert_cams(out, recorded, "stretched")


TINY = {"num_tags": 6, "width": 1 / 32, "depths": (1, 1, 1)}
NAMES = ("scam_s", "scam_sa", "scam_st", "scam_cvpr_s", "scam_cvpr_sa", "scam_cvpr_st")


@pytest.mark.parametrize("name", slow_except(NAMES, NAMES[:3]))
def test_small_ones_take_frames_of_any_size_and_one_bad_batch_is_named(name):
    model, frames = models.create(name, **TINY), 3 if name.endswith("_st") else 1
    batch = {"video": normal(0, 2, frames, 48, 80, 3), "audio": 0.1 * normal(1, 2, 8000)}
    out = forward_jit(model.apply)(variables(shapes(model, batch)), batch)
    assert out["class_maps"].shape == (2, 3, 5, 6)
    assert out["tag_scores"].shape == (2, 6)
    assert out["tag_logits"].shape[-1] == 6
    assert all(np.isfinite(value).all() for value in out.values())
    with pytest.raises(InputError, match=r"video has 2 frames where this classifier takes \d"):
        shapes(model, batch | {"video": normal(0, 2, 2, 48, 80, 3)})
    if model.__class__.__dict__.get("hears"):
        with pytest.raises(InputError, match="no 'audio'"):
            shapes(model, {"video": batch["video"]})


def test_options_that_do_not_fit_are_named():
    batch = {"video": normal(0, 1, 1, 32, 32, 3), "audio": normal(1, 1, 8000)}
    with pytest.raises(InputError, match="no audio_grid 9: choose one of 8, 12"):
        shapes(models.create("scam_sa", audio_grid=9, **TINY), batch)
    for name in ("scam_st", "scam_cvpr_st"):
        with pytest.raises(InputError, match="set clip_size=3"):
            shapes(models.create(name, clip_size=5, **TINY), batch)

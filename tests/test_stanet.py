"""STANet's three releases against the official networks, and the two flows that the gate chooses between."""

import functools

import golden
import jax
import numpy as np
import pytest
from drawn import fast_jit, normal, shapes, variables

from avsd_jax import models
from avsd_jax.torch_import import options, to_variables

# ---------------------------------------------------------------- parity


@functools.cache
def _official(**options):
    model = models.create("stanet", **options)
    return jax.jit(lambda variables, batch: model.apply(variables, batch))


def _run(shared, case: str, seed: int, batch: dict[str, np.ndarray], **choices):
    recorded = golden.load(shared, f"stanet/{case}", seed)
    checkpoint = golden.state_dict(shared, f"stanet/{_SPEC[case]}", seed)
    found = options("stanet", {f"module.{key}": array for key, array in checkpoint.items()})
    run = _official(**found, **choices)
    return recorded, jax.device_get(run(to_variables("stanet", checkpoint), batch))


_SPEC = {"stacvpr": "sta_cvpr", "sta2021": "sta_2021", "sta2022": "sta_2022"}


def assert_close(ours: np.ndarray, recorded: np.ndarray) -> None:
    """Equal to 1e-4 of the array's largest value."""
    assert ours.shape == recorded.shape
    np.testing.assert_allclose(ours, recorded, rtol=0, atol=1e-4 * np.abs(recorded).max())


def _first(x: np.ndarray, channels: int | None = None) -> np.ndarray:
    """Channels first, of the only clip or frame, the first of them: [C, ...]."""
    return golden.channels_first(x)[0, :channels]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_cvpr_network_equals_the_official_one(shared, seed):
    video = 2 * golden.drawn_input(shared, "video", (1, 3, 3, 356, 356), seed).transpose(0, 1, 3, 4, 2)
    batch = {
        "video": video,
        "spectrogram": golden.drawn_input(shared, "audio", (1, 1, 257, 48), seed)[:, 0],
        "switch": golden.load(shared, "stanet/stacvpr", seed)["switch"][:, 1],
    }
    recorded, out = _run(shared, "stacvpr", seed, batch)
    assert_close(_first(out["layer4"][:, 1], 64), recorded["tap_layer4_t_c0_63"])
    assert_close(out["audio_features"][0, 0], recorded["tap_vlad"])
    assert_close(golden.channels_first(out["frames"][0]), recorded["tap_downv4"])
    assert_close(_first(out["spread"][:, 0]), recorded["tap_Aup3"])
    assert_close(_first(out["mask_logits"][:, 0]), recorded["tap_attention"])
    assert_close(_first(out["st_logits"])[:, None], recorded["tap_refineST"])
    assert_close(_first(out["joined"][:, 0]), recorded["tap_AVTFuse_train"])
    assert_close(_first(out["coarse_logits"][:, 0]), recorded["tap_predictF_train"])
    assert_close(out["saliency"][0, ::4, ::4], recorded["out_train"])
    _, tested = _run(shared, "stacvpr", seed, batch, temporal_relu=False)
    assert_close(tested["saliency"][0], recorded["out_test_full"])
    assert np.abs(tested["saliency"] - out["saliency"]).max() > 1e-3


def _frames(shared, seed: int) -> dict[str, np.ndarray]:
    """The later releases' inputs; they list the frame predicted first."""
    order = (2, 1, 3)
    frames = [2 * golden.drawn_input(shared, f"img{i}", (1, 3, 356, 356), seed) for i in order]
    sounds = [golden.drawn_input(shared, f"aud{i}", (1, 257, 48), seed) for i in order]
    return {"video": np.stack(frames, 1).transpose(0, 1, 3, 4, 2), "spectrogram": np.stack(sounds, 1)}


# Ours by the official number of a frame.
_FRAME = {0: 1, 1: 0, 2: 2}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_release_of_2021_equals_the_official_one(shared, seed):
    switch = golden.load(shared, "stanet/sta2021", seed)["switch"][None, [1, 0, 2]]
    recorded, out = _run(shared, "sta2021", seed, _frames(shared, seed) | {"switch": switch}, all_frames=True)
    assert_close(_first(out["layer4"][:, 1], 64), recorded["tap_layer4_f1_c0_63"])
    assert_close(out["audio_features"][0, 1], recorded["tap_audio_vlad_f1"])
    assert_close(out["audio_reduced"][0, 1], recorded["tap_audio_d_f1"])
    assert_close(golden.channels_first(out["spread"][:, 0])[1, :64], recorded["tap_Aup_f1_c0_63"])
    assert_close(_first(out["frames"][:, 1]), recorded["tap_video_d2_f1"])
    taps = {"selfatt_gate": "self_gate", "st_gate": "st_gate", "audio_mask": "mask", "fusion": "joined"}
    taps |= {"predict2": "scale2"}
    for official, ours in _FRAME.items():
        for name, key in taps.items():
            assert_close(_first(out[key][:, ours]), recorded[f"tap_{name}_f{official + 1}"])
        for scale in (4, 3, 2):
            logits = out["scale_logits"][0, ours, 4 - scale]
            assert_close(logits[::4, ::4], recorded[f"out_p{official}{scale}_s4"])
    for scale in (4, 3):
        assert_close(_first(out[f"scale{4 - scale}"][:, 1]), recorded[f"tap_predict{scale}_f1"])
    assert_close(out["logits"][0], recorded["out_p02_full"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_release_of_2022_equals_the_official_one(shared, seed):
    recorded, out = _run(shared, "sta2022", seed, _frames(shared, seed), all_frames=True)
    assert_close(_first(out["layer4"][:, 1], 64), recorded["tap_layer4_f0_c0_63"])
    assert_close(out["audio_features"][0, 1], recorded["tap_audio_vlad_f0"])
    assert_close(_first(out["frames"][:, 1]), recorded["tap_convs_f0"])
    assert_close(out["audio_reduced"][0, 1], recorded["tap_lineara_f0"])
    assert_close(out["video_reduced"][0, 1], recorded["tap_linearv_f0"])
    taps = {"av_mask": "mask", "selfatt_gate": "self_gate", "fusion": "joined", "gru": "blended"}
    for official, ours in _FRAME.items():
        for name, key in taps.items():
            assert_close(_first(out[key][:, ours]), recorded[f"tap_{name}_f{official}"])
        assert_close(_first(out["st_logits"][:, ours])[:, None], recorded[f"tap_refineST_f{official}"])
        for scale in (1, 0):
            logits = out["scale_logits"][0, ours, 1 - scale]
            assert_close(logits[::4, ::4], recorded[f"out{official}_{scale}_s4"])
    for scale in (1, 0):
        assert_close(_first(out[f"scale{1 - scale}"][:, 1]), recorded[f"tap_out{scale}_f0"])
    assert_close(out["logits"][0], recorded["out0_0_full"])


# ---------------------------------------------------------------- small networks

SMALL = {"width": 0.05, "depths": (1, 1, 1, 1)}
BATCH = {
    "video": normal(0, 2, 3, 64, 96, 3),
    "audio": 0.1 * normal(1, 2, 8000),
    "avc_label": np.array([1, 0], np.int32),
}


@functools.cache
def _drawn(release: str, fusion: str = "published"):
    return variables(shapes(models.create("stanet", release=release, fusion=fusion, **SMALL), BATCH))


@functools.cache
def _small(release: str, train: bool = False, **choices):
    model = models.create("stanet", release=release, **SMALL, **choices)
    return fast_jit(lambda variables, batch: model.apply(variables, batch, train, mutable=["batch_stats"])[0])


@pytest.mark.parametrize("release", ["cvpr", "2021", "2022"])
def test_any_size_and_gate(release):
    """The gate shut is what vision alone gives; open, what always listening gives."""
    out = {gate: _small(release, gate=gate)(_drawn(release), BATCH) for gate in ("always", "never", "labels")}
    for x in out.values():
        assert x["saliency"].shape == x["logits"].shape == (2, 64, 96)
        assert 0 <= x["saliency"].min() < x["saliency"].max() <= 1
    assert out["labels"]["gate"].tolist() == [True, False]
    np.testing.assert_allclose(out["labels"]["logits"][0], out["always"]["logits"][0], atol=1e-5)
    np.testing.assert_allclose(out["labels"]["logits"][1], out["never"]["logits"][1], atol=1e-5)
    assert np.abs(out["always"]["logits"] - out["never"]["logits"]).max() > 1e-4
    np.testing.assert_array_equal(out["never"]["dec_in"][:, 0], out["never"]["frames"][:, 1])

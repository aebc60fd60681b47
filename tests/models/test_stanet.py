"""STANet's three releases against the official networks, and the two streams that the gate chooses between."""

import functools
import json
import re

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import flat_shapes, forward_jit, normal, shapes, variables

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.torch_import import options, to_variables

# ---------------------------------------------------------------- parity


def _run(shared, case: str, batch: dict[str, np.ndarray], *choices: dict[str, object]):
    """The recorded arrays, and ours with each of the choices."""
    recorded = golden.load(shared, f"stanet/{case}")
    checkpoint = golden.state_dict(shared, f"stanet/{_SPEC[case]}")
    found = options("stanet", {f"module.{key}": array for key, array in checkpoint.items()})
    built = [models.create("stanet", **found, **choice) for choice in choices]
    variables, batch = to_variables("stanet", checkpoint), jax.tree.map(jnp.asarray, batch)
    # Not compiled as a whole: the blocks have few shapes, whose programs they share.
    return recorded, *(jax.device_get(model.apply(variables, batch)) for model in built)


_SPEC = {"stacvpr": "sta_cvpr", "sta2021": "sta_2021", "sta2022": "sta_2022"}


def assert_close(ours: np.ndarray, recorded: np.ndarray) -> None:
    """Equal to 1e-4 of the array's largest value."""
    assert ours.shape == recorded.shape
    np.testing.assert_allclose(ours, recorded, rtol=0, atol=1e-4 * np.abs(recorded).max())


def _first(x: np.ndarray, channels: int | None = None) -> np.ndarray:
    """Channels first, of the only clip or frame, the first of them: [C, ...]."""
    return golden.channels_first(x)[0, :channels]


@pytest.mark.slow
def test_the_cvpr_network_equals_the_official_one(shared):
    video = 2 * golden.drawn_input(shared, "video", (1, 3, 3, 356, 356)).transpose(0, 1, 3, 4, 2)
    batch = {
        "video": video,
        "spectrogram": golden.drawn_input(shared, "audio", (1, 1, 257, 48))[:, 0],
        "switch": golden.load(shared, "stanet/stacvpr")["switch"][:, 1],
    }
    recorded, out, tested = _run(shared, "stacvpr", batch, {}, {"temporal_relu": False})
    assert_close(_first(out["layer4"][:, 1], 64), recorded["tap_layer4_t_c0_63"])
    assert_close(out["audio_features"][0, 0], recorded["tap_vlad"])
    assert_close(golden.channels_first(out["frames"][0]), recorded["tap_downv4"])
    assert_close(_first(out["spread"][:, 0]), recorded["tap_Aup3"])
    assert_close(_first(out["mask_logits"][:, 0]), recorded["tap_attention"])
    assert_close(_first(out["st_logits"])[:, None], recorded["tap_refineST"])
    assert_close(_first(out["joined"][:, 0]), recorded["tap_AVTFuse_train"])
    assert_close(_first(out["coarse_logits"][:, 0]), recorded["tap_predictF_train"])
    assert_close(out["saliency"][0, ::4, ::4], recorded["out_train"])
    assert_close(tested["saliency"][0], recorded["out_test_full"])
    assert np.abs(tested["saliency"] - out["saliency"]).max() > 1e-3


def _frames(shared) -> dict[str, np.ndarray]:
    """The later releases' inputs; they list the frame predicted first."""
    order = (2, 1, 3)
    frames = [2 * golden.drawn_input(shared, f"img{i}", (1, 3, 356, 356)) for i in order]
    sounds = [golden.drawn_input(shared, f"aud{i}", (1, 257, 48)) for i in order]
    return {"video": np.stack(frames, 1).transpose(0, 1, 3, 4, 2), "spectrogram": np.stack(sounds, 1)}


# Ours by the official number of a frame.
_FRAME = {0: 1, 1: 0, 2: 2}


@pytest.mark.slow
def test_the_release_of_2021_equals_the_official_one(shared):
    switch = golden.load(shared, "stanet/sta2021")["switch"][None, [1, 0, 2]]
    recorded, out = _run(shared, "sta2021", _frames(shared) | {"switch": switch}, {"all_frames": True})
    assert_close(_first(out["layer4"][:, 1], 64), recorded["tap_layer4_f1_c0_63"])
    assert_close(out["audio_features"][0, 1], recorded["tap_audio_vlad_f1"])
    assert_close(out["audio_reduced"][0, 1], recorded["tap_audio_d_f1"])
    assert_close(_first(out["spread"][:, 1], 64), recorded["tap_Aup_f1_c0_63"])
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
def test_the_release_of_2022_equals_the_official_one(shared):
    recorded, out = _run(shared, "sta2022", _frames(shared), {"all_frames": True})
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


# ---------------------------------------------------------------- checkpoints


def _blank(shared, case: str) -> dict[str, np.ndarray]:
    """A checkpoint of zeros that take no memory, as DataParallel names its entries."""
    spec = json.loads((shared / f"parity/stanet/spec_{case}.json").read_text())["state_dict"]
    return {f"module.{key}": np.broadcast_to(np.float32(0), shape) for key, shape in spec.items()}


CHECKPOINTS = {
    "sta_cvpr": ("stanet", {}),
    "sta_2021": ("stanet", {"release": "2021"}),
    "sta_2022": ("stanet", {"release": "2022"}),
    "soundswitch_audio": ("soundswitch_audio", {}),
    "soundswitch_av": ("soundswitch_av", {}),
    "vggsound_vlad": ("vggsound", {}),
    "vggsound_avgpool": ("vggsound", {"pool": "avgpool"}),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_checkpoints_are_told_by_their_keys(shared, case):
    name, expected = CHECKPOINTS[case]
    checkpoint = _blank(shared, case)
    assert options(name, checkpoint) == expected
    # All that is wrong is what was put in.
    with pytest.raises(InputError, match=f"has 'extra_ear.weight', which {name} does not know"):
        to_variables(name, checkpoint | {"module.extra_ear.weight": np.zeros(1)})


def test_a_checkpoint_of_no_release_is_refused():
    with pytest.raises(InputError, match="none of downv4.weight, extra_video_d0.weight, extra_convsd0.weight"):
        to_variables("stanet", {"conv1.weight": np.zeros(1)})


def test_a_resnext_in_torchvisions_layout_is_the_trunk(shared):
    trunk = {key[7:]: array for key, array in _blank(shared, "sta_cvpr").items() if key.startswith("module.layerV_")}
    names = ((r"layerV_0\.0", "conv1"), (r"layerV_0\.1", "bn1"), (r"layerV_", "layer"))
    for pattern, name in names:
        trunk = {re.sub(pattern, name, key): array for key, array in trunk.items()}
    imported = to_variables("resnext101", trunk | {"fc.weight": np.zeros((1000, 2048)), "fc.bias": np.zeros(1000)})
    spec = shapes(models.create("stanet"), {"video": jnp.zeros((1, 3, 64, 64, 3)), "audio": jnp.zeros((1, 8000))})
    for collection, tree in imported.items():
        assert flat_shapes(tree) == flat_shapes(spec[collection]["visual"])


# ---------------------------------------------------------------- small networks

SMALL = {"width": 0.05, "depths": (1, 1, 1)}
BATCH = {
    "video": normal(0, 2, 3, 64, 96, 3),
    "audio": 0.1 * normal(1, 2, 8000),
    "avc_label": np.array([1, 0], np.int32),
}


def _tiny(release: str = "cvpr", **choices):
    return models.create("stanet", release=release, **SMALL, **choices)


@functools.cache
def _drawn(release: str, fusion: str = "published"):
    return variables(shapes(_tiny(release, fusion=fusion), BATCH))


# Options and what is put into the batch.
CASES = {
    "always": {},
    "never": {"gate": "never"},
    "labels": {"gate": "labels"},
    "silenced": {"switch": jnp.zeros(2)},
    "half": {"switch": jnp.full(2, 0.5)},
}
LATER = {
    "all": {"all_frames": True, "spectrogram": normal(5, 2, 3, 257, 48)},
    "previous": {"reports": "previous"},
}


@functools.cache
def _outputs(release: str, fusion: str = "published"):
    """What a small network gives in every case, compiled as one."""
    cases = CASES | (LATER if release != "cvpr" else {})

    def run(drawn, batch):
        out = {}
        for name, case in cases.items():
            options = {k: v for k, v in case.items() if k not in ("switch", "spectrogram")}
            inputs = batch | {k: v for k, v in case.items() if k not in options}
            out[name] = _tiny(release, fusion=fusion, **options).apply(drawn, inputs)
        return out

    return jax.device_get(forward_jit(run)(_drawn(release, fusion), BATCH))


FLOWS = [("cvpr", "published"), ("2021", "published"), ("2022", "published"), ("cvpr", "concat")]


@pytest.mark.slow
@pytest.mark.parametrize(("release", "fusion"), FLOWS)
def test_the_gate_chooses_between_the_two_flows(release, fusion):
    """Closed, the network is visual-only; open, it always uses the audio. Any frame size works."""
    out = _outputs(release, fusion)
    for name in ("always", "never", "labels"):
        assert out[name]["saliency"].shape == out[name]["logits"].shape == (2, 64, 96)
        assert 0 <= out[name]["saliency"].min() < out[name]["saliency"].max() <= 1
    assert out["labels"]["gate"].tolist() == [True, False]
    for clip, flow in enumerate(("always", "never")):
        np.testing.assert_allclose(out["labels"]["logits"][clip], out[flow]["logits"][clip], atol=1e-5)
    assert np.abs(out["always"]["logits"] - out["never"]["logits"]).max() > 1e-4
    np.testing.assert_array_equal(out["never"]["dec_in"][:, 0], out["never"]["frames"][:, 1])
    assert "fused" not in out["never"]


@pytest.mark.slow
@pytest.mark.parametrize(("release", "fusion"), FLOWS)
def test_the_soft_switch_scales_what_the_sound_does(release, fusion):
    out = _outputs(release, fusion)
    added = {name: out[name]["fused"] - out[name]["frames"][:, 1:2] for name in ("always", "silenced", "half")}
    if release == "2022":  # as published, it takes the switch and does not look at it
        np.testing.assert_array_equal(added["silenced"], added["always"])
    elif release == "2021":  # as published, a silenced audio still makes a mask, the same one everywhere
        mask = out["silenced"]["mask"]
        np.testing.assert_allclose(mask, np.broadcast_to(mask[:, :, :1, :1], mask.shape), atol=1e-6)
        assert np.ptp(out["always"]["mask"][0]) > 1e-4
    else:
        np.testing.assert_allclose(added["silenced"], 0, atol=1e-6)
        np.testing.assert_allclose(2 * added["half"], added["always"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("release", ["2021", "2022"])
def test_the_later_releases_predict_other_frames_too(release):
    out = _outputs(release)
    scales = {"2021": 3, "2022": 2}[release]
    assert out["always"]["scale_logits"].shape == (2, 1, scales, 64, 96)
    assert out["all"]["scale_logits"].shape == (2, 3, scales, 64, 96)
    np.testing.assert_array_equal(out["all"]["logits"], out["all"]["scale_logits"][:, 1, -1])
    # Each frame's own audio went into its mask.
    assert np.abs(out["all"]["audio_features"][:, 0] - out["all"]["audio_features"][:, 1]).max() > 1e-3
    # The branches of vision are the same whichever frames are predicted.
    for name, frame in (("always", 1), ("previous", 0)):
        np.testing.assert_allclose(out[name]["self_gate"][:, 0], out["all"]["self_gate"][:, frame], atol=1e-5)
    assert np.abs(out["previous"]["logits"] - out["always"]["logits"]).max() > 1e-4


@pytest.mark.parametrize("fusion", ["bilinear", "bilinear_transformer", "concat", "spatial_alignment", "transformer"])
def test_every_fusion_takes_the_place_of_the_published_one(fusion):
    """The channels are a tiny network's: eight, of which the transformers make what their heads divide."""
    options = {"num_heads": 2, "channels": 4} if fusion == "bilinear_transformer" else {}
    options = {"num_heads": 2} if fusion == "transformer" else options
    model = models.create("stanet", fusion=fusion, fusion_options=options, **SMALL | {"width": 0.25})
    tree = shapes(model, BATCH)
    assert "Aup1" not in tree["params"]["head"]
    assert tree["params"]["audio_project"]["bias"].shape == (8,)
    out = jax.eval_shape(model.apply, tree, BATCH)
    assert out["fused"].shape == (2, 1, 4, 6, 8)
    assert out["saliency"].shape == (2, 64, 96)


def test_a_training_step_tells_tags_and_moves_the_statistics():
    model = _tiny(num_tags=4)
    tree = shapes(model, BATCH)
    out, updates = jax.eval_shape(lambda tree: model.apply(tree, BATCH, True, mutable=["batch_stats"]), tree)
    assert out["tag_logits"].shape == (2, 4)
    assert flat_shapes(updates["batch_stats"]) == flat_shapes(tree["batch_stats"])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"release": "2023"}, "unknown release '2023' of stanet: choose one of cvpr, 2021, 2022"),
        ({"reports": "next"}, "unknown reports 'next': choose one of target, previous"),
        ({"all_frames": True}, "predicts the middle frame alone"),
        ({"reports": "previous"}, "predicts the middle frame alone"),
        ({"clip_size": 5}, "takes 3 frames and clip_size is 5"),
        ({"depths": (1, 1)}, "last three stages and depths has 2"),
    ],
)
def test_mistakes_are_named(choices, message):
    with pytest.raises(InputError, match=message):
        shapes(models.create("stanet", **SMALL | choices), BATCH)


def test_missing_and_wrong_inputs_are_named():
    with pytest.raises(InputError, match="no 'audio'"):
        shapes(_tiny(), {"video": BATCH["video"]})
    with pytest.raises(InputError, match="video has 2 frames: stanet takes 3"):
        shapes(_tiny(), BATCH | {"video": BATCH["video"][:, :2]})
    with pytest.raises(InputError, match="unknown fusion 'sum'"):
        shapes(_tiny(fusion="sum"), BATCH)

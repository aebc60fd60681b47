"""Published checkpoints: which variables they become, and what is refused."""

import functools
import json

import golden
import jax
import numpy as np
import pytest
from drawn import flat_shapes, shapes

from avsd_jax import models
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.torch_import import options, to_variables

VARIANTS = {
    "vinet": {},
    "vinet_clip8": {"clip_size": 8},
    "vinet_clip16": {"clip_size": 16},
    "vinet_clip48": {"clip_size": 48},
    "vinet_hier0": {"num_skips": 0},
    "vinet_hier1": {"num_skips": 1},
    "vinet_hier2": {"num_skips": 2},
    "avinet": {},
    "avinet_small": {},
    "avinet_transformer": {"fusion": "transformer"},
    "avinet_bilinear_transformer": {"fusion": "bilinear_transformer"},
}


@pytest.mark.parametrize(("case", "expected"), VARIANTS.items(), ids=VARIANTS.keys())
def test_variants_are_recognised(shared, case, expected):
    name = case.split("_")[0]
    checkpoint = golden.state_dict(shared, f"vinet/{case}", 0)
    assert options(name, checkpoint) == expected


def _empty(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


CREATED = {
    "vinet": ("vinet/vinet", [{"video": _empty(1, 32, 64, 96, 3)}]),
    "avinet": ("vinet/avinet", [{"video": _empty(1, 32, 224, 384, 3), "audio": _empty(1, 70560)}]),
    "soundnet8": ("vinet/soundnet", [{"audio": _empty(1, 70560)}]),
    "s3d_kinetics400": ("vinet/s3d_kinetics400", [{"video": _empty(1, 8, 32, 32, 3)}]),
    "stavis": ("stavis/audiovisual", [{"video": _empty(1, 16, 112, 112, 3), "audio": _empty(1, 35280)}]),
    "stavis_visual": ("stavis/visual", [{"video": _empty(1, 16, 112, 112, 3)}]),
    "resnet50_kinetics": ("stavis/resnet50_kinetics", [{"video": _empty(1, 16, 112, 112, 3)}]),
    "dave": ("dave/dave", [{"video": _empty(1, 16, 64, 64, 3), "spectrogram": _empty(1, 16, 64, 64)}]),
    "l3net": ("avc/l3net", [_empty(1, 1, 224, 224, 3), _empty(1, 257, 199)]),
    "avenet": ("avc/avenet", [_empty(1, 1, 224, 224, 3), _empty(1, 257, 199)]),
    "avenet_hardway": ("avc/avenet_hardway", [_empty(1, 1, 224, 224, 3), _empty(1, 257, 671)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CREATED)
def test_every_name_gives_the_variables_of_the_model_of_this_name(shared, name):
    case, inputs = CREATED[name]
    kind = classifiers if case.startswith("avc/") else models
    imported = to_variables(name, golden.state_dict(shared, case, 0))
    assert flat_shapes(imported) == flat_shapes(shapes(kind.create(name), *inputs))


def test_s3d_from_kinetics_is_vinets_encoder(shared):
    checkpoint = golden.state_dict(shared, "vinet/vinet", 0)
    offsets = {"base1": 0, "base2": 5, "base3": 8, "base4": 14}
    published = {"module.fc.0.weight": np.zeros((400, 1024, 1, 1, 1))}
    for key, array in checkpoint.items():
        part, *rest = key.split(".")
        if part == "backbone":
            published[f"module.base.{offsets[rest[0]] + int(rest[1])}.{'.'.join(rest[2:])}"] = array
    imported, vinet = to_variables("s3d_kinetics400", published), to_variables("vinet", checkpoint)
    for collection, tree in imported.items():
        assert jax.tree.all(jax.tree.map(np.array_equal, tree, vinet[collection]["backbone"]))


@pytest.fixture
def soundnet(shared):
    return golden.state_dict(shared, "vinet/soundnet", 0)


def test_prefix_and_counters_do_not_matter(soundnet):
    expected = to_variables("soundnet8", soundnet)
    bare = {f"module.{k}": v for k, v in soundnet.items() if "num_batches" not in k and "conv8" not in k}
    assert jax.tree.all(jax.tree.map(np.array_equal, to_variables("soundnet8", bare), expected))


def test_what_stavis_is_made_of_has_a_file_for_each_part(shared):
    whole = golden.state_dict(shared, "stavis/audiovisual", 0)
    stavis = to_variables("stavis", {f"module.{key}": array for key, array in whole.items()})

    def check(name, part, keep):
        published = {f"module.{key}": array for key, array in whole.items() if keep(key)}
        imported = to_variables(name, published | {"module.layer4.0.conv1.weight": np.zeros(1)})
        for collection, tree in imported.items():
            held = functools.reduce(lambda tree, name: tree[name], part, stavis[collection])
            assert jax.tree.all(jax.tree.map(np.array_equal, tree, held))

    trunk = ("conv1.", "bn1.", "layer")
    check("soundnet8", ["soundnet8"], lambda key: key.startswith("soundnet8.") and "num_batches" not in key)
    check("resnet50_kinetics", ["visual_model", "trunk"], lambda key: key.startswith(trunk))
    check("stavis_visual", ["visual_model"], lambda key: key.startswith((*trunk, "score_dsn.", "fuse.")))


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [("l3net", "fc2", "fc2"), ("avenet", "fc3", "fc3"), ("avid_avchead", "classifier_2", "classifier.2")],
)
def test_classifiers_classes_are_swapped(shared, name, ours, theirs):
    checkpoint = golden.state_dict(shared, f"avc/{name}", 0)
    last = to_variables(name, checkpoint)["params"][ours]
    np.testing.assert_array_equal(last["kernel"][:, 1], checkpoint[f"{theirs}.weight"][0])
    np.testing.assert_array_equal(last["bias"], checkpoint[f"{theirs}.bias"][::-1])


def test_avids_parts_are_those_of_the_classifier(shared):
    """The published file has no head, that with the head no projections; both fit the classifier, other names too."""
    expected = flat_shapes(shapes(classifiers.create("avid"), _empty(1, 8, 224, 224, 3), _empty(1, 200, 257)))
    found = {}
    for name in ("avid", "avid_avchead"):
        state = {f"module.{key}": array for key, array in golden.state_dict(shared, f"avc/{name}", 0).items()}
        imported = flat_shapes(to_variables(name, state))
        assert imported.items() <= expected.items()
        found |= imported
    assert found == expected


def test_openl3s_front_end_is_recognised(shared):
    spec = json.loads((shared / "parity/avc/spec_openl3_audio.json").read_text())
    for name, key in (("mel128", "state_dict_mel128_front_end"), ("linear", "state_dict")):
        state = {k: np.broadcast_to(np.float32(0), shape) for k, shape in (spec["state_dict"] | spec[key]).items()}
        assert options("openl3_audio", state) == {"audio_encoder": f"openl3_{name}"}


def test_missing_unknown_and_misshapen_entries_are_named(soundnet):
    with pytest.raises(InputError, match=r"no 'batchnorm3\.running_var', which soundnet8 needs"):
        to_variables("soundnet8", {k: v for k, v in soundnet.items() if k != "batchnorm3.running_var"})
    with pytest.raises(InputError, match=r"has 'conv9\.weight', which soundnet8 does not know"):
        to_variables("soundnet8", {**soundnet, "conv9.weight": np.zeros(3)})
    with pytest.raises(InputError, match=r"'conv2\.weight' has shape \(32, 16, 31, 1\) where .* \(32, 16, 32, 1\)"):
        to_variables("soundnet8", {**soundnet, "conv2.weight": soundnet["conv2.weight"][:, :, 1:]})
    with pytest.raises(InputError, match=r"no 'backbone\.base1\.0\..*', which vinet needs"):
        to_variables("vinet", soundnet)


def test_unknown_name_lists_those_there_are():
    with pytest.raises(InputError, match="'i3d': choose one of .*avinet, .*l3net, .*, vinet, wss"):
        to_variables("i3d", {})


def test_what_is_no_weight_is_named(soundnet):
    def with_conv2(change, key="conv2.weight"):
        return {**soundnet, key: change(soundnet[key])}

    def put(value, dtype=np.float32):
        def change(array):
            array = array.astype(dtype)
            array.flat[7] = value
            return array

        return change

    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match=r"'conv2\.weight' has 1 of 16384 values that are NaN or infinite"):
            to_variables("soundnet8", with_conv2(put(value)))
    for overflowed in (put(1e300, np.float64), lambda a: (a * 65504).astype(np.float16) * np.float16(1e4)):
        with (
            pytest.raises(InputError, match=r"'conv2\.weight' has \d+ of 16384 values that are NaN or infinite"),
            np.errstate(over="ignore"),
        ):
            to_variables("soundnet8", with_conv2(overflowed))
    for dtype in (np.int8, np.int64, np.bool_, np.complex64):
        with pytest.raises(InputError, match=rf"'conv2\.weight' holds {np.dtype(dtype)} numbers where weights are"):
            to_variables("soundnet8", with_conv2(lambda a, dtype=dtype: a.astype(dtype)))
    with pytest.raises(InputError, match=r"'batchnorm3\.running_var' has negative variances"):
        to_variables("soundnet8", with_conv2(np.negative, "batchnorm3.running_var"))
    with pytest.raises(InputError, match=r"'conv2\.weight' has shape .*: its axes have another order"):
        to_variables("soundnet8", with_conv2(lambda a: np.moveaxis(a, (0, 1), (1, 0))))


def test_any_prefix_gives_the_same_variables_and_options(shared, soundnet):
    expected = to_variables("soundnet8", soundnet)
    wrapped = {f"net._orig_mod.module.{key}": array for key, array in soundnet.items()}
    assert jax.tree.all(jax.tree.map(np.array_equal, to_variables("soundnet8", wrapped), expected))
    avinet = golden.state_dict(shared, "vinet/avinet_transformer", 0)
    assert options("avinet", {f"model.{key}": array for key, array in avinet.items()}) == {"fusion": "transformer"}

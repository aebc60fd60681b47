"""Caffe's files: written in their format, imported by the command, and refused with one sentence."""

import re

import jax
import numpy as np
import pytest
from drawn import shapes, variables
from flax import traverse_util

from avsd_jax import convert, models
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.torch_weights import caffe_files, conversion
from avsd_jax.torch_weights.layouts import checkpoint_key, find


def caffemodel(layers, old=False):
    """The bytes of a model: name -> (type, arrays)."""
    net = caffe_files.message_class("NetParameter")(name="net")
    for name, (kind, arrays) in layers.items():
        layer = net.layers.add(name=name, type=4) if old else net.layer.add(name=name, type=kind)
        for array in arrays:
            blob = layer.blobs.add(data=np.ravel(array).tolist())
            if old:
                blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
            else:
                blob.shape.dim.extend(array.shape)
    return net.SerializeToString()


def published(name, given):
    """Our variables as the layers of a file."""
    layout, layers = find(name, {}), {}
    for path, leaf in traverse_util.flatten_dict(given).items():
        layer, _, kind = checkpoint_key(path, layout).rpartition(".")
        array = np.asarray(leaf)
        if path[-1] == "kernel" and array.ndim == 4:
            flip = array[::-1, ::-1] if re.match("upscore", layer) else array
            array = flip.transpose((2, 3, 0, 1) if re.match("upscore", layer) else (3, 2, 0, 1))
        elif path[-1] == "kernel":
            array = array.T
        layers.setdefault(layer, {})[kind] = array
    blobs = {}
    for layer, of in layers.items():
        if "running_mean" in of:  # sums, and what to divide them by
            blobs[layer] = ("BatchNorm", [4 * of["running_mean"], 4 * of["running_var"], np.full(1, 4.0)])
        else:
            kind = "Scale" if layer.startswith("scale") else "Convolution"
            blobs[layer] = (kind, [of[key] for key in ("weight", "bias") if key in of])
    return {"data": ("Data", [])} | blobs


def _drawn(name, side=32, **options):
    model = models.create(name, **options)
    return variables(shapes(model, {"video": jax.ShapeDtypeStruct((1, 1, side, side, 3), np.float32)}))


def test_layers_of_the_old_format_are_read(tmp_path):
    """It had no norms, and arrays of four axes alone."""
    given = _drawn("wss", width=1 / 16)
    layers = {name: layer for name, layer in published("wss", given).items() if layer[0] != "BatchNorm"}
    (tmp_path / "old.caffemodel").write_bytes(caffemodel(layers, old=True))
    trunk = convert_trunk(tmp_path, layers)
    assert jax.tree.all(jax.tree.map(np.array_equal, trunk["params"], given["params"]["vgg"]))
    arrays = conversion.read_content(tmp_path / "old.caffemodel")
    kernel = given["params"]["vgg"]["conv1_1"]["kernel"]
    np.testing.assert_array_equal(arrays["conv1_1.weight"], np.transpose(kernel, (3, 2, 0, 1)))
    assert arrays["conv1_1.bias"].shape == (4,)


def convert_trunk(folder, layers):
    """The convolutions of a classifier in the old format, imported as VGG16."""
    kept = {name: layer for name, layer in layers.items() if re.fullmatch(r"conv\d_\d", name)}
    dense = ("InnerProduct", [np.zeros((6, 5), np.float32), np.zeros(6, np.float32)])
    (folder / "vgg.caffemodel").write_bytes(caffemodel(kept | {"fc6": dense}, old=True))
    return load_for_inference(conversion.convert("vgg16", folder / "vgg.caffemodel", folder / "vgg"))[1]


def test_wss_is_imported_with_its_norms_divided(tmp_path, capsys):
    given = _drawn("wss", width=1 / 16)
    layers = published("wss", given)
    path, out = tmp_path / "wss.caffemodel", tmp_path / "out"
    path.write_bytes(caffemodel(layers))
    assert convert.main(["--model=wss", f"--checkpoint={path}", f"--out={out}"]) == 0
    config, found = load_for_inference(out)
    assert (config.model.width, config.preprocessing, tuple(config.frame_size)) == (1 / 16, "vgg_bgr", (256, 256))
    flat = traverse_util.flatten_dict(found)
    for key, leaf in traverse_util.flatten_dict(given).items():
        np.testing.assert_allclose(flat[key], leaf, rtol=1e-6, err_msg="/".join(key))
    assert flat.keys() == traverse_util.flatten_dict(given).keys()
    capsys.readouterr()


def test_what_is_wrong_with_a_file_is_named(tmp_path, capsys):
    given = _drawn("wss", width=1 / 16)
    layers = published("wss", given)
    whole = caffemodel(layers)
    net = caffe_files.message_class("NetParameter").FromString(whole)
    net.layer[1].blobs[0].shape.dim[0] += 1
    without = {name: layer for name, layer in layers.items() if name != "conv4_score"}
    kernel, bias = layers["conv4_score"][1]
    narrow = layers | {"conv4_score": ("Convolution", [kernel[:, :5], bias])}
    cases = {
        "the checkpoint has no 'conv4_score": caffemodel(without),
        "'conv4_score.weight' has shape .* where wss needs": caffemodel(narrow),
        "the checkpoint has 'fc8.weight', which wss does not know": caffemodel(
            layers | {"fc8": ("InnerProduct", [bias])}
        ),
        "has .* numbers where its shape .* needs others": net.SerializeToString(),
        "is no Caffe model, or is incomplete": whole[:-100],
        "is an HTML page": b"<!DOCTYPE html><html>quota</html>",
        "has no layer with weights": caffemodel({"data": ("Data", [])}),
        "has 3 arrays instead of a kernel and a bias": caffemodel({"odd": ("LSTM", [bias] * 3)}),
        "is a BatchNorm without mean": caffemodel({"bn": ("BatchNorm", [bias])}),
    }
    for message, content in cases.items():
        path = tmp_path / "x.caffemodel"
        path.write_bytes(content)
        assert convert.main(["--model=wss", f"--checkpoint={path}", f"--out={tmp_path / 'out'}"]) == 2, message
        error = capsys.readouterr().err
        assert re.search(message, error), error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_sbfs_shared_layers_are_read_once():
    layout = find("sbf", {})
    given = traverse_util.flatten_dict(layout.variables({}, {}))
    keys = {checkpoint_key(path, layout): path for path in given}
    assert {f"convRCL{level}{part}" for level in (1, 2, 3, 4) for part in ("", "a")} < {k.split(".")[0] for k in keys}
    assert given[keys["global_fc6.weight"]].shape == (512 * 14 * 14, 784)
    for key in ("convRCL2b.weight", "RCL3_sm_UpSmp.weight"):
        assert key not in keys
        assert re.search(layout.unused, key)


def test_mws_keys_are_those_of_its_code():
    for name, expected in {
        "mws": {"preds.3.bias", "upscale.weight", "feature.features.denseblock4.31.conv2.weight"},
        "densenet169": {"features.denseblock1.denselayer6.norm1.running_var", "features.transition3.conv.weight"},
    }.items():
        layout = find(name, {})
        keys = {checkpoint_key(path, layout) for path in traverse_util.flatten_dict(layout.variables({}, {}))}
        assert expected < keys
    shapes_of = {"preds.0.weight": (1, 1664, 1, 1), "classifier.bias": (12,), "param_pool.conv.weight": (1, 1, 16, 16)}
    for first in ("preds.0", "pred"):
        held = {key.replace("preds.0", first): shape for key, shape in shapes_of.items()}
        layout = find("mws_classifier", held)
        assert layout.options(held) == {"pool": "free", "num_tags": 12}
        with pytest.raises(InputError, match="the checkpoint has none of preds.0.weight, pred.weight"):
            find("mws_classifier", {})
    paths = [("params", "param_pool", "conv", "kernel"), ("params", "pred", "bias")]
    assert [checkpoint_key(path, layout) for path in paths] == ["param_pool.conv.weight", "pred.bias"]
    layout = find("mws_captioner", {"encoder.pred.weight": (), "decoder.linear.bias": (9,)})
    paths = [("params", "decoder", "embed", "embedding"), ("params", "decoder", "lstm", "weight_hh_l0")]
    paths.append(("params", "feature", "transition1", "norm", "scale"))
    expected = ["decoder.embed.weight", "decoder.lstm.weight_hh_l0", "encoder.feature.features.transition1.0.weight"]
    assert [checkpoint_key(path, layout) for path in paths] == expected

"""Checkpoints of TensorFlow and Keras: files that TensorFlow 2.21 wrote, and the names of DeepVS and ACLNet."""

import contextlib
import json
import pathlib
import shutil

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from avsd_jax import convert
from avsd_jax.errors import InputError
from avsd_jax.nn.conv2d import Deconv2D
from avsd_jax.nn.conv_lstm import ConvLSTM2D
from avsd_jax.nn.resize import resize_corner
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.torch_weights import conversion, keras_files
from avsd_jax.torch_weights.variables import layers_of, to_variables

# Written by `tf.compat.v1.train.Saver`, and its index again with Snappy's compression. Beside variables of all kinds it
# holds what TensorFlow computes: a transposed convolution, a resize, and a ConvLSTM2D of Keras.
FILES = pathlib.Path(__file__).parent / "tensorflow_1"


@pytest.fixture(scope="module")
def written() -> dict[str, np.ndarray]:
    return conversion.read_content(FILES / "small-200000.index")


def test_a_checkpoint_is_read_from_any_of_its_names(written: dict, tmp_path: pathlib.Path):
    assert written["global_step"] == 200_000
    np.testing.assert_array_equal(written["double"], [[1.5, -2.5]])
    np.testing.assert_array_equal(written["half"], np.array([0.5, 3], np.float16))
    for i in range(20):
        np.testing.assert_array_equal(written[f"inference.more{i}.weights"], np.full((2, 1), i))
    assert "text" not in written
    data = "data-00000-of-00001"
    shutil.copy(FILES / "compressed.index", tmp_path / "x.index")
    shutil.copy(FILES / f"small-200000.{data}", tmp_path / f"x.{data}")
    for name in ("x", "x.index", f"x.{data}"):
        again = conversion.read_content(tmp_path / name)
        assert again.keys() == written.keys()
        assert all(np.array_equal(again[key], value) for key, value in written.items())


def test_layers_compute_what_tensorflow_does(written: dict):
    kernel = written["inference.deconv2.weights"]
    ours = jnp.asarray(np.flip(kernel, (0, 1)).swapaxes(-1, -2))
    layer = {"params": {"kernel": ours, "bias": jnp.asarray(written["inference.deconv2.biases"])}}
    found = Deconv2D(1, 4, 2).apply(layer, jnp.asarray(written["deconv_input"]))[:, 1:-1, 1:-1]
    np.testing.assert_allclose(found, written["deconv_output"], atol=1e-5)
    found = resize_corner(jnp.asarray(written["resize_input"]), (7, 8))
    np.testing.assert_allclose(found, written["resize_output"], atol=1e-5)
    names = ("kernel", "recurrent_kernel", "bias")
    layer = {"params": {name: jnp.asarray(written[f"lstm_{name}"]) for name in names}}
    found, _ = ConvLSTM2D(2).apply(layer, jnp.asarray(written["lstm_input"]))
    np.testing.assert_allclose(found, written["lstm_output"], atol=1e-5)


def test_damaged_checkpoints_are_refused(tmp_path: pathlib.Path):
    def refusal(index: bytes, data: bytes | None) -> str:
        (tmp_path / "x.index").write_bytes(index)
        (tmp_path / "x.data-00000-of-00001").unlink(missing_ok=True)
        if data is not None:
            (tmp_path / "x.data-00000-of-00001").write_bytes(data)
        with pytest.raises(InputError) as caught:
            conversion.read_content(tmp_path / "x.index")
        return str(caught.value)

    data = (FILES / "small-200000.data-00000-of-00001").read_bytes()
    for name in ("small-200000", "compressed"):
        index = (FILES / f"{name}.index").read_bytes()
        assert "is missing: put it beside x.index" in refusal(index, None)
        assert "ends before" in refusal(index, data[:-40])
        assert "incomplete" in refusal(index[:-1], data)
        assert "damaged" in refusal(index[40:], data)
        rng = np.random.default_rng(0)
        for _ in range(60):  # whatever is wrong, one sentence says so, or the change was in a checksum
            at = int(rng.integers(len(index)))
            changed = bytearray(index)
            changed[at] ^= int(rng.integers(1, 256))
            (tmp_path / "x.index").write_bytes(changed)
            (tmp_path / "x.data-00000-of-00001").write_bytes(data)
            with contextlib.suppress(InputError):
                conversion.read_content(tmp_path / "x.index")


def test_deepvs_has_the_names_of_the_released_checkpoint(shared: pathlib.Path):
    table = json.loads((shared / "parity/baselines/deepvs_layers.json").read_text())["checkpoint_variables"]
    stored = {name.replace("/", "."): np.broadcast_to(np.float32(0), shape) for name, shape in table.items()}
    rng = np.random.default_rng(0)
    for name in ("deconv2.weights", "conv1.batch_normalization.gamma", "lstm_layer2h3.weights"):
        stored[f"inference.{name}"] = rng.standard_normal(stored[f"inference.{name}"].shape).astype(np.float32)
    slots = {"inference.deconv.weights.Adam_1": np.zeros((4, 4, 16, 128)), "global_step": np.zeros(())}
    variables = to_variables("deepvs", stored | slots)
    params = variables["params"]
    np.testing.assert_array_equal(params["conv1_norm"]["scale"], stored["inference.conv1.batch_normalization.gamma"])
    np.testing.assert_array_equal(params["lstm_layer2"]["h3"]["kernel"], stored["inference.lstm_layer2h3.weights"])
    flipped = stored["inference.deconv2.weights"][::-1, ::-1].swapaxes(-1, -2)
    np.testing.assert_array_equal(params["deconv2"]["kernel"], flipped)
    del stored["inference.conv15.weights"]
    with pytest.raises(InputError, match=r"has no 'conv15\.weights'"):
        to_variables("deepvs", stored)


def save_keras(path: pathlib.Path, layers: dict[str, dict[str, np.ndarray | tuple]]) -> pathlib.Path:
    """A file of `save_weights` of Keras 2; a shape stands for zeros that take no place in it."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in arrays]
            for key, value in arrays.items():
                whole = {"data": value} if isinstance(value, np.ndarray) else {"shape": value, "dtype": "f4"}
                group.create_dataset(f"{name}/{key}:0", **whole)
    return path


def test_keras_layers_are_found_by_name_or_shape(tmp_path: pathlib.Path):
    filled = lambda value: {"kernel": np.full((1, 1, 2, 3), value, "f4"), "bias": np.full(3, value, "f4")}  # noqa: E731
    shapes = {key: value.shape for key, value in filled(0).items()}
    wanted = {"first": shapes, "second": shapes, "named": shapes}
    layers = {"named": filled(3), "input": {}, "time_distributed_1": filled(1), "time_distributed_2": filled(2)}
    found = conversion.read_content(save_keras(tmp_path / "x.h5", layers)).named(wanted)
    assert {key: value.flat[0] for key, value in found.items() if key.endswith("bias")} == {
        "first.bias": 1,
        "second.bias": 2,
        "named.bias": 3,
    }
    with pytest.raises(InputError, match="has 1 unnamed layers .* and 2 are needed"):
        keras_files.read(save_keras(tmp_path / "x.h5", layers | {"time_distributed_2": {}})).named(wanted)


def test_damaged_keras_files_are_refused(tmp_path: pathlib.Path):
    layers = {name: {"kernel": np.ones((2, 3), "f4"), "bias": np.zeros(3, "f4")} for name in ("one", "two")}
    content = save_keras(tmp_path / "x.h5", layers).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(content)
        at = int(rng.integers(len(content)))
        changed[at : at + 8] = rng.bytes(8) if at % 2 else b"\xff" * 8
        (tmp_path / "x.h5").write_bytes(changed)
        with contextlib.suppress(InputError):
            conversion.read_content(tmp_path / "x.h5")


def test_aclnet_is_converted_from_a_keras_file(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture):
    layers = layers_of("aclnet")
    kernel = np.random.default_rng(0).standard_normal(layers["att_conv4"]["kernel"]).astype(np.float32)
    names = {name: name if name.startswith("block") else f"time_distributed_{i}" for i, name in enumerate(layers)}
    stored = {
        names[name]: arrays | ({"kernel": kernel} if name == "att_conv4" else {}) for name, arrays in layers.items()
    }
    file = save_keras(tmp_path / "ACL.h5", stored)
    assert convert.main(["--model=aclnet", f"--checkpoint={file}", f"--out={tmp_path / 'out'}"]) == 0
    config, variables = load_for_inference(tmp_path / "out")
    assert (config.sampler, config.preprocessing, list(config.frame_size)) == ("sequence", "aclnet", [256, 320])
    np.testing.assert_array_equal(variables["params"]["att_conv4"]["kernel"], kernel)
    assert not variables["params"]["att_conv2"]["kernel"].any()
    assert convert.main(["--model=vinet", f"--checkpoint={file}", f"--out={tmp_path / 'other'}"]) == 2
    assert "no layout of a Keras file is known of vinet" in capsys.readouterr().err

"""Files given as checkpoints: safetensors are read without PyTorch, others are named as what they are."""

import gzip
import io
import pickle
import tarfile
import zipfile

import golden
import jax
import ml_dtypes
import numpy as np
import pytest
from weight_files import safetensors

from avsd_jax import convert
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.torch_import import to_variables
from avsd_jax.torch_weights import conversion


@pytest.fixture(scope="module")
def soundnet(shared):
    return golden.state_dict(shared, "vinet/soundnet", 0)


def test_safetensors_become_the_same_model_in_every_precision(tmp_path, soundnet):
    (tmp_path / "x.safetensors").write_bytes(safetensors({f"model._orig_mod.{k}": v for k, v in soundnet.items()}))
    out = convert.convert("soundnet8", tmp_path / "x.safetensors", tmp_path / "out")
    expected = dict(to_variables("soundnet8", soundnet))
    assert jax.tree.all(jax.tree.map(np.array_equal, load_for_inference(out)[1], expected))
    kernel = soundnet["conv1.weight"]
    for dtype in (ml_dtypes.bfloat16, np.float16, np.float64):
        (tmp_path / "x.safetensors").write_bytes(safetensors({"a": np.ones(3, dtype), "k": kernel.astype(dtype)}))
        read = conversion.read_state_dict(tmp_path / "x.safetensors")
        np.testing.assert_array_equal(read["k"], kernel.astype(dtype))


@pytest.mark.parametrize(
    "changes",
    [
        {"data_offsets": [4, 16]},
        {"shape": [4]},
        {"shape": [-3]},
        {"shape": [1.0, 3]},
        {"shape": [10**9, 10**9]},
        {"data_offsets": [12, 0]},
        {"dtype": "F5"},
    ],
)
def test_damaged_safetensors_are_named(tmp_path, changes):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors({"a": np.ones(3, np.float32), "b": np.ones(2, np.float32)}, **changes))
    with pytest.raises(InputError, match="is a damaged .* safetensors file .*: download it again"):
        conversion.read_state_dict(path)


def test_safetensors_of_other_types_are_named(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors({"a": np.ones(3, np.float32)}, dtype="F8_E4M3", shape=[12]))
    with pytest.raises(InputError, match="'a' has the type F8_E4M3: save the weights in single precision"):
        conversion.read_state_dict(path)


def test_cut_or_padded_safetensors_are_named(tmp_path):
    whole = safetensors({"a": np.ones(300, np.float32), "b": np.ones(2, np.float32)})
    path = tmp_path / "x.safetensors"
    for size in (9, 40, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="incomplete safetensors file .*: download it again"):
            conversion.read_state_dict(path)
    for damaged in (whole + b"\0", whole.replace(b'"b"', b'"a"')):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is a damaged"):
            conversion.read_state_dict(path)


def _zip(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def _tar(name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


def _saved(save, *arrays):
    buffer = io.BytesIO()
    save(buffer, *arrays)
    return buffer.getvalue()


FOREIGN = {
    "html": (b"\n <!DOCTYPE html><html><title>Virus scan warning</title>", "is an HTML page, .* browser"),
    "html_utf16": ("<html><body>".encode("utf-16"), "is an HTML page"),
    "html_comment": (b"\xef\xbb\xbf<!-- x --><HTML>", "is an HTML page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "is an XML or HTML text .*AccessDenied"),
    "json": (b'{"error": "rate limit"}', "is JSON text .*rate limit"),
    "text": (b"Not Found", "is text .'Not Found'., not a checkpoint"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
        "is a Git LFS pointer.*git lfs pull",
    ),
    "zip_of_pt": (_zip(**{"AViNet__AViNet.pt": b"x", "AViNet__README": b""}), "zip archive with AViNet/.*: unpack it"),
    "zip_of_text": (_zip(README=b"x"), "zip archive with README: give the PyTorch checkpoint"),
    "empty_zip": (_zip(), "zip archive with nothing in it"),
    "cut_zip": (_zip(a__data=b"x" * 99)[:-30], "damaged or incomplete zip"),
    "torchscript": (_zip(**{"m__data.pkl": b"", "m__constants.pkl": b""}), r"TorchScript .*torch\.jit\.load"),
    "npz": (_saved(np.savez, np.zeros(3)), "is a NumPy archive"),
    "npy": (_saved(np.save, np.zeros(3)), "is a NumPy array"),
    "tar": (_tar("x/AViNet.pth"), "tar archive with x/AViNet.pth: unpack it"),
    "gzip": (gzip.compress(b"x"), "compressed with gzip: unpack it"),
    "seven": (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5 file, as Keras"),
    "keras": (_zip(**{"config.json": b"{}", "model.weights.h5": b""}), "Keras model"),
    "tensorflow": (bytes(99) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "TensorFlow checkpoint"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x80", "ONNX model"),
    "pickle": (pickle.dumps({"a": np.zeros(3)}), "Python pickle that torch.save did not write.*could run code"),
    "zeros": (bytes(5000), "holds zeros where it should begin"),
    "noise": (b"\x99\x01\xfe\x00\x10" * 9, "begins with .* as no checkpoint does"),
}


@pytest.mark.parametrize(("content", "message"), FOREIGN.values(), ids=FOREIGN.keys())
def test_other_files_are_named_with_what_to_do(tmp_path, content, message):
    path = tmp_path / "AViNet.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"AViNet\.pt .*{message}") as caught:
        conversion.read_content(path)
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


def test_folders_and_unreadable_places_are_named(tmp_path):
    def refusal(path):
        with pytest.raises(InputError) as caught:
            conversion.read_content(path)
        return str(caught.value)

    assert "no checkpoint" in refusal(tmp_path / "nothing")
    assert "is a folder: give the path" in refusal(tmp_path)
    (tmp_path / "model.pth").write_bytes(b"")
    assert "give the file in it, model.pth" in refusal(tmp_path)
    (tmp_path / "data.pkl").write_bytes(b"")
    (tmp_path / "data").mkdir()
    assert "is an unpacked PyTorch file" in refusal(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "model/checkpoints").mkdir()
    assert "is a model folder already" in refusal(tmp_path / "model")


# ---------------------------------------------------------------- what PyTorch wrote


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("is_zip", [True, False])
def test_harmless_objects_beside_the_tensors_are_read_over(tmp_path, torch, is_zip):
    import argparse
    import collections
    import datetime
    import pathlib
    import types

    beside = [
        argparse.Namespace(lr=0.1, out=pathlib.Path("x"), data=pathlib.PureWindowsPath("y")),
        *(np.float64(3), np.int64(2), np.bool_(True), np.dtype("f4"), np.arange(3), np.array(["a"])),
        *(collections.defaultdict(list, a=[1]), collections.OrderedDict(a=1), collections.Counter("aab")),
        *(torch.Size([1]), torch.float16, torch.device("cpu"), datetime.datetime(2020, 1, 1), datetime.timedelta(1)),
        *({1}, frozenset([1]), slice(1, 2), range(3), 1j, b"x", types.SimpleNamespace(a=1)),
    ]
    content = {"beside": beside, "state_dict": {"a.weight": torch.arange(3.0), "b": np.ones(2)}}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=is_zip)
    before = set(torch.serialization.get_safe_globals())
    state = conversion.read_state_dict(tmp_path / "x.pt")
    assert {key: array.tolist() for key, array in state.items()} == {"a.weight": [0, 1, 2], "b": [1, 1]}
    assert set(torch.serialization.get_safe_globals()) == before


class Config(dict):
    """A class that only its own code can read."""


def test_other_objects_are_named_by_class(tmp_path, torch):
    def refusal(content, **options):
        torch.save(content, tmp_path / "x.pt", **options)
        with pytest.raises(InputError) as caught:
            conversion.read_content(tmp_path / "x.pt")
        return str(caught.value)

    for options in ({}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}):
        message = refusal({"state_dict": {"a": torch.ones(1)}, "cfg": Config(a=1)}, **options)
        assert f"more than tensors ({__name__}.Config), and opening it could run code" in message
    message = refusal({"model": torch.nn.Sequential(torch.nn.Linear(1, 1))})
    assert "a whole module (torch.nn.modules.container.Sequential" in message
    assert "save model.state_dict()" in message
    assert "pickle protocol" in refusal({"a": torch.ones(1)}, pickle_protocol=4)


def test_damaged_bytes_are_noticed_wherever_they_are(tmp_path, torch):
    path = tmp_path / "x.pt"
    torch.save({f"layer{i}.weight": torch.randn(300) for i in range(4)}, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        places = {
            m.filename.partition("/")[2]: whole.index(archive.read(m)) for m in archive.infolist() if m.file_size > 40
        }
    assert {"data.pkl", "data/0", "data/3"} <= places.keys()
    for place in places.values():
        damaged = bytearray(whole)
        damaged[place + 20] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"x\.pt is damaged .*: download it again"):
            conversion.read_content(path)
    for size in (1, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="download it again"):
            conversion.read_content(path)


def test_files_without_checksums_are_read(tmp_path, torch):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert conversion.read_state_dict(tmp_path / "x.pt")["a"].tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_tensors_of_other_kinds(tmp_path, torch):
    def read(tensor):
        torch.save({"a": tensor}, tmp_path / "x.pt")
        return conversion.read_state_dict(tmp_path / "x.pt")["a"]

    base = torch.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(read(base.T[1:, ::2]), base.numpy().T[1:, ::2])
    np.testing.assert_array_equal(read(torch.nn.Parameter(base.bfloat16())), base.numpy())
    np.testing.assert_array_equal(read(base.to_sparse()), base.numpy())
    with pytest.raises(InputError, match="'a' has a shape but no values"):
        read(base.to("meta"))
    with pytest.raises(InputError, match="'a' is quantised"):
        read(torch.quantize_per_tensor(base, 0.1, 0, torch.qint8))

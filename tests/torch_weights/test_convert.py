"""The converter: a real `.pt` file in, a model folder out, one clear line for every mistake."""

import json
import subprocess
import sys

import golden
import jax
import numpy as np
import pytest
from drawn import flat_shapes
from ml_collections import ConfigDict
from test_checkpoint_files import safetensors

from avsd_jax import convert
from avsd_jax.errors import InputError
from avsd_jax.nn.cross_modal_nce import memory_from_checkpoint
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.runs.components import model_from_config
from avsd_jax.torch_import import to_variables
from avsd_jax.torch_weights import conversion
from avsd_jax.torch_weights.prefixes import entries, find_part


def _save(path, content):
    torch = pytest.importorskip("torch")

    def tensors(tree):
        if isinstance(tree, dict):
            return {k: tensors(v) for k, v in tree.items()}
        return torch.from_numpy(tree.copy()) if isinstance(tree, np.ndarray) else tree

    torch.save(tensors(content), path)
    return path


def _run(*arguments: str) -> int:
    return convert.main([*map(str, arguments)])


@pytest.fixture
def soundnet(shared):
    return golden.state_dict(shared, "vinet/soundnet", 0)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_writes_what_the_file_holds(tmp_path, capsys, soundnet, wrapper):
    content = soundnet if wrapper is None else {"epoch": 3, wrapper: soundnet, "optimizer": {"lr": 0.1}}
    checkpoint = _save(tmp_path / "soundnet8_final.pth", content)
    out = tmp_path / "models/soundnet"
    assert _run("--model=soundnet8", f"--checkpoint={checkpoint}", f"--out={out}") == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    config, variables = load_for_inference(out)
    assert config.model_name == "soundnet8"
    expected = to_variables("soundnet8", soundnet)
    assert flat_shapes(variables) == flat_shapes(expected)
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, dict(expected)))


@pytest.mark.parametrize(
    ("case", "name", "found"),
    [
        ("avinet", "avinet", {"fusion": "bilinear", "gate": "always", "clip_size": 32}),
        ("avinet_transformer", "avinet", {"fusion": "transformer"}),
        ("avinet_bilinear_transformer", "avinet", {"fusion": "bilinear_transformer"}),
        ("vinet_clip16", "vinet", {"clip_size": 16, "num_skips": 3}),
        ("vinet_hier1", "vinet", {"clip_size": 32, "num_skips": 1}),
    ],
)
def test_the_record_rebuilds_the_model(shared, case, name, found):
    spec = json.loads((shared / f"parity/vinet/spec_{case}.json").read_text())["state_dict"]
    state = {f"module.{key}": np.broadcast_to(np.float32(0), shape) for key, shape in spec.items()}
    options = json.loads(json.dumps(conversion.model_options(name, state)))
    assert found.items() <= options.items()
    model = model_from_config(ConfigDict(conversion.record(name, options, "x.pt")))
    assert {key: getattr(model, key) for key in found} == found


def test_files_of_old_pytorch_are_read_beside_their_optimisers(tmp_path, shared):
    """STAViS's are of the format before 1.6: a plain pickle, with the state of four optimisers in it."""
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], 0.1, momentum=0.9, dampening=0.9)
    parameter.grad = torch.ones(3)
    optimizer.step()
    content = {"epoch": 61, "arch": "resnet-50", "state_dict": {"module.conv1.weight": torch.arange(3.0)}}
    content |= {f"optimizer_{group}": optimizer.state_dict() for group in ("global", "sal", "sound", "fusion")}
    path = tmp_path / "visual_split1_save_60.pth"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert not path.read_bytes().startswith(b"PK")
    state = conversion.read_state_dict(path)
    assert {k: v.tolist() for k, v in state.items()} == {"module.conv1.weight": [0.0, 1.0, 2.0]}
    old = shared / "parity/avc/fixture_avid_layout_legacy.pth.tar"
    if old.exists():
        assert {v.dtype.kind for v in conversion.read_state_dict(old).values()} <= {"f", "i"}


def test_a_stavis_folder_rebuilds_the_model(tmp_path, shared):
    state = {f"module.{k}": v for k, v in golden.state_dict(shared, "stavis/audiovisual", 0).items()}
    for name in ("stavis", "stavis_visual"):
        config = ConfigDict(conversion.record(name, conversion.model_options(name, state), "x.pth"))
        assert (config.frame_size, config.preprocessing) == ([112, 112], "stavis")
        assert model_from_config(config).clip_size == 16


@pytest.mark.parametrize("is_zip", [False, True])
def test_avids_files_are_read_beside_their_memory(tmp_path, shared, is_zip):
    """Of a training on several GPUs: weights, optimiser and memory banks, in the format before 1.6 or after."""
    torch = pytest.importorskip("torch")
    spec = json.loads((shared / "parity/avc/spec_avid_avchead.json").read_text())["state_dict"]
    state = {f"module.{key}": torch.zeros(shape) for key, shape in spec.items() if "num_batches" not in key}
    state["module.classifier.2.bias"] = torch.arange(2.0)
    banks = {"nce_average.view1_mem": torch.ones(6, 5), "criterion.avg_exp_score": torch.ones(1)}
    content = {"epoch": 30, "model": state, "optimizer": {"state": {0: {"step": 1}}}, "train_criterion": banks}
    torch.save(content, tmp_path / "x.pth.tar", _use_new_zipfile_serialization=is_zip)
    out = conversion.convert("avid_avchead", tmp_path / "x.pth.tar", tmp_path / "out")
    config, variables = load_for_inference(out)
    assert config.model_name == "avc"
    assert model_from_config(config).classifier == "avid"
    np.testing.assert_array_equal(variables["params"]["classifier_2"]["bias"], [1, 0])
    fixture = shared / f"parity/avc/fixture_avid_layout_{'zip' if is_zip else 'legacy'}.pth.tar"
    content = conversion.read_content(fixture)
    memory = memory_from_checkpoint(content["train_criterion"])
    assert memory.video.shape == memory.audio.shape == (6, 5)
    assert len(find_part("avid", list(entries(content))).arrays) == 8


def test_half_precision_becomes_float32_and_sparse_dense(tmp_path, soundnet):
    torch = pytest.importorskip("torch")
    path = tmp_path / "half.pt"
    odd = {"sparse": torch.ones(2).to_sparse(), 1: torch.ones(2)}
    torch.save({k: torch.from_numpy(v).half() for k, v in soundnet.items() if v.ndim} | odd, path)
    state = conversion.read_state_dict(path)
    assert state.pop("sparse").tolist() == [1, 1]
    assert state.keys() == {k for k, v in soundnet.items() if v.ndim}
    assert {v.dtype for v in state.values()} == {np.dtype(np.float32)}


def test_code_in_a_file_is_refused(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    checkpoint, out = tmp_path / "model.pt", tmp_path / "out"
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "args": _Evil(tmp_path)}, checkpoint)
    assert _run("--model=vinet", f"--checkpoint={checkpoint}", f"--out={out}") == 2
    message = capsys.readouterr().err
    assert "more than tensors" in message
    assert message.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt"]


class _Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, folder):
        self._folder = folder

    def __reduce__(self):
        return (open, (str(self._folder / "owned"), "w"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "holds no state dict"),
        (np.zeros(3), "holds no state dict"),
        ({"conv1.weight": np.zeros((16, 1, 64, 1), np.float32)}, "the checkpoint has no"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, content, message):
    checkpoint, out = _save(tmp_path / "x.pt", content), tmp_path / "out"
    assert _run("--model=soundnet8", f"--checkpoint={checkpoint}", f"--out={out}") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not out.exists()


def test_a_damaged_file_is_refused(tmp_path):
    pytest.importorskip("torch")
    for content in (b"", b"not a checkpoint", b"hello", b"PK\x03\x04 half of a zip"):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(InputError, match="x.pt"):
            conversion.read_state_dict(tmp_path / "x.pt")


def test_the_folder_must_be_new(tmp_path, capsys, soundnet):
    checkpoint = _save(tmp_path / "x.pt", soundnet)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("kept")
    assert _run("--model=soundnet8", f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}") == 2
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["precious"]


def test_without_pytorch_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r'pip install "avsd-jax\[convert\]"'):
        conversion.read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=vgg", "--checkpoint=x.pt", "--out=y"], "--model"),
        (["--model=vinet", "--checkpoint=x.pt"], "required: --out"),
        (["--model=vinet", "--checkpoint=x.pt", "--out=y", "--colour=red"], "colour"),
        (["--model=vinet", "--checkpoint=x.pt", "--out=y", "z"], "unrecognized arguments: z"),
    ],
)
def test_wrong_flags_are_named(capsys, arguments, message):
    assert _run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_command_line():
    command = [sys.executable, "-m", "avsd_jax.convert", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--checkpoint" in shown
    assert "--model=avinet" in shown


def test_copies_are_chosen_on_the_command_line_and_the_target_is_checked_first(tmp_path, capsys, soundnet):
    other = {key: array + 1 if array.dtype == np.float32 else array for key, array in soundnet.items()}
    checkpoint = tmp_path / "x.safetensors"
    content = {
        f"{part}.{key}": a for part, state in {"net": soundnet, "ema": other}.items() for key, a in state.items()
    }
    checkpoint.write_bytes(safetensors({key: np.asarray(array) for key, array in content.items()}))
    arguments = ["--model=soundnet8", f"--checkpoint={checkpoint}"]
    assert _run(*arguments, f"--out={tmp_path / 'out'}") == 2
    assert "2 times, with different weights, under 'ema', 'net': choose with --weights=PATH" in capsys.readouterr().err
    assert _run(*arguments, f"--out={tmp_path / 'out'}", "--weights=ema") == 0
    held = load_for_inference(tmp_path / "out")[1]["params"]["conv1"]["bias"]
    np.testing.assert_array_equal(held, other["conv1.bias"])
    for out in (checkpoint, checkpoint / "below", tmp_path):
        assert _run("--model=soundnet8", "--checkpoint=nowhere", f"--out={out}") == 2
        error = capsys.readouterr().err
        assert str(out) in error
        assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x.safetensors"]

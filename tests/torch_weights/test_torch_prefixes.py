"""Wherever a training script put a network's weights they are found, and never the wrong ones."""

import itertools
import json

import numpy as np
import pytest

from avsd_jax.errors import InputError
from avsd_jax.torch_weights.layouts import NAMES
from avsd_jax.torch_weights.prefixes import entries, find_part

SPECS = {
    "soundnet8": "vinet/spec_soundnet.json",
    "vinet": "vinet/spec_vinet_clip8.json",
    "stavis": "stavis/spec_audiovisual.json",
    "vggsound": "stanet/spec_vggsound_vlad.json",
}


def _state(shared, name, value=0.0):
    spec = json.loads((shared / "parity" / SPECS[name]).read_text())["state_dict"]
    return {key.removeprefix("module."): np.broadcast_to(np.float32(value), shape) for key, shape in spec.items()}


@pytest.fixture(scope="module")
def soundnet(shared):
    return _state(shared, "soundnet8")


def _prefixed(state, prefix):
    return {prefix + key: array for key, array in state.items()}


def _find(name, content, weights=None):
    return find_part(name, list(entries(content)), weights)


@pytest.mark.parametrize("name", SPECS)
def test_wrappers_of_every_order_and_depth_in_every_nesting(shared, name):
    state = _state(shared, name)
    wrappers = ["_orig_mod.", "module.", "model.", "net.", "student."]
    orders = [*itertools.permutations(wrappers, 2), ("a.b.c.", "module."), tuple(wrappers), ()]
    nestings = ["state_dict", "model", "model_state_dict", "net", "ema", "module", "weights.of.mine"]
    for order, nesting in zip(orders, itertools.cycle([*nestings, None]), strict=False):
        content = _prefixed(state, "".join(order))
        for key in reversed(nesting.split(".") if nesting else []):
            content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": np.zeros(3)}}}}
        part = _find(name, content)
        assert part.arrays.keys() == state.keys(), (order, nesting)
        assert part.left_out == ()


def test_compiled_or_parallel_parts_and_parts_in_dictionaries_of_their_own(shared):
    state = _state(shared, "vinet")
    compiled = {key.replace("backbone.", "backbone._orig_mod.module."): array for key, array in state.items()}
    assert _find("vinet", compiled).arrays.keys() == state.keys()
    parts = {
        part: {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")}
        for part in ("backbone", "decoder")
    }
    assert _find("vinet", {"epoch": 1, **parts}).arrays.keys() == state.keys()


def test_what_lies_beside_the_network_is_left_out_and_told(soundnet):
    content = {**_prefixed(soundnet, "model."), "loss.weight": np.zeros(3)}
    part = _find("soundnet8", {"state_dict": content})
    assert part.arrays.keys() == soundnet.keys()
    assert part.left_out == ("state_dict.loss.weight",)
    averaged = {"n_averaged": np.array(3), **_prefixed(soundnet, "module.")}
    assert _find("soundnet8", averaged).arrays.keys() == soundnet.keys()


@pytest.mark.parametrize(
    ("first", "second"), [("student.", "teacher."), ("", "ema."), ("online.", "ema_model.module."), ("", "module.")]
)
@pytest.mark.parametrize("turned", [False, True])
def test_copies_of_different_values_are_chosen_by_path_and_equal_ones_are_one(shared, soundnet, first, second, turned):
    other = _state(shared, "soundnet8", 1.0)

    def content(others):
        halves = [_prefixed(soundnet, first), _prefixed(others, second)]
        return dict(itertools.chain(*(half.items() for half in halves[:: -1 if turned else 1])))

    with pytest.raises(InputError, match="--weights=PATH"):
        _find("soundnet8", content(other))
    for prefix, value in ((first, 0.0), (second, 1.0)):
        chosen = _find("soundnet8", content(other), prefix.rstrip(".") or ".").arrays
        assert chosen.keys() == soundnet.keys()
        assert chosen["conv1.weight"].max() == value
    assert _find("soundnet8", content(soundnet)).arrays.keys() == soundnet.keys()
    with pytest.raises(InputError, match="holds no soundnet8 there"):
        _find("soundnet8", content(other), "elsewhere")


def test_one_key_with_and_without_a_wrapper(soundnet):
    twice = {**soundnet, "module.conv2.weight": soundnet["conv2.weight"] + 1}
    with pytest.raises(InputError, match=r"both 'conv2\.weight' and 'module\.conv2\.weight', with different values"):
        _find("soundnet8", twice)
    # NaN is equal to itself here: the same copy.
    nan = {**soundnet, "conv2.bias": np.full(32, np.nan, np.float32)}
    assert _find("soundnet8", {**nan, **_prefixed(nan, "module.")}).arrays.keys() == soundnet.keys()


def test_a_file_of_a_larger_network_is_named(shared, soundnet, monkeypatch):
    monkeypatch.setattr("avsd_jax.torch_weights.prefixes.NAMES", tuple({"vinet", "soundnet8", "avinet"} & set(NAMES)))
    spec = json.loads((shared / "parity/vinet/spec_avinet.json").read_text())["state_dict"]
    whole = {key: np.broadcast_to(np.float32(0), shape) for key, shape in spec.items()}
    for part in ("vinet", "soundnet8"):
        with pytest.raises(InputError, match=f"is of avinet, of which {part} is a part: give --model=avinet"):
            _find(part, {"state_dict": _prefixed(whole, "module.")})


def test_dictionaries_without_the_network_keep_their_keys(soundnet):
    assert _find("vinet", {"state_dict": soundnet}).arrays.keys() == soundnet.keys()
    assert _find("soundnet8", {"a": 3}).arrays == {}

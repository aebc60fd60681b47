"""Addresses of models on a hub: what is asked for, kept and refused; against a stand-in of the server."""

import json
from pathlib import Path

import hub_server
import pytest

from avsd_jax.common import hub
from avsd_jax.common.by_name import load_module
from avsd_jax.errors import InputError

FILES = {"config.json": b'{"model_name": "vinet"}', "model.safetensors": b"weights", "run.py": b"raise SystemExit"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with hub_server.served(monkeypatch, tmp_path / "cache") as served:
        yield served


def refusal(place: str) -> str:
    with pytest.raises(InputError) as caught:
        hub.folder(place)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_is_downloaded_once_and_named_by_its_commit(server: hub_server.Hub):
    commit = server.add("me/model", FILES | {"calibration.json": b"{}", "v2/config.json": FILES["config.json"]})
    assert hub.pinned("hf://me/model") == f"hf://me/model@{commit}"
    place = hub.folder(f"hf://me/model@{commit}")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        name: content for name, content in FILES.items() if name != "run.py"
    } | {"calibration.json": b"{}"}
    assert not [line for line in server.asked if "run.py" in line]
    server.asked.clear()
    assert hub.folder(f"hf://me/model@{commit}") == place
    assert not server.asked  # a commit that is there needs no network
    # The branch moves on, and the commit stays; a `Path` of an address is the address.
    later = server.add("me/model", FILES | {"model.safetensors": b"others"})
    assert hub.pinned(Path("hf://me/model")) == f"hf://me/model@{later}"
    assert (hub.folder("hf://me/model@main") / "model.safetensors").read_bytes() == b"others"
    assert (hub.folder(f"hf://me/model@{commit}") / "model.safetensors").read_bytes() == b"weights"
    assert hub.pinned("some/folder/") == "some/folder"
    assert hub.folder("some/folder") == Path("some/folder")


def test_a_folder_of_a_repository_and_several_files(server: hub_server.Hub):
    index = json.dumps({"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}).encode()
    files = {"config.json": FILES["config.json"], "model.safetensors.index.json": index}
    files |= {"model-1-of-2.safetensors": b"1", "model-2-of-2.safetensors": b"2"}
    commit = server.add("me/many", {f"a/b/{name}": content for name, content in files.items()})
    assert hub.pinned("hf://me/many/a/b@main") == f"hf://me/many/a/b@{commit}"
    place = hub.folder("hf://me/many/a/b")
    assert sorted(path.name for path in place.iterdir()) == sorted(files)
    assert place.name == "b"
    # An interrupted download is completed.
    (place / "model-2-of-2.safetensors").unlink()
    assert (hub.folder(f"hf://me/many/a/b@{commit}") / "model-2-of-2.safetensors").read_bytes() == b"2"
    assert "there is one in a/b: add the folder" in refusal("hf://me/many")


def test_what_is_in_the_cache_needs_no_network(
    server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from huggingface_hub import constants

    commit = server.add("me/model", FILES)
    named = hub.pinned("hf://me/model")
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        server.asked.clear()
        assert hub.pinned("hf://me/model") == named
        assert hub.cached("hf://me/model") == hub.folder(f"hf://me/model@{commit}")
        assert "not in the cache, and HF_HUB_OFFLINE is set" in refusal("hf://me/other")
        assert not server.asked
    assert hub.cached("hf://me/other") is None
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert hub.pinned("hf://me/model") == named
    assert "taken from the cache" in caplog.text
    assert "http://127.0.0.1:9 cannot be reached" in refusal("hf://me/other")


def test_repositories_without_access_are_named(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch):
    server.add("me/private", FILES, private=True)
    server.add("me/gated", FILES, gated=True)
    for token in ("", hub_server.OTHER_TOKEN):
        monkeypatch.setenv("HF_TOKEN", token)
        assert "has no model me/private, or it is private: check the spelling, or log in" in refusal("hf://me/private")
        assert "is gated: accept its terms at http://127" in refusal("hf://me/gated")
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    for name in ("private", "gated"):
        assert (hub.folder(f"hf://me/{name}") / "model.safetensors").is_file()


def test_other_addresses_and_repositories_are_named(
    server: hub_server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server.repos["me/model"] = hub_server.Repo()
    server.repos["me/model"].commit(FILES, branch="feature/x")
    server.add("me/model", FILES)
    assert (hub.folder("hf://me/model@feature/x") / "model.safetensors").is_file()
    with monkeypatch.context() as patch:
        (tmp_path / "file").touch()
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file"))
        assert "the cache cannot be used (Not a directory: " in refusal("hf://me/model")
    for wrong in (
        "hf://",
        "hf://model",
        "hf:/me/../x",
        "hf://me/model@",
        "hf://me/a b",
        "hf://me//model",
        "hf://me/x@a..b",
    ):
        assert "is no address of a model: write hf://owner/name[/folder][@revision]" in refusal(wrong)
    assert "has no model me/modle" in refusal("hf://me/modle")
    assert "has no revision 'v9'" in refusal("hf://me/model@v9")
    assert "a folder is written before the @" in refusal("hf://me/model@main/folder")
    assert "it has no config.json: check the address" in refusal("hf://me/model/folder")
    server.add("me/pickled", {"config.json": FILES["config.json"], "pytorch_model.bin": b"x"})
    assert "only pytorch_model.bin: a pickle can run code when it is opened" in refusal("hf://me/pickled")
    server.add("me/bare", {"AViNet.pt": b"x"})
    assert "it has no config.json; its weights are pickles" in refusal("hf://me/bare")
    server.add("me/run", {"config.json": FILES["config.json"], "checkpoints/1/x": b"x"})
    assert "ask its owner to run python -m avsd_jax.share" in refusal("hf://me/run")
    server.add("me/bert", FILES | {"config.json": b'{"model_type": "bert"}'})
    assert "is a model of another library" in refusal("hf://me/bert")
    server.add("me/cut", FILES | {"config.json": b'{"model_name'})
    assert "config.json is damaged" in refusal("hf://me/cut")
    assert not [line for line in server.asked if line.endswith((".bin", ".pt", "bert/resolve/main/model.safetensors"))]


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert ': pip install "avsd-jax[hub]"' in refusal("hf://me/model")


@pytest.mark.parametrize(
    "name",
    ["../evil", "..evil", "vinet.evil", "common.network", "os", "/tmp/evil", "__init__", "_private", "", "common"],
)
def test_a_record_selects_modules_of_its_own_package_alone(name: str):
    with pytest.raises(InputError, match="unknown model"):
        load_module("avsd_jax.models", name, "model")

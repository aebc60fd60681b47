"""The digest of a built dataset: what changes it, what does not, and what it costs."""

import json
import shutil
from pathlib import Path

import pytest

from avsd_jax.data import dataset_digest as module
from avsd_jax.data.dataset_digest import dataset_digest
from avsd_jax.errors import InputError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def built(tmp_path: Path, tiny_data_dir: Path, cache: Path) -> Path:
    source = next(tiny_data_dir.rglob("dataset_info.json")).parent
    return Path(shutil.copytree(source, tmp_path / "built"))


def test_a_copy_has_the_same_digest_wherever_it_came_from(built: Path, tmp_path: Path) -> None:
    digest = dataset_digest(built)
    assert len(digest) == 64
    copy = Path(shutil.copytree(built, tmp_path / "elsewhere", copy_function=shutil.copyfile))  # other times
    metadata = json.loads((copy / "metadata.json").read_text())
    metadata["notes"] = {"layout": "another"}
    metadata["left_out"] = {"a": "/somebody/else/a.mp4 is missing"}
    (copy / "metadata.json").write_text(json.dumps(metadata, indent=7))
    assert dataset_digest(copy) == digest


@pytest.mark.parametrize("what", ["record", "label", "setting", "file lost"])
def test_any_other_content_has_another(what: str, built: Path) -> None:
    digest = dataset_digest(built)
    shard = sorted(built.glob("*test.array_record*"))[0]
    metadata = json.loads((built / "metadata.json").read_text())
    if what == "record":
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.unlink()
        shard.write_bytes(data)
    elif what == "file lost":
        shard.unlink()
    elif what == "setting":
        metadata["settings"]["eye"] = "left"
    else:
        metadata["splits"]["test"][0]["fps"] = 1.5
    (built / "metadata.json").write_text(json.dumps(metadata))
    assert dataset_digest(built) != digest


def test_files_are_read_once_and_again_when_they_change(
    built: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    real = module._sha256
    monkeypatch.setattr(module, "_sha256", lambda path: (read.append(path.name), real(path))[1])
    digest = dataset_digest(built)
    files = len(read)
    assert files > 0
    assert dataset_digest(built) == digest
    assert len(read) == files
    next(cache.rglob("*.json")).write_text("{")  # a damaged cache is no cache
    assert dataset_digest(built) == digest
    assert len(read) == 2 * files


def test_a_folder_without_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} holds no whole dataset"):
        dataset_digest(tmp_path)

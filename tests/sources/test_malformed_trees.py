"""A check reports what a build would report, and a failed build changes nothing."""

import pathlib
import shutil

import pytest
from malformed_trees import DATASETS, FAULTS, write_tree

from avsd_jax import datasets


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Complete trees by name, each below a folder that also has the dataset built from it."""
    folders = {}
    for tree, dataset in DATASETS.items():
        folders[tree] = tmp_path_factory.mktemp(tree)
        write_tree(folders[tree] / "manual", tree)
        assert run("build", dataset, folders[tree] / "manual", folders[tree] / "data") == 0
    return folders


def run(command: str, dataset: str, manual_dir: pathlib.Path, data_dir: pathlib.Path, *options: str) -> int:
    where = [f"--dataset={dataset}", f"--manual_dir={manual_dir}", f"--data_dir={data_dir}", "--workers=1"]
    return datasets.main([command, *where, *options])


def contents(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FAULTS)
def test_check_and_build_agree(name: str, whole: dict, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture):
    fault = FAULTS[name]
    dataset, root, good = DATASETS[fault.tree], tmp_path / "manual", whole[fault.tree] / "data"
    shutil.copytree(whole[fault.tree] / "manual", root)
    fault.change(root)
    status = 0 if fault.said is None else 2
    thorough = ["--thorough"] if fault.deep else []
    assert run("check", dataset, root, tmp_path / "data", *thorough) == status
    checked = capsys.readouterr()
    problems = [line for line in checked.out.splitlines() if line.startswith("  problem: ")]
    assert run("build", dataset, root, tmp_path / "data") == status
    error = capsys.readouterr().err
    if status == 0:
        assert not problems
        return
    assert fault.said in "\n".join([*problems, checked.err])
    assert fault.said in error
    assert error.count("error: ") == 1
    assert "Traceback" not in error
    left = [path.name for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert set(left) <= {".build_lock", "metadata.json"}, "what TFDS notes of the config, and no record"
    before = contents(good)
    assert run("build", dataset, root, good, "--overwrite") == 2
    assert contents(good) == before

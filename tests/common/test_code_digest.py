"""The digest of the code that scores depend on: if it changes, finished videos are scored again."""

import shutil
from pathlib import Path

import pytest

from avsd_jax.common import code_digest
from avsd_jax.evaluation.scoring_jobs import SCORING_MODULES


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package's code."""
    target = tmp_path / "avsd_jax"
    shutil.copytree(code_digest.PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    return target


def test_scores_depend_on_the_code_that_decodes_scores_and_reads_maps(package: Path) -> None:
    before = code_digest.digest(*SCORING_MODULES, package=package)
    assert before == code_digest.digest(*SCORING_MODULES), "the same code elsewhere is the same code"
    for name in ("data/schema.py", "data/store.py", "metrics/auc.py", "map_files/images.py", "media/reading.py"):
        file = package / name
        text = file.read_text()
        file.write_text(text.replace("def ", "def  ", 1))
        assert code_digest.digest(*SCORING_MODULES, package=package) != before, name
        file.write_text(text)
    for name in ("models/vinet.py", "training/loop.py", "scoring/markdown.py", "evaluate.py"):
        (package / name).write_text("")
    assert code_digest.digest(*SCORING_MODULES, package=package) == before


def test_a_file_is_found_through_those_that_import_it(tmp_path: Path) -> None:
    package = tmp_path / "p"
    (package / "sub").mkdir(parents=True)
    contents = {
        "a.py": "def f():\n    from p.sub import b\n",
        "sub/__init__.py": "",
        "sub/b.py": "import p.c, os\nimport p.a",
        "c.py": "from other import p",
        "d.py": "",
    }
    for name, text in contents.items():
        (package / name).write_text(text)
    found = [file.relative_to(package).as_posix() for file in code_digest.files("p.a", package=package)]
    assert found == ["a.py", "c.py", "sub/__init__.py", "sub/b.py"]
    with pytest.raises(FileNotFoundError, match=r"no module p\.gone"):
        code_digest.files("p.gone", package=package)

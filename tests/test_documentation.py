"""The links and paths of the documentation lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "launch/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        assert file.exists(), link
        assert not anchor or anchor in _anchors(file), link


def test_the_readme_leads_to_every_page() -> None:
    links = set(re.findall(r"\]\(docs/([\w.]+)", (ROOT / "README.md").read_text()))
    assert {page.name for page in (ROOT / "docs").iterdir()} <= links


@pytest.mark.parametrize("folder", [".", "avsd_jax", "datasets_tfds", "configs", "benchmarks"])
def test_paths_in_the_text_exist(folder: str) -> None:
    """Pages, docstrings and comments name no file or folder that is gone; `<name>` stands for anything."""
    files = PAGES if folder == "." else sorted((ROOT / folder).glob("**/*.py"))
    inside = r"(?<![\w/.:-])((?:avsd_jax|datasets_tfds|configs|benchmarks|tests|docs|launch)/[\w./-]*\w)(?![\w<*/])"
    for file in files:
        for path in re.findall(inside, file.read_text()):
            assert "MODEL" in path or (ROOT / path).exists(), f"{file.relative_to(ROOT)}: {path}"

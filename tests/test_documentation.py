"""The links, paths and commands of the documentation lead somewhere."""

import ast
import contextlib
import functools
import importlib
import io
import json
import re
import subprocess
from pathlib import Path

import doc_blocks
import pytest
import yaml
from doc_blocks import PAGES, ROOT

from avsd_jax.config import fields


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_the_marks_of_a_merge(page: Path) -> None:
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text(), re.M)


def _listed(entry: object) -> list[str]:
    """The pages of a part of the site's navigation."""
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in _listed(part)]


def test_the_site_lists_every_page() -> None:
    listed = _listed(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert len(listed) == len(set(listed))
    pages = {path.with_suffix(".md").name for path in (ROOT / "docs").glob("*.*") if path.suffix in (".md", ".ipynb")}
    assert pages <= set(listed)
    assert set(listed) - pages <= {"clusters.md", "contributing.md", "changelog.md"}, "pages of docs/site/hooks.py"


@pytest.mark.parametrize("folder", [".", "avsd_jax", "datasets_tfds", "configs", "benchmarks"])
def test_paths_in_the_text_exist(folder: str) -> None:
    """Pages, docstrings and comments name no file or folder that is gone; `<name>` stands for anything."""
    files = PAGES if folder == "." else sorted((ROOT / folder).glob("**/*.py"))
    inside = r"(?<![\w/.:-])((?:avsd_jax|datasets_tfds|configs|benchmarks|tests|docs|launch)/[\w./-]*\w)(?![\w<*/])"
    for file in files:
        for path in re.findall(inside, file.read_text()):
            assert "MODEL" in path or (ROOT / path).exists(), f"{file.relative_to(ROOT)}: {path}"


# ---------------------------------------------------------------------------------------------------------------------
# Blocks of code: `make docs` runs them
# ---------------------------------------------------------------------------------------------------------------------

COMMAND = re.compile(r"(?:^|[ =\"`])(?:python -m |(avsd) )((?:[a-z]\w*\.)*[a-z]\w*)((?: [^`\n]*)?)", re.M)
SHOWN_COMMAND = re.compile(r"^ *(?:\S*python -m|\$ |pip install|make |avsd )", re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_is_run_or_says_why_not(page: Path) -> None:
    assert not SHOWN_COMMAND.search(re.sub(r"^(?!    ).*$", "", doc_blocks.without_blocks(page), flags=re.M)), (
        "fence it"
    )
    for block in doc_blocks.blocks(page):
        assert block.language in doc_blocks.LANGUAGES | doc_blocks.OTHERS, block.name
        if block.language in doc_blocks.OTHERS:
            commands = [line for line in block.lines if SHOWN_COMMAND.match(line)]
            assert all("[" in line for line in commands), f"{block.name} shows a command, and is no synopsis"
        if block.language == doc_blocks.PYTHON:
            ast.parse(block.code)
        elif block.language == doc_blocks.SHELL:
            subprocess.run(["bash", "-n", "-c", block.code], check=True)


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = json.loads((ROOT / "docs/first_steps.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@functools.cache
def _help(module: str, *parts: str) -> str:
    """The help of a command; of a benchmark or a launcher, which are scripts, their text."""
    if not module.startswith("avsd_jax."):
        return Path(importlib.util.find_spec(module).origin).read_text()
    package = importlib.util.find_spec(module).submodule_search_locations
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit):
        importlib.import_module(f"{module}.__main__" if package else module).main([*parts, "--help"])
    return out.getvalue()


def _check(module: str, words: list[str], where: str) -> None:
    """Fails if an option of a command does not exist, or a configuration that it names."""
    parts = [word for word in words[:1] if re.fullmatch(r"[a-z]+", word) and f" {word} " in _help(module)]
    text = _help(module, *parts)
    for word in words:
        name, _, value = word.partition("=")
        if not re.fullmatch(r"--[a-z][\w.]*", name):
            continue
        if name.startswith("--config."):
            assert name.split(".")[1] in {*fields.FIELDS, "FIELD"}, f"{where}: {name}"
        else:
            assert re.search(rf"{name}\b", text), f"{where}: {module} has no {name}"
        if name == "--config" and value.startswith("configs/"):
            path, _, variant = value.partition(":")
            assert (ROOT / path).exists(), f"{where}: {path}"
            assert not variant or variant.isupper() or f'"{variant}"' in (ROOT / path).read_text(), f"{where}: {value}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_options_of_commands_exist(page: Path) -> None:
    """Of the commands in blocks, and of those within the text."""
    text = re.findall(r"`((?:python -m|avsd) [^`]*)`", doc_blocks.without_blocks(page))
    lines = [(block.name, line) for block in doc_blocks.blocks(page) for line in block.lines]
    lines += [(page.name, line) for line in text]
    for where, line in lines:
        for program, name, rest in COMMAND.findall(line.replace("\n", " ").replace("avsd_jax.NAME", "")):
            module = f"avsd_jax.{name}" if program else name
            if not module.startswith(("avsd_jax.", "benchmarks.", "launch.")):
                continue
            try:
                words = doc_blocks.arguments(rest.replace("...", ""))
            except ValueError:  # a quotation around it
                words = rest.split()
            _check(module, words, where)

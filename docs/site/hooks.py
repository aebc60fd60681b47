"""Hooks of mkdocs.yml: pages that lie outside docs/, the notebook, links to source code, and GitHub's anchors.

The pages are read on GitHub, too, so they link as files do: `../launch/README.md`, `../configs/avinet.py`. On the site
the former is a page, and what is no page is not shipped: such a link becomes its text.

The notebook is stored without outputs. It is run here, from its first cell to its last, and shown with what it printed
and drew; with DOCS_EXECUTE=0 it is shown as it is stored.
"""

import os
import posixpath
import re
import sys
import tempfile
import textwrap
from pathlib import Path

import nbclient
import nbconvert
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = {"launch/README.md": "clusters.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
NOTEBOOK, PAGE = "first_steps.ipynb", "first_steps.md"
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```)", re.M | re.S)
_INDENTED = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.M)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Gives headings GitHub's anchors, so that one link works in both places."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    return config


def slug(title: str, separator: str) -> str:
    """Returns GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", separator)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside docs/, and what the notebook becomes."""
    for path, name in OUTSIDE.items():
        if (ROOT / path).exists():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    notebook = files.get_file_from_path(NOTEBOOK)
    files.remove(notebook)
    markdown, images = _run(Path(notebook.abs_src_path))
    files.append(File.generated(config, PAGE, content=markdown))
    for name, data in images.items():
        files.append(File.generated(config, name, content=data))
    return files


def _run(path: Path) -> tuple[str, dict[str, bytes]]:
    """Runs the notebook in an empty folder. Returns its page and its images.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    if os.environ.get("DOCS_EXECUTE") != "0":
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "configs").symlink_to(ROOT / "configs")
            paths = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
            client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}})
            client.execute(env=os.environ | {"PATH": paths, "PYTHONPATH": str(ROOT)})
    markdown, resources = nbconvert.MarkdownExporter().from_notebook_node(notebook)
    # Printed text is indented there; as a fence it looks like the code above it.
    parts = _FENCE.split(markdown)
    parts[::2] = [_INDENTED.sub(_fenced, text) for text in parts[::2]]
    return "".join(parts), resources["outputs"]


def _fenced(match: re.Match[str]) -> str:
    text = textwrap.dedent(match[0]).strip()
    return f"```text\n{text}\n```\n" if text else "\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links to the site's pages; a link to any other file of the repository becomes its text."""
    origins = {name: path for path, name in OUTSIDE.items()}
    source = origins.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(lambda match: _link(match, source, page.file.src_uri, files), text) for text in parts[::2]]
    return "".join(parts)


def _link(match: re.Match[str], source: str, uri: str, files: Files) -> str:
    text, target, anchor = match[1], match[2], match[3] or ""
    if "://" in target or target.startswith("mailto:"):
        return match[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if not (ROOT / path).exists():
        return match[0]  # strict mode names it
    inside = OUTSIDE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
    inside = PAGE if inside == NOTEBOOK else inside
    if inside is None or files.get_file_from_path(inside) is None:
        return text
    return f"[{text}]({posixpath.relpath(inside, posixpath.dirname(uri) or '.')}{anchor})"

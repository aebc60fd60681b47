"""Runs the blocks of code of the documentation: PYTHONPATH=.:tests/helpers python tests/docs/run_blocks.py [PAGE ...]

Each page has a folder of its own with a copy of the checkout and with the small files that the pages name, made once
by `world.py`. Two pages are run at a time. What a session (`console`) shows is compared with what is printed.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import world
from doc_blocks import LANGUAGES, PAGES, PYTHON, ROOT, SESSION, Block, blocks

LIMIT = 300
"""Seconds of a block."""
_COMMAND = re.compile(r"^(?:\S*python -m (?:avsd_jax|benchmarks)\.\w+|avsd \w+)")


def main(pages: list[str]) -> int:
    """Runs the pages, all by default; returns the exit status."""
    chosen = [page for page in PAGES if not pages or any(page.match(name) for name in pages)]
    with tempfile.TemporaryDirectory() as folder:
        template = world.build(Path(folder) / "template")
        with ThreadPoolExecutor(2) as pool:
            # The longest first, so that none is left alone at the end.
            results = list(pool.map(lambda page: _run_page(page, template), sorted(chosen, key=_cost, reverse=True)))
    print(f"{sum(ran for ran, _ in results)} blocks ran, {sum(failed for _, failed in results)} failed")
    return int(any(failed for _, failed in results))


def _cost(page: Path) -> int:
    return sum(len(block.lines) for block in blocks(page) if block.language in LANGUAGES and not block.reason)


def _run_page(page: Path, template: Path) -> tuple[int, int]:
    """Runs a page's blocks; returns how many ran and how many failed, after which the page's others are left out."""
    todo = [block for block in blocks(page) if block.language in LANGUAGES and not block.reason]
    if not todo:
        return 0, 0
    folder = world.copy(template, template.parent / page.relative_to(ROOT).as_posix().replace("/", "_"))
    exports = ""
    for done, block in enumerate(todo, 1):
        started = time.monotonic()
        problem = _run_session(block, folder, exports) if block.language == SESSION else _run(block, folder, exports)
        print(f"{'FAILED' if problem else 'ok':6} {time.monotonic() - started:5.1f} s  {block.name}", flush=True)
        if problem:
            print(f"{block.code}\n{problem}", flush=True)
            return done, 1
        exports += "".join(f"{line}\n" for line in block.lines if line.startswith("export "))
    return len(todo), 0


def _run(block: Block, folder: Path, exports: str) -> str:
    """Runs commands or a program, or writes a file; returns what is wrong."""
    if block.file:
        folder.joinpath(*block.file.split(", ")).write_text(block.code)
        return ""
    if block.language == PYTHON:
        return _called([sys.executable, "-c", block.code], folder)[1]
    small = [f"{name}={value}" for name, value in world.SMALL.items()]
    extra = shlex.join(part for word in block.extra.split() for part in (small if word == "SMALL" else [word]))
    lines = [f"{line} {extra}" if _COMMAND.match(line) else line for line in _uncommented(block)]
    return _called(["bash", "-euo", "pipefail", "-c", "\n".join([exports, *lines])], folder)[1]


def _uncommented(block: Block) -> list[str]:
    return [re.sub(r"\s+#\s.*", "", line) for line in block.lines]


def _run_session(block: Block, folder: Path, exports: str) -> str:
    """Runs the commands of a session one by one and compares what they print; returns what is wrong."""
    for part in re.split(r"^\$ ", block.code, flags=re.M)[1:]:
        command, _, expected = part.partition("\n")
        printed, problem = _called(["bash", "-euo", "pipefail", "-c", f"{exports}\n{command}"], folder)
        pattern = re.escape(expected.strip()).replace(r"\.\.\.", r"(.|\n)*")  # for any text
        if problem or not re.fullmatch(pattern, printed.strip()):
            return problem or f"$ {command}\nprinted\n{printed}"
    return ""


def _called(command: list[str], folder: Path) -> tuple[str, str]:
    """Runs a command; returns what it printed, and that with its status if it failed."""
    try:
        done = subprocess.run(
            command, cwd=folder, env=_environment(folder), text=True, capture_output=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return "", f"not done after {LIMIT} s"
    problem = f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}\nstatus {done.returncode}" if done.returncode else ""
    return done.stdout, problem


def _environment(folder: Path) -> dict[str, str]:
    """The user's, with the folder's copy of the package and the programs of this interpreter's environment."""
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(folder)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

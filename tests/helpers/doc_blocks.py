"""The blocks of code in the documentation, and how each is tested.

A block is run by `tests/docs/run_blocks.py`, in order, in a folder of its page's own with what the pages name
(`INPUT.mp4`, `runs/tiny`, ...). A comment in front of it, which no reader sees, says otherwise:

    <!-- not run: REASON -->        it is only checked here: its commands and their options exist
    <!-- run with: --OPTION=X -->   each command of the block gets these options, too; SMALL: those of `world.py`
    <!-- file: FOLDER, NAME -->     it is the content of that file, which the next blocks use
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "launch/README.md")
PAGES = [*(ROOT / name for name in _TOP), *sorted((ROOT / "docs").glob("*.md"))]
SHELL, PYTHON, SESSION = "sh", "python", "console"
LANGUAGES = {SHELL, PYTHON, SESSION}
# Of fences that show anything else.
OTHERS = {"", "text", "csv", "json", "latex"}
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, its line, language and code, and what its comment says."""

    page: Path
    line: int
    language: str
    code: str
    reason: str = ""
    extra: str = ""
    file: str = ""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """The commands, with continued lines joined, without comments and the output of a session."""
        lines = self.code.replace("\\\n", " ").splitlines()
        if self.language == SESSION:
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, also those that are text."""
    text, found = page.read_text(), []
    for match in _BLOCK.finditer(text):
        kind, _, said = (match["mark"] or "").partition(": ")
        notes = {"not run": "reason", "run with": "extra", "file": "file"}
        line = text.count("\n", 0, match.start("language")) + 1
        given = {notes[kind]: said} if kind in notes else {}
        found.append(Block(page, line, match["language"], match["code"], **given))
    return found


def without_blocks(page: Path) -> str:
    """The text around the blocks."""
    return _BLOCK.sub("", page.read_text())


def arguments(line: str) -> list[str]:
    """The words of a command, up to a pipe or a comment; brackets of a synopsis are spaces."""
    words = shlex.split(line.replace("[", " ").replace("]", " "), comments=True)
    return words[: next((i for i, word in enumerate(words) if word in ("|", "&&", ";")), None)]

"""Checks that the built site loads nothing from elsewhere: python tests/docs/check_site.py FOLDER"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

_OUTSIDE = re.compile(r"(?:https?:)?//")


class _Loads(HTMLParser):
    """Collects what a page loads: everything that is not a link to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "poster", "data") or (name == "href" and tag not in ("a", "area")):
                self.found += [value] if value and _OUTSIDE.match(value) else []
            elif name == "class" and "mermaid" in (value or "").split():
                self.found.append("mermaid, whose script the theme loads from elsewhere")


def main(folder: str) -> int:
    """Checks all pages and styles; returns the exit status."""
    pages = sorted(Path(folder).rglob("*.html"))
    problems = [] if pages else [f"{folder} has no page"]
    for page in pages:
        parser = _Loads()
        parser.feed(page.read_text())
        problems += [f"{page} loads {each}" for each in parser.found]
    for style in Path(folder).rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", style.read_text(), flags=re.S)
        problems += [f"{style} loads {url}" for url in re.findall(r"url\(['\"]?((?:https?:)?//[^)]*)\)", text)]
    print("\n".join(problems) or f"{len(pages)} pages load nothing from elsewhere")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

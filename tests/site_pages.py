"""The documentation's site as a reader's browser gets it: built, and read from its HTML."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from tests.pages import TOP

if TYPE_CHECKING:
    from pathlib import Path

COUNTED = ("h1", "h2", "h3", "h4", "li", "pre", "table", "tr", "td", "img", "blockquote")
VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


@dataclass(slots=True)
class Page:
    """What a page says, links to and loads; ``elements`` counts those of its article."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    elements: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # type: ignore[explicit-override]
        given = {name: value or "" for name, value in attrs}
        if name := given.get("id") or given.get("name", ""):
            self.page.names.add(name)
        if tag == "a" and "href" in given:
            self.page.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("prev", "next", "canonical"):
            self.page.loads.append(given.get("href", ""))
        elif "src" in given:
            self.page.loads.append(given["src"])
        if "article" in self._open and tag in COUNTED:
            self.page.elements[tag] += 1
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:  # type: ignore[explicit-override]
        if tag in self._open:
            while self._open.pop() != tag:
                pass


def read_html(text: str) -> Page:
    reader = _Reader()
    reader.feed(text)
    return reader.page


def build_site(directory: Path) -> Path:
    """The finished site, made as ``./make-site`` does; fails with what is wrong in the pages."""
    assemble = [TOP / "docs/site/assemble.py", directory]
    build = ["-m", "zensical", "build", "--strict", "--config-file", directory / "zensical.toml"]
    for arguments in (assemble, build):
        words = [sys.executable, *map(str, arguments)]
        done = subprocess.run(words, cwd=TOP, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return directory / "site"

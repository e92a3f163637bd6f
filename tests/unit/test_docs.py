"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md")), TOP / "examples/README.md"]
ROOTS = (TOP, TOP / "src", TOP / "src/atoll")
"""What paths in code marks are named from."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []
    paths = re.findall(r"`([a-z_0-9]+/[\w/.-]+\.(?:py|sh))`", text)
    assert [path for path in paths if not any((root / path).exists() for root in ROOTS)] == []
    anchors = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text)
    for file, anchor in anchors:
        if not re.match(r"[a-z]+:", file):
            target = page if not file else page.parent / file
            assert anchor in headings(target.read_text()), f"{file}#{anchor}"


def headings(text: str) -> set[str]:
    """The names that a web page of it gives its headings."""
    lines = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}

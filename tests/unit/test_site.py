"""The documentation's site: complete, sound in itself, and readable without any other host."""

from __future__ import annotations

import fcntl
import json
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from docs.site.assemble import find_pages
from tests.site_pages import Page, build_site, read_html

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the first worker of a run that wants it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    folder.mkdir(exist_ok=True)
    with (folder / "built").open("a+") as built:
        fcntl.flock(built, fcntl.LOCK_EX)
        if not built.seek(0, os.SEEK_END):
            build_site(folder)
            built.write("yes")
    return folder / "site"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path: read_html(path.read_text()) for path in sorted(site.rglob("*.html"))}


def test_every_link_leads_to_a_page_and_a_heading(pages: dict[Path, Page]) -> None:
    wrong = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                wrong.append(f"{path.name}: {link}")
            elif parts.fragment and unquote(parts.fragment) not in pages[target].names:
                wrong.append(f"{path.name}: {link}: no such heading")
    assert wrong == []


def test_nothing_is_loaded_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    """Fonts, pictures, scripts and styles are all in the site."""
    for path, page in pages.items():
        for load in page.loads:
            assert not urlsplit(load).netloc, f"{path.name} loads {load}"
            if not load.startswith(("/", "data:")):
                assert (path.parent / unquote(urlsplit(load).path)).is_file(), f"{path}: {load}"
    for style in site.rglob("*.css"):
        loaded = re.findall(r"@import[^;]*|url\((?!['\"]?data:)[^)]*\)", style.read_text())
        assert [word for word in loaded if "//" in word] == [], style.name


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("rollback", "howto/upgrade-and-go-back"),
        ("ubuntu", "howto/questions"),
        ("locale-gen", "howto/instead-of"),
        ("fs-verity", "reference/boot"),
        ("subuid", "howto/build-without-root"),
    ],
)
def test_the_search_index_has_the_words_of_the_pages(site: Path, word: str, page: str) -> None:
    items = json.loads((site / "search.json").read_text())["items"]
    found = {
        item["location"].partition(".html")[0]
        for item in items
        if word in (item["title"] + item["text"]).lower()
    }
    assert page in found


@pytest.mark.parametrize("source", find_pages(), ids=lambda path: path.stem)
def test_a_page_reads_the_same_in_the_checkout(
    source: Path, site: Path, pages: dict[Path, Page]
) -> None:
    """The site's Markdown wants blank lines and wide indents that CommonMark, as forges show it,
    does not: a list that one of them takes for text would be seen in one place only.
    """
    page = find_pages()[source]
    name = page.parent / ("index.html" if page.stem == "README" else f"{page.stem}.html")
    theirs = read_html(
        f"<article>{MarkdownIt('commonmark').enable('table').render(source.read_text())}</article>"
    )
    assert pages[site / name].elements == theirs.elements

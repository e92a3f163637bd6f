"""Puts the pages of the site together: ``python docs/site/assemble.py DIRECTORY``.

The pages are those of ``docs/``, written so that they can also be read in the checkout. Five things
differ in the site:

- a link to a file outside of ``docs/``, such as an example's recipe, leads to a page that shows it;
- the comments that tell the tests which blocks to run are left out;
- a list may begin right below a paragraph, as in CommonMark;
- options get a class, so that no line ends within one;
- the decision records are listed in the navigation in their order.

``DIRECTORY`` gets ``pages/`` and ``zensical.toml``; Zensical makes ``DIRECTORY/site`` of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
DOCS = TOP / "docs"
EXAMPLES = TOP / "examples/README.md"
INTERRUPTING = re.compile(r"(?<=\n)(?![-\d ]|\n)(.+\n)(?=- |1\. )")
"""A paragraph's last line with a list right behind it, which Python-Markdown takes for its text."""
MARK = re.compile(r"^<!-- (?:run|run --long|not run: .*?|file: \S+) -->\n", re.MULTILINE)
FENCED = re.compile(r"^( *)(```+).*?^\1\2`*$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![`\w])(`--?\w[\w-]{0,22}`)(?![`{])")
"""An option alone, which browsers would break after its hyphens."""
LINK = re.compile(r"(?<=\]\()([^)#\s]+)")
DECISIONS = Path("decisions/README.md")
"""The page that lists the decision records; in the checkout that is the folder's own listing."""
ABOUT_DECISIONS = """\
Each record answers one question about how Atoll is made: what was compared, what was decided, and
what follows."""
ELSEWHERE = re.compile(r"[a-z]+:")


class BadPage(Exception):
    """A page of ``docs/`` that cannot go into the site: which one, and why."""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/site/assemble.py DIRECTORY")
    try:
        assemble(Path(sys.argv[1]))
    except BadPage as error:
        sys.exit(f"assemble.py: {error}")


def assemble(directory: Path) -> None:
    """Write ``pages/`` and ``zensical.toml``; what was there before is removed."""
    pages = directory / "pages"
    for old in (pages, directory / "site"):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(DOCS, pages, ignore=shutil.ignore_patterns("*.md", "site"))
    shutil.copytree(HERE / "assets", pages / "assets")
    for source, page in find_pages().items():
        shown: dict[Path, Path] = {}
        write_page(pages / page, format_page(source, shown))
        for file, code_page in shown.items():
            write_page(pages / code_page, format_code_page(file))
    write_page(pages / DECISIONS, format_decisions())
    (directory / "zensical.toml").write_text(format_config((HERE / "zensical.toml").read_text()))


def write_page(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def find_pages() -> dict[Path, Path]:
    """Every page that people write: its file in the checkout, and its path below ``pages/``."""
    pages = {source: source.relative_to(DOCS) for source in sorted(DOCS.rglob("*.md"))}
    return pages | {EXAMPLES: Path("examples/README.md")}


def format_page(source: Path, shown: dict[Path, Path]) -> str:
    """The page's text for the site; files that it links to outside of ``docs/`` go to ``shown``."""
    pages = find_pages()
    here = pages[source].parent

    def lead(match: re.Match[str]) -> str:
        if ELSEWHERE.match(match[0]):
            return match[0]
        target = (source.parent / match[0]).resolve()
        if target == DOCS / "decisions":
            return os.path.relpath(DECISIONS, here)
        if not target.is_file():
            raise BadPage(f"{source.relative_to(TOP)} links to {match[0]}, which is no file")
        if target == TOP / "README.md":
            return os.path.relpath("index.md", here)
        if target in pages:
            return os.path.relpath(pages[target], here)
        if target.is_relative_to(DOCS):
            return os.path.relpath(target.relative_to(DOCS), here)
        shown[target] = Path(f"{target.relative_to(TOP)}.md")
        return os.path.relpath(shown[target], here)

    text = MARK.sub("", source.read_text())
    return "".join(part if is_code else LINK.sub(lead, mend(part)) for is_code, part in split(text))


def mend(text: str) -> str:
    """CommonMark as Python-Markdown has to be given it; headings stay as they are."""
    text = INTERRUPTING.sub(r"\1\n", text)
    return "".join(
        line if line.startswith("#") else OPTION.sub(r"\1{.whole}", line)
        for line in text.splitlines(keepends=True)
    )


def split(text: str) -> Iterator[tuple[bool, str]]:
    """The parts of a page in their order, and whether each is a fenced block of code."""
    end = 0
    for block in FENCED.finditer(text):
        yield False, text[end : block.start()]
        yield True, block[0]
        end = block.end()
    yield False, text[end:]


def format_code_page(file: Path) -> str:
    """A page that shows ``file``."""
    name = file.relative_to(TOP)
    language = {".py": "python", ".toml": "toml", ".sh": "sh"}.get(file.suffix, "")
    return f"# {name}\n\nThis file is part of Atoll.\n\n`````{language}\n{file.read_text()}`````\n"


def format_config(text: str) -> str:
    """Zensical's configuration, with the decision records in place of ``"decisions/*"``."""
    entries = (
        f'{{ {json.dumps(title, ensure_ascii=False)} = "decisions/{name}" }},'
        for name, title in decisions()
    )
    before, mark, after = text.partition('"decisions/*"')
    if not mark:
        raise BadPage('the navigation in docs/site/zensical.toml lacks "decisions/*"')
    return before + "\n".join(entries) + after


def format_decisions() -> str:
    """The page that lists the decision records, a line each."""
    lines = (f"- [{title}]({name})" for name, title in decisions())
    return f"# Decisions\n\n{ABOUT_DECISIONS}\n\n" + "\n".join(lines) + "\n"


def decisions() -> list[tuple[str, str]]:
    """The file name and the heading of each decision record, in their order."""
    found = []
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        heading = path.read_text().partition("\n")[0]
        if not heading.startswith("# "):
            raise BadPage(f"{path.relative_to(TOP)} does not begin with a heading")
        found.append((path.name, heading.removeprefix("# ")))
    return found


if __name__ == "__main__":
    main()

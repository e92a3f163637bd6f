"""The pages of docs/ as somebody follows them: files to write and commands to type, in their order.

A comment before a block of code says what it is; a page shows none of them::

    <!-- file: PATH -->         the block is this file, or goes on with it, below the page's folder
    <!-- run -->                commands after `$ ` or `# `, each followed by what it prints
    <!-- run --long -->         likewise, but they take long
    <!-- not run: WHY -->       commands or files that a test cannot follow

In what a command prints, `…` stands for anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?:^<!-- ([^>]*) -->\n)?^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """``line`` is that of the block's first line in the page."""

    mark: str
    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        return self.mark.removeprefix("file: ") if self.mark.startswith("file: ") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``output`` is what the page says that it prints, empty where the page does not say."""

    text: str
    output: str
    line: int
    status: int = 0
    """What a comment `# exit code N` behind it says."""


def read_blocks(page: Path) -> tuple[Block, ...]:
    text = page.read_text()
    return tuple(
        Block(
            mark=found[1] or "",
            language=found[3],
            text="".join(line.removeprefix(found[2]) for line in found[4].splitlines(True)),
            line=text.count("\n", 0, found.start(4)) + 1,
        )
        for found in _BLOCK.finditer(text)
    )


def followed_pages() -> tuple[Path, ...]:
    """Every tutorial, and the other pages with commands that are run."""
    pages = sorted((TOP / "docs").rglob("*.md"))
    return tuple(
        page
        for page in pages
        if page.parent.name == "tutorial"
        or any(block.mark.startswith("run") for block in read_blocks(page))
    )


def read_files(page: Path) -> dict[str, str]:
    """The files that a page makes, whole."""
    files: dict[str, str] = {}
    for block in read_blocks(page):
        if block.file is not None:
            files[block.file] = files.get(block.file, "") + block.text
    return files


def read_commands(block: Block) -> Iterator[Command]:
    """Each command with its continued lines; comments behind it are taken off."""
    lines = block.text.splitlines()
    prompts = any(line.startswith(("$ ", "# ")) for line in lines)
    text, output, begun, status = "", list[str](), 0, 0
    for number, line in enumerate(lines, block.line):
        if text.endswith("\\"):
            text = f"{text[:-1]} {line.strip()}"
        elif not prompts or line.startswith(("$ ", "# ")):
            if text:
                yield Command(text=text, output="\n".join(output), line=begun, status=status)
            text, output, begun, status = line[2:] if prompts else line, [], number, 0
        else:
            output.append(line)
        said = re.search(r"\s# exit code (\d+)", text)
        status = int(said[1]) if said else status
        text = re.sub(r"\s+#\s.*", "", text)
    if text.strip():
        yield Command(text=text, output="\n".join(output), line=begun, status=status)


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` has lines like those of ``pattern`` in their order, others between them."""
    rows = iter(line.rstrip() for line in text.splitlines())
    for line in pattern.splitlines():
        form = re.compile(".*".join(re.escape(part) for part in line.rstrip().split("…")))
        if not any(form.fullmatch(row) for row in rows):
            return False
    return True

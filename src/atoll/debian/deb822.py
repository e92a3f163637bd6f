"""deb822 text (deb822(5)): the format of control files, package lists, and Release files.

One reader for every file of this form that Atoll reads.
"""

from __future__ import annotations

import re

_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")


def split_paragraphs(text: str) -> list[str]:
    """The paragraphs of a text; as in dpkg, lines with only spaces and tabs separate them."""
    text = text.strip()
    return _BLANK_LINES.split(text) if text else []


def parse_fields(paragraph: str) -> dict[str, str]:
    """The fields of one paragraph: names in lower case, values without spaces around each line.

    A later field replaces an earlier one with the same name. A line that is neither a field, a
    continuation nor a comment is ignored, as are the continuation lines below it.
    """
    found: dict[str, list[str]] = {}
    # Lists are joined at the end: the SHA256 field of a Release file has thousands of lines.
    lines: list[str] = []
    for line in paragraph.split("\n"):
        if line.startswith((" ", "\t")):
            lines.append(line.strip())
        elif not line.startswith("#"):
            name, colon, value = line.partition(":")
            lines = [value.strip()]
            if colon and name.strip():
                found[name.strip().lower()] = lines
    return {name: "\n".join(parts) for name, parts in found.items()}

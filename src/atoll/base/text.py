"""Escape untrusted text for output, so that it cannot move the cursor or fake a line.

Names of packages, files, images and versions come from outside. ``escape`` replaces characters that
control a terminal by escape sequences as in JSON; ``one_line`` also replaces line breaks. Escaping
the output of ``json.dumps`` does not change the JSON value.
"""

from __future__ import annotations

import re

_CONTROLS = (
    r"\x00-\x09\x0b-\x1f\x7f-\x9f"  # C0, DEL and C1: cursor, colour, title, clipboard
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    r"\u2028\u2029\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # breaks, invisible
    r"\ud800-\udfff\U000e0000-\U000e007f"  # surrogates, invisible tags
)
_ESCAPED = re.compile(f"[{_CONTROLS}]")
_ESCAPED_IN_LINE = re.compile(f"[\n{_CONTROLS}]")


def escape(text: str) -> str:
    """Escape control characters, bidirectional and invisible characters, and lone surrogates.

    Newlines stay, and a tab becomes four spaces.
    """
    return text if _is_plain(text) else _ESCAPED.sub(_format_escape, text.replace("\t", "    "))


def one_line(text: str) -> str:
    """``text`` as one line: like ``escape``, but newlines and tabs are escaped, too."""
    return (
        text
        if text.isascii() and text.isprintable()
        else _ESCAPED_IN_LINE.sub(_format_escape, text)
    )


def is_one_line(text: str) -> bool:
    """Whether ``one_line`` would leave ``text`` unchanged."""
    return one_line(text) == text


def width(text: str) -> int:
    """How many terminal columns one line of text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(each) in ("Mn", "Me", "Cf") else 2 if east_asian_width(each) in "WF" else 1
        for each in text
    )


def cut(text: str, columns: int) -> str:
    """``text`` as one line of at most ``columns`` columns; an ellipsis shows that it was cut."""
    text = one_line(text)
    if width(text) <= columns:
        return text
    while text and width(text) >= columns:
        text = text[: min(len(text), columns) - 1] if len(text) > columns else text[:-1]
    return f"{text}…"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace("\n", "").isprintable()


def _format_escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if found[0] in "\n\t":
        return {"\n": "\\n", "\t": "\\t"}[found[0]]
    if number < 0x20:
        return f"\\x{number:02x}"
    if number > 0xFFFF:  # JSON writes these as a surrogate pair
        number -= 0x10000
        return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
    # Valid inside a JSON string, where json.dumps may have left the character unescaped.
    return f"\\u{number:04x}"

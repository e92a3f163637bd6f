"""Text from outside on its way to a person: nothing in it moves a cursor or fakes a line.

Names of packages, files, images and versions are other people's words. ``escape`` spells out what
steers a terminal; ``one_line`` also what would begin a new line. What ``json.dumps`` wrote stays
the same JSON.
"""

from __future__ import annotations

import re

_STEERS = (
    r"\x00-\x09\x0b-\x1f\x7f-\x9f"  # C0, DEL and C1: cursor, colour, title, clipboard
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of what follows
    r"\u2028\u2029\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # breaks, the unseen
    r"\ud800-\udfff\U000e0000-\U000e007f"  # no characters; unseen tags
)
_ESCAPED = re.compile(f"[{_STEERS}]")
_ESCAPED_OF_A_LINE = re.compile(f"[\n{_STEERS}]")


def escape(text: str) -> str:
    """``text`` with control characters, bidirectional marks and lone surrogates spelled out.

    Newlines stay, and a tab becomes four spaces.
    """
    return text if _is_plain(text) else _ESCAPED.sub(_spell, text.replace("\t", "    "))


def one_line(text: str) -> str:
    """``text`` as one line: newlines and tabs are spelled out, too."""
    return text if text.isascii() and text.isprintable() else _ESCAPED_OF_A_LINE.sub(_spell, text)


def is_one_line(text: str) -> bool:
    """Whether ``one_line`` would leave ``text`` as it is."""
    return one_line(text) == text


def width(text: str) -> int:
    """How many columns of a terminal one line of text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(each) in ("Mn", "Me", "Cf") else 2 if east_asian_width(each) in "WF" else 1
        for each in text
    )


def cut(text: str, columns: int) -> str:
    """``text`` as one line in at most so many columns; an ellipsis says that there was more."""
    text = one_line(text)
    if width(text) <= columns:
        return text
    while text and width(text) >= columns:
        text = text[: min(len(text), columns) - 1] if len(text) > columns else text[:-1]
    return f"{text}…"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace("\n", "").isprintable()


def _spell(found: re.Match[str]) -> str:
    number = ord(found[0])
    if found[0] in "\n\t":
        return {"\n": "\\n", "\t": "\\t"}[found[0]]
    if number < 0x20:
        return f"\\x{number:02x}"
    if number > 0xFFFF:  # a pair of surrogates, as JSON has it
        number -= 0x10000
        return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
    # JSON reads this form, and json.dumps leaves such characters as they are.
    return f"\\u{number:04x}"

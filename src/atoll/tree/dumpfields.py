"""Parse and format the fields of a composefs dump line: numbers, times, attributes, escapes.

The parsers raise ``Malformed``; ``dumpfile`` turns it into Damaged with the number of the line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.tree.model import Xattrs

XATTR_NAME_LIMIT = 255
XATTR_SPACE_LIMIT = 32767
XATTR_TEXT_LIMIT = 65535
"""Limits of mkcomposefs 1.0.8 in bytes: the name of one attribute, the space of all attributes of a
node (each with the largest possible padding), and the text of all attributes in a line."""
XATTR_HEADER, XATTR_ENTRY = 12, 7

_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|[\\nrt]|)")
_LETTERS = {b"\\": b"\\", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_BILLION = 1_000_000_000


class Malformed(Exception):
    """Why a line is malformed; ``line`` is its number if it is not the current line."""

    def __init__(self, why: str, *, line: int = 0) -> None:
        super().__init__(why)
        self.line = line


def parse_integer(field: bytes, base: int, limit: int, what: str) -> int:
    """Parse an unsigned number of at most ``limit``; ``what`` names it in the message."""
    if not field.isdigit() or len(field) > 22:
        raise Malformed(f"{quote_field(field)} is not a {what}")
    try:
        value = int(field, base)
    except ValueError:
        raise Malformed(f"{quote_field(field)} is not a {what}") from None
    if value > limit:
        raise Malformed(f"the {what} {quote_field(field)} is too large")
    return value


def parse_time(field: bytes) -> tuple[int, int]:
    """Parse ``SECONDS.NANOSECONDS``: the part behind the dot is an integer, not a fraction."""
    seconds, dot, nanoseconds = field.partition(b".")
    if not dot:
        raise Malformed(f"{quote_field(field)} is not seconds.nanoseconds")
    whole = parse_integer(seconds.removeprefix(b"-"), 10, (1 << 63) - 1, "time")
    part = parse_integer(nanoseconds, 10, _BILLION - 1, "time")
    return -whole if seconds.startswith(b"-") else whole, part


def parse_xattrs(fields: list[bytes]) -> Xattrs:
    """Parse ``KEY=VALUE`` fields; a later field replaces an earlier one of the same key."""
    if not fields:
        return ()
    if sum(map(len, fields)) + len(fields) - 1 > XATTR_TEXT_LIMIT:
        raise Malformed("more extended attribute text than mkcomposefs accepts")
    found: dict[bytes, bytes] = {}
    for field in fields:
        key, equals, value = field.partition(b"=")
        name = parse_escapes(key)
        if not equals or not 0 < len(name) <= XATTR_NAME_LIMIT or b"\0" in name:
            raise Malformed(f"{quote_field(field)} is not an extended attribute")
        found[name] = parse_escapes(value)
    space = sum(XATTR_ENTRY + len(name) + len(value) for name, value in found.items())
    if space + XATTR_HEADER > XATTR_SPACE_LIMIT:
        raise Malformed("more extended attributes than fit in an image")
    return tuple(sorted(found.items()))


def parse_text(field: bytes) -> bytes | None:
    """Parse an optional path or link target, which must not contain NUL."""
    text = parse_optional(field)
    if text is not None and b"\0" in text:
        raise Malformed("a NUL character in a path")
    return text


def parse_optional(field: bytes) -> bytes | None:
    """Parse a field in which ``-`` means None; a literal "-" is written as ``\\x2d``."""
    return None if field == b"-" else parse_escapes(field)


def parse_escapes(field: bytes) -> bytes:
    """Replace escape sequences by their bytes."""
    return _ESCAPE.sub(_unescape, field) if b"\\" in field else field


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if not code:
        raise Malformed(
            f"an escape other than \\\\ \\n \\r \\t \\xHH in {quote_field(match.string)}"
        )
    return _LETTERS[code] if code in _LETTERS else bytes((int(code[1:], 16),))


def quote_field(text: bytes) -> str:
    """A field for a message: printable ASCII, at most 80 bytes of it."""
    shortened = text if len(text) <= 80 else text[:77] + b"..."
    return "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in shortened)


_HEX = [f"\\x{byte:02x}".encode() for byte in range(256)]
_PLAIN = [bytes((byte,)) if 33 <= byte < 127 else _HEX[byte] for byte in range(256)]
for _letter, _byte in _LETTERS.items():
    _PLAIN[_byte[0]] = b"\\" + _letter
_KEYED = [*_PLAIN]
_KEYED[ord("=")] = _HEX[ord("=")]
_SPECIAL = re.compile(rb"[^!-<>-\[\]-~]")


def format_optional(text: bytes | None) -> bytes:
    """Format an optional field: ``-`` for None; a literal "-" is escaped."""
    if text is None:
        return b"-"
    return _HEX[ord("-")] if text == b"-" else format_text(text)


def format_text(text: bytes, table: list[bytes] = _PLAIN) -> bytes:
    """Escape every byte that ``table`` does not map to itself."""
    return b"".join([table[byte] for byte in text]) if _SPECIAL.search(text) else text


def format_xattr(name: bytes, value: bytes) -> bytes:
    """Format an attribute as ``KEY=VALUE``; "=" is escaped in both."""
    return format_text(name, _KEYED) + b"=" + format_text(value, _KEYED)

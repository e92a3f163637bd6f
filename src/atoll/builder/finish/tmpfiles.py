"""The syntax of tmpfiles.d(5): quoting and escapes, and which paths a file creates."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREATES = frozenset("fFdDvqQpLcbC")
"""Types that create a path: systemd-tmpfiles ignores a second such line for the same path."""
_DIRECTORIES = frozenset("dDvqQ")
_SPECIFIERS = {
    "%": "%",
    "S": "/var/lib",
    "C": "/var/cache",
    "L": "/var/log",
    "V": "/var/tmp",
    "T": "/tmp",
    "t": "/run",
    "h": "/root",
}
_CODE = re.compile(r"x([0-9a-fA-F]{2})")
_ESCAPED = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")
_CONTROLS = re.compile(r"[\x01-\x1f\x7f]")
_IN_REST = re.compile(r"[\x01-\x20\x7f\\]")
_PLAIN = re.compile(r"[\w./:@+,=~^-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A line of a package's file. ``mode``, ``user`` and ``group`` are empty where it has ``-``."""

    kind: str
    mode: str = ""
    user: str = ""
    group: str = ""
    argument: str = ""

    @property
    def is_directory(self) -> bool:
        return self.kind[0] in _DIRECTORIES

    @property
    def forced(self) -> bool:
        """Whether it replaces what exists at the path (``F``, or a type with ``+``)."""
        return self.kind[0] == "F" or "+" in self.kind

    @property
    def leaves_open(self) -> bool:
        """Whether it does not set all of mode, user and group."""
        return not (self.mode and self.user and self.group)

    def makes_link(self, path: str, target: str) -> bool:
        """Whether it creates a link at ``path`` to ``target``, or replaces any link there."""
        if self.kind[0] != "L":
            return False
        folder = posixpath.dirname(path)
        ends = (posixpath.normpath(posixpath.join(folder, end)) for end in (self.argument, target))
        return self.forced or len(set(ends)) == 1


def parse_declared(text: str) -> Iterator[tuple[str, Declared]]:
    """The paths that a tmpfiles.d file creates, each with its line."""
    for line in text.splitlines():
        if line.strip().startswith("#"):
            continue
        words, rest = split_line(line)
        if len(words) < 2 or words[0][0] not in _CREATES:
            continue
        mode, user, group, _ = (*("" if word == "-" else word for word in words[2:]), *("",) * 4)[
            :4
        ]
        line_of = Declared(
            kind=words[0], mode=mode, user=user, group=group, argument=expand(_unescape(rest))
        )
        yield expand(words[1]).rstrip("/"), line_of


def split_line(line: str) -> tuple[list[str], str]:
    """The first six fields, unquoted and unescaped, and the rest of the line unchanged."""
    words: list[str] = []
    at, end = 0, len(line)
    while len(words) < 6:
        while at < end and line[at].isspace():
            at += 1
        if at == end:
            return words, ""
        word, at = _read_word(line, at)
        words.append(word)
    return words, line[at:].strip()


def _read_word(line: str, at: int) -> tuple[str, int]:
    word, quote = "", ""
    while at < len(line) and (quote or not line[at].isspace()):
        letter = line[at]
        if letter == "\\" and at + 1 < len(line):
            code = _CODE.match(line, at + 1)
            word += chr(int(code.group(1), 16)) if code else line[at + 1]
            at = code.end() - 1 if code else at + 1
        elif quote and letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        else:
            word += letter
        at += 1
    return word, at


def expand(text: str) -> str:
    """``text`` with those specifiers expanded that are the same on every machine."""
    return re.sub("%(.)", lambda found: _SPECIFIERS.get(found.group(1), found.group()), text)


def quote_path(path: str) -> str:
    """``path`` as a field. It escapes as little as possible: older systemd versions know only a few
    escapes."""
    if _PLAIN.fullmatch(path):
        return path
    text = path.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_CONTROLS.sub(_escape, text)}"'


def quote_rest(text: str) -> str:
    """``text`` as the last field, where quotes have no meaning and blanks at the ends are removed:
    special characters are written as C escapes."""
    if text == "-":
        return "\\x2d"
    return _IN_REST.sub(_escape, text).replace("%", "%%")


def _unescape(text: str) -> str:
    return _ESCAPED.sub(
        lambda found: chr(int(found.group(1), 16)) if found.group(1) else found.group(2), text
    )


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found.group()):02x}"

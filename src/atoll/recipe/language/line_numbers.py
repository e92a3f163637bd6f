"""Find the line of each key in a TOML text; tomllib does not report positions.

``find_lines`` scans a text that tomllib has accepted. In any other text it finds what it can and
never fails; it does not validate TOML.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.base.toml import parse_toml

if TYPE_CHECKING:
    from atoll.base.fields import Key

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_DEEPEST = 100


class _InvalidToml(Exception):
    """The text is not valid TOML from this position on."""


def find_lines(text: str) -> dict[Key, int]:
    """The line, counted from 1, of every table, key and list item."""
    scan = _Scan(text)
    with suppress(_InvalidToml):
        scan.document()
    return scan.lines


class _Scan:
    """One pass over a text, which fills ``lines``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[Key, int] = {}
        self._counted_to = 0
        self._line = 1
        self._tables: dict[Key, int] = {}

    def document(self) -> None:
        table: Key = ()
        self._skip(_BLANK)
        while self.position < len(self.text):
            if self._accept("[["):
                table = self._header(array=True)
            elif self._accept("["):
                table = self._header(array=False)
            else:
                self._pair(table, depth=0)
            self._skip(_BLANK)

    def _header(self, *, array: bool) -> Key:
        line = self._current_line()
        names = self._names()
        self._expect("]]" if array else "]")
        key: Key = ()
        for number, name in enumerate(names, start=1):
            key = (*key, name)
            self.lines.setdefault(key, line)
            if array and number == len(names):
                self._tables[key] = self._tables.get(key, -1) + 1
            if key in self._tables:
                key = (*key, self._tables[key])
                self.lines.setdefault(key, line)
        return key

    def _pair(self, table: Key, *, depth: int) -> None:
        line = self._current_line()
        key = table
        for name in self._names():
            key = (*key, name)
            self.lines.setdefault(key, line)
        self._expect("=")
        self._skip(_SPACE)
        self._value(key, depth=depth + 1)

    def _names(self) -> list[str]:
        names = [self._name()]
        while self._accept("."):
            names.append(self._name())
        return names

    def _name(self) -> str:
        self._skip(_SPACE)
        found = _STRING.match(self.text, self.position) or _BARE_KEY.match(self.text, self.position)
        if not found:
            raise _InvalidToml
        self.position = found.end()
        self._skip(_SPACE)
        return _unquote(found.group())

    def _value(self, key: Key, *, depth: int) -> None:
        if depth > _DEEPEST:
            raise _InvalidToml
        if self._accept("["):
            self._items(key, depth=depth)
        elif self._accept("{"):
            self._inline_table(key, depth=depth)
        else:
            found = _STRING.match(self.text, self.position) or _BARE_VALUE.match(
                self.text, self.position
            )
            if not found or not found.group().strip():
                raise _InvalidToml
            self.position = found.end()

    def _items(self, key: Key, *, depth: int) -> None:
        number = 0
        self._skip(_BLANK)
        while not self._accept("]"):
            self.lines.setdefault((*key, number), self._current_line())
            self._value((*key, number), depth=depth + 1)
            number += 1
            self._skip(_BLANK)
            self._accept(",")
            self._skip(_BLANK)

    def _inline_table(self, key: Key, *, depth: int) -> None:
        self._skip(_BLANK)
        while not self._accept("}"):
            self._pair(key, depth=depth)
            self._skip(_BLANK)
            self._accept(",")
            self._skip(_BLANK)

    def _accept(self, token: str) -> bool:
        if not self.text.startswith(token, self.position):
            return False
        self.position += len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise _InvalidToml

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.position)
        self.position = found.end() if found else self.position

    def _current_line(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.position)
        self._counted_to = self.position
        return self._line


def _unquote(name: str) -> str:
    if name.startswith("'"):
        return name[1:-1]
    if not name.startswith('"'):
        return name
    if "\\" not in name:
        return name[1:-1]
    try:
        return str(parse_toml(f"name = {name}")["name"])
    except ValueError:
        raise _InvalidToml from None

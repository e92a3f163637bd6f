"""Typed fields from parsed TOML or JSON. Every problem is reported with the key where it is.

``Fields`` reads one table and passes each problem to ``complain``. If ``complain`` raises, reading
stops at the first problem (``parse_json_fields``). If it collects, reading goes on with neutral
values, so one pass finds all problems of a file; the caller then discards the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeAlias, TypeVar, overload

from atoll.base.errors import Damaged
from atoll.base.json import parse_json
from atoll.base.suggest import find_nearest
from atoll.base.text import is_one_line

Default = TypeVar("Default")
Key: TypeAlias = tuple[str | int, ...]
"""The path to a value: names of tables and keys, and indices of list items (from 0)."""


class Flaw(NamedTuple):
    """What is wrong with a value, and how to fix it."""

    message: str
    hint: str | None = None


Complain: TypeAlias = Callable[[Key, Flaw], None]
Check: TypeAlias = Callable[[str], Flaw | None]
"""Validates a string; returns the problem, or None when the string is valid."""

_MISSING = object()
_KINDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "a table",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Fields:
    """One table. A method without ``default`` reports a missing field as a problem."""

    table: Mapping[str, object]
    complain: Complain
    key: Key = ()

    def has(self, name: str) -> bool:
        """Whether the table has the field ``name``, of any type."""
        return name in self.table

    def flaw(self, name: str, message: str, hint: str | None = None) -> None:
        """Report a problem with the field ``name``."""
        self.complain((*self.key, name), Flaw(message, hint))

    def require_format(self, known: int) -> None:
        """Report a document whose ``format`` is another one than ``known``."""
        if self.integer("format") != known:
            self.flaw("format", f"must be {known}")

    def only(self, *names: str) -> None:
        """Report every field that is not one of ``names`` as unknown."""
        for name in self.table:
            if name not in names:
                self.flaw(name, "unknown key", suggest(name, names))

    @overload
    def string(self, name: str, *, check: Check | None = None) -> str: ...
    @overload
    def string(
        self, name: str, default: Default, *, check: Check | None = None
    ) -> str | Default: ...
    def string(
        self, name: str, default: object = _MISSING, *, check: Check | None = None
    ) -> object:
        """A string, validated by ``check`` if given."""
        value = self._take(name, str, default, "")
        if check and isinstance(self.table.get(name), str):
            self._validate((*self.key, name), str(value), check)
        return value

    @overload
    def integer(self, name: str) -> int: ...
    @overload
    def integer(self, name: str, default: Default) -> int | Default: ...
    def integer(self, name: str, default: object = _MISSING) -> object:
        """An integer of any size; ``true`` and ``false`` are not integers."""
        return self._take(name, int, default, 0)

    def number(self, name: str, *, least: int = 0, most: int = (1 << 63) - 1) -> int:
        """An integer from ``least`` to ``most``, both included."""
        value = self.integer(name)
        if not least <= value <= most:
            self.flaw(name, f"must be from {least} to {most}")
            return least
        return value

    def line(self, name: str, default: str | None = None, *, most: int = 4096) -> str:
        """A string to display: one line, no control characters, at most ``most`` characters."""
        value = self.string(name) if default is None else self.string(name, default)
        if len(value) > most:
            self.flaw(name, f"has {len(value)} characters; at most {most} are allowed")
        elif not is_one_line(value):
            self.flaw(name, "must be one line without control characters")
        else:
            return value
        return ""

    @overload
    def boolean(self, name: str) -> bool: ...
    @overload
    def boolean(self, name: str, default: Default) -> bool | Default: ...
    def boolean(self, name: str, default: object = _MISSING) -> object:
        """``true`` or ``false``."""
        return self._take(name, bool, default, False)

    def strings(self, name: str, *, check: Check | None = None) -> tuple[str, ...]:
        """A list of strings; empty when the field is missing."""
        found = []
        for number, item in enumerate(self._list(name)):
            key = (*self.key, name, number)
            if not isinstance(item, str):
                self.complain(key, wrong_type(str, item))
            elif not check or self._validate(key, item, check):
                found.append(item)
        return tuple(found)

    def within(self, name: str) -> Fields:
        """The table ``name``; an empty one when it is missing.

        If the value is not a table, only that is reported, not the fields it lacks.
        """
        value = self._take(name, dict, {}, _MISSING)
        if isinstance(value, dict):
            return Fields(value, self.complain, (*self.key, name))
        return Fields({}, lambda _key, _flaw: None, (*self.key, name))

    def each(self, name: str) -> tuple[Fields, ...]:
        """A list of tables; empty when the field is missing."""
        found = []
        for number, item in enumerate(self._list(name)):
            key = (*self.key, name, number)
            if isinstance(item, dict):
                found.append(Fields(item, self.complain, key))
            else:
                self.complain(key, wrong_type(dict, item))
        return tuple(found)

    def _list(self, name: str) -> list[object]:
        value = self._take(name, list, [], [])
        assert isinstance(value, list)
        return value

    def _take(self, name: str, kind: type, default: object, neutral: object) -> object:
        if name not in self.table:
            if default is not _MISSING:
                return default
            self.flaw(name, "is missing")
            return neutral
        value = self.table[name]
        # In Python bool is a subclass of int, but in a recipe `true` is not a number.
        if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
            return value
        self.complain((*self.key, name), wrong_type(kind, value))
        return neutral

    def _validate(self, key: Key, value: str, check: Check) -> bool:
        flaw = check(value)
        if flaw:
            self.complain(key, flaw)
        return flaw is None


def wrong_type(kind: type, value: object) -> Flaw:
    """The problem that ``value`` does not have the type ``kind``."""
    is_now = _KINDS.get(type(value), f"a {type(value).__name__}")
    return Flaw(f"must be {_KINDS[kind]}, not {is_now}")


def suggest(name: str, known: tuple[str, ...]) -> str:
    """A hint: the known name that ``name`` probably meant, else the list of all known names."""
    near = find_near(name.lower(), known)
    return near or f"known here: {', '.join(sorted(known))}"


def find_near(name: str, known: Iterable[str]) -> str | None:
    """A "did you mean" hint, or None when no name in ``known`` is similar."""
    near = find_nearest(name, known)
    return f"did you mean: {near[0]}" if near else None


def format_key(key: Key) -> str:
    """Format a key: ``("layers", 0, "digest")`` becomes ``layers[0].digest``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse_json_fields(text: str | bytes, *, file: str, file_names: bool = False) -> Fields:
    """The object in a JSON text. Every problem raises Damaged, whose message begins with ``file``.

    ``file_names`` as in ``parse_json``.
    """

    def complain(key: Key, flaw: Flaw) -> NoReturn:
        where = f"{file}: {format_key(key)}" if key else file
        raise Damaged(f"{where}: {flaw.message}", hint=flaw.hint)

    value = parse_json(text, where=file, file_names=file_names)
    if not isinstance(value, dict):
        complain((), wrong_type(dict, value))
    return Fields(value, complain)

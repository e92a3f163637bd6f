"""Locations of values in a recipe's files, and all problems of a recipe, sorted by location."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from atoll.base.errors import RecipeError

if TYPE_CHECKING:
    from atoll.base.fields import Flaw, Key

_BARE_KEY = r"[A-Za-z0-9_-]+"


@dataclass(slots=True, eq=False, repr=False)
class RecipeText:
    """One file of a recipe.

    ``name`` is its path relative to the recipe's folder, ``file`` the name in messages. ``number``
    is its position in reading order; the recipe itself is 0.
    """

    name: str
    file: str
    text: str
    number: int = 0
    _lines: dict[Key, int] | None = None

    def line_of(self, key: Key) -> int | None:
        """The line of ``key`` (from 1), or of the table that lacks it."""
        if self._lines is None:
            from atoll.recipe.language.line_numbers import find_lines

            self._lines = find_lines(self.text)
        while key and key not in self._lines:
            key = key[:-1]
        return self._lines.get(key)


class Location(NamedTuple):
    """A key in a file. The key includes ``variant.NAME`` or ``when.CONDITION`` if it is in one."""

    source: RecipeText
    key: Key

    @property
    def line(self) -> int | None:
        """The line, counted from 1."""
        return self.source.line_of(self.key)

    def below(self, *names: str | int) -> Location:
        """The location of a key, or of an item, inside this one."""
        return Location(self.source, (*self.key, *names))


@dataclass(slots=True, eq=False, repr=False)
class Diagnostics:
    """Collects problems; the same problem is recorded once.

    ``variant`` is the one that is being checked. The message names it, unless the location is in
    that variant's own tables.
    """

    variant: str | None = None
    found: dict[tuple[str, str | None], tuple[int, int, RecipeError]] = field(default_factory=dict)

    def add(self, location: Location, flaw: Flaw) -> None:
        """Record a flaw at a location."""
        source, line, key = location.source, location.line, format_key(location.key)
        error = RecipeError(flaw.message, file=source.file, line=line, key=key, hint=flaw.hint)
        if (error.message, error.hint) in self.found:
            return
        identity = error.message, error.hint
        if self.variant is not None and location.key[:2] != ("variant", self.variant):
            message = f"{flaw.message}, in variant {self.variant}"
            error = RecipeError(message, file=source.file, line=line, key=key, hint=flaw.hint)
        self.found[identity] = (source.number, line or 0, error)

    def add_error(self, error: RecipeError, *, number: int) -> None:
        """Record an error of the file ``number``."""
        self.found.setdefault((error.message, error.hint), (number, error.line or 0, error))

    def in_order(self) -> tuple[RecipeError, ...]:
        """All problems, sorted by file and line."""
        ordered = sorted(self.found.values(), key=lambda entry: entry[:2])
        return tuple(error for _, _, error in ordered)


def format_key(key: Key) -> str:
    """A key as a person writes it; the line says which table or item of several it is."""
    names = (part for part in key if isinstance(part, str))
    return ".".join(name if re.fullmatch(_BARE_KEY, name) else repr(name) for name in names)

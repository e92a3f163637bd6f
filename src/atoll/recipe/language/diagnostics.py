"""Where a value of a recipe stands, and all that is wrong with it, in the order of the texts."""

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
    """A text that a recipe is read from.

    ``name`` leads to it from the recipe's folder, ``file`` is what a person is told; ``number`` is
    its turn: the recipe itself is 0.
    """

    name: str
    file: str
    text: str
    number: int = 0
    _lines: dict[Key, int] | None = None

    def line_of(self, key: Key) -> int | None:
        """The line of ``key``; of what it would be in, when it is missing."""
        if self._lines is None:
            from atoll.recipe.language.line_numbers import find_lines

            self._lines = find_lines(self.text)
        while key and key not in self._lines:
            key = key[:-1]
        return self._lines.get(key)


class Location(NamedTuple):
    """A key in a text; the key begins at the top of the text, in a variant with that."""

    source: RecipeText
    key: Key

    @property
    def line(self) -> int | None:
        return self.source.line_of(self.key)

    def below(self, *names: str | int) -> Location:
        return Location(self.source, (*self.key, *names))


@dataclass(slots=True, eq=False, repr=False)
class Diagnostics:
    """Collects. ``variant`` is the one that is looked at: a problem that only it has names it,
    unless it stands in there; the same problem at the same place counts once.
    """

    variant: str | None = None
    found: dict[tuple[str, str | None], tuple[int, int, RecipeError]] = field(default_factory=dict)

    def add(self, place: Location, flaw: Flaw) -> None:
        source, line, key = place.source, place.line, format_key(place.key)
        error = RecipeError(flaw.message, file=source.file, line=line, key=key, hint=flaw.hint)
        if (error.message, error.hint) in self.found:
            return
        same = error.message, error.hint
        if self.variant is not None and place.key[:2] != ("variant", self.variant):
            message = f"{flaw.message}, in variant {self.variant}"
            error = RecipeError(message, file=source.file, line=line, key=key, hint=flaw.hint)
        self.found[same] = (source.number, line or 0, error)

    def add_error(self, error: RecipeError, *, number: int) -> None:
        self.found.setdefault((error.message, error.hint), (number, error.line or 0, error))

    def in_order(self) -> tuple[RecipeError, ...]:
        inside = sorted(self.found.values(), key=lambda entry: entry[:2])
        return tuple(error for _, _, error in inside)


def format_key(key: Key) -> str:
    """A key as a person writes it; the line says which table or item of several it is."""
    names = (part for part in key if isinstance(part, str))
    return ".".join(name if re.fullmatch(_BARE_KEY, name) else repr(name) for name in names)

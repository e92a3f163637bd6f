"""The types of the schema: rules of tables and keys. ``schema`` has all of them.

The parser, ``atoll explain``, the JSON Schema and the reference page are all based on the schema.
Classes that the parser needs at start have no ``eq`` and ``repr``, which would take longer to
generate than a recipe takes to parse.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.fields import Check

Default: TypeAlias = str | int | bool | None


class ValueKind(StrEnum):
    """The type of a key's value; the values are shown to people."""

    TEXT = "text"
    NUMBER = "whole number"
    BOOLEAN = "true or false"
    TEXTS = "list of texts"
    MAP = "table of texts"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KeyRule:
    """A key with a value. ``doc`` is one sentence, ``example`` a value as TOML.

    ``default`` is the value if the key is omitted (lists and maps are then empty); ``default_text``
    describes that in words. ``check`` checks a text, an item of a list, or a value of a map;
    ``check_name`` a name of a map. ``least`` and ``most`` limit a number, ``choices`` a text.

    In a list, items with an equal ``item_key`` are the same item; ``unique``: no file may repeat
    one. ``conflicts`` are keys of the same table that this key overrides: a later text removes
    their values, a later item of a list removes the same item from them. ``first_match``: in this
    map the first name that matches wins, so later entries are put first. ``local`` tells which
    texts are names of local files.
    """

    name: str
    kind: ValueKind = ValueKind.TEXT
    doc: str
    example: str
    default: Default = None
    default_text: str = ""
    required: bool = False
    check: Check | None = None
    check_name: Check | None = None
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    unique: bool = True
    item_key: Callable[[str], str] = str
    conflicts: tuple[str, ...] = ()
    first_match: bool = False
    local: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TableRule:
    """A table; with ``row``, a list of tables, each identified by the key of that name."""

    name: str
    doc: str
    keys: tuple[KeyRule, ...] = ()
    tables: tuple[TableRule, ...] = ()
    row: str | None = None

    def find_key(self, name: str) -> KeyRule | None:
        """The key ``name``; None if there is none."""
        return next((key for key in self.keys if key.name == name), None)

    def find_table(self, name: str) -> TableRule | None:
        """The inner table ``name``; None if there is none."""
        return next((table for table in self.tables if table.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all keys and inner tables."""
        return (*(key.name for key in self.keys), *(table.name for table in self.tables))

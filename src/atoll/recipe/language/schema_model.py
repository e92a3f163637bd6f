"""The rules of tables and keys of the recipe language; ``recipe.language.schema`` has them all.

The parser, ``atoll explain``, the JSON Schema and the reference page read nothing else. What the
parser needs before it can begin has no ``eq`` and no ``repr``: they cost more time than parsing.
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
    TEXT = "text"
    NUMBER = "whole number"
    SWITCH = "true or false"
    TEXTS = "list of texts"
    MAP = "table of texts"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KeyRule:
    """A key that holds a value. ``doc`` is one sentence, ``example`` a value as TOML.

    ``default`` holds where the key is left out (lists and maps are empty then); ``otherwise`` says
    in words what that means. ``check`` judges a text, an item of a list, or a value of a map;
    ``check_name`` a name of a map; ``least`` and ``most`` bound a number; ``choices`` a text.

    In a list, items with the same ``same`` are one item: ``unique`` says that no file may repeat
    one. ``rivals`` are keys beside it that it ends: a later text takes them away; a later item of a
    list takes the same item out of them. ``foremost``: in this map the first name that fits counts,
    so what is later comes first. ``local`` says which texts are names of local files.
    """

    name: str
    kind: ValueKind = ValueKind.TEXT
    doc: str
    example: str
    default: Default = None
    otherwise: str = ""
    required: bool = False
    check: Check | None = None
    check_name: Check | None = None
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    unique: bool = True
    same: Callable[[str], str] = str
    rivals: tuple[str, ...] = ()
    foremost: bool = False
    local: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TableRule:
    """A table; with ``row``, a list of tables, of which that key tells one from the other."""

    name: str
    doc: str
    keys: tuple[KeyRule, ...] = ()
    tables: tuple[TableRule, ...] = ()
    row: str | None = None

    def find_key(self, name: str) -> KeyRule | None:
        return next((key for key in self.keys if key.name == name), None)

    def find_table(self, name: str) -> TableRule | None:
        return next((table for table in self.tables if table.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        return (*(key.name for key in self.keys), *(table.name for table in self.tables))

"""Merge the fragments of several files into one table; each value keeps its location.

A later text, number or boolean replaces an earlier one. Lists are appended without duplicates, and
an item is removed from the lists that conflict with it (``KeyRule.conflicts``). Maps are merged by
name; in a map where the first match wins, later entries are put first. Lists of tables are merged
by the key that identifies their tables (name or path): a later table with the same name changes the
earlier one, key by key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from atoll.base.fields import Flaw
from atoll.recipe.language.schema import TOP
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atoll.recipe.language.diagnostics import Diagnostics, Location
    from atoll.recipe.language.parse_tables import Checked


class Fragment(NamedTuple):
    """The part of a file that always applies (its key is empty), or of a variant or condition."""

    location: Location
    table: Checked


class LocatedValue(NamedTuple):
    """A value with its location; None for an invalid value. ``name`` is its name in a map."""

    value: object
    location: Location
    name: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class MergedTable:
    """A merged table. Of a text, number or boolean, the last of ``values`` is effective.

    ``broken``: in some file it is not a table; that is reported already, and nothing else is.
    """

    rule: TableRule
    location: Location
    problems: Diagnostics
    values: dict[str, list[LocatedValue]] = field(default_factory=dict)
    tables: dict[str, MergedTable] = field(default_factory=dict)
    rows: dict[str, list[MergedTable]] = field(default_factory=dict)
    broken: bool = False

    def has(self, name: str) -> bool:
        """Whether any file sets the key."""
        return name in self.values

    def text(self, name: str) -> str:
        """The text of a key, its default, or an empty text."""
        value = self._last(name)
        return value if isinstance(value, str) else ""

    def optional_text(self, name: str) -> str | None:
        """The text of a key or its default; None if there is neither."""
        value = self._last(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int:
        """The number of a key, its default, or 0."""
        value = self._last(name)
        return value if isinstance(value, int) else 0

    def optional_number(self, name: str) -> int | None:
        """The number of a key or its default; None if there is neither."""
        value = self._last(name)
        return value if isinstance(value, int) else None

    def boolean(self, name: str) -> bool:
        """Whether a key, or its default, is true."""
        return self._last(name) is True

    def texts(self, name: str) -> tuple[str, ...]:
        """The items of a list."""
        self._check_required(name)
        return tuple(
            entry.value for entry in self.values.get(name, ()) if isinstance(entry.value, str)
        )

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """The entries of a map, in the order of the files."""
        self._check_required(name)
        return tuple(
            (entry.name, entry.value)
            for entry in self.values.get(name, ())
            if isinstance(entry.value, str)
        )

    def within(self, name: str) -> MergedTable:
        """An inner table."""
        return self.tables[name]

    def each(self, name: str) -> tuple[MergedTable, ...]:
        """The tables of a list."""
        return tuple(self.rows.get(name, ()))

    def flaw(self, name: str, message: str, hint: str | None = None, *, item: str = "") -> None:
        """Report a problem with a key, or with an item of its list or map."""
        if not self.broken:
            self.problems.add(self.location_of(name, item), Flaw(message, hint))

    def location_of(self, name: str, item: str = "") -> Location:
        """Where a key, or an item of it, is set; the table's location if nowhere."""
        entries = self.values.get(name)
        if not entries:
            return self.location.below(name)
        found = next(
            (entry for entry in entries if item and item in (entry.value, entry.name)), None
        )
        return (found or entries[-1]).location

    def _last(self, name: str) -> object:
        self._check_required(name)
        if self.has(name):
            value = self.values[name][-1].value
            if value is not None:
                return value
        rule = self.rule.find_key(name)
        return rule.default if rule else None

    def _check_required(self, name: str) -> None:
        rule = self.rule.find_key(name)
        assert rule is not None, f"{self.rule.name}.{name} is not in the schema"
        if rule.required and not self.has(name):
            self.flaw(name, "is missing")


def merge(fragments: Iterable[Fragment], top: Location, problems: Diagnostics) -> MergedTable:
    """Merge fragments in their order; ``top`` is the location of tables that no file has."""
    merged = _table(TOP, top, problems)
    for fragment in fragments:
        _add(merged, fragment.table, fragment.location)
    return merged


def _table(rule: TableRule, location: Location, problems: Diagnostics) -> MergedTable:
    table = MergedTable(rule=rule, location=location, problems=problems)
    for inner in rule.tables:
        if inner.row is None:
            table.tables[inner.name] = _table(inner, location.below(inner.name), problems)
    return table


def _add(table: MergedTable, new: Mapping[str, object], location: Location) -> None:
    if location.key[:1] not in (("variant",), ("when",)):
        table.location = location
    for rule in table.rule.keys:
        if rule.name in new:
            _remove_conflicting(table, rule, new[rule.name])
    for rule in table.rule.keys:
        if rule.name in new:
            _add_value(table, rule, new[rule.name], location.below(rule.name))
    for inner in table.rule.tables:
        if inner.name not in new:
            continue
        value, inner_location = new[inner.name], location.below(inner.name)
        if isinstance(value, list):
            _add_rows(table, inner, value, inner_location)
        elif isinstance(value, dict):
            _add(table.tables[inner.name], value, inner_location)
        elif inner.row is None:
            table.tables[inner.name].broken = True


def _remove_conflicting(table: MergedTable, rule: KeyRule, value: object) -> None:
    for name in rule.conflicts:
        other = table.rule.find_key(name)
        old = table.values.get(name)
        if other is None or old is None:
            continue
        if rule.kind is ValueKind.TEXTS:
            same = {rule.item_key(item) for item in _texts(value)}
            kept = [entry for entry in old if _item_key(other, entry) not in same]
        else:
            kept = []
        if len(kept) < len(old):
            table.values[name] = kept
        if not kept:
            del table.values[name]


def _add_value(table: MergedTable, rule: KeyRule, value: object, location: Location) -> None:
    entries = table.values.setdefault(rule.name, [])
    match value:
        case list():
            _add_items(entries, rule, value, location)
        case dict():
            _add_pairs(entries, rule, value, location)
        case _:
            entries.append(LocatedValue(value, location))


def _add_pairs(
    entries: list[LocatedValue], rule: KeyRule, pairs: dict[str, str | None], location: Location
) -> None:
    new = {name: LocatedValue(item, location.below(name), name) for name, item in pairs.items()}
    if rule.first_match:
        entries[:] = [*new.values(), *(entry for entry in entries if entry.name not in new)]
    else:
        entries[:] = [new.pop(entry.name, entry) for entry in entries] + list(new.values())


def _add_items(
    entries: list[LocatedValue], rule: KeyRule, items: list[str | None], location: Location
) -> None:
    existing = {
        _item_key(rule, entry): position
        for position, entry in enumerate(entries)
        if entry.value is not None
    }
    for number, item in enumerate(items):
        entry = LocatedValue(item, location.below(number))
        position = None if item is None else existing.get(rule.item_key(item))
        if position is None:
            entries.append(entry)
        elif entries[position].value != item:
            entries[position] = entry


def _add_rows(
    table: MergedTable, rule: TableRule, rows: list[Checked | None], location: Location
) -> None:
    assert rule.row is not None
    existing = table.rows.setdefault(rule.name, [])
    for number, row in enumerate(rows):
        if row is None:
            continue
        name, row_location = row.get(rule.row), location.below(number)
        old = next((old for old in existing if name is not None and _row_name(old) == name), None)
        if old is None:
            old = _table(rule, row_location, table.problems)
            existing.append(old)
        _add(old, row, row_location)


def _row_name(table: MergedTable) -> object:
    assert table.rule.row is not None
    entries = table.values.get(table.rule.row)
    return entries[-1].value if entries else None


def _item_key(rule: KeyRule, entry: LocatedValue) -> str | None:
    return rule.item_key(entry.value) if isinstance(entry.value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else ()
    return tuple(item for item in items if isinstance(item, str))

"""Several texts, and the fragments of them that hold, become one; each value knows where it stands.

A later text, number or switch takes the place of an earlier one. A list grows; what it holds
already it does not take again, and a later item takes the same item out of the lists that
contradict it (``KeyRule.rivals``). Maps grow by name; where the first name that fits counts, what
is later comes first. Lists of tables grow by the key that tells their tables apart (name or path):
a later table of that name changes the earlier one, key by key.
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
    """What one file says always (the key of its place is empty), or in a variant or condition."""

    place: Location
    table: Checked


class LocatedValue(NamedTuple):
    """A value and where it stands; None is a wrong one. ``name`` is its name in a map."""

    value: object
    place: Location
    name: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class MergedTable:
    """A merged table. Of a text, number or switch, the last of ``values`` holds.

    ``broken``: somewhere it is no table at all; that is said already, so nothing more is.
    """

    rule: TableRule
    place: Location
    problems: Diagnostics
    values: dict[str, list[LocatedValue]] = field(default_factory=dict)
    tables: dict[str, MergedTable] = field(default_factory=dict)
    rows: dict[str, list[MergedTable]] = field(default_factory=dict)
    broken: bool = False

    def has(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> str:
        value = self._last(name)
        return value if isinstance(value, str) else ""

    def maybe_text(self, name: str) -> str | None:
        value = self._last(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int:
        value = self._last(name)
        return value if isinstance(value, int) else 0

    def maybe_number(self, name: str) -> int | None:
        value = self._last(name)
        return value if isinstance(value, int) else None

    def switch(self, name: str) -> bool:
        return self._last(name) is True

    def texts(self, name: str) -> tuple[str, ...]:
        self._want(name)
        return tuple(
            placed.value for placed in self.values.get(name, ()) if isinstance(placed.value, str)
        )

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """In the order of the files."""
        self._want(name)
        return tuple(
            (placed.name, placed.value)
            for placed in self.values.get(name, ())
            if isinstance(placed.value, str)
        )

    def within(self, name: str) -> MergedTable:
        return self.tables[name]

    def each(self, name: str) -> tuple[MergedTable, ...]:
        return tuple(self.rows.get(name, ()))

    def flaw(self, name: str, message: str, hint: str | None = None, *, item: str = "") -> None:
        """Complain about a key, or about an item of its list or map."""
        if not self.broken:
            self.problems.add(self.place_of(name, item), Flaw(message, hint))

    def place_of(self, name: str, item: str = "") -> Location:
        placed = self.values.get(name)
        if not placed:
            return self.place.below(name)
        found = next(
            (entry for entry in placed if item and item in (entry.value, entry.name)), None
        )
        return (found or placed[-1]).place

    def _last(self, name: str) -> object:
        self._want(name)
        if self.has(name):
            value = self.values[name][-1].value
            if value is not None:
                return value
        rule = self.rule.find_key(name)
        return rule.default if rule else None

    def _want(self, name: str) -> None:
        rule = self.rule.find_key(name)
        assert rule is not None, f"{self.rule.name}.{name} is not in the schema"
        if rule.required and not self.has(name):
            self.flaw(name, "is missing")


def merge(fragments: Iterable[Fragment], top: Location, problems: Diagnostics) -> MergedTable:
    """All fragments in their order, as one; ``top`` is where things belong that nobody wrote."""
    merged = _table(TOP, top, problems)
    for fragment in fragments:
        _add(merged, fragment.table, fragment.place)
    return merged


def _table(rule: TableRule, place: Location, problems: Diagnostics) -> MergedTable:
    table = MergedTable(rule=rule, place=place, problems=problems)
    for inner in rule.tables:
        if inner.row is None:
            table.tables[inner.name] = _table(inner, place.below(inner.name), problems)
    return table


def _add(table: MergedTable, new: Mapping[str, object], place: Location) -> None:
    if place.key[:1] not in (("variant",), ("when",)):
        table.place = place
    for rule in table.rule.keys:
        if rule.name in new:
            _end_rivals(table, rule, new[rule.name])
    for rule in table.rule.keys:
        if rule.name in new:
            _add_value(table, rule, new[rule.name], place.below(rule.name))
    for inner in table.rule.tables:
        if inner.name not in new:
            continue
        value, below = new[inner.name], place.below(inner.name)
        if isinstance(value, list):
            _add_rows(table, inner, value, below)
        elif isinstance(value, dict):
            _add(table.tables[inner.name], value, below)
        elif inner.row is None:
            table.tables[inner.name].broken = True


def _end_rivals(table: MergedTable, rule: KeyRule, value: object) -> None:
    for name in rule.rivals:
        rival = table.rule.find_key(name)
        old = table.values.get(name)
        if rival is None or old is None:
            continue
        if rule.kind is ValueKind.TEXTS:
            same = {rule.same(item) for item in _texts(value)}
            kept = [entry for entry in old if _same(rival, entry) not in same]
        else:
            kept = []
        if len(kept) < len(old):
            table.values[name] = kept
        if not kept:
            del table.values[name]


def _add_value(table: MergedTable, rule: KeyRule, value: object, place: Location) -> None:
    placed = table.values.setdefault(rule.name, [])
    match value:
        case list():
            _add_items(placed, rule, value, place)
        case dict():
            _add_pairs(placed, rule, value, place)
        case _:
            placed.append(LocatedValue(value, place))


def _add_pairs(
    placed: list[LocatedValue], rule: KeyRule, pairs: dict[str, str | None], place: Location
) -> None:
    new = {name: LocatedValue(item, place.below(name), name) for name, item in pairs.items()}
    if rule.foremost:
        placed[:] = [*new.values(), *(entry for entry in placed if entry.name not in new)]
    else:
        placed[:] = [new.pop(entry.name, entry) for entry in placed] + list(new.values())


def _add_items(
    placed: list[LocatedValue], rule: KeyRule, items: list[str | None], place: Location
) -> None:
    known = {_same(rule, entry): at for at, entry in enumerate(placed) if entry.value is not None}
    for number, item in enumerate(items):
        entry = LocatedValue(item, place.below(number))
        at = None if item is None else known.get(rule.same(item))
        if at is None:
            placed.append(entry)
        elif placed[at].value != item:
            placed[at] = entry


def _add_rows(
    table: MergedTable, rule: TableRule, rows: list[Checked | None], place: Location
) -> None:
    assert rule.row is not None
    known = table.rows.setdefault(rule.name, [])
    for number, row in enumerate(rows):
        if row is None:
            continue
        name, here = row.get(rule.row), place.below(number)
        old = next((old for old in known if name is not None and _row_name(old) == name), None)
        if old is None:
            old = _table(rule, here, table.problems)
            known.append(old)
        _add(old, row, here)


def _row_name(table: MergedTable) -> object:
    assert table.rule.row is not None
    placed = table.values.get(table.rule.row)
    return placed[-1].value if placed else None


def _same(rule: KeyRule, entry: LocatedValue) -> str | None:
    return rule.same(entry.value) if isinstance(entry.value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else ()
    return tuple(item for item in items if isinstance(item, str))

"""Every local file and folder that a recipe names, found by what the schema says of its keys.

The parser looks whether they are there; locks, lints and comparisons take them from
``Recipe.local_files``. A new key with ``local`` in the schema is known to all of these at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.recipe.language.check_policy import is_local
from atoll.recipe.language.schema_model import ValueKind
from atoll.recipe.model import LocalReference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.recipe.language.diagnostics import Location
    from atoll.recipe.language.merge import LocatedValue, MergedTable


def find_local_files(top: MergedTable) -> Iterator[tuple[LocalReference, Location]]:
    """What a merged recipe names, in the order of the schema, and where it says so.

    Included files are left out: nothing of them is in a merged recipe.
    """
    return _find(top, ())


def _find(table: MergedTable, place: tuple[str, ...]) -> Iterator[tuple[LocalReference, Location]]:
    rows_of = table.values.get(table.rule.row or "", [])
    row = str(rows_of[-1].value) if rows_of else ""
    for rule in table.rule.keys:
        if rule.local is None or rule.name == "include":
            continue
        values = table.values.get(rule.name, [])
        for value in values if rule.kind is ValueKind.TEXTS else values[-1:]:
            if isinstance(value.value, str) and rule.local(value.value):
                key = ".".join((*place, rule.name))
                reference = _reference(key, value, row)
                if reference is not None:
                    yield reference, value.place
    for name, inner in table.tables.items():
        yield from _find(inner, (*place, name))
    for name, rows in table.rows.items():
        for each in rows:
            yield from _find(each, (*place, name))


def _reference(key: str, value: LocatedValue, row: str) -> LocalReference | None:
    """None for an image that ``from`` names by a local path: only recipes are read as files."""
    text = str(value.value)
    if key == "from":
        if not is_local(text):
            return None
        text = text.partition("#")[0]
    return LocalReference(key=key, name=text, row=row)

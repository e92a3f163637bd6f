"""Find all local files and folders that a recipe names, by the schema of its keys.

The parser checks that they exist; locks, lints and comparisons use ``Recipe.local_files``. A new
key with ``local`` in the schema is covered everywhere.
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
    """The local files of a merged recipe with their locations, in the order of the schema.

    Included files are not among them: a merged recipe does not contain ``include``.
    """
    return _find(top, ())


def _find(table: MergedTable, path: tuple[str, ...]) -> Iterator[tuple[LocalReference, Location]]:
    row_values = table.values.get(table.rule.row or "", [])
    row = str(row_values[-1].value) if row_values else ""
    for rule in table.rule.keys:
        if rule.local is None or rule.name == "include":
            continue
        values = table.values.get(rule.name, [])
        for value in values if rule.kind is ValueKind.TEXTS else values[-1:]:
            if isinstance(value.value, str) and rule.local(value.value):
                key = ".".join((*path, rule.name))
                reference = _reference(key, value, row)
                if reference is not None:
                    yield reference, value.location
    for name, inner in table.tables.items():
        yield from _find(inner, (*path, name))
    for name, rows in table.rows.items():
        for each in rows:
            yield from _find(each, (*path, name))


def _reference(key: str, value: LocatedValue, row: str) -> LocalReference | None:
    """None for an image that ``from`` names by a local path: only recipes are files to read."""
    text = str(value.value)
    if key == "from":
        if not is_local(text):
            return None
        text = text.partition("#")[0]
    return LocalReference(key=key, name=text, row=row)

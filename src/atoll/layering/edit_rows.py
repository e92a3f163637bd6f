"""Put rows into lists of tables of a machine file; comments, order and style stay. Pure."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

import tomlkit
from tomlkit.items import AoT, Item

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tomlkit import TOMLDocument


def put_row(document: TOMLDocument, table: str, key: str, values: Mapping[str, object]) -> None:
    """Put a row into ``[[table]]``, or its values into the row that has the same ``key``. Keys
    that exclude each other (``text``, ``source``, ``link``) take each other's place."""
    rows = document.get(table)
    for row in rows if isinstance(rows, AoT) else ():
        if isinstance(row, MutableMapping) and row.get(key) == values[key]:
            _update(row, values)
            return
    row = tomlkit.table()
    for name, value in values.items():
        row[name] = format_value(value)
    if isinstance(rows, AoT) and rows:
        is_last = document.as_string().endswith(rows[-1].as_string())
        before = rows[-1].as_string()
        rows.append(row)
        if not is_last:
            row.add(tomlkit.nl())
    else:
        before = document.as_string()
        aot = tomlkit.aot()
        aot.append(row)
        document.append(table, aot)
    # One empty line before the row; tomlkit keeps it as the indentation of its head.
    row.trivia.indent = "" if not before or before.endswith("\n\n") else "\n"


def find_row(
    document: TOMLDocument, table: str, key: str, value: str
) -> MutableMapping[str, object] | None:
    """The row of ``[[table]]`` whose ``key`` is ``value``."""
    rows = document.get(table)
    for row in rows if isinstance(rows, AoT) else ():
        if isinstance(row, MutableMapping) and row.get(key) == value:
            return row
    return None


def drop_row(document: TOMLDocument, table: str, key: str, value: str) -> None:
    """Remove the row of ``[[table]]`` whose ``key`` is ``value``, if there is one."""
    rows = document.get(table)
    if not isinstance(rows, AoT):
        return
    for number in reversed(range(len(rows))):
        if rows[number].get(key) == value:
            del rows[number]
    if not rows:
        del document[table]


def _update(row: MutableMapping[str, object], values: Mapping[str, object]) -> None:
    contents = ("text", "source", "link", "url", "sha256")
    if any(name in values for name in contents):
        for name in (*contents, "mode", "owner", "group"):
            if name in row and name not in values:
                del row[name]
    for name, value in values.items():
        if name == "groups" and isinstance(row.get(name), list):
            before = row[name]
            assert isinstance(before, list)
            before += [each for each in _listed(value) if each not in before]
        elif row.get(name) != value:
            row[name] = format_value(value)


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def format_value(value: object) -> Item:
    """A text of several lines is written as such."""
    if not isinstance(value, str) or "\n" not in value[:-1]:
        return tomlkit.item(value)
    text = value.replace("\\", "\\\\")
    body = text.rstrip('"')
    quotes = len(text) - len(body)
    text = body.replace('"""', '\\"\\"\\"') + '\\"' * quotes
    return tomlkit.value(f'"""\n{text}"""')

"""The record of a captured layer: what it put into the machine file, so that it can be taken out.

::

    /etc/atoll/captured/NAME/
      record.json    what follows
      program        what makes the changes again       (kept as a layer)
      files/…        the contents that it needs
      inputs/…       the files that the command needs    (kept as a script)

    {"format": 1, "command": "sh ./install.sh", "rows": [{"table": "user", "name": "vendor"}],
     "words": [{"list": "units.enable", "word": "vendor.service"}]}
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import tomlkit

from atoll.base.errors import NotFound
from atoll.base.fields import find_near, parse_json_fields
from atoll.layering.edit_machine_file import drop_words, parse_document, put_word
from atoll.layering.edit_rows import drop_row, find_row, put_row
from atoll.machine.machine_file import PLACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atoll.layering.adoption import AdoptedRow, AdoptedWord

FOLDER = "captured"
"""Below ``/etc/atoll``."""
RECORD = "record.json"
FORMAT = 1
_SCRIPT = "captured-"
"""How the names of the scripts of captured layers begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """``rows`` are table and key, ``words`` are a dotted path and a word of that list."""

    command: str
    rows: tuple[tuple[str, str], ...] = ()
    words: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What a captured layer adds to the machine file: its script, rows of accounts, and words."""

    name: str
    script: Mapping[str, object]
    rows: tuple[AdoptedRow, ...] = ()
    words: tuple[AdoptedWord, ...] = ()


def script_name(name: str) -> str:
    return f"{_SCRIPT}{name}"


def place_of(name: str) -> str:
    """The folder of a layer, below ``/etc``."""
    return f"{PLACE.rpartition('/')[0]}/{FOLDER}/{name}"


def list_captured(text: str) -> tuple[str, ...]:
    """The names of the layers in a machine file. Raises RecipeError."""
    rows = parse_document(text).get("script")
    names = [
        str(row.get("name", ""))
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, MutableMapping)
    ]
    return tuple(name.removeprefix(_SCRIPT) for name in names if name.startswith(_SCRIPT))


def add_captured(text: str, addition: Addition, command: str) -> tuple[str, Record]:
    """The machine file with a layer. Rows and words that are there already stay a person's: the
    record does not have them. Raises RecipeError."""
    document = parse_document(text)
    put_row(document, "script", "name", {"name": script_name(addition.name), **addition.script})
    rows, words = [], []
    for row in addition.rows:
        key = str(row.values[row.key])
        if find_row(document, row.table, row.key, key) is None:
            rows.append((row.table, key))
        put_row(document, row.table, row.key, row.values)
    for word in addition.words:
        before = tomlkit.dumps(document)
        put_word(document, word.path, word.word, key=str)
        if tomlkit.dumps(document) != before:
            words.append((".".join(word.path), word.word))
        for path in word.instead_of:
            drop_words(document, path, partial(str.__eq__, word.word))
    record = Record(command=command, rows=tuple(rows), words=tuple(words))
    return tomlkit.dumps(document), record


def remove_captured(text: str, name: str, record: Record | None) -> str:
    """The machine file without a layer. Raises NotFound or RecipeError."""
    document = parse_document(text)
    if find_row(document, "script", "name", script_name(name)) is None:
        known = list_captured(text)
        hint = find_near(name, known) or (
            f"there are: {', '.join(known)}" if known else "there are no captured layers"
        )
        raise NotFound(f"there is no captured layer {name}", hint=hint)
    drop_row(document, "script", "name", script_name(name))
    for table, key in record.rows if record else ():
        drop_row(document, table, "name", key)
    for path, word in record.words if record else ():
        drop_words(document, tuple(path.split(".")), partial(str.__eq__, word))
    return tomlkit.dumps(document)


def format_record(record: Record) -> bytes:
    document = {
        "format": FORMAT,
        "command": record.command,
        "rows": [{"table": table, "name": name} for table, name in record.rows],
        "words": [{"list": path, "word": word} for path, word in record.words],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_record(data: bytes, *, file: str) -> Record:
    """Raises Damaged."""
    fields = parse_json_fields(data, file=file)
    fields.require_format(FORMAT)
    return Record(
        command=fields.string("command"),
        rows=tuple((each.string("table"), each.string("name")) for each in fields.each("rows")),
        words=tuple((each.string("list"), each.string("word")) for each in fields.each("words")),
    )


def find_free_name(name: str, taken: Iterable[str]) -> str:
    """``name``, or with the first number that is free."""
    names = set(taken)
    number = 2
    found = name
    while found in names:
        found = f"{name}-{number}"
        number += 1
    return found

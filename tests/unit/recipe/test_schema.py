"""The schema's own examples are valid; the documents generated from it are consistent."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from atoll.recipe.language.parse_tables import check_file
from atoll.recipe.language.reference import format_json_schema, format_markdown
from atoll.recipe.language.schema import TOP, each_key, each_table
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

if TYPE_CHECKING:
    from atoll.base.fields import Flaw, Key

KEYS = list(each_key())


@pytest.mark.parametrize(("path", "key"), KEYS, ids=[path for path, _ in KEYS])
def test_each_example_is_right_and_each_sentence_whole(path: str, key: KeyRule) -> None:
    found: list[tuple[Key, Flaw]] = []
    text = f"{key.name} = {key.example}\n"
    *outer, _ = path.split(".")
    table: Any = tomllib.loads(text)
    rules: list[TableRule] = [TOP]
    for name in outer:
        rules.append(rules[-1].find_table(name) or TOP)
    for rule in reversed(rules[1:]):
        table = {rule.name: [table] if rule.row else table}
    check_file(table, lambda key, flaw: found.append((key, flaw)))
    assert not found
    assert re.fullmatch(r"[A-Za-z][^\n]*\.", key.doc), key.doc


def test_each_table_has_its_sentence_and_row() -> None:
    for path, table in each_table():
        assert table.doc.endswith("."), path
        assert table.row is None or table.find_key(table.row) is not None
        assert len(set(table.names)) == len(table.names)


def test_what_ends_something_is_of_its_kind() -> None:
    """A list removes items from lists, a text replaces texts."""
    for _, table in (("", TOP), *each_table()):
        for key in table.keys:
            for name in key.conflicts:
                rival = table.find_key(name)
                assert rival is not None
                assert (rival.kind is ValueKind.TEXTS) == (key.kind is ValueKind.TEXTS)


def test_the_schema_for_editors_has_every_key() -> None:
    document = json.loads(format_json_schema())
    for path, key in KEYS:
        here = document
        for name in path.split("."):
            here = here["properties"][name]
            here = here.get("items", here) if here.get("type") == "array" else here
            if "$ref" in here:
                here = document["$defs"][here["$ref"].removeprefix("#/$defs/")]
        assert key.doc == here.get("description", key.doc), path


def test_the_page_has_every_key() -> None:
    page = format_markdown()
    for path, table in each_table():
        heading = f"[[{path}]]" if table.row else f"[{path}]"
        section = page.partition(f"## `{heading}`\n")[2].partition("\n## ")[0]
        assert all(f"| `{key.name}` |" in section for key in table.keys)
    assert all(
        line.count("|") - line.count("\\|") == 5 for line in page.splitlines() if "|" in line
    )

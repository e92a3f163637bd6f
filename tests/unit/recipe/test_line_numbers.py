"""Line numbers of keys: finds the same keys as tomllib, and never fails."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from atoll.recipe.language.line_numbers import find_lines
from tests.unit.recipe.test_parse import FULL, VALUES, inline

if TYPE_CHECKING:
    from atoll.base.fields import Key

TEXT = (
    """# a comment = no key
one = 1   # two = 2
"quo.ted" . 'lit"""
    + "'"
    + ''' . bare = true

[table."with ] in it"]
text = """
[not.a.table]
key = 1 \\""" still
""""
literal = \'\'\'
x = \'quoted\'
\'\'\'\'
list = [
    1, # ], 7
    [ "a]",
      \'b#\' ],
    { c = 1, d.e = [2] },
]
after = 2026-11-23 08:00:00

[[many]]
[many.below]
x = 1
[[many.inner]]
y = 1
[[many]]
[[many.inner]]
[[many.inner]]
z = { }
'''
)


def keys_of(value: object, key: Key = ()) -> set[Key]:
    found = {key} if key else set()
    if isinstance(value, dict):
        for name, inner in value.items():
            found |= keys_of(inner, (*key, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found |= keys_of(inner, (*key, number))
    return found


def line_of(text: str, word: str) -> int:
    return text[: text.index(word)].count("\n") + 1


def test_all_forms_of_toml() -> None:
    lines = find_lines(TEXT)
    assert set(lines) == keys_of(tomllib.loads(TEXT))
    assert lines["one",] == 2
    assert lines["quo.ted", "lit", "bare"] == 3
    table = ("table", "with ] in it")
    assert lines[table] == 5
    assert lines[*table, "literal"] == line_of(TEXT, "literal")
    assert lines[*table, "list", 1, 1] == line_of(TEXT, "'b#'")
    assert lines[*table, "list", 2, "d", "e", 0] == line_of(TEXT, "{ c")
    assert lines[*table, "after"] == line_of(TEXT, "after")
    assert lines["many", 0, "below", "x"] == line_of(TEXT, "x = 1\n[[many.inner")
    assert lines["many", 1, "inner", 1, "z"] == line_of(TEXT, "z =")


def test_a_recipe() -> None:
    lines = find_lines(FULL)
    assert set(lines) == keys_of(tomllib.loads(FULL))
    assert lines["file", 1, "mode"] == line_of(FULL, "mode =")
    assert lines["packages", "install", 3] == line_of(FULL, '"htop=')
    assert find_lines(FULL.replace("\n", "\r\n")) == lines


@given(st.text())
def test_never_fails(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in find_lines(text).values())


@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.text("[]{}=.,\"'\\\n#a", max_size=3))))
def test_agrees_with_tomllib_on_what_it_accepts(changes: list[tuple[int, str]]) -> None:
    text = TEXT
    for place, new in changes:
        text = text[:place] + new + text[place:]
    lines = find_lines(text)
    try:
        table = tomllib.loads(text)
    except ValueError:
        return
    assert set(lines) == keys_of(table)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_agrees_with_tomllib_on_any_table(table: dict[str, object]) -> None:
    text = "".join(f"{inline(name)} = {inline(value)}\n" for name, value in table.items())
    assert set(find_lines(text)) == keys_of(tomllib.loads(text))
    for number, name in enumerate(table, start=1):
        assert find_lines(text)[name,] == number

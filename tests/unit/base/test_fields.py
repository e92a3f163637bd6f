"""Typed fields: strict for JSON, collecting for TOML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.base.fields import Fields, Flaw, Key, format_key, parse_json_fields

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = """{
  "name": "hello", "size": 3, "old": true, "words": ["a", "b"],
  "inner": {"x": 1}, "layers": [{"digest": "d0"}, {"digest": 1}]
}"""


def test_right_fields() -> None:
    fields = parse_json_fields(TEXT, file="f.json")
    assert fields.string("name") == "hello"
    assert fields.string("nick", None) is None
    assert fields.integer("size") == 3
    assert fields.integer("more", 7) == 7
    assert fields.boolean("old") is True
    assert fields.strings("words") == ("a", "b")
    assert fields.strings("nothing") == ()
    assert fields.within("inner").integer("x") == 1
    assert fields.within("outer").table == {}
    assert fields.each("layers")[0].string("digest") == "d0"
    assert fields.has("size")
    assert not fields.has("colour")


def test_json_is_strict_and_says_where() -> None:
    fields = parse_json_fields(TEXT, file="f.json")
    second = fields.each("layers")[1]
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: second.string("digest"), "layers[1].digest: must be a string, not a"),
        (lambda: fields.string("nick"), "nick: is missing"),
        (lambda: fields.integer("old"), "old: must be an integer, not true or false"),
        (lambda: fields.boolean("size"), "size: must be true or false, not an integer"),
        (lambda: fields.strings("layers"), "layers[0]: must be a string, not a table"),
        (lambda: fields.each("words"), "words[0]: must be a table, not a string"),
        (lambda: fields.within("name"), "name: must be a table, not a string"),
        (lambda: fields.only("name", "siz"), "size: unknown key"),
        (lambda: fields.string("name", check=lambda _: Flaw("is bad")), "name: is bad"),
    ]
    for read, expected in wrong:
        with pytest.raises(Damaged) as caught:
            read()
        assert caught.value.message.startswith(f"f.json: {expected}")


def test_collecting_goes_on_with_neutral_values() -> None:
    found: list[tuple[Key, Flaw]] = []
    fields = Fields({"a": 1, "b": "x", "c": ["y", 2]}, lambda key, flaw: found.append((key, flaw)))
    assert fields.string("a") == ""
    assert fields.integer("b") == 0
    assert fields.boolean("b") is False
    assert fields.strings("c") == ("y",)
    # One problem is reported: that it is not a table. Its missing fields are not.
    assert fields.within("a").string("z") == ""
    assert [format_key(key) for key, _ in found] == ["a", "b", "b", "c[1]", "a"]


@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes(content: bytes) -> None:
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    if isinstance(value, dict):
        assert parse_json_fields(content, file="f").table == value
        return
    with pytest.raises(Damaged, match=r"^f(: | is not valid JSON)"):
        parse_json_fields(content, file="f")

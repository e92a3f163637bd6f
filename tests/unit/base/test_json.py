"""JSON from outside: strictly parsed, within limits, or Damaged; never another exception."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.base.json import parse_json, parse_json_object

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("9" * 4301, "a number of 4301 digits", id="digits"),
        pytest.param("-" + "9" * 21, "digits", id="negative digits"),
        pytest.param("1e999", "too large", id="infinite"),
        pytest.param("NaN", "NaN", id="NaN"),
        pytest.param("[-Infinity]", "-Infinity", id="-Infinity"),
        pytest.param('{"a":1,"b":2,"a":3}', "'a' occurs twice", id="twice"),
        pytest.param('"\\ud800"', "Unicode", id="half a character"),
        pytest.param('{"\\udc80": 1}', "Unicode", id="half a character in a key"),
        pytest.param(b'"\xff"', "Unicode", id="not UTF-8"),
        pytest.param("[" * 100_000 + "]" * 100_000, "levels deep", id="100,000 deep"),
        pytest.param('{"a":' * 100_000, "levels deep", id="100,000 objects deep"),
        pytest.param("[" * 33 + "]" * 33, "32 levels", id="33 deep"),
        pytest.param(" " * (8 << 20) + "1", "8388609 bytes", id="large"),
        pytest.param("", "Expecting value", id="empty"),
        pytest.param('{"a": 1} x', "Extra data", id="more"),
    ],
)
def test_json_with_no_meaning_or_no_end_is_damaged(text: str | bytes, why: str) -> None:
    with pytest.raises(Damaged, match=why) as caught:
        parse_json(text, where="index.json")
    assert caught.value.message.startswith("index.json ")
    caught.value.message.encode()


def test_what_is_no_object_is_damaged() -> None:
    with pytest.raises(Damaged, match=r"^x is not a JSON object$"):
        parse_json_object("[]", where="x")


@pytest.mark.parametrize("text", ["[" * 32 + "]" * 32, '"\\ud83c\\udfdd"', str(2**64 - 1)])
def test_what_is_within_the_bounds_is_read(text: str) -> None:
    assert parse_json(text, where="x") == json.loads(text)


@given(VALUES, st.booleans())
def test_json_means_what_it_means_to_others(value: object, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode(), where="x") == value


@given(st.binary(max_size=80) | st.text(alphabet='{}[]",:\\ud80e9-NaI ', max_size=80))
def test_any_bytes_are_json_or_damaged(data: bytes | str) -> None:
    with suppress(Damaged):
        parse_json(data, where="x")

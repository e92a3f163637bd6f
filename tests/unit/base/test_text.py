"""Terminal controls are escaped wherever they occur; everything else is unchanged."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.text import cut, escape, is_one_line, one_line, width

STEERING = [
    "\x1b[2J",
    "\x07",
    "\r",
    "\x08",
    "\x7f",
    "\x9b1m",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u061c",
    "\u2028",
    "\ud800",
    "\udcff",
    "\ufeff",
    "\U000e0041",
]
TEXTS = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(STEERING)


@pytest.mark.parametrize("text", STEERING, ids=ascii)
def test_what_steers_a_terminal_is_spelled_out(text: str) -> None:
    for found in (escape(f"a{text}b"), one_line(f"a{text}b")):
        assert found.startswith("a\\") and found.endswith("b") and found.isprintable()


def test_a_name_cannot_begin_a_line() -> None:
    assert one_line("1\nnext: sudo rm\t-r") == "1\\nnext: sudo rm\\t-r"
    assert escape("1\n\tb") == "1\n    b"


@given(TEXTS)
def test_no_control_character_passes(text: str) -> None:
    for found in (escape(text).replace("\n", ""), one_line(text)):
        assert not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in found)
    assert is_one_line(one_line(text))


@given(TEXTS)
def test_json_stays_the_same_json(text: str) -> None:
    for ascii_only in (True, False):
        document = json.dumps({"name": text}, ensure_ascii=ascii_only, indent=2)
        assert json.loads(escape(document)) == {"name": text}


@given(TEXTS, st.integers(1, 20))
def test_a_cut_line_is_no_wider_than_asked(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("…", 1)])
def test_wide_characters_count_twice(text: str, columns: int) -> None:
    assert width(text) == columns
    assert cut(text, columns) == text

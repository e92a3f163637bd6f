"""Suggestions: a typo is recognized, a different word is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.suggest import edit_distance, find_nearest

NAMES = ("build", "rollback", "status", "pin", "unpin", "tree", "test", "--store")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("biuld", "build"),
        ("buid", "build"),
        ("uild", "build"),
        ("rolback", "rollback"),
        ("roll", "rollback"),
        ("stats", "status"),
        ("tets", "test"),
        ("pni", "pin"),
        ("builds", "build"),
    ],
)
def test_a_mistyped_word_finds_its_name(word: str, name: str) -> None:
    assert find_nearest(word, NAMES) == (name,)


@pytest.mark.parametrize("word", ["remove", "", "x", "fast", "--fast", "zebra", "tea", "unlock"])
def test_another_word_finds_none(word: str) -> None:
    assert find_nearest(word, NAMES) == ()


@given(st.text(max_size=8), st.text(max_size=8))
def test_distance_is_one_of_edits(one: str, other: str) -> None:
    edits = edit_distance(one, other)
    assert edits == edit_distance(other, one)
    assert abs(len(one) - len(other)) <= edits <= max(len(one), len(other))
    assert (edits == 0) == (one == other)


@given(st.text(min_size=2, max_size=8), st.data())
def test_two_swapped_neighbours_are_one_edit(word: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(word) - 2))
    swapped = word[:position] + word[position + 1] + word[position] + word[position + 2 :]
    assert edit_distance(word, swapped) == (word != swapped)

"""Findings have the location of their value in the recipe's files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.recipe.language.locations import find_value_location

MAIN = """\
schema = 1
[packages]
install = [
    "a",
    "b",
]
[packages.versions]
htop = "3*"
[[user]]
name = "ada"
groups = ["sudo"]
[[user]]
name = "bob"
groups = ["wheel"]
[variant.kde.packages]
install = ["c"]
"""
MORE = '[packages]\ninstall = ["d"]\n[kernel]\nargs = ["quiet"]\n'
SOURCES = (("main", MAIN), ("more", MORE))


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("packages.install", "b", ("main", 5)),
        ("packages.install", "c", ("main", 16)),
        ("packages.install", "d", ("more", 2)),
        ("packages.install", None, ("main", 3)),
        ("packages.versions", "3*", ("main", 8)),
        ("packages.versions", "htop", ("main", 7)),
        ("user.groups", "wheel", ("main", 14)),
        ("user.name", "bob", ("main", 13)),
        ("kernel.args", "quiet", ("more", 4)),
        ("packages.remove", "x", ("main", 2)),
        ("nothing", "x", None),
    ],
)
def test_places(key: str, value: object, place: tuple[str, int] | None) -> None:
    assert find_value_location(SOURCES, key, value) == place


def test_a_text_that_is_no_toml_has_no_places() -> None:
    assert find_value_location((("bad", "["), *SOURCES), "kernel.args", "quiet") == ("more", 4)


@given(st.text(), st.text(), st.text())
def test_any_text_is_taken(text: str, key: str, value: str) -> None:
    find_value_location((("x", text),), key, value)

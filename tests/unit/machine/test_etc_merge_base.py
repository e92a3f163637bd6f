"""The record of a merge's source: what is written is read again, and nothing else is a record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from atoll.base.errors import Damaged
from atoll.machine.etc.merge_base import MergeBase, format_merge_base, parse_merge_base
from atoll.tree.etc_rules import parse_rule
from tests.unit.machine.etc_trees import File, Link, etc
from tests.unit.machine.test_etc_merge import views

if TYPE_CHECKING:
    from atoll.machine.etc.etc_tree import Node


@given(views())
def test_what_is_written_is_read_again(live: Node) -> None:
    record = MergeBase(source=3, live=live, rules=(parse_rule("ssh/**", "local"),))
    assert parse_merge_base(format_merge_base(record), where="x") == record


def test_odd_names_and_attributes() -> None:
    label = (("security.capability", b"\x01\xff"), ("user.x", b""))
    live = etc({"\udcff/ä\n": File("1", 0o4755, 7, label), "l": Link("\udcfe")})
    assert (
        parse_merge_base(format_merge_base(MergeBase(source=1, live=live)), where="x").live == live
    )


GOOD = json.loads(format_merge_base(MergeBase(source=1, live=etc(a="1"))))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {**GOOD, "format": 2},
        {**GOOD, "source": "1"},
        {**GOOD, "rules": [["/usr", "image"]]},
        {**GOOD, "entries": []},
        {**GOOD, "entries": {}},
        {**GOOD, "entries": {"": ["file", 0, 0, 0, "", {}]}},
        {**GOOD, "entries": {"": ["directory", "0", 0, 0, "", {}]}},
        {**GOOD, "entries": {"": ["directory", 0, 0, 0, "", []]}},
        {**GOOD, "entries": {"": ["directory", 0, 0, 0, "", {"x": 1}]}},
        {**GOOD, "entries": {"": ["directory", 0, 0, 0, "", {}], "a/b": GOOD["entries"]["a"]}},
    ],
)
def test_what_is_no_record_is_named(document: object) -> None:
    with pytest.raises(Damaged, match="deployments/2"):
        parse_merge_base(json.dumps(document).encode(), where="deployments/2")


def test_what_is_not_even_json() -> None:
    with pytest.raises(Damaged):
        parse_merge_base(b"\xff{", where="x")

"""Merging lines: clean where changes do not touch, and nothing that a side added is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.machine.etc.text_merge import MAX_CHANGES, MAX_SIZE, find_common, merge_text

CASES = {
    "far apart": ("1\n2\n3\n", "0\n2\n3\n", "1\n2\n4\n", "0\n2\n4\n"),
    "added before and behind": ("1\n", "0\n1\n", "1\n2\n", "0\n1\n2\n"),
    "removed and changed": ("1\n2\n3\n4\n", "2\n3\n4\n", "1\n2\n3\n5\n", "2\n3\n5\n"),
    "alike": ("1\n2\n3\n", "1\n5\n3\n", "1\n5\n3\n", "1\n5\n3\n"),
    "alike and more": ("1\n2\n3\n4\n", "0\n2\n3\n9\n", "0\n2\n3\n4\n", "0\n2\n3\n9\n"),
    "no line end": ("1\n2\n3", "0\n2\n3", "1\n2\n3\n", "0\n2\n3\n"),
    "carriage returns": (
        "1\r\n2\r\n3\r\n",
        "0\r\n2\r\n3\r\n",
        "1\r\n2\r\n4\r\n",
        "0\r\n2\r\n4\r\n",
    ),
    "emptied on both sides": ("1\n", "", "", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_merges_cleanly(name: str) -> None:
    old, live, new, merged = (text.encode() for text in CASES[name])
    assert merge_text(old, live, new) == merged
    assert merge_text(old, new, live) == merged


@pytest.mark.parametrize(
    ("old", "live", "new"),
    [
        ("1\n", "2\n", "3\n"),
        ("1\n2\n", "0\n2\n", "1\n3\n"),
        ("1\n", "1\n2\n", "1\n3\n"),
        ("1\n", "", "2\n"),
        ("", "1\n", "2\n"),
    ],
)
def test_changes_that_touch_are_not_merged(old: str, live: str, new: str) -> None:
    assert merge_text(old.encode(), live.encode(), new.encode()) is None


@pytest.mark.parametrize("odd", [b"\0", b"\xff\n", b"x\n" * MAX_SIZE])
def test_only_text_is_merged(odd: bytes) -> None:
    assert merge_text(b"1\n2\n3\n" + odd, b"0\n2\n3\n" + odd, b"1\n2\n3\n" + odd) is None


def test_another_text_is_no_changed_text() -> None:
    before = [b"%d\n" % number for number in range(MAX_CHANGES)]
    assert find_common(before, [line + b"x" for line in before]) is None
    assert merge_text(b"".join(before), b"x\n", b"y\n".join(before)) is None


lines = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n"]), max_size=12)


@given(lines, lines)
def test_the_common_lines_are_a_longest_common_subsequence(
    before: list[bytes], after: list[bytes]
) -> None:
    common = find_common(before, after)
    assert common is not None
    pairs = sorted(common.items())
    assert all(before[line] == after[other] for line, other in pairs)
    assert [other for _, other in pairs] == sorted({other for _, other in pairs})
    assert len(pairs) == longest_common(before, after)


def longest_common(before: list[bytes], after: list[bytes]) -> int:
    row = [0] * (len(after) + 1)
    for line in before:
        above = row[:]
        for index, other in enumerate(after):
            row[index + 1] = (
                above[index] + 1 if line == other else max(above[index + 1], row[index])
            )
    return row[-1]


@given(lines, lines, lines)
def test_no_line_that_a_side_added_is_lost(
    old: list[bytes], live: list[bytes], new: list[bytes]
) -> None:
    mine = [line if line in old else b"mine " + line for line in live]
    theirs = [line if line in old else b"theirs " + line for line in new]
    merged = merge_text(b"".join(old), b"".join(mine), b"".join(theirs))
    if merged is not None:
        there = Counter(merged.splitlines(keepends=True))
        added = [line for line in [*mine, *theirs] if line not in old]
        assert Counter(added) == there - Counter({line: there[line] for line in old})


@given(lines, lines, lines)
def test_one_side_only_and_both_alike(
    old: list[bytes], live: list[bytes], new: list[bytes]
) -> None:
    before, mine, theirs = b"".join(old), b"".join(live), b"".join(new)
    assert merge_text(before, mine, before) == mine
    assert merge_text(before, before, theirs) == theirs
    assert merge_text(before, mine, mine) == mine
    assert merge_text(before, mine, theirs) == merge_text(before, theirs, mine)

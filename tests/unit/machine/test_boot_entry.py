"""Boot entries: what is written is what is read, and only the first byte makes one valid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, Refused
from atoll.machine.boot.boot_entry import (
    SECTOR,
    BootEntry,
    EntryName,
    format_draft,
    format_entry,
    format_entry_name,
    loader_order,
    parse_entry,
    parse_entry_name,
)

ENTRY = BootEntry(
    name=EntryName(sequence=7, tries_left=3),
    title="hello 1.2 (4)",
    linux=f"/atoll/{'a' * 64}/linux",
    initrd=f"/atoll/{'a' * 64}/initrd",
    options=(f"composefs={'b' * 64}", "atoll.deployment=4", "quiet"),
)

names = st.builds(
    EntryName,
    sequence=st.integers(1, 999_999_999),
    tries_left=st.none() | st.integers(0, 9999),
).flatmap(
    lambda name: st.builds(
        EntryName,
        sequence=st.just(name.sequence),
        tries_left=st.just(name.tries_left),
        tries_used=st.just(0) if name.tries_left is None else st.integers(0, 9999),
    )
)
words = st.text(st.characters(min_codepoint=35, max_codepoint=126), min_size=1, max_size=30)


@given(names)
def test_names_are_read_as_they_were_written(name: EntryName) -> None:
    assert parse_entry_name(format_entry_name(name)) == name


@pytest.mark.parametrize(
    ("text", "left", "used"),
    [("atoll-7.conf", None, 0), ("atoll-7+3.conf", 3, 0), ("atoll-7+1-2.conf", 1, 2)],
)
def test_counters_are_those_of_the_loader(text: str, left: int | None, used: int) -> None:
    assert parse_entry_name(text) == EntryName(sequence=7, tries_left=left, tries_used=used)


@pytest.mark.parametrize(
    "text",
    [
        "atoll-0.conf",
        "atoll-07.conf",
        "atoll-.conf",
        "atoll-7",
        "debian.conf",
        "atoll-7+.conf",
        "atoll-7-1.conf",
        "xatoll-7.conf",
        "atoll-7.conf.tmp",
        "atoll-7.conf\n",
        "atoll-７.conf",
    ],
)
def test_other_names_are_not_ours(text: str) -> None:
    assert parse_entry_name(text) is None


@given(st.lists(words, min_size=1, max_size=8))
def test_entries_are_read_as_they_were_written(options: list[str]) -> None:
    entry = BootEntry(
        name=ENTRY.name,
        title=ENTRY.title,
        linux=ENTRY.linux,
        initrd=ENTRY.initrd,
        options=tuple(options),
    )
    assert parse_entry(entry.name, format_entry(entry).decode()) == entry


def test_an_entry_says_all_that_the_loader_needs() -> None:
    assert format_entry(ENTRY).decode().splitlines() == [
        f"linux /atoll/{'a' * 64}/linux",
        f"initrd /atoll/{'a' * 64}/initrd",
        "sort-key atoll",
        "version 7",
        "title hello 1.2 (4)",
        f"options composefs={'b' * 64} atoll.deployment=4 quiet",
    ]
    assert ENTRY.deployment == 4


def test_a_draft_differs_in_its_first_sector_only_and_is_no_entry() -> None:
    draft, real = format_draft(ENTRY), format_entry(ENTRY)
    assert len(draft) == len(real)
    assert draft[SECTOR:] == real[SECTOR:]
    assert parse_entry(ENTRY.name, draft.decode()) is None


@pytest.mark.parametrize("title", ["", "two\nlines", "nul\0", "esc\x1b[2J"])
def test_what_is_no_line_of_text_is_refused(title: str) -> None:
    entry = BootEntry(
        name=ENTRY.name, title=title, linux=ENTRY.linux, initrd=ENTRY.initrd, options=ENTRY.options
    )
    with pytest.raises(Refused, match="is not allowed in a boot entry"):
        format_entry(entry)


@pytest.mark.parametrize(
    "text",
    ["linux /x\n", "linux /x\ninitrd /y\nsort-key atoll\nversion 8\ntitle t\noptions o\n"],
)
def test_what_we_never_write_is_damaged(text: str) -> None:
    with pytest.raises(Damaged, match=r"boot entry atoll-7\+3\.conf"):
        parse_entry(ENTRY.name, text)


def test_the_loader_takes_the_newest_that_is_not_used_up() -> None:
    used_up = EntryName(sequence=9, tries_left=0, tries_used=3)
    old, new = EntryName(sequence=3), EntryName(sequence=8, tries_left=1)
    assert loader_order([old, used_up, new]) == [new, old, used_up]

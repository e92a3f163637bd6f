"""Kernel arguments: an image cannot set reserved names, however the line is split."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Refused
from atoll.base.ids import TreeId
from atoll.image.bootable import require_bootable
from atoll.machine.boot.boot_entry import BootEntry, EntryName, format_entry, parse_entry
from atoll.recipe.language.check_values import check_kernel_argument
from atoll.tree.cmdline import find_reserved, is_argument, split_arguments

BAD = (
    'x="a atoll.deployment=1 b"',
    'x="composefs=0 b"',
    '"atoll.state=UUID=1"',
    'a" atoll.deployment=2"',
    'x="init=/bin/sh"',
    'x="a root=/dev/sda"',
    "atoll.deployment=1",
    "rdinit=/x",
    'x="open',
    'x="a" b',
    "x\ty",
    "ä",
    "",
)
GOOD = ("quiet", 'dyndbg="file a.c +p"', "console=ttyS0,115200", 'x="a b"', "reboot=w", "rows=1")


@pytest.mark.parametrize("text", BAD)
def test_no_argument_names_what_boots(text: str) -> None:
    assert find_reserved(text) is not None or not is_argument(text)
    assert check_kernel_argument(text) is not None
    info = {
        "name": "x",
        "version": "1",
        "kernel": "6.1",
        "args": [text],
        "suite": "trixie",
        "architecture": "amd64",
        "epoch": 1,
    }
    with pytest.raises(Refused, match="kernel argument"):
        require_bootable(json.dumps(info).encode(), TreeId("0" * 64))


@pytest.mark.parametrize("text", GOOD)
def test_what_people_say_is_taken(text: str) -> None:
    assert check_kernel_argument(text) is None and split_arguments(text) == (text,)


@given(words=st.lists(st.text(alphabet='ab= ".', max_size=12), max_size=5))
def test_splitting_loses_nothing_but_space(words: list[str]) -> None:
    text = " ".join(words)
    found = split_arguments(text)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
    assert all(word.count('"') % 2 == 0 for word in found[:-1])


@pytest.mark.parametrize(
    "text", ['x="a atoll.deployment=1 b"', "atoll.deployment=7", 'x="composefs=1"']
)
def test_no_entry_says_twice_what_boots(text: str) -> None:
    own = ("composefs=" + "0" * 64, "atoll.state=UUID=1", "atoll.deployment=2", "panic=10")
    entry = BootEntry(name=EntryName(sequence=1), title="t", linux="/l", initrd="/i", options=own)
    assert parse_entry(entry.name, format_entry(entry).decode()) == entry
    bad = BootEntry(name=entry.name, title="t", linux="/l", initrd="/i", options=(*own, text))
    with pytest.raises(Refused):
        format_entry(bad)

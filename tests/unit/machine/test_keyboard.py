"""Layouts as keyboard(5) has them, and the keymap that early boot gets."""

from __future__ import annotations

import shutil

import pytest

from atoll.base.errors import ProgramFailed
from atoll.machine.boot.machine_initrd import (
    find_initrd_name,
    initrd_name,
    make_machine_initrd,
)
from atoll.machine.keyboard import KeyboardLayout, make_keymap, parse_keyboard

DEBIANS = """# KEYBOARD CONFIGURATION FILE

# Consult the keyboard(5) manual page.

XKBMODEL="pc104"
XKBLAYOUT='de,us'
XKBVARIANT="nodeadkeys,"
XKBOPTIONS=grp:alt_shift_toggle

BACKSPACE="guess"
"""


def test_the_file_of_keyboard_configuration_is_understood() -> None:
    assert parse_keyboard(DEBIANS) == KeyboardLayout(
        model="pc104", layout="de,us", variant="nodeadkeys,", options="grp:alt_shift_toggle"
    )


@pytest.mark.parametrize("text", ["", "XKBLAYOUT=\n", 'XKBMODEL="pc105"\n', "XKBLAYOUT='de\n"])
def test_a_file_without_a_layout_says_nothing(text: str) -> None:
    assert parse_keyboard(text) is None


def test_the_american_layout_needs_no_keymap() -> None:
    assert make_keymap(KeyboardLayout(layout="us")) == b""
    assert make_machine_initrd(b"") == b""


@pytest.mark.skipif(shutil.which("ckbcomp") is None, reason="needs ckbcomp")
def test_the_keymap_is_that_of_the_console() -> None:
    keymap = make_keymap(KeyboardLayout(layout="de", variant="nodeadkeys"))
    # Where an American keyboard has y, a German one has z.
    (line,) = (line for line in keymap.splitlines() if line.startswith(b"keycode 21 ="))
    assert line.split()[3] in (b"+U+007a", b"U+007a", b"z")
    with pytest.raises(ProgramFailed):
        make_keymap(KeyboardLayout(layout="nowhere"))


def test_only_names_that_atoll_writes_are_read() -> None:
    name = initrd_name(b"content")
    assert find_initrd_name(f"/atoll/machine/{name}") == name
    for path in ("", name, f"/atoll/{name}", f"/atoll/machine/x/{name}", "/atoll/machine/a.img"):
        assert find_initrd_name(path) is None

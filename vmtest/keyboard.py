"""Text as key presses on an American keyboard, in QEMU's names of keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vmtest.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_MILLISECONDS = 30
SHIFTED = dict(
    zip('!@#$%^&*()_+{}|:"<>?~', "1234567890-=[]\\;',./`", strict=True),
)
NAMED = {
    " ": "spc",
    "\n": "ret",
    "\t": "tab",
    "\b": "backspace",
    "\x1b": "esc",
    "-": "minus",
    "=": "equal",
    "[": "bracket_left",
    "]": "bracket_right",
    "\\": "backslash",
    ";": "semicolon",
    "'": "apostrophe",
    ",": "comma",
    ".": "dot",
    "/": "slash",
    "`": "grave_accent",
}


def parse_keys(combination: str) -> tuple[str, ...]:
    """``ctrl-alt-f2`` as the keys held together."""
    keys = tuple(combination.split("-"))
    if not all(keys):
        raise MachineError(f"{combination!r} names no keys; write a-b for keys held together")
    return keys


def keys_of(character: str) -> tuple[str, ...]:
    """The keys that type one character."""
    if character in SHIFTED:
        return ("shift", *keys_of(SHIFTED[character]))
    if character in NAMED:
        return (NAMED[character],)
    if character.isascii() and character.isalnum():
        return ("shift", character.lower()) if character.isupper() else (character,)
    raise MachineError(f"an American keyboard has no key for {character!r}")


def press(control: Callable[..., object], keys: tuple[str, ...]) -> None:
    """Press ``keys`` together and let go of them; ``control`` runs a command of QEMU's monitor."""
    codes = [{"type": "qcode", "data": key} for key in keys]
    control("send-key", keys=codes, **{"hold-time": KEY_MILLISECONDS})
    # QEMU releases the keys after this time and reports nothing: without a pause they run together.
    time.sleep(2 * KEY_MILLISECONDS / 1000)

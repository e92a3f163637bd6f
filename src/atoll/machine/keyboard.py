"""The keyboard's layout for the passphrase: from keyboard(5) to a keymap for the kernel's console.

Debian describes keyboards as X does (XKB), in ``/etc/default/keyboard``. ckbcomp, of console-setup,
makes of that the same keymap that the running system's console gets.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass

from atoll.host.run import require_program, run

PLACE = "default/keyboard"
"""Below /etc."""
AMERICAN = "us"
MODEL = "pc105"
"""The model that fits nearly every keyboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyboardLayout:
    """As keyboard(5) has it; layouts and variants may be lists with commas."""

    layout: str
    variant: str = ""
    model: str = MODEL
    options: str = ""

    @property
    def is_american(self) -> bool:
        """Whether the kernel's own keymap is the right one."""
        return self.layout == AMERICAN and not (self.variant or self.options)


def parse_keyboard(text: str) -> KeyboardLayout | None:
    """The layout in ``/etc/default/keyboard``; None when it names none."""
    found = {}
    for line in text.splitlines():
        with suppress(ValueError):
            for word in shlex.split(line, comments=True):
                key, equals, value = word.partition("=")
                if equals:
                    found[key] = value
    if not found.get("XKBLAYOUT"):
        return None
    return KeyboardLayout(
        layout=found["XKBLAYOUT"],
        variant=found.get("XKBVARIANT", ""),
        model=found.get("XKBMODEL") or MODEL,
        options=found.get("XKBOPTIONS", ""),
    )


def make_keymap(keyboard: KeyboardLayout) -> bytes:
    """Text for loadkeys; empty for the American layout, which every kernel has.

    Raises MissingProgram, or ProgramFailed for a layout that does not exist.
    """
    return b"" if keyboard.is_american else compose_keymap(keyboard)


def compose_keymap(keyboard: KeyboardLayout) -> bytes:
    """``make_keymap`` for a console that may have another layout than the kernel's own."""
    return run(
        [
            require_program("ckbcomp", package="console-setup"),
            "-model",
            keyboard.model,
            keyboard.layout,
            keyboard.variant,
            keyboard.options,
        ]
    )

"""The layout that a person has chosen, on the console that they type their passwords on.

Otherwise a password is typed with one layout and later with another. It is only for consoles of
the kernel: over ssh, on serial lines and in graphical terminals the layout is that of the other
end. The keymap that was there before is loaded again afterwards.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.host.run import find_program, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atoll.installer.settings import KeyboardSettings

_CONSOLE = re.compile(r"/dev/tty[0-9]+")


@contextmanager
def keymap_kept(terminal: int) -> Iterator[Callable[[KeyboardSettings], None]]:
    """Gives what loads a layout; it does nothing where ``terminal`` is no console, or where the
    programs are missing."""
    programs = [find_program(name) for name in ("ckbcomp", "loadkeys", "dumpkeys")]
    if not _is_console(terminal) or None in programs:
        yield lambda _: None
        return
    compose, load, dump = (str(program) for program in programs)
    try:
        before = run([dump])
    except AtollError:
        yield lambda _: None
        return

    def load_layout(keyboard: KeyboardSettings) -> None:
        # The person can still type; they see in the login name what the keys give.
        with suppress(AtollError):
            words = ["-model", keyboard.model, keyboard.layout, keyboard.variant, keyboard.options]
            run([load, "--quiet"], stdin=run([compose, *words]))

    try:
        yield load_layout
    finally:
        with suppress(AtollError):
            run([load, "--quiet"], stdin=before)


def _is_console(terminal: int) -> bool:
    try:
        return _CONSOLE.fullmatch(os.ttyname(terminal)) is not None
    except OSError:
        return False

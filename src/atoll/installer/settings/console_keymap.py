"""Loading the chosen keyboard layout on the console before passwords are typed.

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
from atoll.machine.keyboard import compose_keymap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atoll.machine.keyboard import KeyboardLayout


_CONSOLE = re.compile(r"/dev/tty[0-9]+")


@contextmanager
def keymap_kept(terminal: int) -> Iterator[Callable[[KeyboardLayout], None]]:
    """Gives what loads a layout; it does nothing where ``terminal`` is no console, or where the
    programs are missing."""
    load, dump = find_program("loadkeys"), find_program("dumpkeys")
    before = None
    if load is not None and dump is not None and _is_console(terminal):
        with suppress(AtollError):
            before = run([dump])
    if load is None or before is None:
        yield lambda _: None
        return

    def load_layout(keyboard: KeyboardLayout) -> None:
        # The person can still type; they see in the login name what the keys give.
        with suppress(AtollError):
            run([load, "--quiet"], stdin=compose_keymap(keyboard))

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

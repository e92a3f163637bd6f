"""A program on a terminal of its own, seen as a person sees it: rows of text, some marked."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COLUMNS, LINES = 80, 24
UP, DOWN, PAGE_DOWN, ESCAPE, INTERRUPT, ENTER = (
    "\x1b[A",
    "\x1b[B",
    "\x1b[6~",
    "\x1b",
    "\x03",
    "\r",
)
PATIENCE = 60.0
STILL = 0.03
"""Seconds without anything new after which a screen is complete."""


class Terminal:
    """The near end: keys go in, and what the program draws is kept as a screen."""

    def __init__(self, handle: int, pid: int, columns: int, lines: int) -> None:
        self._handle, self.pid = handle, pid
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.drawn = b""

    @property
    def rows(self) -> list[str]:
        return [row.rstrip() for row in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    @property
    def marked(self) -> list[str]:
        """The rows with text in reverse, that text alone."""
        found = []
        for number in range(self.screen.lines):
            cells = [self.screen.buffer[number][at] for at in range(self.screen.columns)]
            text = "".join(cell.data for cell in cells if cell.reverse).strip()
            found += [text] if text else []
        return found

    def send(self, keys: str) -> None:
        os.write(self._handle, keys.encode())

    def wait_for(self, text: str, *, gone: bool = False) -> None:
        """Until ``text`` is on the screen (or is gone) and the program draws no more."""
        ends = time.monotonic() + PATIENCE
        while (text in self.text) == gone:
            assert self._read(ends - time.monotonic()), f"no {text!r} on the screen:\n{self.text}"
        while self._read(STILL):
            pass

    def end(self) -> int:
        """Wait until the program ends; its exit status, negative for a signal."""
        ends = time.monotonic() + PATIENCE
        while self._read(ends - time.monotonic()):
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def settings(self) -> list[object]:
        return termios.tcgetattr(self._handle)

    def _read(self, seconds: float) -> bool:
        """Whether the program has drawn something meanwhile."""
        ready, _, _ = select.select([self._handle], [], [], max(seconds, 0))
        if not ready:
            return False
        try:
            data = os.read(self._handle, 65536)
        except OSError:  # the other end is closed
            return False
        self.drawn += data
        self._stream.feed(data)
        return bool(data)


@contextmanager
def on_terminal(
    argv: Sequence[str | Path],
    *,
    term: str,
    env: dict[str, str],
    columns: int = COLUMNS,
    lines: int = LINES,
) -> Iterator[Terminal]:
    """``argv`` on a terminal of that type and size; it is ended when the context ends."""
    words = [os.fspath(word) for word in argv]
    pid, handle = pty.fork()
    if pid == 0:
        os.execvpe(words[0], words, {**env, "TERM": term})
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    terminal = Terminal(handle, pid, columns, lines)
    try:
        yield terminal
    finally:
        if terminal.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(handle)

"""The test's end of the shell in the machine: a command goes in, status and both outputs come out.

The protocol is drawn in ``vmtest.guest``.
"""

from __future__ import annotations

import re
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmtest.clock import Deadline
from vmtest.errors import MachineError, MachineGone, ShellRestarted

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

HELLO = re.compile(rb"hello ([0-9a-f-]{36})\n")
ANSWER = re.compile(rb"([0-9]+) ([0-9]+) ([01]) ([0-9]+) ([0-9]+)\n")
LINE_LIMIT = 200
POLL_SECONDS = 0.5
MARGIN_SECONDS = 60
"""How much later than the machine's own clock the test gives up on an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that ran to its end in the machine."""

    status: int
    output: bytes
    errors: bytes
    late: bool
    """Its time limit ended it."""

    @property
    def said(self) -> str:
        """The end of both outputs, as text."""
        return (self.output + self.errors).decode(errors="replace").rstrip()[-4000:]


class Channel:
    """One start's connection to the shell."""

    def __init__(self, connection: socket.socket, is_alive: Callable[[], bool]) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._is_alive = is_alive
        self._pending = bytearray()
        self._number = 0
        self.boot_id: str | None = None
        """The kernel's boot id, once the shell has said hello."""

    def wait_ready(self, deadline: Deadline) -> None:
        """Return when the shell takes commands."""
        while self.boot_id is None:
            self._accept_hello(self._read_line(deadline, "its shell to come up"))

    def run(self, command: str, *, stdin: bytes = b"", limit: float) -> Finished:
        """Run one command; ``limit`` is in seconds, and the machine itself enforces it."""
        self._number += 1
        script = command.encode()
        seconds = max(1, round(Deadline(limit).seconds))
        head = f"{self._number} {seconds} {len(script)} {len(stdin)}\n".encode()
        deadline = Deadline(limit + MARGIN_SECONDS)
        what = f"the end of: {command}"
        self._send(head + script + stdin, deadline, what)
        while True:
            line = self._read_line(deadline, what)
            found = ANSWER.fullmatch(line)
            if found is None:
                self._accept_hello(line)
                raise ShellRestarted(f"the machine's shell started anew while it ran: {command}")
            number, status, late, output_size, errors_size = map(int, found.groups())
            output = self._read_exactly(output_size, deadline, what)
            errors = self._read_exactly(errors_size, deadline, what)
            if number == self._number:
                return Finished(status=status, output=output, errors=errors, late=bool(late))

    def forget(self) -> None:
        """The shell is about to start anew (soft reboot): wait for another hello."""
        self.boot_id = None

    def close(self) -> None:
        self._socket.close()

    def _accept_hello(self, line: bytes) -> None:
        found = HELLO.fullmatch(line)
        if found is None:
            raise MachineError(f"the machine's shell says something strange: {line[:LINE_LIMIT]!r}")
        self.boot_id = found[1].decode()

    def _send(self, data: bytes, deadline: Deadline, what: str) -> None:
        view = memoryview(data)
        while view:
            self._check(deadline, what)
            if select.select([], [self._socket], [], POLL_SECONDS)[1]:
                try:
                    view = view[self._socket.send(view) :]
                except OSError as error:
                    raise MachineGone(f"the machine is gone, waiting for {what}") from error

    def _read_line(self, deadline: Deadline, what: str) -> bytes:
        while b"\n" not in self._pending:
            if len(self._pending) > LINE_LIMIT:
                raise MachineError(
                    f"the machine's shell says something strange: {bytes(self._pending[:200])!r}"
                )
            self._receive(deadline, what)
        end = self._pending.index(b"\n") + 1
        line = bytes(self._pending[:end])
        del self._pending[:end]
        return line

    def _read_exactly(self, size: int, deadline: Deadline, what: str) -> bytes:
        while len(self._pending) < size:
            self._receive(deadline, what)
        data = bytes(self._pending[:size])
        del self._pending[:size]
        return data

    def _receive(self, deadline: Deadline, what: str) -> None:
        self._check(deadline, what)
        if not select.select([self._socket], [], [], POLL_SECONDS)[0]:
            return
        try:
            data = self._socket.recv(1 << 20)
        except OSError as error:
            raise MachineGone(f"the machine is gone, waiting for {what}") from error
        if not data:
            raise MachineGone(f"the machine is gone, waiting for {what}")
        self._pending += data

    def _check(self, deadline: Deadline, what: str) -> None:
        if deadline.is_over():
            raise MachineError(f"waited {deadline.seconds:.0f} s for {what}")
        if not self._is_alive() and not select.select([self._socket], [], [], 0)[0]:
            raise MachineGone(f"the machine is gone, waiting for {what}")

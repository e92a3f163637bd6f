"""QEMU's control protocol: JSON lines over a socket; a command, its answer, events in between."""

from __future__ import annotations

import json
import select
from typing import TYPE_CHECKING, Any

from vmtest.clock import Deadline
from vmtest.errors import MachineError

if TYPE_CHECKING:
    import socket

QMP_SECONDS = 60


class QmpClient:
    """Sends commands one at a time and keeps the events that come meanwhile."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._pending = b""
        self.events: list[dict[str, Any]] = []

    def negotiate(self) -> None:
        """Read the greeting and begin; raises MachineError when QEMU ends instead."""
        deadline = Deadline(QMP_SECONDS)
        while "QMP" not in self._receive(deadline):
            pass
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> object:
        """The answer to a command; raises MachineError when QEMU refuses it or is gone."""
        message: dict[str, object] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise MachineError(f"QEMU is gone: no answer to {command}") from error
        deadline = Deadline(QMP_SECONDS)
        while True:
            answer = self._receive(deadline)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise MachineError(f"QEMU refuses {command}: {answer['error'].get('desc')}")
            self.events.append(answer)

    def read_events(self) -> list[dict[str, Any]]:
        """All events up to now; works on a connection that is closed as well."""
        while self._socket.fileno() >= 0 and select.select([self._socket], [], [], 0)[0]:
            try:
                self.events.append(self._receive(Deadline(QMP_SECONDS)))
            except MachineError:
                break
        return self.events

    def close(self) -> None:
        """Keep the events, drop the connection."""
        self.read_events()
        self._socket.close()

    def _receive(self, deadline: Deadline) -> dict[str, Any]:
        while b"\n" not in self._pending:
            if not select.select([self._socket], [], [], deadline.left())[0]:
                raise MachineError(f"QEMU's control socket is silent for {deadline.seconds:.0f} s")
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise MachineError("QEMU's control socket broke") from error
            if not data:
                raise MachineError("QEMU closed its control socket")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise MachineError(f"QEMU says something strange: {line[:200]!r}")
        return message

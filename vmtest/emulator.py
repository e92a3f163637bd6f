"""One run of QEMU: its process, its control socket, its end of the channel.

QEMU leads its own process group, so Ctrl-C at the terminal reaches the test first, and dies with
the test's process whatever ends that (``setpriv --pdeathsig``). It is ended by its own id only.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from enum import StrEnum
from typing import TYPE_CHECKING

from vmtest.channel import Channel
from vmtest.errors import MachineError
from vmtest.qemu import Wiring, ensure_files, find_program, plan_command
from vmtest.qmp import QmpClient

if TYPE_CHECKING:
    from pathlib import Path

    from vmtest.clock import Deadline
    from vmtest.spec import MachineSpec


class Ending(StrEnum):
    """Why a machine stopped, in QEMU's words."""

    RESET = "guest-reset"
    SHUTDOWN = "guest-shutdown"
    PANIC = "guest-panic"
    KILLED = "killed"
    OTHER = "other"


class Emulator:
    """A QEMU that runs or has run."""

    def __init__(self, process: subprocess.Popen[bytes], qmp: QmpClient, channel: Channel) -> None:
        self._process = process
        self.qmp = qmp
        self.channel = channel

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait(self, deadline: Deadline) -> Ending | None:
        """Why it ended, or None when it still runs at the deadline."""
        try:
            self._process.wait(deadline.left())
        except subprocess.TimeoutExpired:
            return None
        return self.ending()

    def ending(self) -> Ending:
        for event in reversed(self.qmp.read_events()):
            if event.get("event") == "SHUTDOWN":
                reason = event.get("data", {}).get("reason")
                return Ending(reason) if reason in set(Ending) else Ending.OTHER
        return Ending.KILLED

    def kill(self) -> None:
        """End it at once, as a power cut would; harmless when it has ended."""
        if self.is_alive():
            self._process.kill()
        self._process.wait()
        self.qmp.close()
        self.channel.close()


def start_emulator(
    spec: MachineSpec, directory: Path, *, kvm: bool, incoming: bool = False
) -> Emulator:
    """Start QEMU; raises MachineError with its own words when it does not come up.

    With ``incoming`` it waits for a saved state instead of booting.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        monitor, monitor_end = socket.socketpair()
        channel, channel_end = socket.socketpair()
        for end in (monitor, channel):
            ours.enter_context(end)
        for end in (monitor_end, channel_end):
            theirs.enter_context(end)
        wiring = Wiring(
            directory=directory,
            monitor=monitor_end.fileno(),
            channel=channel_end.fileno(),
            kvm=kvm,
        )
        ensure_files(spec, wiring)
        argv = [
            *(find_program("setpriv", package="util-linux"), "--pdeathsig", "KILL"),
            *plan_command(spec, wiring),
            *(("-incoming", "defer") if incoming else ()),
        ]
        with (directory / "qemu.log").open("ab") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(wiring.monitor, wiring.channel),
                process_group=0,
            )
        theirs.close()
        emulator = Emulator(
            process, QmpClient(monitor), Channel(channel, lambda: process.poll() is None)
        )
        try:
            emulator.qmp.negotiate()
        except BaseException as error:
            emulator.kill()
            if isinstance(error, MachineError):
                words = (directory / "qemu.log").read_text(errors="replace").strip()
                raise MachineError(f"QEMU does not start: {words[-2000:] or error}") from error
            raise
        ours.pop_all()
        return emulator

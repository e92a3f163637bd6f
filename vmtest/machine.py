"""A virtual machine as a test sees it: start it, ask things of it, cut its power."""

from __future__ import annotations

import re
import shlex
import time
from typing import TYPE_CHECKING, Self

from vmtest import transfer
from vmtest.clock import Deadline, stretched
from vmtest.console import Console
from vmtest.emulator import Emulator, Ending, start_emulator
from vmtest.errors import MachineError, MachineGone, RequestFailed, hide_frames
from vmtest.qemu import ensure_possible, probe_kvm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vmtest.channel import Finished
    from vmtest.spec import MachineSpec

__tracebackhide__ = hide_frames

COMMAND_SECONDS = 300.0
BOOT_SECONDS = 600.0
SHUTDOWN_SECONDS = 300.0
PAUSE_SECONDS = 1.0
TERMINATED = 143
LOADER_ENTRY = "/sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def _tell(line: str) -> None:
    print(line, flush=True)


class Machine:
    """One machine with a directory of its own for disks, firmware variables and logs.

    A context manager: however the block ends, so does QEMU. All limits are in seconds and are
    stretched by VMTEST_TIMEOUT_FACTOR.
    """

    def __init__(
        self,
        spec: MachineSpec,
        directory: Path,
        *,
        name: str = "machine",
        tell: Callable[[str], None] = _tell,
    ) -> None:
        self.spec = spec
        self.directory = directory
        self.name = name
        self.console = Console(directory / "console.log")
        self._tell = tell
        self._emulator: Emulator | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # Starting and ending

    def start(self) -> None:
        """Switch it on and return at once; the first command waits until it has booted."""
        if self.is_running():
            raise MachineError(f"{self.name} runs already")
        ensure_possible(self.spec)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.console.mark_start()
        self._emulator = start_emulator(self.spec, self.directory, kvm=probe_kvm())
        self._say("started")

    def is_running(self) -> bool:
        return self._emulator is not None and self._emulator.is_alive()

    def power_cut(self) -> None:
        """Take its power away, as pulling the plug does.

        Writes that the machine never flushed may be there or not (``Disk.cache``). ``start``
        boots it again from the same disks and firmware variables.
        """
        self._running()
        self.kill()
        self._say("power cut")

    def kill(self) -> None:
        """End QEMU, if it runs."""
        if self._emulator is not None:
            self._emulator.kill()

    def shutdown(self, *, timeout: float = SHUTDOWN_SECONDS) -> None:
        """Have it shut down cleanly and wait for that."""
        self._leave("systemctl poweroff --no-block")
        self.wait_for_end(Ending.SHUTDOWN, timeout=timeout)

    def reboot(self, *, timeout: float = SHUTDOWN_SECONDS) -> None:
        """Have it reboot cleanly and start it again."""
        self._leave("systemctl reboot --no-block")
        self.wait_for_reboot(timeout=timeout)

    def wait_for_reboot(self, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait until it resets itself, then start it again.

        A reset ends QEMU, and the next boot has a QEMU of its own: a warm reset under UEFI
        firmware hangs now and then.
        """
        self.wait_for_end(Ending.RESET, timeout=timeout)
        self.start()

    def wait_for_end(self, expected: Ending, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait until it stops by itself, in the expected way."""
        deadline = Deadline(timeout)
        ending = self._running().wait(deadline)
        if ending is None:
            raise self._error(f"still runs after {deadline.seconds:.0f} s; expected {expected}")
        self._say(f"ended: {ending}")
        if ending is not expected:
            raise self._error(f"ended by {ending}; expected {expected}")

    # Commands

    def run(
        self, command: str, *, stdin: bytes = b"", timeout: float = COMMAND_SECONDS
    ) -> Finished:
        """Run a command as root in bash (-e, pipefail) and return all that came of it."""
        emulator = self._booted()
        begin = time.monotonic()
        try:
            finished = emulator.channel.run(command, stdin=stdin, limit=timeout)
        except MachineError as error:
            raise self._error(str(error)) from error
        self._say(f"{command}  [{finished.status}, {time.monotonic() - begin:.1f} s]")
        if finished.late:
            raise self._error(
                f"{stretched(timeout):.0f} s were not enough for: {command}\n{_said(finished)}"
            )
        return finished

    def execute(self, command: str, *, timeout: float = COMMAND_SECONDS) -> tuple[int, str]:
        """Run a command; its exit status and what it wrote to stdout."""
        finished = self.run(command, timeout=timeout)
        return finished.status, finished.output.decode(errors="replace")

    def succeed(self, *commands: str, timeout: float = COMMAND_SECONDS) -> str:
        """Run commands that must exit with 0; what they wrote to stdout."""
        output = []
        for command in commands:
            finished = self.run(command, timeout=timeout)
            if finished.status != 0:
                raise RequestFailed(
                    f"{self.name}: exit status {finished.status} of: {command}\n{_said(finished)}"
                )
            output.append(finished.output.decode(errors="replace"))
        return "".join(output)

    def fail(self, *commands: str, timeout: float = COMMAND_SECONDS) -> str:
        """Run commands that must not exit with 0; what they wrote, stdout before stderr."""
        output = []
        for command in commands:
            finished = self.run(command, timeout=timeout)
            if finished.status == 0:
                raise RequestFailed(f"{self.name}: succeeded: {command}\n{_said(finished)}")
            output.append((finished.output + finished.errors).decode(errors="replace"))
        return "".join(output)

    # Waiting

    def wait_for_shell(self, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait until it takes commands: systemd has passed sysinit.target."""
        self._booted(timeout)

    def wait_for_system(self, *states: str, timeout: float = BOOT_SECONDS) -> str:
        """Wait until all of its boot is done; the state must be one of ``states`` (running)."""
        command = "systemctl is-system-running --wait"
        state = self.run(command, timeout=timeout).output.decode().strip()
        if state not in (states or ("running",)):
            failed = self.execute("systemctl list-units --failed --no-legend --plain")[1]
            raise RequestFailed(f"{self.name}: the system is {state}\n{failed}".rstrip())
        return state

    def wait_for_unit(self, unit: str, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait until a unit is active; fails at once when it has failed."""
        name = shlex.quote(unit)
        deadline = Deadline(timeout)
        while True:
            shown = self.succeed(f"systemctl show -P ActiveState -P Job -- {name}").split()
            state = shown[0] if shown else "unknown"
            waiting_job = len(shown) > 1 and shown[1] != "0"
            if state == "active":
                return
            if state == "failed" and not waiting_job:
                status = self.execute(f"systemctl status --no-pager -n 20 -- {name}")[1]
                raise RequestFailed(f"{self.name}: {unit} failed\n{status}")
            if deadline.is_over():
                raise self._error(f"waited {deadline.seconds:.0f} s for {unit}, which is {state}")
            time.sleep(PAUSE_SECONDS)

    def wait_until_succeeds(self, command: str, *, timeout: float = COMMAND_SECONDS) -> str:
        """Repeat a command until it exits with 0; what it wrote to stdout."""
        return self._repeat(command, timeout, wanted=True)

    def wait_until_fails(self, command: str, *, timeout: float = COMMAND_SECONDS) -> str:
        """Repeat a command until it does not exit with 0; what it wrote to stdout."""
        return self._repeat(command, timeout, wanted=False)

    def wait_for_file(self, path: str, *, timeout: float = COMMAND_SECONDS) -> None:
        """Wait until a path exists in the machine."""
        self.wait_until_succeeds(f"test -e {shlex.quote(path)}", timeout=timeout)

    def wait_for_console_text(
        self, pattern: str, *, timeout: float = BOOT_SECONDS
    ) -> re.Match[str]:
        """Wait until the serial console has said ``pattern`` (multi-line) since the last start."""
        compiled = re.compile(pattern, re.MULTILINE)
        deadline = Deadline(timeout)
        while True:
            alive = self.is_running()
            found = compiled.search(self.console.text())
            if found is not None:
                return found
            if not alive:
                raise self._error(f"ended before its console said {pattern!r}")
            if deadline.is_over():
                raise self._error(
                    f"waited {deadline.seconds:.0f} s for the console to say {pattern!r}"
                )
            time.sleep(PAUSE_SECONDS / 4)

    def wait_for_login_prompt(self, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait for ``login:`` on the serial console."""
        self.wait_for_console_text(r"^\S+ login: ", timeout=timeout)

    # Files

    def copy_to(self, source: Path, destination: str) -> None:
        """Copy a file, or the content of a directory, into the machine."""
        transfer.copy_to(self.run_checked, source, destination)

    def copy_from(self, source: str, destination: Path) -> None:
        """Copy a file, or the content of a directory, out of the machine."""
        transfer.copy_from(self.run_checked, source, destination)

    def run_checked(self, command: str, stdin: bytes = b"") -> bytes:
        """Run a command that must exit with 0; its stdout as bytes."""
        finished = self.run(command, stdin=stdin)
        if finished.status != 0:
            raise RequestFailed(
                f"{self.name}: exit status {finished.status} of: {command}\n{_said(finished)}"
            )
        return finished.output

    def boot_entry(self) -> str:
        """The entry that systemd-boot started."""
        raw = self.run_checked(f"cat {LOADER_ENTRY}")
        return raw[4:].decode("utf-16-le").rstrip("\0")

    # Inside

    def _running(self) -> Emulator:
        if self._emulator is None or not self._emulator.is_alive():
            raise self._error("does not run")
        return self._emulator

    def _booted(self, timeout: float = BOOT_SECONDS) -> Emulator:
        emulator = self._running()
        if emulator.channel.boot_id is None:
            begin = time.monotonic()
            try:
                emulator.channel.wait_ready(Deadline(timeout))
            except MachineError as error:
                raise self._error(str(error)) from error
            self._say(f"shell is up after {time.monotonic() - begin:.1f} s")
        return emulator

    def _leave(self, command: str) -> None:
        """Run a command that may end the shell before it answers."""
        emulator = self._booted()
        self._say(command)
        try:
            finished = emulator.channel.run(command, limit=COMMAND_SECONDS)
        except MachineGone:
            return
        if finished.status not in (0, TERMINATED):
            raise RequestFailed(
                f"{self.name}: exit status {finished.status} of: {command}\n{_said(finished)}"
            )

    def _repeat(self, command: str, timeout: float, *, wanted: bool) -> str:
        deadline = Deadline(timeout)
        while True:
            finished = self.run(command, timeout=timeout)
            if (finished.status == 0) is wanted:
                return finished.output.decode(errors="replace")
            if deadline.is_over():
                word = "succeed" if wanted else "fail"
                raise self._error(
                    f"waited {deadline.seconds:.0f} s for this to {word}: {command}\n"
                    f"{_said(finished)}"
                )
            time.sleep(PAUSE_SECONDS)

    def _error(self, message: str) -> MachineError:
        tail = self.console.tail()
        return MachineError(f"{self.name}: {message}\n--- console tail ---\n{tail}".rstrip())

    def _say(self, line: str) -> None:
        self._tell(f"{self.name}: {line}")


def _said(finished: Finished) -> str:
    return (finished.output + finished.errors).decode(errors="replace").rstrip()[-4000:]

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
from vmtest.errors import MachineError, MachineGone, RequestFailed, ShellRestarted, hide_frames
from vmtest.patience import SETTLED, patience_for, settle
from vmtest.qemu import ensure_possible, overlay_path, probe_kvm
from vmtest.saved import check_savable, lay_out_state, resume_state, write_state
from vmtest.seat import Seat
from vmtest.units import wait_for_unit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vmtest.channel import Finished
    from vmtest.patience import Patience
    from vmtest.spec import MachineSpec

__tracebackhide__ = hide_frames

COMMAND_SECONDS = 300.0
BOOT_SECONDS = 600.0
SHUTDOWN_SECONDS = 300.0
END_SECONDS = 10.0
PAUSE_SECONDS = 0.5
TERMINATED = 143
LOADER_ENTRY = "/sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def _tell(line: str) -> None:
    print(line, flush=True)


class Machine(Seat):
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
        self._switch_on()
        self._say("started")

    def save(self, place: Path) -> None:
        """Keep it as it is now in the new folder ``place``, and end it. Its shell must be up."""
        check_savable(self.spec)
        write_state(self._booted(), self.directory, place)
        self._say(f"saved to {place}")

    def restore(self, place: Path) -> None:
        """Begin where a machine of the same spec was saved; its clock is set to the present.

        The next ``start``, after a reboot or a power cut, boots from what the disks then hold.
        """
        if self.is_running():
            raise MachineError(f"{self.name} runs already")
        self.console = Console(self.console.path)
        lay_out_state(self.spec, place, self.directory)
        emulator = self._switch_on(incoming=True)
        try:
            resume_state(emulator, place)
        except MachineError as error:
            words = (self.directory / "qemu.log").read_text(errors="replace")
            raise self._error(f"cannot begin at {place}: {error}\n{words[-2000:]}") from None
        self._quietly(f"date --set=@{time.time():.3f}")
        self._say(f"begins at {place.name}")

    def is_running(self) -> bool:
        return self._emulator is not None and self._emulator.is_alive()

    @property
    def pid(self) -> int:
        """The process id of its QEMU."""
        return self._running().pid

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

    def remove_disks(self) -> None:
        """Drop what it wrote to its disks: the next start begins with the images again."""
        self.kill()
        for number in range(len(self.spec.disks)):
            overlay_path(self.directory, number).unlink(missing_ok=True)

    def shutdown(self, *, timeout: float = SHUTDOWN_SECONDS) -> None:
        """Have it shut down cleanly and wait for that."""
        self._leave(self._booted(), "systemctl poweroff --no-block")
        self.wait_for_end(Ending.SHUTDOWN, timeout=timeout)

    def reboot(self, *, timeout: float = SHUTDOWN_SECONDS) -> None:
        """Have it reboot cleanly and start it again."""
        self._leave(self._booted(), "systemctl reboot --no-block")
        self.wait_for_reboot(timeout=timeout)

    def soft_reboot(
        self,
        command: str = "systemctl soft-reboot --no-block",
        *,
        timeout: float = BOOT_SECONDS,
    ) -> None:
        """Have it start its user space again under its kernel, by ``command``, once the shell has
        answered."""
        emulator = self._booted()
        emulator.channel.forget()
        self._leave(emulator, f"(sleep 3; {command}) >/dev/null 2>&1 &")
        self._booted(timeout)

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
        ending = (self._emulator or self._running()).wait(deadline)
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
        self._booted()
        begin = time.monotonic()
        finished = self._attempt(command, stdin, timeout)
        self._say(f"{command}  [{finished.status}, {time.monotonic() - begin:.1f} s]")
        return finished

    def execute(self, command: str, *, timeout: float = COMMAND_SECONDS) -> tuple[int, str]:
        """Run a command; its exit status and what it wrote to stdout."""
        finished = self.run(command, timeout=timeout)
        return finished.status, finished.output.decode(errors="replace")

    def succeed(self, *commands: str, timeout: float = COMMAND_SECONDS) -> str:
        """Run commands that must exit with 0; what they wrote to stdout."""
        output = [self._need(c, self.run(c, timeout=timeout)) for c in commands]
        return b"".join(output).decode(errors="replace")

    def fail(self, *commands: str, timeout: float = COMMAND_SECONDS) -> str:
        """Run commands that must not exit with 0; what they wrote, stdout before stderr."""
        output = []
        for command in commands:
            finished = self.run(command, timeout=timeout)
            if finished.status == 0:
                raise RequestFailed(f"{self.name}: succeeded: {command}\n{finished.said}")
            output.append((finished.output + finished.errors).decode(errors="replace"))
        return "".join(output)

    # Waiting

    def wait_for_shell(self, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait until it takes commands: systemd has passed sysinit.target."""
        self._booted(timeout)

    def wait_for_system(self, *states: str, timeout: float = BOOT_SECONDS) -> str:
        """Wait until its boot is done; ``timeout`` is how long it may do nothing. The state must be
        one of ``states`` (running)."""
        self._booted(timeout)
        patience = self._patience("all of its boot to be done", timeout)
        state = settle(lambda: self._attempt(SETTLED, b"", COMMAND_SECONDS), patience)
        if state is None:
            raise self._error(f"waited {patience.seconds:.0f} s for all of its boot to be done")
        if state not in (states or ("running",)):
            failed = self.execute("systemctl list-units --failed --no-legend --plain")[1]
            raise RequestFailed(f"{self.name}: the system is {state}\n{failed}".rstrip())
        return state

    def wait_for_unit(self, unit: str, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait until a unit is active; fails at once when nothing is going to start it."""
        try:
            wait_for_unit(self._said, unit, Deadline(timeout))
        except RequestFailed as error:
            raise RequestFailed(f"{self.name}: {error}") from None
        except MachineError as error:
            raise self._error(str(error)) from None
        self._say(f"{unit} is active")

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
        transfer.copy_to(self._quietly, source, destination)
        self._say(f"copied {source} to its {destination}")

    def copy_from(self, source: str, destination: Path) -> None:
        """Copy a file, or the content of a directory, out of the machine."""
        transfer.copy_from(self._quietly, source, destination)
        self._say(f"copied its {source} to {destination}")

    def boot_entry(self) -> str:
        """The entry that systemd-boot started."""
        raw = self._quietly(f"cat {LOADER_ENTRY}")
        return raw[4:].decode("utf-16-le").rstrip("\0")

    # Inside

    def _switch_on(self, *, incoming: bool = False) -> Emulator:
        if self.is_running():
            raise MachineError(f"{self.name} runs already")
        self.kill()
        ensure_possible(self.spec)
        self.directory.mkdir(parents=True, exist_ok=True)
        if not incoming:
            self.console.mark_start()
        self._emulator = start_emulator(
            self.spec, self.directory, kvm=probe_kvm(), incoming=incoming
        )
        return self._emulator

    def _attempt(self, command: str, stdin: bytes, timeout: float) -> Finished:
        emulator = self._booted()
        try:
            finished = emulator.channel.run(command, stdin=stdin, limit=timeout)
        except MachineGone as error:
            raise self._error(f"{error} ({emulator.wait(Deadline(END_SECONDS))})") from None
        except MachineError as error:
            raise self._error(str(error)) from None
        if finished.late:
            raise self._error(
                f"{stretched(timeout):.0f} s were not enough for: {command}\n{finished.said}"
            )
        return finished

    def _said(self, command: str) -> str:
        return self._attempt(command, b"", COMMAND_SECONDS).output.decode()

    def _need(self, command: str, finished: Finished) -> bytes:
        if finished.status != 0:
            raise RequestFailed(
                f"{self.name}: exit status {finished.status} of: {command}\n{finished.said}"
            )
        return finished.output

    def _quietly(self, command: str, stdin: bytes = b"") -> bytes:
        return self._need(command, self._attempt(command, stdin, COMMAND_SECONDS))

    def _control(self, command: str, **arguments: object) -> object:  # type: ignore[explicit-override]
        emulator = self._running()
        try:
            return emulator.qmp.execute(command, **arguments)
        except MachineError as error:
            raise self._error(str(error)) from None

    def _running(self) -> Emulator:
        if self._emulator is None or not self._emulator.is_alive():
            raise self._error("does not run")
        return self._emulator

    def _booted(self, timeout: float = BOOT_SECONDS) -> Emulator:
        emulator = self._running()
        if emulator.channel.boot_id is None:
            begin = time.monotonic()
            try:
                emulator.channel.wait_ready(self._patience("its shell to come up", timeout))
            except MachineError as error:
                raise self._error(str(error)) from None
            self._say(f"shell is up after {time.monotonic() - begin:.1f} s")
        return emulator

    def _patience(self, what: str, seconds: float) -> Patience:
        """Waiting for ``what``: given up ``seconds`` after the last sign of life."""
        return patience_for(what, seconds, self.console, self._control, self._say)

    def _leave(self, emulator: Emulator, command: str) -> None:
        """Run a command that may end the shell before it answers."""
        self._say(command)
        try:
            finished = emulator.channel.run(command, limit=COMMAND_SECONDS)
        except (MachineGone, ShellRestarted):
            return
        if finished.status != TERMINATED:
            self._need(command, finished)

    def _repeat(self, command: str, timeout: float, *, wanted: bool) -> str:
        deadline = Deadline(timeout)
        begin = time.monotonic()
        word = "succeed" if wanted else "fail"
        while True:
            finished = self._attempt(command, b"", timeout)
            if (finished.status == 0) is wanted:
                self._say(f"until it {word}s: {command}  [{time.monotonic() - begin:.1f} s]")
                return finished.output.decode(errors="replace")
            if deadline.is_over():
                raise self._error(
                    f"waited {deadline.seconds:.0f} s for this to {word}: {command}\n"
                    f"{finished.said}"
                )
            time.sleep(PAUSE_SECONDS)

    def _error(self, message: str) -> MachineError:  # type: ignore[explicit-override]
        tail = self.console.tail()
        return MachineError(f"{self.name}: {message}\n--- console tail ---\n{tail}".rstrip())

    def _say(self, line: str) -> None:  # type: ignore[explicit-override]
        self._tell(f"{self.name}: {line}")

"""Run a trial: start the virtual machine, wait for its end or the time limit, parse its report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.fs import temporary_directory
from atoll.host.run import running
from atoll.vm.qemu import (
    VmSpec,
    copy_variables,
    credential,
    disk_options,
    find_firmware,
    plan_command,
    quoted,
    temporary_place,
)
from atoll.vm.trial import (
    DISK,
    PORT,
    Trial,
    TrialEnd,
    find_end,
    guest_credentials,
    is_finished,
    parse_trial,
    write_payload,
)

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.host.run import Process

CONSOLE_LINES = 40
_PAUSE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """``memory`` is in MiB, ``timeout`` in seconds. ``network`` allows access to the network."""

    kvm: bool
    memory: int = 2048
    cpus: int = 1
    timeout: int = 900
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The files of a running trial."""

    directory: Path

    @property
    def report(self) -> Path:
        return self.directory / "report"

    @property
    def console(self) -> Path:
        return self.directory / "console"

    @property
    def payload(self) -> Path:
        return self.directory / "payload"

    @property
    def log(self) -> Path:
        return self.directory / "qemu.log"


def run_trial(
    disk: Path, scripts: tuple[Path, ...], settings: TrialSettings, reporter: Reporter
) -> tuple[Trial, str]:
    """Boot ``disk``, which is modified, and run ``scripts`` in it.

    Returns the result and the last lines of the console (or of QEMU's output, if it did not start).
    Raises MissingProgram, or Damaged for an invalid report.
    """
    names = tuple(script.name for script in scripts)
    with temporary_directory(temporary_place(), prefix="atoll-trial-") as directory:
        files = _Files(directory=directory)
        write_payload(scripts, files.payload)
        command = _plan(disk, settings, files)
        how = "under KVM" if settings.kvm else "emulated, which is slow"
        with (
            reporter.step(f"Trying the system in a virtual machine ({how})"),
            files.log.open("w+b") as log,
            running(command, log=log) as process,
        ):
            ending = _wait(process, files, settings.timeout)
        trial = parse_trial(_read(files.report), names, ending)
        last = _read(files.log) if ending is TrialEnd.NO_START else _read(files.console)
        return trial, tail_of_console(last.decode(errors="replace"))


def tail_of_console(text: str) -> str:
    """The last ``CONSOLE_LINES`` lines of console output that are not blank."""
    lines = [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return "\n".join(lines[-CONSOLE_LINES:])


def _plan(disk: Path, settings: TrialSettings, files: _Files) -> list[str]:
    firmware = find_firmware()
    machine = VmSpec(
        disk=disk,
        firmware=firmware,
        variables=copy_variables(firmware, files.directory),
        kvm=settings.kvm,
        memory=settings.memory,
        cpus=settings.cpus,
        strings=tuple(credential(*each) for each in guest_credentials(settings.timeout)),
        arguments=("console=ttyS0",),
        isolated=not settings.network,
    )
    return plan_command(
        machine,
        # No display, but a graphics card: a display manager fails without one.
        "-no-reboot",
        "-display",
        "none",
        "-vga",
        "std",
        "-chardev",
        f"file,id=console,path={quoted(files.console)}",
        "-serial",
        "chardev:console",
        "-device",
        "virtio-serial-pci",
        "-chardev",
        f"file,id=trial,path={quoted(files.report)}",
        "-device",
        f"virtserialport,chardev=trial,name={PORT}",
        *disk_options(DISK, files.payload, read_only=True),
    )


def _wait(process: Process, files: _Files, timeout: int) -> TrialEnd:
    """Wait until the report is complete, the machine can no longer complete it, or time is up."""
    deadline = time.monotonic() + timeout
    while True:
        status = process.poll()
        if is_finished(_read(files.report)):
            return TrialEnd.FINISHED
        console = _read(files.console)
        end = find_end(console.decode(errors="replace"))
        if end is not None:
            return end
        if status is not None:
            return TrialEnd.NO_START if status and not console else TrialEnd.DIED
        if time.monotonic() > deadline:
            return TrialEnd.TIMEOUT
        time.sleep(_PAUSE)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""

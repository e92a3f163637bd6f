"""Runs a trial: the machine, its time, and what is left of it when it ends early."""

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
    kernel_arguments,
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
    """``memory`` is in MiB, ``timeout`` in seconds. ``network``: the machine reaches the world."""

    kvm: bool
    memory: int = 2048
    cpus: int = 1
    timeout: int = 900
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """What a trial leaves in its directory while it runs."""

    directory: Path

    @property
    def answer(self) -> Path:
        return self.directory / "answer"

    @property
    def console(self) -> Path:
        return self.directory / "console"

    @property
    def payload(self) -> Path:
        return self.directory / "payload"

    @property
    def words(self) -> Path:
        return self.directory / "qemu.log"


def run_trial(
    disk: Path, scripts: tuple[Path, ...], setup: TrialSettings, reporter: Reporter
) -> tuple[Trial, str]:
    """Boot ``disk``, which is written to, and run ``scripts`` in it; what came of it, and the last
    lines of the console. Raises MissingProgram, Damaged."""
    names = tuple(script.name for script in scripts)
    with temporary_directory(temporary_place(), prefix="atoll-trial-") as directory:
        files = _Files(directory=directory)
        write_payload(scripts, files.payload)
        argv = _plan(disk, setup, files)
        how = "under KVM" if setup.kvm else "emulated, which is slow"
        with (
            reporter.step(f"Trying the system in a virtual machine ({how})"),
            files.words.open("w+b") as log,
            running(argv, log=log) as process,
        ):
            ending = _wait(process, files, setup.timeout)
        trial = parse_trial(_read(files.answer), names, ending)
        last = _read(files.words) if ending is TrialEnd.NO_START else _read(files.console)
        return trial, tail_of_console(last.decode(errors="replace"))


def tail_of_console(text: str) -> str:
    lines = [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return "\n".join(lines[-CONSOLE_LINES:])


def _plan(disk: Path, setup: TrialSettings, files: _Files) -> list[str]:
    firmware = find_firmware()
    strings = [credential(name, value) for name, value in guest_credentials(setup.timeout)]
    machine = VmSpec(
        disk=disk,
        firmware=firmware,
        variables=copy_variables(firmware, files.directory),
        kvm=setup.kvm,
        memory=setup.memory,
        cpus=setup.cpus,
        strings=(*strings, kernel_arguments(["console=ttyS0"])),
        isolated=not setup.network,
    )
    return plan_command(
        machine,
        # Nobody looks, but a greeter fails without a screen.
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
        f"file,id=trial,path={quoted(files.answer)}",
        "-device",
        f"virtserialport,chardev=trial,name={PORT}",
        *disk_options(DISK, files.payload, read_only=True),
    )


def _wait(process: Process, files: _Files, timeout: int) -> TrialEnd:
    """Until the guest has said all, or can say no more."""
    deadline = time.monotonic() + timeout
    while True:
        status = process.poll()
        if is_finished(_read(files.answer)):
            return TrialEnd.FINISHED
        console = _read(files.console)
        told = find_end(console.decode(errors="replace"))
        if told is not None:
            return told
        if status is not None:
            return TrialEnd.NO_START if status and not console else TrialEnd.DIED
        if time.monotonic() > deadline:
            return TrialEnd.TIMEOUT
        time.sleep(_PAUSE)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""

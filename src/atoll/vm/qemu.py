"""QEMU: a disk image started as a machine with UEFI firmware. What it is told, and what is here.

Nothing of the image changes: the machine writes to a copy of the firmware's variables and to the
disk that it is given. It ends with the process that started it, whatever ends that.
"""

from __future__ import annotations

import base64
import functools
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import MissingProgram
from atoll.host.fs import temporary_directory
from atoll.host.run import require_program, running

if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAM = "qemu-system-x86_64"
FIRMWARE = (Path("/usr/share/OVMF"), Path("/usr/share/ovmf"), Path("/usr/share/qemu"))
KVM = ("-accel", "kvm", "-cpu", "host")
# Under emulation a guest that changes its own code may crash where several threads emulate it, and
# some QEMUs get the flags of cmpxchg16b wrong. With AVX of QEMU 7.2 some programs run in circles.
# With ERMS a kernel clears its pages byte by byte.
EMULATED = ("-accel", "tcg", "-cpu", "max,-cx16,-avx,-avx2,-f16c,-fma,-erms")
_PROBE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """UEFI firmware, and the variables that a new machine starts with."""

    code: Path
    variables: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSpec:
    """A machine before it runs. ``memory`` is in MiB; ``variables`` is a file of its own.

    ``strings`` are SMBIOS type 11: how systemd and its loader are told things from outside.
    """

    disk: Path
    firmware: Firmware
    variables: Path
    kvm: bool
    memory: int = 2048
    cpus: int = 1
    strings: tuple[str, ...] = ()
    ssh_port: int | None = None
    isolated: bool = False


def find_firmware() -> Firmware:
    """The firmware of Debian's ovmf; raises MissingProgram."""
    for folder in FIRMWARE:
        code, variables = folder / "OVMF_CODE_4M.fd", folder / "OVMF_VARS_4M.fd"
        if code.is_file() and variables.is_file():
            return Firmware(code=code, variables=variables)
    raise MissingProgram(
        "there is no UEFI firmware for virtual machines", hint="install the package ovmf"
    )


def require_qemu() -> str:
    return require_program(PROGRAM, package="qemu-system-x86")


def copy_variables(firmware: Firmware, directory: Path) -> Path:
    """A machine's own variables, new, in ``directory``."""
    return Path(shutil.copyfile(firmware.variables, directory / "variables.fd"))


def plan_command(machine: VmSpec, *more: str) -> list[str]:
    """QEMU's command line without console and display, which ``more`` has."""
    return [
        require_program("setpriv", package="util-linux"),
        "--pdeathsig",
        "KILL",
        require_qemu(),
        "-nodefaults",
        "-no-user-config",
        "-machine",
        "q35,vmport=off",
        *(KVM if machine.kvm else EMULATED),
        "-smp",
        str(machine.cpus),
        "-m",
        str(machine.memory),
        "-device",
        "virtio-rng-pci",
        *_firmware_words(machine.firmware, machine.variables),
        *disk_words("system", machine.disk, "bootindex=1"),
        *_network(machine),
        *(word for text in machine.strings for word in _string(text)),
        *more,
    ]


def disk_words(name: str, path: Path, *properties: str, read_only: bool = False) -> list[str]:
    """A raw virtio disk that shows ``name`` as its serial number. Nobody needs it afterwards, so
    the machine's flushes are not waited for."""
    mode = "on" if read_only else "off"
    device = ",".join(("virtio-blk-pci", f"drive={name}", f"serial={name}", *properties))
    return [
        "-blockdev",
        f"driver=raw,node-name={name},read-only={mode},cache.no-flush=on,"
        f"file.driver=file,file.filename={quoted(path)}",
        "-device",
        device,
    ]


def credential(name: str, value: bytes) -> str:
    """A systemd credential as one of ``Virtual.strings``."""
    return f"io.systemd.credential.binary:{name}={base64.b64encode(value).decode()}"


def kernel_arguments(words: Iterable[str]) -> str:
    """More kernel arguments as one of ``Virtual.strings``; systemd-boot 256 and newer adds them."""
    return f"io.systemd.boot.kernel-cmdline-extra={' '.join(words)}"


def quoted(value: str | Path) -> str:
    """A value inside of an option, where a comma is written twice."""
    return os.fspath(value).replace(",", ",,")


def has_kvm() -> bool:
    """Whether a machine truly runs under KVM; the device alone proves nothing."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and runs_firmware(require_qemu(), KVM)


@functools.cache
def runs_firmware(program: str, accelerator: tuple[str, ...]) -> bool:
    """Whether UEFI firmware comes so far that it writes its variables. Raises MissingProgram.

    A few instructions prove nothing: there are hosts whose KVM runs a boot sector and then stops
    the firmware for good.
    """
    firmware = find_firmware()
    before = firmware.variables.read_bytes()
    with temporary_directory(temporary_place(), prefix="atoll-kvm-") as directory:
        own, log = copy_variables(firmware, directory), directory / "log"
        argv = [
            program,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-machine",
            "q35,vmport=off",
            *accelerator,
            "-smp",
            "2",
            "-m",
            "128",
            *_firmware_words(firmware, own),
        ]
        deadline = time.monotonic() + _PROBE_SECONDS
        with log.open("wb") as words, running(argv, log=words) as qemu:
            while own.read_bytes() == before:
                # QEMU itself stays when KVM gives up.
                gave_up = qemu.poll() is not None or b"KVM internal error" in log.read_bytes()
                if gave_up or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
        return own.read_bytes() != before


def temporary_place() -> Path:
    """Where large temporary files go: not into memory."""
    return Path(os.environ.get("TMPDIR") or "/var/tmp")


def _firmware_words(firmware: Firmware, variables: Path) -> list[str]:
    return [
        "-drive",
        f"if=pflash,format=raw,unit=0,readonly=on,file={quoted(firmware.code)}",
        "-drive",
        f"if=pflash,format=raw,unit=1,file={quoted(variables)}",
    ]


def _string(text: str) -> tuple[str, str]:
    return "-smbios", f"type=11,value={quoted(text)}"


def _network(machine: VmSpec) -> list[str]:
    options = "user,id=net0"
    if machine.isolated:
        options += ",restrict=on"
    if machine.ssh_port is not None:
        options += f",hostfwd=tcp:127.0.0.1:{machine.ssh_port}-:22"
    return ["-netdev", options, "-device", "virtio-net-pci,netdev=net0,romfile="]

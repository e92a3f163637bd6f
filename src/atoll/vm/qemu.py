"""QEMU: its command line, and which program, accelerator and firmware this host has.

``atoll vm`` and ``atoll test`` start a disk image with UEFI firmware (``VmSpec``). The machine
writes to the disk that it is given and to its own copy of the firmware's variables, and it ends
with the process that started it. The test library ``vmtest`` builds its machines from the same
parts.
"""

from __future__ import annotations

import base64
import functools
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from atoll.base.errors import MissingProgram
from atoll.host.fs import temporary_directory
from atoll.host.run import require_program, running

PROGRAM = "qemu-system-x86_64"
FIRMWARE = (Path("/usr/share/OVMF"), Path("/usr/share/ovmf"), Path("/usr/share/qemu"))
KVM = ("-accel", "kvm", "-cpu", "host")
# QEMU 7.2 without KVM crashes kernels at random in two ways. cmpxchg16b sets wrong flags. And with
# one thread per processor, a processor can run into the breakpoint that another one has just
# patched over ("Oops: int3"; QEMU 8.1 locks pages before it translates them). With emulated AVX
# some programs loop forever (flatpak, podman's generator) or crash (programs that llvmpipe draws
# for). With ERMS the kernel clears each page byte by byte, a quarter of the cost of a boot.
EMULATED = ("-accel", "tcg,thread=single", "-cpu", "max,-cx16,-avx,-avx2,-f16c,-fma,-erms")
# QEMU 7.2 keeps a translation of a program's code for each address that it was loaded at. With
# address space randomization every process is translated anew, and a page of code that is freed
# takes a third of a second to clear: a third of each boot.
EMULATED_ARGUMENTS = ("norandmaps",)
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
    arguments: tuple[str, ...] = ()
    """More kernel arguments."""
    ssh_port: int | None = None
    isolated: bool = False
    stick: bool = False
    """The disk is a USB stick."""


def find_firmware(*, secure_boot: bool = False) -> Firmware:
    """The firmware of Debian's ovmf; raises MissingProgram.

    With ``secure_boot`` the firmware enforces signatures once its variables hold keys.
    """
    build = "OVMF_CODE_4M.secboot.fd" if secure_boot else "OVMF_CODE_4M.fd"
    for folder in FIRMWARE:
        code, variables = folder / build, folder / "OVMF_VARS_4M.fd"
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
        *accelerator_options(kvm=machine.kvm),
        "-smp",
        str(machine.cpus),
        "-m",
        str(machine.memory),
        "-device",
        "virtio-rng-pci",
        *firmware_options(machine.firmware.code, machine.variables),
        *(stick_options if machine.stick else disk_options)("system", machine.disk, "bootindex=1"),
        *network_options(isolated=machine.isolated, ssh_port=machine.ssh_port),
        *(word for text in machine.strings for word in smbios_options(text)),
        *argument_options(machine.arguments, kvm=machine.kvm),
        *more,
    ]


def accelerator_options(*, kvm: bool) -> tuple[str, ...]:
    return KVM if kvm else EMULATED


def kernel_arguments(words: tuple[str, ...], *, kvm: bool) -> tuple[str, ...]:
    """``words``, and those that make a machine without KVM faster."""
    return words if kvm else (*words, *EMULATED_ARGUMENTS)


def argument_options(words: tuple[str, ...], *, kvm: bool) -> tuple[str, ...]:
    """More kernel arguments; systemd-boot 256 and newer reads one such string."""
    text = " ".join(kernel_arguments(words, kvm=kvm))
    return smbios_options(f"io.systemd.boot.kernel-cmdline-extra={text}") if text else ()


def disk_options(name: str, path: Path, *properties: str, read_only: bool = False) -> list[str]:
    """A raw virtio disk with ``name`` as its serial number.

    QEMU ignores the machine's flushes, because nobody needs the disk after a power cut.
    """
    device = ",".join(("virtio-blk-pci", f"drive={name}", f"serial={name}", *properties))
    return [*_drive(name, path, read_only=read_only), "-device", device]


def stick_options(name: str, path: Path, *properties: str) -> list[str]:
    """A raw disk as a removable USB stick with ``name`` as its serial number."""
    device = ("usb-storage", "bus=usb.0", "removable=on", f"drive={name}", f"serial={name}")
    stick = ",".join((*device, *properties))
    return [*_drive(name, path), "-device", "qemu-xhci,id=usb", "-device", stick]


def _drive(name: str, path: Path, *, read_only: bool = False) -> list[str]:
    return [
        "-blockdev",
        f"driver=raw,node-name={name},read-only={'on' if read_only else 'off'},cache.no-flush=on,"
        f"file.driver=file,file.filename={quoted(path)}",
    ]


def credential(name: str, value: bytes) -> str:
    """A systemd credential as one of ``VmSpec.strings``."""
    return f"io.systemd.credential.binary:{name}={base64.b64encode(value).decode()}"


def quoted(value: str | Path) -> str:
    """A value inside an option, where a comma is written twice."""
    return os.fspath(value).replace(",", ",,")


def has_kvm() -> bool:
    """Whether a machine really runs under KVM; the device alone proves nothing."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and runs_firmware(require_qemu(), KVM)


@functools.cache
def runs_firmware(program: str, accelerator: tuple[str, ...]) -> bool:
    """Whether UEFI firmware gets as far as writing its variables. Raises MissingProgram.

    Less proves nothing: on some hosts KVM runs a boot sector, but the firmware never starts.
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
            *firmware_options(firmware.code, own),
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


def firmware_options(code: Path, variables: Path) -> list[str]:
    """UEFI firmware that writes to ``variables``."""
    return [
        "-drive",
        f"if=pflash,format=raw,unit=0,readonly=on,file={quoted(code)}",
        "-drive",
        f"if=pflash,format=raw,unit=1,file={quoted(variables)}",
    ]


def smbios_options(text: str) -> tuple[str, str]:
    """One SMBIOS type 11 string."""
    return "-smbios", f"type=11,value={quoted(text)}"


def network_options(*, isolated: bool, ssh_port: int | None) -> list[str]:
    """A network card behind QEMU's own address translation.

    ``ssh_port`` on the host's loopback address leads to the machine's port 22.
    """
    options = "user,id=net0"
    if isolated:
        options += ",restrict=on"
    if ssh_port is not None:
        options += f",hostfwd=tcp:127.0.0.1:{ssh_port}-:22"
    return ["-netdev", options, "-device", "virtio-net-pci,netdev=net0,romfile="]

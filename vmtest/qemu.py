"""QEMU's command line from a ``MachineSpec``.

The program, the accelerators, the firmware and the options that ``atoll vm`` needs too come from
``atoll.vm.qemu``: the only module of Atoll that vmtest imports (docs/decisions/0025).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from atoll.base.errors import MissingProgram
from atoll.vm.qemu import (
    PROGRAM,
    accelerator_options,
    argument_options,
    firmware_options,
    has_kvm,
    kernel_arguments,
    network_options,
    quoted,
    smbios_options,
)
from atoll.vm.qemu import find_firmware as find_debian_firmware
from vmtest.errors import MachineError
from vmtest.guest import PORT, format_credential, shell_credentials
from vmtest.spec import DirectKernel, Disk, Display, Interface, MachineSpec, Uefi, Writes

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The files and descriptors of one start of a machine."""

    directory: Path
    monitor: int
    channel: int
    kvm: bool

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    @property
    def variables(self) -> Path:
        return variables_path(self.directory)

    def disk(self, number: int) -> Path:
        return overlay_path(self.directory, number)

    def errors(self, number: int) -> Path:
        return self.directory / f"disk{number}.blkdebug"


def overlay_path(directory: Path, number: int) -> Path:
    """What a machine in ``directory`` writes to its disk goes there."""
    return directory / f"disk{number}.qcow2"


def variables_path(directory: Path) -> Path:
    """The firmware variables of the machine in ``directory``."""
    return directory / "uefi-variables.fd"


def find_program(name: str, *, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise MachineError(f"the program {name} is not here: apt install {package}")
    return path


def find_firmware(boot: Uefi) -> tuple[Path, Path]:
    """The firmware and the variables it starts with."""
    if boot.code is not None and boot.variables is not None:
        code, variables = boot.code, boot.variables
    else:
        try:
            found = find_debian_firmware(secure_boot=boot.secure_boot)
        except MissingProgram as error:
            raise MachineError(f"{error.message}: apt install ovmf") from None
        code, variables = boot.code or found.code, boot.variables or found.variables
    for path in (code, variables):
        if not path.is_file():
            raise MachineError(f"the firmware file {path} does not exist")
    return code, variables


def ensure_possible(spec: MachineSpec) -> None:
    """Raise MachineError, naming the Debian package, when this host lacks what ``spec`` needs."""
    find_program(PROGRAM, package="qemu-system-x86")
    if any(disk.writes is Writes.OVERLAY for disk in spec.disks):
        find_program("qemu-img", package="qemu-utils")
    if isinstance(spec.boot, Uefi):
        find_firmware(spec.boot)


def ensure_files(spec: MachineSpec, wiring: Wiring) -> None:
    """Make what the machine writes to, unless an earlier start made it."""
    if isinstance(spec.boot, Uefi) and not wiring.variables.exists():
        _, variables = find_firmware(spec.boot)
        shutil.copyfile(variables, wiring.variables)
    for number, disk in enumerate(spec.disks):
        if not disk.image.is_file():
            raise MachineError(f"the disk image {disk.image} is not here")
        if disk.writes is Writes.OVERLAY and not wiring.disk(number).exists():
            _create_overlay(disk, wiring.disk(number))
        if disk.bad:
            wiring.errors(number).write_text(format_bad_sectors(disk.bad))


def format_bad_sectors(sectors: tuple[int, ...]) -> str:
    """The configuration of QEMU's blkdebug driver: every access to them fails with EIO."""
    rule = '[inject-error]\nevent = "none"\nerrno = "5"\nsector = "{}"\n'
    return "\n".join(rule.format(sector) for sector in sectors)


def _create_overlay(disk: Disk, overlay: Path) -> None:
    program = find_program("qemu-img", package="qemu-utils")
    argv = [
        program,
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        os.fspath(disk.image.resolve()),
        "-F",
        disk.format,
        os.fspath(overlay),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(f"no overlay over {disk.image}: {done.stderr.strip()}")


def plan_command(spec: MachineSpec, wiring: Wiring) -> list[str]:
    """QEMU's command line."""
    secure = isinstance(spec.boot, Uefi) and spec.boot.secure_boot
    return [
        find_program(PROGRAM, package="qemu-system-x86"),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-vga",
        spec.display.value,
        "-machine",
        f"q35,vmport=off,smm={'on' if secure else 'off'}",
        *accelerator_options(kvm=wiring.kvm),
        "-smp",
        str(spec.cpus),
        "-m",
        str(spec.memory),
        "-device",
        "virtio-rng-pci",
        *_connections(wiring),
        *_boot(spec, wiring),
        *(word for n, disk in enumerate(spec.disks) for word in _disk(n, disk, wiring)),
        *_input(spec),
        *_network(spec),
        *_credentials(spec),
        *spec.extra,
    ]


def _connections(wiring: Wiring) -> list[str]:
    return [
        "-chardev",
        f"file,id=console,path={quoted(wiring.console)},append=on",
        "-serial",
        "chardev:console",
        "-chardev",
        f"socket,id=monitor,fd={wiring.monitor}",
        "-mon",
        "chardev=monitor,mode=control",
        "-chardev",
        f"socket,id=channel,fd={wiring.channel}",
        "-device",
        "virtio-serial-pci",
        "-device",
        f"virtserialport,chardev=channel,name={PORT}",
    ]


def _boot(spec: MachineSpec, wiring: Wiring) -> list[str]:
    match spec.boot:
        case Uefi() as uefi:
            code, _ = find_firmware(uefi)
            words = firmware_options(code, wiring.variables)
            if uefi.secure_boot:
                words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
            return [*words, *argument_options((), kvm=wiring.kvm)]
        case DirectKernel() as direct:
            arguments = " ".join(kernel_arguments((direct.arguments,), kvm=wiring.kvm))
            words = ["-kernel", os.fspath(direct.kernel), "-append", arguments.strip()]
            if direct.initrd is not None:
                words += ["-initrd", os.fspath(direct.initrd)]
            return words
        case never:
            assert_never(never)


def _disk(number: int, disk: Disk, wiring: Wiring) -> list[str]:
    own = disk.writes is Writes.OVERLAY
    path = wiring.disk(number) if own else disk.image
    cache = f"cache.no-flush={'on' if disk.cache == 'unsafe' else 'off'}"
    file = f"file.driver=file,file.filename={quoted(path)}"
    drive = f"driver={'qcow2' if own else disk.format},node-name=disk{number},{cache},{file}"
    if (disk.write_log or disk.bad) and (own or disk.format != "raw"):
        what = "a write log needs" if disk.write_log else "bad sectors need"
        raise MachineError(f"{disk.image}: {what} a raw disk that is written itself")
    if disk.bad:
        file = file.replace("file.", "file.image.")
        file = f"file.driver=blkdebug,file.config={quoted(wiring.errors(number))},{file}"
        drive = f"driver=raw,node-name=disk{number},{cache},{file}"
    if disk.write_log is not None:
        drive = (
            f"driver=blklogwrites,node-name=disk{number},{file},"
            f"log.driver=file,log.filename={quoted(disk.write_log)},"
            "log-sector-size=512,log-super-update-interval=1"
        )
    before: list[str] = []
    if disk.bytes_per_second is not None:
        limit = disk.bytes_per_second
        drive = drive.replace(f"node-name=disk{number}", f"node-name=fast{number}")
        before = [
            "-object",
            f"throttle-group,id=limit{number},x-bps-read={limit},x-bps-write={limit}",
            "-blockdev",
            drive,
        ]
        drive = f"driver=throttle,node-name=disk{number},throttle-group=limit{number}"
        drive += f",file=fast{number}"
    return [*before, "-blockdev", drive, *_disk_device(number, disk)]


def _disk_device(number: int, disk: Disk) -> list[str]:
    # The order is the firmware's: the first disk is the one that boots.
    options = f",drive=disk{number},bootindex={number + 1}"
    if disk.serial:
        options += f",serial={disk.serial}"
    if disk.sector != 512:
        options += f",logical_block_size={disk.sector},physical_block_size={disk.sector}"
    match disk.interface:
        case Interface.VIRTIO:
            return ["-device", f"virtio-blk-pci{options}"]
        case Interface.USB:
            controller = f"usb{number}"
            stick = f"usb-storage,bus={controller}.0,removable=on{options}"
            return ["-device", f"qemu-xhci,id={controller}", "-device", stick]
        case Interface.NVME:
            # It has no serial of its own accord.
            serial = "" if disk.serial else f",serial=disk{number}"
            return ["-device", f"nvme{options}{serial}"]
        case Interface.SATA:
            if disk.sector != 512:
                raise MachineError(f"{disk.image}: QEMU has no SATA disks with other sectors")
            # The controller of the machine q35 has six ports.
            return ["-device", f"ide-hd,bus=ide.{number}{options}"]
        case never:
            assert_never(never)


def _input(spec: MachineSpec) -> list[str]:
    if spec.display is Display.NONE:
        return []
    return ["-device", "virtio-keyboard-pci", "-device", "virtio-tablet-pci"]


def _network(spec: MachineSpec) -> list[str]:
    if spec.network is None:
        return ["-nic", "none"]
    network = spec.network
    return network_options(isolated=network.restricted, ssh_port=network.ssh_port)


def _credentials(spec: MachineSpec) -> list[str]:
    words: list[str] = []
    for name, value in (*shell_credentials(), *spec.credentials):
        words += smbios_options(format_credential(name, value))
    return words


def probe_kvm() -> bool:
    """Whether machines really run under KVM; each QEMU is asked once per process."""
    try:
        return has_kvm()
    except MissingProgram:
        return False

"""QEMU's command line from a ``MachineSpec``; which programs and firmware this host has."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from vmtest.errors import MachineError
from vmtest.guest import PORT, format_credential, shell_credentials
from vmtest.spec import DirectKernel, Disk, Display, Interface, MachineSpec, Uefi, Writes

PROGRAM = "qemu-system-x86_64"
FIRMWARE_FOLDERS = (Path("/usr/share/OVMF"), Path("/usr/share/ovmf"), Path("/usr/share/qemu"))
PROBE_SECONDS = 30

# Without KVM, QEMU 7.2 crashes kernels at random in two ways: cmpxchg16b leaves wrong flags behind,
# and where processors run in threads of their own, one can run into the breakpoint that another has
# just patched over again ("Oops: int3"; QEMU 8.1 locks pages before it translates them). With AVX,
# which it emulates for the first time, some programs run in circles (flatpak, podman's generator,
# for which systemd waits until it gives up) or crash (what llvmpipe draws for). With ERMS the
# kernel clears each page byte by byte, which is a quarter of all that a boot costs.
TCG = ("-accel", "tcg,thread=single", "-cpu", "max,-cx16,-avx,-avx2,-f16c,-fma,-erms")
KVM = ("-accel", "kvm", "-cpu", "host")


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
    code = boot.code or _in_firmware_folders(
        "OVMF_CODE_4M.secboot.fd" if boot.secure_boot else "OVMF_CODE_4M.fd"
    )
    variables = boot.variables or _in_firmware_folders("OVMF_VARS_4M.fd")
    for path in (code, variables):
        if not path.is_file():
            raise MachineError(f"the firmware {path} is not here: apt install ovmf")
    return code, variables


def _in_firmware_folders(name: str) -> Path:
    for folder in FIRMWARE_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    return FIRMWARE_FOLDERS[0] / name


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
        *(KVM if wiring.kvm else TCG),
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
        f"file,id=console,path={_quoted(wiring.console)},append=on",
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
            words = [
                "-drive",
                f"if=pflash,format=raw,unit=0,readonly=on,file={_quoted(code)}",
                "-drive",
                f"if=pflash,format=raw,unit=1,file={_quoted(wiring.variables)}",
            ]
            if uefi.secure_boot:
                words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
            return words
        case DirectKernel() as direct:
            words = ["-kernel", os.fspath(direct.kernel), "-append", direct.arguments]
            if direct.initrd is not None:
                words += ["-initrd", os.fspath(direct.initrd)]
            return words
        case never:
            assert_never(never)


def _disk(number: int, disk: Disk, wiring: Wiring) -> list[str]:
    own = disk.writes is Writes.OVERLAY
    path = wiring.disk(number) if own else disk.image
    cache = f"cache.no-flush={'on' if disk.cache == 'unsafe' else 'off'}"
    file = f"file.driver=file,file.filename={_quoted(path)}"
    drive = f"driver={'qcow2' if own else disk.format},node-name=disk{number},{cache},{file}"
    if disk.write_log is not None:
        if own or disk.format != "raw":
            raise MachineError(f"{disk.image}: a write log needs a raw disk that is written itself")
        drive = (
            f"driver=blklogwrites,node-name=disk{number},{file},"
            f"log.driver=file,log.filename={_quoted(disk.write_log)},"
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
    options = "user,id=net0"
    if spec.network.restricted:
        options += ",restrict=on"
    if spec.network.ssh_port is not None:
        options += f",hostfwd=tcp:127.0.0.1:{spec.network.ssh_port}-:22"
    return ["-netdev", options, "-device", "virtio-net-pci,netdev=net0,romfile="]


def _credentials(spec: MachineSpec) -> list[str]:
    words = []
    for name, value in (*shell_credentials(), *spec.credentials):
        words += ["-smbios", f"type=11,value={_quoted(format_credential(name, value))}"]
    return words


def _quoted(value: str | Path) -> str:
    """A value inside an option, where a comma is written twice."""
    return os.fspath(value).replace(",", ",,")


def probe_kvm() -> bool:
    """Whether machines truly run under KVM; each QEMU is asked once per process."""
    program = find_program(PROGRAM, package="qemu-system-x86")
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and probe_accelerator(program, KVM)


@functools.cache
def probe_accelerator(program: str, words: tuple[str, ...]) -> bool:
    """Whether UEFI firmware comes so far that it writes its variables.

    A few instructions prove nothing: there are hosts whose KVM runs a boot sector and then stops
    the firmware for good.
    """
    try:
        code, variables = find_firmware(Uefi())
    except MachineError:
        return False
    with tempfile.TemporaryDirectory(prefix="vmtest-probe-") as directory:
        own = Path(shutil.copyfile(variables, Path(directory, "variables.fd")))
        argv = [
            program,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-machine",
            "q35,vmport=off",
            *words,
            "-smp",
            "2",
            "-m",
            "128",
            "-drive",
            f"if=pflash,format=raw,unit=0,readonly=on,file={_quoted(code)}",
            "-drive",
            f"if=pflash,format=raw,unit=1,file={_quoted(own)}",
        ]
        with (
            Path(directory, "log").open("w+b") as log,
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
        ):
            try:
                return _comes_up(process, own, variables.read_bytes(), Path(log.name))
            finally:
                process.kill()


def _comes_up(process: subprocess.Popen[bytes], own: Path, before: bytes, log: Path) -> bool:
    deadline = time.monotonic() + PROBE_SECONDS
    while own.read_bytes() == before:
        # QEMU itself stays when KVM gives up.
        gave_up = process.poll() is not None or b"KVM internal error" in log.read_bytes()
        if gave_up or time.monotonic() > deadline:
            return own.read_bytes() != before
        time.sleep(0.05)
    return True

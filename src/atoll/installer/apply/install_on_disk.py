"""An installation on a disk, from the plan that a person confirmed to a system that boots.

::

    lock the disks; look again: the plan must come out the same
    partition table ─ kernel ─ mount the ESP that is shared (entries of a replaced system go)
    file systems ─ mount ─ machine.install: objects, deployment, kernel, and last the boot entry
    unmount ─ read back ─ final names of the partitions ─ the firmware's list

Until the boot entry is committed, nothing on the disk boots the new system. New partitions have the
name ``INSTALLING`` until then, so that a second run knows and uses them. All mounts are in a mount
namespace of this process: they end with it.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from atoll.host.fs import make_directory
from atoll.host.mount import enter_private_mounts
from atoll.host.run import require_program, run
from atoll.image.read_file import read_file
from atoll.installer.apply.disk_operations import (
    ChangeTable,
    CheckFileSystem,
    MakeExt4,
    MakeFat,
    TellKernel,
    WriteTable,
    read_partition_uuid,
)
from atoll.installer.apply.encryption import formatted_luks
from atoll.installer.apply.firmware_entries import AddFirmwareEntry
from atoll.installer.apply.machine_operations import (
    CheckUnchanged,
    RemoveReplaced,
    format_home_line,
    plan_boot_partition,
    plan_home_mount,
)
from atoll.installer.devices.block_devices import INSTALLING
from atoll.installer.devices.disk_failures import naming_failed_disk
from atoll.installer.devices.disk_lock import locked_disk
from atoll.installer.devices.read_devices import read_block_devices, read_signature
from atoll.installer.plan.partitioning import MADE, PARTITION_NAMES, Fate, FirmwareEntry, Role
from atoll.installer.settings.install_settings import plan_settings
from atoll.machine.boot.loader_files import firmware_path
from atoll.machine.deployments.apply import apply_operations, apply_until_failure
from atoll.machine.deployments.machine_lock import ESP_OPTIONS
from atoll.machine.deployments.operations import WriteMachineInitrd
from atoll.machine.install import install, sysroot_in, with_loader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.installer.apply.encryption import Encryption, RecoveryKey
    from atoll.installer.devices.block_devices import BlockDevices
    from atoll.installer.plan.partitioning import ImageNeeds, InstallationPlan
    from atoll.installer.settings.install_settings import PreparedSettings
    from atoll.machine.deployment import Origin
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.store.layout import Store

WORK = Path("/run/atoll/install")
"""Where file systems are mounted, for this process only."""
PROGRAMS = (
    ("sfdisk", "fdisk"),
    ("partx", "util-linux"),
    ("mkfs.vfat", "dosfstools"),
    ("fsck.fat", "dosfstools"),
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is installed: an image of a store, with a person's settings and passphrase. ``initrd``
    is the machine's own, with the keyboard's layout for the passphrase, or empty."""

    image: BootableImage
    origin: Origin
    source: Store
    needs: ImageNeeds
    settings: PreparedSettings | None = None
    encryption: Encryption | None = None
    initrd: bytes = b""
    read: Callable[[], BlockDevices] = read_block_devices


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallResult:
    """``recovery_key`` is shown once, and is nowhere else."""

    recovery_key: RecoveryKey | None
    warnings: tuple[str, ...]


def require_programs(plan: InstallationPlan) -> None:
    """Raises MissingProgram before anything is written."""
    firmware = (("efibootmgr", "efibootmgr"),) if plan.firmware is not FirmwareEntry.NONE else ()
    for name, package in (*PROGRAMS, *firmware):
        require_program(name, package=package)


def apply_installation(
    plan: InstallationPlan, installation: Installation, reporter: Reporter
) -> InstallResult:
    """Raises Refused when a disk has changed since the plan, and an error that names the disk when
    one fails. After any error before the boot entry is committed, nothing new boots. Raises Damaged
    when what was written does not read back; what else fails later is a warning."""
    require_programs(plan)
    installation = replace(installation, image=with_loader(installation.image))
    enter_private_mounts()
    with naming_failed_disk(plan.device), ExitStack() as stack:
        for disk in plan.expected:
            stack.enter_context(locked_disk(disk.path, disk.identity.number))
        check = CheckUnchanged(plan=plan, needs=installation.needs, read=installation.read)
        apply_operations((check, *plan_table(plan)), reporter)
        key = _write_systems(plan, installation, reporter)
        warnings = apply_until_failure(plan_names(plan))
        warnings += apply_until_failure(_plan_firmware(plan, installation.image))
    return InstallResult(recovery_key=key, warnings=warnings)


def plan_table(plan: InstallationPlan) -> tuple[Operation, ...]:
    """The operations on the partition table, and the kernel's view of it."""
    disk, sector = plan.device, plan.expected[0].identity.sector
    created = tuple(each for each in plan.after if each.fate is Fate.CREATED)
    gone = tuple(each.number for each in plan.before if each.fate is Fate.ERASED)
    if plan.new_table:
        write: Operation = WriteTable(disk=disk, sector=sector, partitions=plan.after)
    else:
        write = ChangeTable(
            disk=disk,
            sector=sector,
            removed=gone,
            written=tuple(each for each in plan.after if each.fate in MADE),
            uuids={each.number: uuid4() for each in created},
        )
    forgotten = None if plan.new_table else gone
    return (write, TellKernel(disk=disk, removed=forgotten, added=created))


def plan_names(plan: InstallationPlan) -> tuple[Operation, ...]:
    """The final names of the partitions, which until now said that they may be taken away."""
    named = tuple(
        replace(each, name=PARTITION_NAMES[each.role])
        for each in plan.after
        if each.fate in (Fate.CREATED, Fate.USED)
        and each.name == INSTALLING
        and each.role in PARTITION_NAMES
    )
    if not named:
        return ()
    sector = plan.expected[0].identity.sector
    return (ChangeTable(disk=plan.device, sector=sector, removed=(), written=named),)


def _write_systems(
    plan: InstallationPlan, installation: Installation, reporter: Reporter
) -> RecoveryKey | None:
    """File systems, and the system on them; the recovery key of an encrypted one."""
    with ExitStack() as stack:
        # Mounted before anything is formatted: where that fails, nothing is lost.
        shared = {
            path: stack.enter_context(mounted(path, WORK / path.name, "vfat", ESP_OPTIONS))
            for path in _shared_volumes(plan)
        }
        removals = [RemoveReplaced(esp=shared[path]) for path in plan.replaces]
        apply_operations(tuple(removals), reporter)
        device, key = plan.state, None
        if installation.encryption is not None:
            with reporter.step(f"encrypt {plan.state}"):
                volume = stack.enter_context(formatted_luks(plan.state, installation.encryption))
            device, key = volume.mapping, volume.recovery_key
        fats = ((Role.ESP, "ESP"), (Role.BOOT, "ATOLL-BOOT"))
        volumes = [(plan.made(role), label) for role, label in fats]
        apply_operations(
            (
                *(MakeFat(device=each.path, label=label) for each, label in volumes if each),
                MakeExt4(device=device, uuid=uuid4()),
            ),
            reporter,
        )
        home = None if installation.settings is None else plan.home
        with _mounted_machine(plan, device, home) as sysroot:
            if plan.boot is not None:
                sysroot = replace(sysroot, loader=shared[plan.esp])
            install(
                installation.image,
                installation.origin,
                sysroot,
                source=installation.source,
                reporter=reporter,
                settings=_plan_extras(plan, installation, sysroot),
            )
        apply_operations(_plan_checks(plan, device), reporter)
    return key


def _shared_volumes(plan: InstallationPlan) -> tuple[Path, ...]:
    """FAT volumes that were there and are written to."""
    made = {each.path for each in plan.after if each.fate in MADE}
    used = (plan.esp, *(() if plan.boot is None else (plan.boot,)), *plan.replaces)
    return tuple(path for path in dict.fromkeys(used) if path not in made)


@contextmanager
def _mounted_machine(plan: InstallationPlan, device: Path, home: Path | None) -> Iterator[Sysroot]:
    """The new state partition, with the partition for kernels in its place, and ``home`` where the
    home directory of a new account is made."""
    sysroot = sysroot_in(WORK / "system")
    with ExitStack() as stack:
        stack.enter_context(mounted(device, sysroot.root, "ext4", "noatime,nosuid,nodev"))
        kernels = plan.boot or plan.esp
        stack.enter_context(mounted(kernels, sysroot.esp, "vfat", ESP_OPTIONS))
        if home is not None:
            make_directory(sysroot.atoll, mode=0o700)
            kind = read_signature(home).kind
            place = sysroot.atoll / "var" / "home"
            stack.enter_context(mounted(home, place, kind, "nosuid,nodev"))
        yield sysroot


def _plan_extras(
    plan: InstallationPlan, installation: Installation, sysroot: Sysroot
) -> tuple[Operation, ...]:
    """What is written into the new system before its boot entry is committed."""
    image = installation.image
    extras: list[Operation] = []
    if installation.settings is not None:
        extras += plan_settings(installation.settings, sysroot)
    if installation.initrd:
        extras.append(WriteMachineInitrd(esp=sysroot.esp, content=installation.initrd))
    if plan.boot is not None:
        extras.append(plan_boot_partition(sysroot, read_partition_uuid(plan.boot)))
    if plan.home is not None:
        fstab = read_file(image.store, image.tree, "etc/fstab") or b""
        line = format_home_line(read_signature(plan.home))
        extras.append(plan_home_mount(sysroot, fstab, line))
    return tuple(extras)


def _plan_checks(plan: InstallationPlan, device: Path) -> tuple[Operation, ...]:
    """Read back the file systems that were made; ``device`` has the system's, opened."""
    fats = [plan.made(role) for role in (Role.ESP, Role.BOOT)]
    return (
        CheckFileSystem(device=device, kind="ext4"),
        *(CheckFileSystem(device=each.path, kind="FAT") for each in fats if each is not None),
    )


def _plan_firmware(plan: InstallationPlan, image: BootableImage) -> tuple[Operation, ...]:
    if plan.firmware is FirmwareEntry.NONE:
        return ()
    disk = plan.expected[-1].path
    number = int(str(plan.esp).removeprefix(str(disk)).removeprefix("p"))
    return (
        AddFirmwareEntry(
            disk=disk,
            number=number,
            esp=plan.esp,
            loader=firmware_path(image.loader),
            first=plan.firmware is FirmwareEntry.FIRST,
        ),
    )


@contextmanager
def mounted(device: Path, place: Path, kind: str, options: str) -> Iterator[Path]:
    """A file system at ``place`` while the block lasts."""
    make_directory(place)
    run(["mount", "-t", kind, "-o", options, device, place])
    try:
        yield place
    finally:
        run(["umount", place])

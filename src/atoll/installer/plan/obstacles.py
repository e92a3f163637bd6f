"""Obstacles to an installation, each with advice. Pure.

An obstacle is found before anything is written. Where a whole disk is erased, what is on it is no
obstacle: the plan says what is lost. What stays, and what is shared with another system, counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, Refused
from atoll.installer.devices.block_devices import TableFlaw, UseKind, WindowsState
from atoll.installer.devices.describe_devices import describe_signature, format_bytes
from atoll.machine.disk_layout import SECTORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from atoll.installer.devices.block_devices import (
        BlockDevices,
        Disk,
        DiskPartition,
        EspContent,
        PartitionTable,
        Signature,
        Use,
    )
    from atoll.installer.plan.partitioning import Target

_HOME_KINDS = ("ext2", "ext3", "ext4", "btrfs", "xfs", "f2fs")
_UEFI_BITS = {"x64": 64, "aa64": 64}
_LIVE_MOUNTS = ("/run/live", "/run/initramfs/live", "/lib/live", "/cdrom", "/sysroot")
_SYSTEM_MOUNTS = ("/", "/usr", "/var", "/sysroot")
_HOLDERS = {
    "crypt": ("an opened LUKS volume", "close it: cryptsetup close {name}"),
    "lvm": ("an active LVM volume", "deactivate its group: vgchange --activate n"),
    "mpath": ("a multipath device", "Atoll does not boot from multipath devices"),
    "dm": ("a device-mapper device", "remove it: dmsetup remove {name}"),
}
_MEMBERS = {
    "LVM1_member": ("LVM", "take it out (vgreduce, pvremove)"),
    "LVM2_member": ("LVM", "take it out (vgreduce, pvremove)"),
    "linux_raid_member": ("a RAID", "take it out (mdadm --zero-superblock)"),
    "zfs_member": ("ZFS", "take it out (zpool labelclear)"),
    "bcache": ("bcache", "take it out"),
    "mpath_member": ("multipath", "Atoll does not boot from multipath devices"),
    "drbd": ("DRBD", "take it out"),
    "stratis": ("Stratis", "destroy its pool (stratis pool destroy)"),
    "vdo": ("VDO", "take it out"),
    "ceph_bluestore": ("Ceph", "take it out"),
}
_FIRMWARE_RAID = ("a RAID of the firmware", "delete the RAID in the firmware's setup")
"""Of Intel, nVidia, Promise and others, and DDF."""
_FLAWS = {
    TableFlaw.FIRST_DAMAGED: (
        "the first copy of its partition table is damaged",
        "repair it from the second copy: gdisk {disk}, then w",
    ),
    TableFlaw.SECOND_ELSEWHERE: (
        "the second copy of its partition table is not at the end of the disk",
        "move it there: sgdisk --move-second-header {disk}",
    ),
    TableFlaw.BOTH_DAMAGED: (
        "both copies of its partition table are damaged, or are for a larger disk",
        "look for its partitions with testdisk, or erase the disk with --disk {disk}",
    ),
    TableFlaw.HYBRID: (
        "its MBR names partitions too (a hybrid table)",
        "make it a plain GPT: gdisk {disk}, then x, n and w",
    ),
    TableFlaw.CROWDED: (
        "its first partition begins too early: the table cannot be changed in a way that a power"
        " cut cannot damage",
        "move that partition to 1 MiB (gparted does), or use the whole disk with --disk {disk}",
    ),
    TableFlaw.STALE: (
        "the kernel uses an older partition table than the one on the disk",
        "let it read the table again: partx --update {disk}, or restart the computer",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """``what`` is wrong, with the device's name in it; ``advice`` is what a person does."""

    what: str
    advice: str


def refuse(obstacles: Iterable[Obstacle]) -> None:
    """Raises Refused that names every obstacle with its advice; nothing for none."""
    found = tuple(dict.fromkeys(obstacles))
    if not found:
        return
    if len(found) == 1:
        raise Refused(found[0].what, hint=found[0].advice)
    lines = [line for each in found for line in (f"  {each.what}", f"    {each.advice}")]
    raise Refused(
        "\n".join(("the system cannot be installed there:", *lines)),
        hint="nothing was changed",
    )


def firmware_obstacles(devices: BlockDevices, efi_name: str | None) -> Iterator[Obstacle]:
    """``efi_name`` is the architecture that the image boots on, None where it is not known yet."""
    bits = devices.firmware.bits
    if bits is None:
        yield Obstacle(
            what="this computer was started by BIOS, and Atoll boots by UEFI only",
            advice="switch UEFI on (and CSM or legacy boot off) in the firmware's setup, then start"
            " the installer again",
        )
    elif efi_name is not None and bits != _UEFI_BITS[efi_name]:
        yield Obstacle(
            what=f"the firmware is UEFI of {bits} bits; the image boots by one of"
            f" {_UEFI_BITS[efi_name]} bits",
            advice="there is no boot loader for it in the image",
        )


def disk_obstacles(disk: Disk, devices: BlockDevices) -> Iterator[Obstacle]:
    """Obstacles to writing to a disk, even to one partition of it."""
    name = disk.path
    if disk.unreadable:
        yield Obstacle(
            what=f"{name} cannot be read: {disk.unreadable}",
            advice="it may be failing; see: journalctl -k",
        )
    if disk.read_only:
        yield Obstacle(
            what=f"{name} is read-only", advice="look for a switch on it, or choose another disk"
        )
    if disk.identity.sector not in SECTORS:
        yield Obstacle(
            what=f"{name} has sectors of {disk.identity.sector} bytes",
            advice="Atoll boots from disks with sectors of 512 or 4096 bytes",
        )
    wwn = disk.identity.wwn
    twins = [each for each in devices.disks if wwn and each.identity.wwn == wwn]
    if len(twins) > 1:
        others = " and ".join(str(each.path) for each in twins if each.path != disk.path)
        yield Obstacle(
            what=f"{name} and {others} are one disk, reached by several paths (multipath)",
            advice="Atoll does not boot from multipath devices; choose another disk",
        )


def whole_disk_obstacles(disk: Disk, devices: BlockDevices) -> Iterator[Obstacle]:
    """Obstacles to erasing a disk."""
    yield from disk_obstacles(disk, devices)
    yield from _uses(disk.path, disk.uses)
    yield from _membership(disk.path, disk.signature.kind)
    yield from _sets(disk.path, disk.signature, devices)
    for part in disk.partitions:
        yield from partition_obstacles(part, devices)
        if part.uuid and part.uuid.lower() == devices.started_from:
            yield Obstacle(
                what=f"the running system was started from {part.path}",
                advice="choose another disk, or start the installer from another stick",
            )


def partition_obstacles(part: DiskPartition, devices: BlockDevices) -> Iterator[Obstacle]:
    """Obstacles to formatting a partition."""
    yield from _uses(part.path, part.uses)
    yield from _membership(part.path, part.signature.kind)
    yield from _sets(part.path, part.signature, devices)


def _sets(path: Path, signature: Signature, devices: BlockDevices) -> Iterator[Obstacle]:
    """A file system over several devices has one UUID on all of them."""
    if signature.kind not in ("btrfs", "bcachefs") or not signature.uuid:
        return
    places: list[Disk | DiskPartition] = []
    for disk in devices.disks:
        places += [disk, *disk.partitions]
    others = [
        each.path for each in places if each.path != path and each.signature.uuid == signature.uuid
    ]
    if others:
        yield Obstacle(
            what=f"{path} is part of a {signature.kind} that also lies on {others[0]}",
            advice=f"take it out ({signature.kind} device remove), or: wipefs --all {path}",
        )


def _uses(path: Path, uses: Iterable[Use]) -> Iterator[Obstacle]:
    found = tuple(uses)
    yield from _mounts(path, [use.name for use in found if use.kind is UseKind.MOUNTED])
    for use in found:
        match use.kind:
            case UseKind.SWAP:
                yield Obstacle(what=f"{path} is in use as swap", advice=f"swapoff {path}")
            case UseKind.HOLDER:
                what, advice = _HOLDERS.get(
                    use.detail, ("a RAID or another device", "stop it: mdadm --stop {name}")
                )
                yield Obstacle(
                    what=f"{path} is part of {use.name}: {what}",
                    advice=advice.format(name=use.name),
                )
            case UseKind.OPEN:
                yield Obstacle(
                    what=f"{path} is in use by another program, or mounted out of sight",
                    advice=f"see who uses it: lsof {path}; for ZFS: zpool export",
                )


def _mounts(path: Path, places: list[str]) -> Iterator[Obstacle]:
    own = [each for each in places if each in _SYSTEM_MOUNTS or each.startswith(_LIVE_MOUNTS)]
    if own:
        yield Obstacle(
            what=f"this computer runs from {path}, mounted at {own[0]}",
            advice="choose another disk, or start the installer from another stick",
        )
    elif places:
        yield Obstacle(
            what=f"{path} is mounted at {', '.join(places)}",
            advice=f"umount {' '.join(map(quote, places))}",
        )


def _membership(path: Path, kind: str) -> Iterator[Obstacle]:
    found = _MEMBERS.get(kind, _FIRMWARE_RAID if kind.endswith("_raid_member") else None)
    if found is not None:
        what, advice = found
        yield Obstacle(
            what=f"{path} is part of {what}",
            advice=f"{advice}; when nothing of it is needed: wipefs --all {path}",
        )


def table_obstacles(disk: Disk) -> Iterator[Obstacle]:
    """Obstacles to changing a table with partitions of others."""
    table = disk.table
    if table is None:
        yield Obstacle(
            what=f"{disk.path} has no partition table",
            advice=f"use the whole disk with --disk {disk.path}",
        )
    elif table.label == "dos":
        yield Obstacle(
            what=f"{disk.path} has an MBR partition table, and Atoll needs GPT",
            advice="convert it: mbr2gpt in Windows, or sgdisk --mbrtogpt; or use the whole disk"
            f" with --disk {disk.path}",
        )
    elif table.label != "gpt":
        yield Obstacle(
            what=f"{disk.path} has a partition table of kind {table.label}, and Atoll needs GPT",
            advice=f"use the whole disk with --disk {disk.path}",
        )
    else:
        yield from _flaws(disk, table)


def _flaws(disk: Disk, table: PartitionTable) -> Iterator[Obstacle]:
    for flaw in table.flaws:
        if flaw is TableFlaw.SECOND_DAMAGED:
            continue  # it is written anew with the table
        what, advice = _FLAWS[flaw]
        yield Obstacle(what=f"{disk.path}: {what}", advice=advice.format(disk=disk.path))


def kept_system_obstacles(
    devices: BlockDevices, touched: Iterable[Disk], formatted: Iterable[Path]
) -> Iterator[Obstacle]:
    """Systems that stay and are only asleep: they still hold what they know of the disks.

    A hibernated Linux may hold any file system of the machine, the ESP too; a Windows, the tables
    of the disks that it lies on.
    """
    gone = frozenset(formatted)
    for disk in devices.disks:
        for part in disk.partitions:
            if part.signature.kind == "swsuspend" and part.path not in gone:
                yield Obstacle(
                    what=f"a hibernated system is on {part.path}",
                    advice="start it, and shut it down instead",
                )
    for disk in touched:
        for part in disk.partitions:
            if part.windows is not None and part.path not in gone:
                yield from _windows(part)


def _windows(part: DiskPartition) -> Iterator[Obstacle]:
    match part.windows:
        case WindowsState.HIBERNATED:
            yield Obstacle(
                what=f"the Windows on {part.path} is hibernated, or was shut down with fast start",
                advice="start Windows, and shut it down with: shutdown /s /t 0",
            )
        case WindowsState.DIRTY:
            yield Obstacle(
                what=f"{part.path} (NTFS) was not unmounted properly, or is damaged",
                advice="start Windows, let it check the volume, and shut it down with:"
                " shutdown /s /t 0",
            )
        case WindowsState.UNKNOWN:
            yield Obstacle(
                what=f"whether the Windows on {part.path} is hibernated cannot be seen",
                advice="apt install ntfs-3g, then try again",
            )


def esp_obstacles(
    disk: Disk, part: DiskPartition, content: EspContent, replaced: Iterable[DiskPartition]
) -> Iterator[Obstacle]:
    """Obstacles to sharing an ESP; ``replaced`` are partitions that get formatted."""
    name = part.path
    if part.signature.kind != "vfat" or content.flaw:
        why = content.flaw or "it has no FAT file system"
        yield Obstacle(
            what=f"the ESP {name} cannot be used: {why}",
            advice=f"repair it unmounted: fsck.fat -a {name}; or name another one with --esp",
        )
        return
    for use in part.uses:
        if use.kind is not UseKind.MOUNTED:
            yield from _uses(name, (use,))
    others = tuple(entry_obstacles(f"the ESP {name}", content, replaced))
    yield from others
    if content.foreign_menu and not others:
        yield Obstacle(
            what=f"the ESP {name} already has a boot menu of systemd-boot (loader/loader.conf)",
            advice="the two systems would share one menu: name another ESP with --esp",
        )
    if disk.read_only:
        yield Obstacle(what=f"{disk.path} is read-only", advice="name another ESP with --esp")


def entry_obstacles(
    where: str, content: EspContent, replaced: Iterable[DiskPartition]
) -> Iterator[Obstacle]:
    """Boot entries of an Atoll system that stays."""
    gone = {each.signature.uuid.lower() for each in replaced if each.signature.uuid}
    if content.entry_uuids and not content.entry_uuids & gone:
        yield Obstacle(
            what=f"{where} already has boot entries of an Atoll system",
            advice="two of them cannot share one boot menu: use another disk, or the partition of"
            " that system with --partition",
        )


def too_small(name: Path, size: int, needed: int) -> Obstacle:
    return Obstacle(
        what=f"{name} has {format_bytes(size)}, and the system needs {format_bytes(needed)}",
        advice="choose a larger place",
    )


def home_obstacles(
    target: Target, devices: BlockDevices, gone: Iterable[Path]
) -> Iterator[Obstacle]:
    """Obstacles to mounting a partition as /home. Raises NotFound."""
    if target.home is None:
        return
    found = devices.find_partition(target.home)
    if found is None:
        raise NotFound(f"there is no partition {target.home}", hint="see: lsblk")
    kind = found[1].signature.kind
    if target.home in frozenset(gone):
        yield Obstacle(
            what=f"{target.home} would be erased, and so cannot be /home",
            advice="choose another partition for one of the two",
        )
    elif target.home == target.esp or kind not in _HOME_KINDS:
        what = describe_signature(found[1].signature) or "no file system that is known"
        yield Obstacle(
            what=f"{target.home} has {what}, and /home needs a Linux file system",
            advice=f"name a partition with one of: {', '.join(_HOME_KINDS)}",
        )

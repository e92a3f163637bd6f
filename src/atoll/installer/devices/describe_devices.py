"""Disks and partitions described for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.machine.disk_layout import ESP_TYPE, STATE_TYPE, XBOOTLDR_TYPE

if TYPE_CHECKING:
    from atoll.installer.devices.block_devices import DeviceIdentity, Disk, DiskPartition, Signature

_UNITS = ("B", "kB", "MB", "GB", "TB")
_KINDS = {
    ESP_TYPE: "EFI system partition",
    XBOOTLDR_TYPE: "boot loader partition",
    STATE_TYPE: "Atoll system",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "reserved by Windows",
    "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC": "Windows recovery",
    "21686148-6449-6E6F-744E-656564454649": "BIOS boot partition",
}
_SIGNATURES = {
    "BitLocker": "locked with BitLocker",
    "LVM2_member": "LVM",
    "crypto_LUKS": "LUKS encryption",
    "linux_raid_member": "Linux RAID",
    "ntfs": "NTFS",
    "swap": "swap",
    "swsuspend": "swap with a hibernated system",
    "vfat": "FAT",
    "zfs_member": "ZFS",
}


def format_bytes(size: int) -> str:
    """As disks are sold, in powers of 1000, three digits at most before the point: ``512 GB``."""
    power = 0
    while power + 1 < len(_UNITS) and size >= 1000 ** (power + 1):
        power += 1
    value = size / 1000**power
    return (
        f"{value:.0f} {_UNITS[power]}"
        if value >= 10 or not power
        else f"{value:.1f} {_UNITS[power]}"
    )


def describe_signature(signature: Signature) -> str:
    """``ext4 "data"``; empty for nothing."""
    kind = _SIGNATURES.get(signature.kind, signature.kind)
    label = f' "{one_line(signature.label)[:24]}"' if signature.label else ""
    return f"{one_line(kind)}{label}" if kind else ""


def describe_partition(kind: str, name: str, signature: Signature) -> str:
    """What a partition is by its type, else by its name, and what is on it."""
    what = _KINDS.get(kind, "")
    content = describe_signature(signature)
    if not what and name and name.lower() not in ("primary", "logical"):
        what = f'"{one_line(name)[:24]}"'
    return ", ".join(each for each in (what, content) if each) or "nothing that is known"


def describe_disk(disk: Disk) -> str:
    """``sda (512 GB, Samsung SSD 860)``."""
    return f"{disk.name} ({describe_identity(disk.identity)})"


def describe_identity(identity: DeviceIdentity) -> str:
    words = [format_bytes(identity.size)]
    if identity.model:
        words.append(one_line(identity.model)[:40])
    return ", ".join(words)


def describe_erased_disk(disk: Disk) -> tuple[str, ...]:
    """What is lost when all of a disk is erased, a line each: its partitions, or what is on a disk
    without any: ``sda: LUKS encryption``."""
    content = describe_signature(disk.signature)
    return (
        *((f"{disk.name}: {content}",) if content else ()),
        *map(describe_erased, disk.partitions),
    )


def describe_erased(part: DiskPartition) -> str:
    """``sda2: ext4 "data", 200 GB``."""
    what = describe_partition(part.kind, part.name, part.signature)
    return f"{part.path.name}: {what}, {format_bytes(part.size)}"

"""The disks of a machine as values: partition tables, what is on them, and who uses them.

``read_devices`` fills these in; ``obstacles`` and ``partitioning`` judge them without effects.
Sizes and places are bytes, whatever the disk's sectors are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

INSTALLING = "atoll-installing"
"""The name of new partitions in a table with others, until the system on them can boot. A run that
was cut leaves it, and the next one takes such partitions away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a device holds, by its signature, in blkid's words: ``kind`` is ``ext4``, ``vfat``,
    ``ntfs``, ``BitLocker``, ``crypto_LUKS``, ``LVM2_member``, ``swsuspend`` …; empty for nothing
    that blkid knows. ``version`` is that of the format, such as ``FAT32``."""

    kind: str = ""
    label: str = ""
    uuid: str = ""
    version: str = ""


NO_SIGNATURE = Signature()


class UseKind(StrEnum):
    MOUNTED = "mounted"
    SWAP = "swap"
    HOLDER = "holder"
    """Another block device is made of it: LVM, RAID, an opened LUKS volume, multipath."""
    OPEN = "open"
    """Something has opened it exclusively, without being any of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Who uses a device now. ``name`` is a mount point or the name of the device that holds it;
    ``detail`` is the kind of holder (``crypt``, ``lvm``, ``raid1``, ``mpath`` …) or empty."""

    kind: UseKind
    name: str = ""
    detail: str = ""


class WindowsState(StrEnum):
    """What an NTFS volume says of the Windows that uses it."""

    CLEAN = "clean"
    HIBERNATED = "hibernated"
    """Hibernated, or shut down with fast start, which hibernates the kernel."""
    DIRTY = "dirty"
    """Not unmounted properly, or damaged: Windows checks it at its next start."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPartition:
    """``kind`` is the type as the table has it: a GUID in capitals, or two hex digits (MBR)."""

    path: Path
    number: int
    start: int
    size: int
    kind: str
    uuid: str = ""
    name: str = ""
    flags: str = ""
    signature: Signature = NO_SIGNATURE
    uses: tuple[Use, ...] = ()
    windows: WindowsState | None = None

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size


class TableFlaw(StrEnum):
    """What keeps a GPT from being changed, or is wrong with one of its copies."""

    FIRST_DAMAGED = "first"
    SECOND_DAMAGED = "second"
    SECOND_ELSEWHERE = "elsewhere"
    """The second copy is not at the end of the disk, as after copying to a larger one."""
    BOTH_DAMAGED = "both"
    HYBRID = "hybrid"
    """The MBR in front of it names partitions of its own."""
    CROWDED = "crowded"
    """The first partition begins too early for a second copy of the entries before it."""
    STALE = "stale"
    """The kernel still has partitions in other places than the table says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionTable:
    """``label`` is ``gpt``, ``dos`` or another one that sfdisk knows. Partitions may begin at
    ``first`` and end at ``end``; they stand in the order of their place."""

    label: str
    uuid: str
    first: int
    end: int
    partitions: tuple[DiskPartition, ...]
    flaws: tuple[TableFlaw, ...] = ()
    digest: str = ""
    """SHA-256 of the bytes of the table, to notice a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """What tells one disk from another; read again right before anything is written."""

    number: str
    """Of the device, as ``8:0``."""
    size: int
    sector: int
    """Bytes of a logical sector."""
    serial: str = ""
    wwn: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    path: Path
    identity: DeviceIdentity
    table: PartitionTable | None
    signature: Signature = NO_SIGNATURE
    """Of a disk without a table."""
    uses: tuple[Use, ...] = ()
    read_only: bool = False
    removable: bool = False
    unreadable: str = ""
    """Why it cannot be read; then nothing more is known of it."""
    transport: str = ""
    """``sata``, ``nvme``, ``usb`` … where it is known."""

    @property
    def name(self) -> str:
        """``sda``, ``nvme0n1``: what a person types to confirm."""
        return self.path.name

    @property
    def partitions(self) -> tuple[DiskPartition, ...]:
        return self.table.partitions if self.table is not None else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFirmware:
    """``bits`` is what programs UEFI runs: 64 or 32; None where the firmware is a BIOS."""

    bits: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EspContent:
    """What an EFI system partition that is there holds; sizes in bytes, paths in lower case."""

    partition: Path
    size: int
    free: int
    files: frozenset[str]
    entry_uuids: frozenset[str] = frozenset()
    """Every UUID that a valid boot entry of Atoll names, in lower case: of file systems and LUKS
    volumes that a system boots from."""
    kernels: int = 0
    """Bytes that kernels and initrds of Atoll take; 0 when an entry does not say what it boots."""
    foreign_menu: bool = False
    """The settings of a boot menu (loader/loader.conf) are there that Atoll did not write."""
    flaw: str = ""
    """Why nothing is written there: it cannot be read as FAT, or is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDevices:
    """All disks of a machine, and how its firmware starts it."""

    disks: tuple[Disk, ...]
    firmware: MachineFirmware
    started_from: str = ""
    """UUID of the partition from which systemd-boot started the running system, in lower case;
    empty where it is not known."""
    esps: tuple[EspContent, ...] = ()

    def find_disk(self, path: Path) -> Disk | None:
        return next((disk for disk in self.disks if disk.path == path), None)

    def find_partition(self, path: Path) -> tuple[Disk, DiskPartition] | None:
        pairs = ((disk, each) for disk in self.disks for each in disk.partitions)
        return next(((disk, each) for disk, each in pairs if each.path == path), None)

    def esp_content(self, path: Path) -> EspContent | None:
        return next((esp for esp in self.esps if esp.partition == path), None)


def partition_path(disk: Path, number: int) -> Path:
    """The device of a partition: ``sda1``, but ``nvme0n1p1`` where the disk's name ends in a
    digit."""
    between = "p" if disk.name[-1:].isdigit() else ""
    return disk.with_name(f"{disk.name}{between}{number}")

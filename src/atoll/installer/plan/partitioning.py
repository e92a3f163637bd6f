"""The values of a plan: the target that was asked for, partitions, and what becomes of them.

``plan_installation`` makes the plan, ``describe_plan`` the words, ``install_on_disk`` does it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from atoll.installer.devices.block_devices import NO_SIGNATURE, DeviceIdentity, Signature

if TYPE_CHECKING:
    from pathlib import Path


class TargetKind(StrEnum):
    """The values are keys of an answers file, and options with a dash for the underscore."""

    DISK = "disk"
    PARTITION = "partition"
    FREE_SPACE = "free_space"


class FirmwareEntry(StrEnum):
    """What becomes of the firmware's own list of systems (its boot order in NVRAM)."""

    NONE = "none"
    """It is not touched; the firmware finds ``EFI/BOOT/BOOTX64.EFI`` on the disk by itself."""
    LAST = "last"
    FIRST = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a person wants the system. ``device`` is a disk, or a partition for PARTITION.

    ``esp`` None: the one on the same disk, or a new one where the disk has none. ``home``: a
    partition that the new system mounts at /home; nothing in it is changed. ``firmware`` None: NONE
    where the ESP is new, else LAST.
    """

    kind: TargetKind
    device: Path
    esp: Path | None = None
    home: Path | None = None
    firmware: FirmwareEntry | None = None


class Role(StrEnum):
    ESP = "ESP"
    BOOT = "kernels"
    """Extended boot loader partition (XBOOTLDR): kernels and entries where the ESP is small."""
    STATE = "system"
    HOME = "home"
    OTHER = ""


class Fate(StrEnum):
    KEPT = "kept"
    USED = "used"
    """It stays as it is, and gets files of the new system."""
    CREATED = "new"
    FORMATTED = "formatted"
    ERASED = "erased"


MADE = (Fate.CREATED, Fate.FORMATTED)
"""Fates of partitions that get a new file system."""
PARTITION_NAMES = {Role.ESP: "esp", Role.BOOT: "atoll-boot", Role.STATE: "atoll"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPartition:
    """A partition of the table before or after; ``fate`` in the table before is what becomes of
    it. Places and sizes are bytes; ``kind`` is the type's GUID, ``flags`` as sfdisk writes them."""

    path: Path
    number: int
    start: int
    size: int
    kind: str
    name: str
    flags: str
    role: Role
    fate: Fate
    signature: Signature = NO_SIGNATURE

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNeeds:
    """What an image takes, in bytes: ``content`` on the state partition, ``pair`` for one kernel
    with its initrd, ``loader`` for one copy of the boot loader. ``efi_name`` as ``x64``."""

    title: str
    content: int
    pair: int
    loader: int
    efi_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedDisk:
    """What a disk was when the plan was made: ``table`` is the digest of its partition table."""

    path: Path
    identity: DeviceIdentity
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationPlan:
    """What an installation does. ``device`` is the disk whose name a person types to confirm.

    ``expected`` has every disk that is written to; it must still be that when the writing begins.
    ``state``, ``esp``, ``boot`` and ``home`` are partitions; ``boot`` is None where kernels are on
    the ESP. ``new_table``: the whole disk gets a new partition table.
    """

    target: Target
    device: Path
    expected: tuple[ExpectedDisk, ...]
    before: tuple[PlannedPartition, ...]
    after: tuple[PlannedPartition, ...]
    erased: tuple[str, ...]
    notes: tuple[str, ...] = field(compare=False)
    """What a person is told. Equal plans do the same; another disk that comes, goes or cannot be
    read changes only what is told."""
    to_write: int
    seconds: int
    """An estimate of the time."""
    new_table: bool
    esp: Path
    state: Path
    boot: Path | None
    home: Path | None
    encrypted: bool
    firmware: FirmwareEntry
    replaces: tuple[Path, ...] = ()
    """Partitions with boot entries or kernels of the system that is formatted: these go first."""

    def made(self, role: Role) -> PlannedPartition | None:
        """The partition of the table after with this role, when it is new or formatted."""
        return next(
            (each for each in self.after if each.role is role and each.fate in MADE),
            None,
        )

"""Values that planning passes on: the request, and the change of a partition table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, UsageError
from atoll.installer.devices.block_devices import partition_path
from atoll.installer.plan.free_space import align_up
from atoll.installer.plan.obstacles import refuse, table_obstacles
from atoll.installer.plan.partitioning import PARTITION_NAMES, Fate, PlannedPartition, Role
from atoll.machine.disk_layout import (
    DEPLOYMENTS_KEPT,
    ESP_SIZE,
    ESP_TYPE,
    MIB,
    NOT_MOUNTED,
    STATE_TYPE,
    XBOOTLDR_TYPE,
)

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.installer.devices.block_devices import BlockDevices, Disk, DiskPartition
    from atoll.installer.plan.find_esp import ChosenEsp
    from atoll.installer.plan.obstacles import Obstacle
    from atoll.installer.plan.partitioning import ImageNeeds, Target

LUKS_HEADER = 16 * MIB
LEAST_KERNELS = 2
"""The one that runs, and the one of an upgrade."""
_STATE_SPARE = 256 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallRequest:
    """What is asked of which machine; ``obstacles`` grows until ``refuse`` reads it."""

    target: Target
    devices: BlockDevices
    needs: ImageNeeds
    encrypted: bool
    obstacles: list[Obstacle] = field(default_factory=list)

    def require_disk(self) -> Disk:
        disk = self.devices.find_disk(self.target.device)
        if disk is not None:
            return disk
        part = self.devices.find_partition(self.target.device)
        if part is not None:
            raise UsageError(
                f"{self.target.device} is a partition, not a disk",
                hint=f"name its disk {part[0].path}, or: --partition {self.target.device}",
            )
        raise NotFound(f"there is no disk {self.target.device}", hint="lsblk lists disks")

    def require_partition(self) -> tuple[Disk, DiskPartition]:
        found = self.devices.find_partition(self.target.device)
        if found is not None:
            return found
        if self.devices.find_disk(self.target.device) is not None:
            raise UsageError(
                f"{self.target.device} is a whole disk, not a partition",
                hint=f"name a partition of it, or: --disk {self.target.device}",
            )
        for disk in self.devices.disks:
            # What lsblk shows of a damaged table, nobody may use.
            number = self.target.device.name.removeprefix(disk.name).removeprefix("p")
            if self.target.device.name != number and number.isdecimal():
                refuse(table_obstacles(disk))
        raise NotFound(
            f"there is no partition {self.target.device}", hint="lsblk lists disks and partitions"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutChange:
    """The table of one disk before and after. ``esp`` is one that was there; ``formatted`` are
    partitions whose content goes. ``boot`` is a partition that was there and gets the kernels;
    ``replaced`` are partitions with boot entries or kernels of what is formatted."""

    disk: Disk
    before: tuple[PlannedPartition, ...]
    after: tuple[PlannedPartition, ...]
    erased: tuple[str, ...]
    notes: tuple[str, ...] = ()
    esp: ChosenEsp | None = None
    formatted: tuple[DiskPartition, ...] = ()
    boot: Path | None = None
    replaced: tuple[Path, ...] = ()


def least_size(needs: ImageNeeds, *, encrypted: bool) -> int:
    """The fewest bytes of a state partition, a multiple of 1 MiB."""
    return align_up(needs.content * 11 // 10 + _STATE_SPARE + (LUKS_HEADER if encrypted else 0))


def boot_size(needs: ImageNeeds) -> int:
    """Bytes of a new partition for kernels: those that a machine keeps, and one more."""
    return max(ESP_SIZE, align_up((DEPLOYMENTS_KEPT + 1) * needs.pair + 2 * needs.loader + MIB))


def new_partition(disk: Disk, number: int, place: tuple[int, int], role: Role) -> PlannedPartition:
    kinds = {Role.ESP: ESP_TYPE, Role.BOOT: XBOOTLDR_TYPE, Role.STATE: STATE_TYPE}
    return PlannedPartition(
        path=partition_path(disk.path, number),
        number=number,
        start=place[0],
        size=place[1] - place[0],
        kind=kinds[role],
        name=PARTITION_NAMES[role],
        flags=NOT_MOUNTED if role is Role.STATE else "",
        role=role,
        fate=Fate.CREATED,
    )


def kept_partition(part: DiskPartition, fate: Fate, role: Role = Role.OTHER) -> PlannedPartition:
    return PlannedPartition(
        path=part.path,
        number=part.number,
        start=part.start,
        size=part.size,
        kind=part.kind,
        name=part.name,
        flags=part.flags,
        role=role,
        fate=fate,
        signature=part.signature,
    )

"""Choosing an EFI system partition that is already there; how many kernels fit on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound
from atoll.installer.plan.obstacles import Obstacle, esp_obstacles
from atoll.machine.disk_layout import ESP_TYPE
from atoll.machine.space import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.installer.devices.block_devices import BlockDevices, Disk, DiskPartition, EspContent
    from atoll.installer.plan.partitioning import ImageNeeds, Target

SPARE = 64 * BLOCK
"""For directories, the boot menu's settings and entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenEsp:
    disk: Disk
    partition: DiskPartition
    content: EspContent

    def kernels(self, needs: ImageNeeds) -> int:
        """How many kernels with their initrds fit beside what is there."""
        return max(0, self.content.free - 2 * needs.loader - SPARE) // needs.pair

    @property
    def is_sound(self) -> bool:
        return not self.content.flaw

    def fits_loader(self, needs: ImageNeeds) -> bool:
        return self.content.free >= 2 * needs.loader + SPARE


def choose_esp(
    target: Target, disk: Disk, devices: BlockDevices, obstacles: list[Obstacle]
) -> ChosenEsp | None:
    """The ESP that is named, else the one of ``disk``; None where the disk has none. What stands
    against it goes to ``obstacles``."""
    if target.esp is not None:
        found = devices.find_partition(target.esp)
        if found is None:
            raise NotFound(f"there is no partition {target.esp}", hint="see: lsblk")
        if found[1].kind != ESP_TYPE:
            obstacles.append(
                Obstacle(
                    what=f"{target.esp} is not an EFI system partition",
                    advice="name one of that type; see: lsblk -o NAME,SIZE,PARTTYPENAME",
                )
            )
            return None
        return _choice(*found, devices)
    there = [part for part in disk.partitions if part.kind == ESP_TYPE]
    if len(there) > 1:
        names = ", ".join(str(part.path) for part in there)
        obstacles.append(
            Obstacle(
                what=f"{disk.path} has several EFI system partitions: {names}",
                advice="name the one to use with --esp",
            )
        )
    return _choice(disk, there[0], devices) if there else None


def _choice(disk: Disk, partition: DiskPartition, devices: BlockDevices) -> ChosenEsp:
    content = devices.esp_content(partition.path)
    assert content is not None, "every EFI system partition was read"
    return ChosenEsp(disk=disk, partition=partition, content=content)


def chosen_esp_obstacles(esp: ChosenEsp, formatted: Iterable[DiskPartition]) -> Iterable[Obstacle]:
    return esp_obstacles(esp.disk, esp.partition, esp.content, formatted)

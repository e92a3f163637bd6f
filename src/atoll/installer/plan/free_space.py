"""Gaps and free numbers of a partition table; partitions of an interrupted installation. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.installer.devices.block_devices import INSTALLING
from atoll.machine.disk_layout import ESP_TYPE, MIB, STATE_TYPE, XBOOTLDR_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.installer.devices.block_devices import (
        BlockDevices,
        Disk,
        DiskPartition,
        PartitionTable,
    )

_MOST_PARTITIONS = 128


def align_up(size: int) -> int:
    return -(-size // MIB) * MIB


def align_down(size: int) -> int:
    return size // MIB * MIB


def find_gaps(
    table: PartitionTable, partitions: Iterable[DiskPartition]
) -> tuple[tuple[int, int], ...]:
    """Where nothing is, from and up to a multiple of 1 MiB, in the order of their place."""
    found = []
    at = table.first
    for part in sorted(partitions, key=lambda each: each.start):
        found.append((align_up(at), align_down(part.start)))
        at = max(at, part.end)
    found.append((align_up(at), align_down(table.end)))
    return tuple((start, end) for start, end in found if end > start)


def largest_gap(table: PartitionTable, partitions: Iterable[DiskPartition]) -> tuple[int, int]:
    """The first of the largest gaps; an empty one where there is none."""
    gaps = find_gaps(table, partitions)
    return max(gaps, key=lambda gap: gap[1] - gap[0], default=(0, 0))


def free_numbers(partitions: Iterable[DiskPartition], count: int) -> tuple[int, ...]:
    """Up to ``count`` numbers that no partition has, lowest first."""
    taken = {part.number for part in partitions}
    numbers = [each for each in range(1, _MOST_PARTITIONS + 1) if each not in taken]
    return tuple(numbers[:count])


def find_leftovers(disk: Disk, devices: BlockDevices) -> tuple[DiskPartition, ...]:
    """Partitions that an interrupted installation made, and that no boot entry starts from.

    Where an ESP of the machine cannot be read, an entry of it may name any of them: none is taken.
    """
    if any(esp.flaw and _is_finished(devices, esp.partition) for esp in devices.esps):
        return ()
    named = {uuid for esp in devices.esps for uuid in esp.entry_uuids}
    found = []
    for part in disk.partitions:
        content = devices.esp_content(part.path)
        booted = part.signature.uuid.lower() in named or (
            content and (content.entry_uuids or (content.flaw and part.signature.kind))
        )
        ours = part.name == INSTALLING and part.kind in (ESP_TYPE, XBOOTLDR_TYPE, STATE_TYPE)
        if ours and not booted and not part.uses:
            found.append(part)
    return tuple(found)


def _is_finished(devices: BlockDevices, path: object) -> bool:
    """Whether a partition is not one that an installation was making: that may have no file system
    yet."""
    return not any(
        part.path == path and part.name == INSTALLING
        for disk in devices.disks
        for part in disk.partitions
    )

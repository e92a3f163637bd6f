"""The partition table before and after an installation, for each kind of target. Pure.

All new partitions begin and end at a multiple of 1 MiB, which is one of every sector size.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.installer.devices.block_devices import INSTALLING
from atoll.installer.devices.describe_devices import (
    describe_disk,
    describe_erased,
    describe_erased_disk,
    format_bytes,
)
from atoll.installer.plan.find_esp import choose_esp, chosen_esp_obstacles
from atoll.installer.plan.free_space import align_down, find_leftovers, free_numbers, largest_gap
from atoll.installer.plan.install_request import (
    InstallRequest,
    LayoutChange,
    boot_size,
    kept_partition,
    least_size,
    new_partition,
)
from atoll.installer.plan.kernel_place import (
    NEW_ESP,
    KernelChoice,
    KernelRequest,
    choose_kernel_place,
)
from atoll.installer.plan.obstacles import (
    Obstacle,
    disk_obstacles,
    partition_obstacles,
    refuse,
    table_obstacles,
    too_small,
    whole_disk_obstacles,
)
from atoll.installer.plan.partitioning import Fate, Role
from atoll.machine.disk_layout import (
    ESP_START,
    ESP_TYPE,
    GROWING,
    NOT_MOUNTED,
    STATE_TYPE,
    TABLE_END,
    XBOOTLDR_TYPE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from atoll.installer.devices.block_devices import Disk, DiskPartition, PartitionTable
    from atoll.installer.plan.find_esp import ChosenEsp
    from atoll.installer.plan.partitioning import PlannedPartition


def plan_disk(request: InstallRequest) -> LayoutChange:
    """The whole disk: what ``atoll disk`` writes to an image."""
    disk, needs = request.require_disk(), request.needs
    if request.target.esp is not None:
        raise UsageError(
            "--disk makes an ESP of its own, so --esp does not go with it",
            hint=f"to keep what is on the disk: --free-space {disk.path}",
        )
    request.obstacles.extend(whole_disk_obstacles(disk, request.devices))
    boot = boot_size(needs)
    start = ESP_START + boot
    end = align_down(disk.identity.size - TABLE_END)
    least = least_size(needs, encrypted=request.encrypted)
    if end - start < least:
        needed = start + least + TABLE_END
        request.obstacles.append(too_small(disk.path, disk.identity.size, needed))
    esp = new_partition(disk, 1, (ESP_START, start), Role.ESP)
    state = new_partition(disk, 2, (start, end), Role.STATE)
    others = [each for each in request.devices.disks if each.path != disk.path]
    notes = (f"No other disk is written to: {', '.join(each.name for each in others)}.",)
    return LayoutChange(
        disk=disk,
        before=tuple(kept_partition(part, Fate.ERASED) for part in disk.partitions),
        after=(esp, replace(state, flags=GROWING)),
        erased=(
            f"All of {describe_disk(disk)}",
            *describe_erased_disk(disk),
        ),
        notes=notes if others else (),
    )


def plan_partition(request: InstallRequest) -> LayoutChange:
    """One partition is formatted; where the ESP is small, one for kernels is made if the disk has
    space for it."""
    disk, part = request.require_partition()
    table = _check_table(request, disk)
    _check_partition(request, part)
    esp = _require_esp(request, disk, (part,))
    # An installation of this kind makes none but that for kernels.
    left = tuple(
        each for each in find_leftovers(disk, request.devices) if each.kind == XBOOTLDR_TYPE
    )
    kept = [each for each in disk.partitions if each not in left]
    start, end = largest_gap(table, kept)
    numbers, size = free_numbers(kept, 1), boot_size(request.needs)
    fits = end - start >= size and bool(numbers)
    kernels = _choose_kernels(request, disk, esp, left, (part,), fits=fits)
    created: list[PlannedPartition] = []
    if kernels.made:
        new = new_partition(disk, numbers[0], (start, start + size), Role.BOOT)
        created = [replace(new, name=INSTALLING)]
    else:
        left = ()
    before = _before(request, disk, kernels, dict.fromkeys(_paths(left), Fate.ERASED))
    formatted = replace(
        kept_partition(part, Fate.FORMATTED), role=Role.STATE, kind=STATE_TYPE, flags=NOT_MOUNTED
    )
    return LayoutChange(
        disk=disk,
        before=tuple(
            replace(each, fate=Fate.FORMATTED) if each.path == part.path else each
            for each in before
        ),
        after=_after([formatted if each.path == part.path else each for each in before], created),
        erased=(describe_erased(part), *_describe_left(left)),
        notes=kernels.notes,
        esp=esp,
        formatted=(part,),
        boot=kernels.shared,
        replaced=kernels.replaced,
    )


def _check_partition(request: InstallRequest, part: DiskPartition) -> None:
    if part.kind in (ESP_TYPE, XBOOTLDR_TYPE):
        request.obstacles.append(
            Obstacle(
                what=f"{part.path} is a partition that computers start from (an ESP)",
                advice="choose another partition for the system",
            )
        )
    request.obstacles.extend(partition_obstacles(part, request.devices))
    least = least_size(request.needs, encrypted=request.encrypted)
    if part.size < least:
        request.obstacles.append(too_small(part.path, part.size, least))


def plan_free_space(request: InstallRequest) -> LayoutChange:
    """New partitions in the largest gap; where the ESP is small, one for kernels too."""
    disk = request.require_disk()
    table = _check_table(request, disk)
    left = find_leftovers(disk, request.devices)
    esp = _find_shared_esp(request, disk, left)
    kept = [part for part in disk.partitions if part not in left]
    gap = largest_gap(table, kept)
    roles, kernels = [Role.ESP, Role.STATE], NEW_ESP
    if esp is not None:
        least = boot_size(request.needs) + least_size(request.needs, encrypted=request.encrypted)
        fits = gap[1] - gap[0] >= least and len(free_numbers(kept, 2)) > 1
        kernels = _choose_kernels(request, disk, esp, left, left, fits=fits)
        roles = [Role.BOOT, Role.STATE] if kernels.made else [Role.STATE]
    created = _place(request, disk, roles, gap, free_numbers(kept, len(roles)))
    before = _before(request, disk, kernels, dict.fromkeys(_paths(left), Fate.ERASED))
    return LayoutChange(
        disk=disk,
        before=before,
        after=_after(before, created),
        erased=_describe_left(left),
        notes=kernels.notes,
        esp=esp,
        formatted=left,
        boot=kernels.shared,
        replaced=kernels.replaced,
    )


def _find_shared_esp(
    request: InstallRequest, disk: Disk, left: tuple[DiskPartition, ...]
) -> ChosenEsp | None:
    """The ESP to share; None where a new one is made."""
    others = replace(disk, table=disk.table and _without(disk.table, left))
    esp = choose_esp(request.target, others, request.devices, request.obstacles)
    if esp is not None:
        request.obstacles.extend(chosen_esp_obstacles(esp, left))
    return esp


def _choose_kernels(
    request: InstallRequest,
    disk: Disk,
    esp: ChosenEsp,
    left: tuple[DiskPartition, ...],
    formatted: tuple[DiskPartition, ...],
    *,
    fits: bool,
) -> KernelChoice:
    """``fits``: ``disk`` has space for a partition for kernels."""
    wanted = KernelRequest(
        esp=esp,
        devices=request.devices,
        needs=request.needs,
        left=left,
        formatted=formatted,
        # systemd-boot looks for it on the disk of its ESP only.
        can_make=fits and esp.disk.path == disk.path,
    )
    return choose_kernel_place(wanted, request.obstacles)


def _paths(partitions: Iterable[DiskPartition]) -> list[Path]:
    return [each.path for each in partitions]


def _after(
    before: Iterable[PlannedPartition], created: list[PlannedPartition]
) -> tuple[PlannedPartition, ...]:
    staying = [each for each in before if each.fate is not Fate.ERASED]
    return tuple(sorted([*staying, *created], key=lambda each: each.start))


def _describe_left(left: Iterable[DiskPartition]) -> tuple[str, ...]:
    return tuple(f"{describe_erased(part)} (left by an interrupted installation)" for part in left)


def _without(table: PartitionTable, left: tuple[DiskPartition, ...]) -> PartitionTable:
    return replace(table, partitions=tuple(each for each in table.partitions if each not in left))


def _place(
    request: InstallRequest,
    disk: Disk,
    roles: list[Role],
    gap: tuple[int, int],
    numbers: tuple[int, ...],
) -> list[PlannedPartition]:
    """New partitions one behind the other in ``gap``, the last of them up to its end; none, and an
    obstacle, where they do not fit."""
    if len(numbers) < len(roles):
        request.obstacles.append(
            Obstacle(
                what=f"the partition table of {disk.path} is full",
                advice="delete a partition that you do not need",
            )
        )
        return []
    start, end = gap
    boot = boot_size(request.needs) if len(roles) > 1 else 0
    least = boot + least_size(request.needs, encrypted=request.encrypted)
    if end - start < least:
        request.obstacles.append(_no_gap(disk, end - start, least))
        return []
    borders = [start, start + boot, end] if boot else [start, end]
    return [
        replace(new_partition(disk, number, place, role), name=INSTALLING)
        for number, place, role in zip(numbers, pairwise(borders), roles, strict=True)
    ]


def _check_table(request: InstallRequest, disk: Disk) -> PartitionTable:
    """The table of a disk that keeps its partitions. Raises Refused for what is no such table."""
    request.obstacles.extend(disk_obstacles(disk, request.devices))
    request.obstacles.extend(table_obstacles(disk))
    if disk.table is None or disk.table.label != "gpt":
        refuse(request.obstacles)
    assert disk.table is not None
    return disk.table


def _require_esp(
    request: InstallRequest, disk: Disk, formatted: tuple[DiskPartition, ...]
) -> ChosenEsp:
    esp = choose_esp(request.target, disk, request.devices, request.obstacles)
    if esp is None:
        if request.target.esp is None:
            request.obstacles.append(
                Obstacle(
                    what=f"{disk.path} has no EFI system partition",
                    advice="name the one of another disk with --esp, or use --free-space",
                )
            )
        refuse(request.obstacles)
    assert esp is not None
    request.obstacles.extend(chosen_esp_obstacles(esp, formatted))
    return esp


def _no_gap(disk: Disk, largest: int, needed: int) -> Obstacle:
    return Obstacle(
        what=f"the largest free space of {disk.path} has {format_bytes(largest)}, and the system"
        f" needs {format_bytes(needed)}",
        advice="shrink a partition: Windows' Disk Management can, and GParted",
    )


def _before(
    request: InstallRequest, disk: Disk, kernels: KernelChoice, fates: Mapping[Path, Fate]
) -> tuple[PlannedPartition, ...]:
    """The partitions that are there: what is neither ESP nor /home, has no kernels, and is not in
    ``fates``, is kept."""
    used = {} if request.target.home is None else {request.target.home: Role.HOME}
    if kernels.esp is not None:
        used[kernels.esp.partition.path] = Role.ESP
    if kernels.shared is not None:
        used[kernels.shared] = Role.BOOT
    return tuple(
        kept_partition(
            part,
            fates.get(part.path, Fate.USED if part.path in used else Fate.KEPT),
            used.get(part.path, Role.OTHER),
        )
        for part in disk.partitions
    )

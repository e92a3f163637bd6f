"""The plan of an installation: from what a machine has and what a person asks for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.installer.devices.block_devices import TableFlaw
from atoll.installer.plan.install_request import InstallRequest
from atoll.installer.plan.obstacles import (
    firmware_obstacles,
    home_obstacles,
    kept_system_obstacles,
    refuse,
)
from atoll.installer.plan.partitioning import (
    MADE,
    ExpectedDisk,
    Fate,
    FirmwareEntry,
    InstallationPlan,
    Role,
    TargetKind,
)
from atoll.installer.plan.target_layouts import plan_disk, plan_free_space, plan_partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.installer.devices.block_devices import BlockDevices
    from atoll.installer.plan.install_request import LayoutChange
    from atoll.installer.plan.partitioning import ImageNeeds, Target

_SPEED, _USB_SPEED, _OVERHEAD = 80_000_000, 20_000_000, 30
"""Bytes in a second, and seconds for all else; for an estimate only."""
_FIRMWARE_NOTES = {
    FirmwareEntry.NONE: "The firmware's list of systems is not changed: choose the disk in the"
    " firmware's boot menu if the computer starts another one.",
    FirmwareEntry.LAST: "The system is added at the end of the firmware's list: choose it in"
    " the firmware's boot menu.",
    FirmwareEntry.FIRST: "The system is added to the firmware's list, and starts first.",
}


def plan_installation(
    target: Target, devices: BlockDevices, needs: ImageNeeds, *, encrypted: bool
) -> InstallationPlan:
    """Raises NotFound for a device that is not there, UsageError for words that do not go
    together, and Refused with every obstacle."""
    request = InstallRequest(target=target, devices=devices, needs=needs, encrypted=encrypted)
    request.obstacles.extend(firmware_obstacles(devices, needs.efi_name))
    match target.kind:
        case TargetKind.DISK:
            layout = plan_disk(request)
        case TargetKind.PARTITION:
            layout = plan_partition(request)
        case TargetKind.FREE_SPACE:
            layout = plan_free_space(request)
    gone = [each.path for each in layout.before if each.fate in (Fate.ERASED, Fate.FORMATTED)]
    touched = [] if layout.esp is None else [layout.disk, layout.esp.disk]
    request.obstacles.extend(home_obstacles(target, devices, gone))
    request.obstacles.extend(kept_system_obstacles(devices, touched, gone))
    refuse(request.obstacles)
    return _make_plan(request, layout)


def _make_plan(request: InstallRequest, layout: LayoutChange) -> InstallationPlan:
    needs, disk, esp = request.needs, layout.disk, layout.esp
    made = {each.role: each.path for each in layout.after if each.fate in MADE}
    to_write = needs.content + needs.pair + 2 * needs.loader
    speed = _USB_SPEED if disk.transport == "usb" else _SPEED
    touched = {each.path: each for each in (disk, disk if esp is None else esp.disk)}
    firmware = request.target.firmware
    if firmware is None:
        # Of an ESP with other systems firmware starts what its own list names, and nothing else.
        firmware = FirmwareEntry.NONE if esp is None else FirmwareEntry.LAST
    return InstallationPlan(
        target=request.target,
        device=disk.path,
        expected=tuple(
            ExpectedDisk(
                path=each.path,
                identity=each.identity,
                table="" if each.table is None else each.table.digest,
            )
            for each in touched.values()
        ),
        before=layout.before,
        after=layout.after,
        erased=layout.erased,
        notes=(*layout.notes, *_notes(request, layout, firmware)),
        to_write=to_write,
        seconds=_OVERHEAD + to_write // speed,
        new_table=request.target.kind is TargetKind.DISK,
        esp=made[Role.ESP] if esp is None else esp.partition.path,
        state=made[Role.STATE],
        boot=made.get(Role.BOOT, layout.boot),
        home=request.target.home,
        encrypted=request.encrypted,
        firmware=firmware,
        replaces=layout.replaced,
    )


def _notes(request: InstallRequest, layout: LayoutChange, firmware: FirmwareEntry) -> Iterator[str]:
    esp = layout.esp
    if (
        esp is not None
        and layout.disk.table
        and TableFlaw.SECOND_DAMAGED in layout.disk.table.flaws
    ):
        yield (
            f"The second copy of the partition table of {layout.disk.name} is damaged: it is"
            " written anew from the first."
        )
    for disk in request.devices.disks:
        if disk.unreadable:
            yield f"{disk.name} cannot be read: whether a hibernated system is on it is not known."
    locked = [
        part.path.name
        for part in layout.disk.partitions
        if esp is not None and part.signature.kind == "BitLocker"
    ]
    if locked:
        yield (
            f"Windows is locked with BitLocker ({', '.join(locked)}): have its recovery key at"
            " hand, and shut it down with shutdown /s /t 0; whether it is hibernated cannot be"
            " seen."
        )
    yield _FIRMWARE_NOTES[firmware]

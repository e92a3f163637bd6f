"""What stands against an installation beside the system that runs, each with what to do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.installer.beside.old_system import FILE_SYSTEMS
from atoll.installer.devices.describe_devices import format_bytes
from atoll.installer.plan.find_esp import ChosenEsp, chosen_esp_obstacles
from atoll.installer.plan.install_request import LEAST_KERNELS
from atoll.installer.plan.obstacles import Obstacle, disk_obstacles
from atoll.machine.boot.loader_files import OWN
from atoll.machine.disk_layout import ESP_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.installer.beside.old_system import OldMount, OldSystem
    from atoll.installer.devices.block_devices import BlockDevices
    from atoll.installer.plan.partitioning import ImageNeeds

_PARTITION = "give Atoll a partition of its own instead: --free-space, --partition or --disk"
_OWN_PLACES = (f"{OWN.lower()}/", "atoll/")
"""Directories on the ESP that are Atoll's alone; in lower case."""
_STATE_SPARE = 256 << 20
"""Bytes: what a system writes in its first days."""


def system_obstacles(system: OldSystem, devices: BlockDevices) -> Iterator[Obstacle]:
    """Obstacles in the running system and its file system."""
    root = system.root
    if "debian" not in system.family:
        yield Obstacle(
            what=f"this computer runs {system.title}, and --beside knows Debian only",
            advice=_PARTITION,
        )
    yield from _device_obstacles(root, devices)
    if system.path is None and root.kind in FILE_SYSTEMS:
        yield Obstacle(
            what=f"the root directory is not where early boot would look for it on {root.device}:"
            f" it is {root.inside}",
            advice=_PARTITION,
        )
    if system.foreign:
        yield Obstacle(
            what="there is a directory /atoll already, which Atoll did not make",
            advice="move it elsewhere",
        )


def _device_obstacles(root: OldMount, devices: BlockDevices) -> Iterator[Obstacle]:
    if root.kind not in FILE_SYSTEMS:
        yield Obstacle(
            what=f"the root file system is {root.kind}, and Atoll boots from"
            f" {' or '.join(FILE_SYSTEMS)}",
            advice=_PARTITION,
        )
        return
    if root.stack:
        yield Obstacle(
            what=f"the root file system {root.device} is on {root.stack}, and --beside needs a"
            " partition",
            advice=_PARTITION,
        )
        return
    found = devices.find_partition(root.device)
    if found is None:
        yield Obstacle(
            what=f"the root file system is on {root.device}, which is no partition of a disk",
            advice=_PARTITION,
        )
        return
    disk, part = found
    yield from disk_obstacles(disk, devices)
    twins = [
        each.path
        for other in devices.disks
        for each in other.partitions
        if each.path != part.path
        and each.signature.uuid
        and each.signature.uuid == part.signature.uuid
    ]
    if twins:
        yield Obstacle(
            what=f"the root file system also lies on {twins[0]}, or was copied there: both have"
            " the same UUID",
            advice="Atoll finds it by its UUID, and needs it to be on one partition",
        )


def installed_obstacles(
    system: OldSystem, esp: ChosenEsp, devices: BlockDevices
) -> Iterator[Obstacle]:
    """That it is done: an entry on the ESP boots from the file system of the older system."""
    found = devices.find_partition(system.root.device)
    if found is not None and found[1].signature.uuid.lower() in esp.content.entry_uuids:
        yield Obstacle(
            what=f"an Atoll system is installed beside {system.title} already",
            advice="start it from the boot menu and upgrade it, or remove it: atoll install --undo",
        )


def space_obstacles(system: OldSystem, needs: ImageNeeds) -> Iterator[Obstacle]:
    needed = needs.content + _STATE_SPARE
    if system.free < needed:
        yield Obstacle(
            what=f"{system.root.device} has {format_bytes(system.free)} free, and the system needs"
            f" {format_bytes(needed)}",
            advice="make space: apt clean, journalctl --vacuum-size=100M; see: du -xh / | sort -h",
        )


def find_esp(
    system: OldSystem, named: Path | None, devices: BlockDevices
) -> tuple[ChosenEsp | None, tuple[Obstacle, ...]]:
    """The ESP that is named, else the one that is mounted, else that of the root's disk."""
    found = devices.find_partition(system.root.device)
    there = [] if found is None else [p.path for p in found[0].partitions if p.kind == ESP_TYPE]
    path = named or system.esp or (there[0] if len(there) == 1 else None)
    if path is None:
        advice = "name it with --esp; see: lsblk -o NAME,SIZE,PARTTYPENAME"
        return None, (Obstacle(what="no EFI system partition was found", advice=advice),)
    esp = devices.find_partition(path)
    content = devices.esp_content(path)
    if esp is None or content is None or esp[1].kind != ESP_TYPE:
        advice = "name one of that type with --esp; see: lsblk -o NAME,SIZE,PARTTYPENAME"
        return None, (Obstacle(what=f"{path} is not an EFI system partition", advice=advice),)
    return ChosenEsp(disk=esp[0], partition=esp[1], content=content), ()


def esp_obstacles(
    system: OldSystem, esp: ChosenEsp, needs: ImageNeeds, loader: str | None
) -> Iterator[Obstacle]:
    """``loader`` is that of the older system, None where none was found."""
    name = esp.partition.path
    yield from chosen_esp_obstacles(esp, ())
    if not esp.is_sound:
        return
    if loader is None:
        yield Obstacle(
            what=f"the ESP {name} has no boot loader of {system.title}",
            advice="name the ESP that this computer starts from with --esp; or install one:"
            " apt install grub-efi-amd64, then grub-install",
        )
    fits = esp.kernels(needs)
    if fits < LEAST_KERNELS and not system.recorded:
        room = LEAST_KERNELS * needs.pair + 2 * needs.loader
        yield Obstacle(
            what=f"the ESP {name} has {format_bytes(esp.content.free)} free, and"
            f" {LEAST_KERNELS} kernels with their initrds need {format_bytes(room)}",
            advice="remove what is not needed from it, make it larger, or name another one with"
            " --esp; --free-space makes a partition for kernels",
        )
    if system.recorded:
        return
    taken = sorted(path for path in esp.content.files if path.startswith(_OWN_PLACES))
    if taken:
        yield Obstacle(
            what=f"the ESP {name} has {taken[0]} already, which this installation would write",
            advice="remove it if nothing uses it (see: bootctl status), or name another ESP with"
            " --esp",
        )

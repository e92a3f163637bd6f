"""The plan of an installation beside the system that runs: from what there is to what is written.

The new system gets the directory ``/atoll`` at the top of the older one's file system, and files on
the ESP; nothing that is there is changed. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from atoll.installer.apply.machine_operations import format_home_line
from atoll.installer.beside.carry import CarriedItem, Item
from atoll.installer.beside.obstacles import (
    esp_obstacles,
    find_esp,
    installed_obstacles,
    space_obstacles,
    system_obstacles,
)
from atoll.installer.plan.obstacles import (
    Obstacle,
    firmware_obstacles,
    kept_system_obstacles,
    refuse,
)
from atoll.installer.plan.partitioning import ExpectedDisk
from atoll.machine.disk_layout import DEPLOYMENTS_KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from atoll.installer.beside.carry import Carried
    from atoll.installer.beside.old_system import OldMount, OldSystem
    from atoll.installer.devices.block_devices import BlockDevices, Disk
    from atoll.installer.plan.find_esp import ChosenEsp
    from atoll.installer.plan.partitioning import ImageNeeds

_SPEED, _OVERHEAD = 80_000_000, 30
"""Bytes in a second, and seconds for all else; for an estimate only."""
_HOME_KINDS = ("ext2", "ext3", "ext4", "btrfs", "xfs", "f2fs")


@dataclass(frozen=True, slots=True, kw_only=True)
class HomePlan:
    """``shared`` is the place of the home directories in the file system of the older system, or
    ``line`` is what ``/etc/fstab`` says of a partition of their own."""

    shared: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideRequest:
    """What a person asks for: ``esp`` is one that is named, ``home`` whether the new system has the
    home directories that are there."""

    carried: Carried
    esp: Path | None = None
    home: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BesidePlan:
    """``device`` is the partition of the older system; ``loader`` is the path of its boot loader on
    the ESP, which is partition ``esp_number`` of ``esp_disk``. ``home`` None: the new system has
    home directories of its own."""

    system: OldSystem
    device: Path
    esp: Path
    esp_disk: Path
    esp_number: int
    esp_uuid: str
    loader: str
    home: HomePlan | None
    carried: Carried
    expected: tuple[ExpectedDisk, ...]
    to_write: int
    seconds: int
    notes: tuple[str, ...] = field(compare=False)


def plan_beside(
    system: OldSystem, devices: BlockDevices, needs: ImageNeeds, request: BesideRequest
) -> BesidePlan:
    """Raises Refused with every obstacle."""
    esp, obstacles = find_esp(system, request.esp, devices)
    if esp is not None and system.recorded:
        refuse(installed_obstacles(system, esp, devices))
    loader = None
    if esp is not None:
        loader = find_loader(esp.content.files, needs.efi_name, system.family)
    home, against = plan_home(system, devices) if request.home else (None, ())
    refuse(
        (
            *firmware_obstacles(devices, needs.efi_name),
            *system_obstacles(system, devices),
            *obstacles,
            *(esp_obstacles(system, esp, needs, loader) if esp is not None else ()),
            *space_obstacles(system, needs),
            *kept_system_obstacles(devices, (), ()),
            *against,
            *(_conflict(each) for each in request.carried.conflicts),
        )
    )
    found = devices.find_partition(system.root.device)
    assert esp is not None and loader is not None and found is not None, "else refused"
    to_write = needs.content + needs.pair + 2 * needs.loader
    return BesidePlan(
        system=replace(system, free=0),
        device=found[1].path,
        esp=esp.partition.path,
        esp_disk=esp.disk.path,
        esp_number=esp.partition.number,
        esp_uuid=esp.partition.uuid.lower(),
        loader=loader,
        home=home,
        carried=_with_home(request.carried, home, found[1].path),
        expected=_expected(found[0], esp.disk),
        to_write=to_write,
        seconds=_OVERHEAD + to_write // _SPEED,
        notes=tuple(_notes(system, esp, needs)),
    )


def _with_home(carried: Carried, home: HomePlan | None, device: Path) -> Carried:
    if home is None:
        return carried
    detail = home.line.split()[0] if home.line else f"/{home.shared} on {device.name}"
    item = CarriedItem(item=Item.HOME, detail=f"the same ones, {detail}")
    return replace(carried, items=(*carried.items, item))


def find_loader(files: Iterable[str], efi_name: str, family: Iterable[str]) -> str | None:
    """The loader of the system that is there, from the root of the ESP: shim before GRUB itself,
    that of its distribution before one that firmware starts from the removable-media path. Paths
    in lower case."""
    found = sorted(files)
    names = (f"shim{efi_name}.efi", f"grub{efi_name}.efi")
    for vendor in family:
        for name in names:
            if f"efi/{vendor}/{name}" in found:
                return f"/EFI/{vendor}/{name}"
    if f"efi/boot/boot{efi_name}.efi" in found:
        return f"/EFI/BOOT/BOOT{efi_name.upper()}.EFI"
    return None


def plan_home(
    system: OldSystem, devices: BlockDevices
) -> tuple[HomePlan | None, tuple[Obstacle, ...]]:
    """Where the home directories are, so that the new system has them, too."""
    mounted = system.home
    if mounted is None:
        return HomePlan(shared=f"{system.path or ''}/home".lstrip("/")), ()
    if mounted.device == system.root.device:
        shared = mounted.inside.strip("/")
        is_plain = shared.isascii() and shared.isprintable()
        if (system.path or "") == system.root.inside.strip("/") and shared and is_plain:
            return HomePlan(shared=shared), ()
        return None, (_no_home(mounted, f"a subvolume that {system.root.device} hides"),)
    found = devices.find_partition(mounted.device)
    if mounted.stack or found is None:
        return None, (_no_home(mounted, mounted.stack or "no partition of a disk"),)
    signature = found[1].signature
    if signature.kind not in _HOME_KINDS or not signature.uuid:
        return None, (_no_home(mounted, signature.kind or mounted.kind),)
    line = format_home_line(signature)
    if mounted.inside != "/":
        if signature.kind != "btrfs":
            return None, (_no_home(mounted, f"the directory {mounted.inside} of it"),)
        line = line.replace(" defaults,", f" subvol={mounted.inside},")
    return HomePlan(line=line), ()


def _no_home(mounted: OldMount, why: str) -> Obstacle:
    return Obstacle(
        what=f"/home is {mounted.device}: {why}; the new system could not mount it",
        advice="leave it out: --without home; people get new home directories then",
    )


def _conflict(text: str) -> Obstacle:
    return Obstacle(
        what=text,
        advice="leave the accounts out with --without users, or change the recipe of the image",
    )


def _expected(*disks: Disk) -> tuple[ExpectedDisk, ...]:
    return tuple(
        ExpectedDisk(
            path=each.path,
            identity=each.identity,
            table="" if each.table is None else each.table.digest,
        )
        for each in {disk.path: disk for disk in disks}.values()
    )


def _notes(system: OldSystem, esp: ChosenEsp, needs: ImageNeeds) -> Iterator[str]:
    fits = esp.kernels(needs)
    if fits < DEPLOYMENTS_KEPT:
        yield (
            f"The ESP {esp.partition.path.name} is small: only {fits} kernels fit, so fewer old"
            " versions are kept."
        )
    if not system.verity:
        yield (
            f"{system.root.device} does not verify files as they are read (fs-verity), so damage to"
            " programs of the new system goes unnoticed. To change that first: tune2fs -O verity"
            f" {system.root.device}; this stays after --undo."
        )
    for place in system.below_home:
        yield f"What is mounted at {place} is not mounted in the new system."

"""Where kernels and boot entries go: on the ESP, or beside a small one on an XBOOTLDR partition.
Pure.

systemd-boot reads entries from its ESP and from one XBOOTLDR partition of the same disk: the one
with the lowest number. So where there is one, a second one is never made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.installer.devices.describe_devices import describe_signature, format_bytes
from atoll.installer.plan.find_esp import SPARE
from atoll.installer.plan.install_request import LEAST_KERNELS, boot_size
from atoll.installer.plan.obstacles import Obstacle, entry_obstacles
from atoll.machine.disk_layout import DEPLOYMENTS_KEPT, XBOOTLDR_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from atoll.installer.devices.block_devices import BlockDevices, DiskPartition, EspContent
    from atoll.installer.plan.find_esp import ChosenEsp
    from atoll.installer.plan.partitioning import ImageNeeds


@dataclass(frozen=True, slots=True, kw_only=True)
class BootPartition:
    """The XBOOTLDR partition that systemd-boot reads beside an ESP."""

    partition: DiskPartition
    content: EspContent

    @property
    def is_fat(self) -> bool:
        """Whether firmware can read it at all."""
        return self.partition.signature.kind == "vfat"

    @property
    def is_damaged(self) -> bool:
        return self.is_fat and bool(self.content.flaw)

    def kernels(self, needs: ImageNeeds) -> int:
        """How many kernels with their initrds fit beside what is there."""
        if not self.is_fat or self.is_damaged:
            return 0
        return max(0, self.content.free - SPARE) // needs.pair


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPlace:
    """``boot`` is a partition that is there; ``made``: a new one is made. With neither kernels go
    on the ESP. ``kernels`` is how many fit."""

    kernels: int
    boot: BootPartition | None = None
    made: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRequest:
    """``left`` are partitions that will be taken away, ``formatted`` those whose content goes.
    ``can_make``: the disk of ``esp`` has space for a new partition."""

    esp: ChosenEsp
    devices: BlockDevices
    needs: ImageNeeds
    left: tuple[DiskPartition, ...]
    formatted: tuple[DiskPartition, ...]
    can_make: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChoice:
    """``shared`` is a partition that was there and gets the kernels; ``made``: a new one does.
    ``replaced`` are partitions with entries or kernels of the system that is formatted."""

    esp: ChosenEsp | None = None
    shared: Path | None = None
    made: bool = False
    notes: tuple[str, ...] = ()
    replaced: tuple[Path, ...] = ()


NEW_ESP = KernelChoice()
"""Kernels go on an ESP that is made."""


def choose_kernel_place(request: KernelRequest, obstacles: list[Obstacle]) -> KernelChoice:
    """What stands against an installation goes to ``obstacles``."""
    esp, needs = request.esp, request.needs
    boot = find_boot_partition(esp, request.devices, request.left)
    gone = {each.signature.uuid.lower() for each in request.formatted if each.signature.uuid}
    sources = [esp.content]
    esp = replace(esp, content=_emptied(esp.content, gone))
    if boot is not None:
        obstacles.extend(_boot_obstacles(boot, request.formatted))
        sources.append(boot.content)
        boot = replace(boot, content=_emptied(boot.content, gone))
    place = place_kernels(esp, boot, needs, can_make=request.can_make)
    if place is None and esp.is_sound and (boot is None or not boot.is_damaged):
        obstacles.append(_no_place(esp, boot, needs))
    return KernelChoice(
        esp=esp,
        shared=place.boot.partition.path if place and place.boot else None,
        made=place is not None and place.made,
        notes=_notes(esp, place),
        replaced=tuple(
            content.partition
            for content in sources
            if content.entry_uuids & gone or _is_left(content, gone)
        ),
    )


def _is_left(content: EspContent, gone: set[str]) -> bool:
    """Whether its kernels of Atoll are those of a system that is formatted, or that a run which was
    cut has left: no entry of another one starts them."""
    return content.kernels > 0 and (not content.entry_uuids or bool(content.entry_uuids & gone))


def _emptied(content: EspContent, gone: set[str]) -> EspContent:
    """With the space of the kernels that are removed before anything is formatted."""
    freed = content.kernels if _is_left(content, gone) else 0
    return replace(content, free=content.free + freed)


def find_boot_partition(
    esp: ChosenEsp, devices: BlockDevices, left: Iterable[DiskPartition]
) -> BootPartition | None:
    """The one on the disk of ``esp``; those in ``left`` will be taken away."""
    gone = {each.path for each in left}
    found = [
        part for part in esp.disk.partitions if part.kind == XBOOTLDR_TYPE and part.path not in gone
    ]
    if not found:
        return None
    first = min(found, key=lambda part: part.number)
    content = devices.esp_content(first.path)
    assert content is not None, "every XBOOTLDR partition was read"
    return BootPartition(partition=first, content=content)


def _boot_obstacles(boot: BootPartition, replaced: Iterable[DiskPartition]) -> Iterator[Obstacle]:
    """The boot menu shows its entries too, wherever the kernels go."""
    name = boot.partition.path
    if boot.is_damaged:
        yield Obstacle(
            what=f"the boot loader partition {name} is damaged: {boot.content.flaw}",
            advice=f"repair it unmounted: fsck.fat -a {name}",
        )
    yield from entry_obstacles(f"the boot loader partition {name}", boot.content, replaced)


def place_kernels(
    esp: ChosenEsp, boot: BootPartition | None, needs: ImageNeeds, *, can_make: bool
) -> KernelPlace | None:
    """The place for as many kernels as a machine keeps, else for the most; None where not even two
    fit anywhere. ``can_make``: there is space for a new partition on the disk of ``esp``."""
    on_esp = KernelPlace(kernels=esp.kernels(needs))
    if not esp.fits_loader(needs):
        return None
    places = [on_esp]
    if boot is not None:
        places.append(KernelPlace(kernels=boot.kernels(needs), boot=boot))
    elif can_make:
        places.append(KernelPlace(kernels=DEPLOYMENTS_KEPT, made=True))
    # Of two places with enough space the first, which is the ESP.
    best = max(places, key=lambda place: min(place.kernels, DEPLOYMENTS_KEPT))
    return best if best.kernels >= LEAST_KERNELS else None


def _no_place(esp: ChosenEsp, boot: BootPartition | None, needs: ImageNeeds) -> Obstacle:
    """Why kernels, or not even the boot loader, fit anywhere."""
    free = f"the ESP {esp.partition.path} has {format_bytes(esp.content.free)} free"
    if not esp.fits_loader(needs):
        return Obstacle(
            what=f"{free}, and the boot loader needs {format_bytes(2 * needs.loader + SPARE)}",
            advice="remove what is not needed from it, or name another one with --esp",
        )
    wanted = f"two kernels with their initrds need {format_bytes(LEAST_KERNELS * needs.pair)}"
    if boot is None:
        advice = (
            "remove what is not needed from it, name a larger one with --esp, or leave"
            f" {format_bytes(boot_size(needs))} free on its disk for a partition for kernels"
        )
        return Obstacle(what=f"{free}, and {wanted}", advice=advice)
    name = boot.partition.path
    if boot.is_fat:
        there = f"the boot loader partition {name} has {format_bytes(boot.content.free)}"
        advice = "remove what is not needed from one of them, or name another ESP with --esp"
    else:
        what = describe_signature(boot.partition.signature) or "no file system that is known"
        there = f"the boot loader partition {name} has {what}, which firmware cannot read"
        advice = "remove what is not needed from the ESP, or name another one with --esp"
    return Obstacle(what=f"{free} and {there}; {wanted}", advice=advice)


def _notes(esp: ChosenEsp, place: KernelPlace | None) -> tuple[str, ...]:
    """What a person is told of a small ESP before the installation."""
    small = f"The ESP {esp.partition.path.name} is small"
    if place is None:
        return ()
    if place.made:
        return (f"{small}, so kernels go on a partition of their own.",)
    if place.boot is not None:
        small += f", so kernels go on {place.boot.partition.path.name}"
    if place.kernels < DEPLOYMENTS_KEPT:
        return (f"{small}: only {place.kernels} kernels fit, so fewer old versions are kept.",)
    return () if place.boot is None else (f"{small}.",)

"""``atoll disk --live --usb DEV``: the live system goes onto a stick, after its name is typed."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.cli.typed_confirmation import confirm_disk
from atoll.host.fs import require_root, temporary_directory
from atoll.installer.apply.write_stick import check_fits, find_stick, format_stick, write_stick
from atoll.installer.devices.read_devices import follow_links, read_block_devices
from atoll.machine.disk import LiveSpec, make_disk, plan_layout
from atoll.vm.qemu import temporary_place

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.cli.references import LocalImage
    from atoll.image.bootable import BootableImage
    from atoll.installer.apply.write_stick import Stick
    from atoll.machine.disk import DiskSpec


def require_stick(device: Path) -> Stick:
    """The disk that is meant. Raises MissingPrivilege, NotFound, UsageError or Refused."""
    require_root("writing to a disk")
    return find_stick(follow_links(device), read_block_devices())


def check_and_confirm(
    stick: Stick, bootable: BootableImage, spec: DiskSpec, yes_erase: str | None
) -> None:
    """Raises UsageError or Refused: the image is too large, or nobody wants it there."""
    check_fits(stick, plan_layout(bootable, spec).size)
    print(format_stick(stick), file=sys.stderr, flush=True)
    confirm_disk(stick.disk.path, yes_erase)


def put_on_stick(
    stick: Stick,
    bootable: BootableImage,
    image: LocalImage,
    spec: DiskSpec,
    reporter: Reporter,
) -> int:
    """Make the disk image, write it, and read it back; the bytes of the disk that it describes."""
    layout = plan_layout(bootable, spec)
    with temporary_directory(temporary_place(), prefix="atoll-stick-") as directory:
        file = directory / "live.img"
        make_disk(bootable, image.origin, file, source=image.store, spec=spec, reporter=reporter)
        write_stick(stick, file, layout, spec.identity, reporter)
    return layout.size


def fill_with_persistence(stick: Stick, bootable: BootableImage, spec: DiskSpec) -> DiskSpec:
    """``spec`` with a persistence partition in all of the space that the system leaves."""
    without = replace(spec, live=LiveSpec())
    size = stick.disk.identity.size - plan_layout(bootable, without).size
    check_fits(stick, stick.disk.identity.size - size)
    return replace(spec, live=LiveSpec(persistence=size))

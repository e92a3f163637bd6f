"""``atoll install --undo``: remove a system that was installed beside the one that runs.

::

    the firmware's list as it was ─ boot entries ─ all else on the ESP, last its directories
    all of /atoll but the record ─ the record, the directory, and the time of the root directory

Each step leaves a computer that starts the older system, and a record by which the next run goes
on. What has another content than Atoll wrote, or is in the way, stays and is named.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound
from atoll.host.fs import (
    OWN_LIMIT,
    fsync_directory,
    list_names,
    read_regular,
    remove_tree,
)
from atoll.host.run import require_program, run
from atoll.installer.apply.firmware_entries import FirmwareList, read_firmware_list
from atoll.machine.boot.boot_entries import ENTRIES, OLD_SYSTEM
from atoll.machine.boot.boot_entry import parse_entry_name
from atoll.machine.boot.esp_check import remove_checked
from atoll.machine.boot.loader_files import FALLBACK, LOADER_MARK, OWN
from atoll.machine.deployments.apply import apply_each, apply_operations
from atoll.machine.deployments.beside import RECORD
from atoll.machine.deployments.loader_operations import LOADER_SETTINGS, MENU_PATTERN
from atoll.machine.deployments.operations import SyncStatePartition

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.installer.devices.block_devices import BlockDevices
    from atoll.machine.deployments.beside import BesideRecord
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot

ATOLL = "atoll"
_LOADER = OWN.lower().replace("/", "\\") + "\\"
"""What the firmware's entries of Atoll's start with, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFirmwareList:
    """Remove Atoll's entry from the firmware's list, and give back its order."""

    record: BesideRecord

    def describe(self) -> str:
        return "give back the firmware's list of systems"

    def execute(self) -> None:
        program = require_program("efibootmgr", package="efibootmgr")
        before = read_firmware_list(program)
        own = find_own_entries(before, self.record)
        for number in own:
            run([program, "--quiet", "--delete-bootnum", "--bootnum", number])
        now = read_firmware_list(program)
        order = plan_order_back(self.record, now)
        if order and order != now.order:
            run([program, "--quiet", "--bootorder", ",".join(order)])


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveEspFile:
    """Remove a file of the ESP durably, if its clusters are its own."""

    esp: Path
    path: Path

    def describe(self) -> str:
        return f"remove {self.path.relative_to(self.esp)} from the ESP"

    def execute(self) -> None:
        if self.path.exists():
            remove_checked(self.esp, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveEspDirectory:
    """Remove a directory of the ESP that was not there before, if nobody has put anything in it."""

    esp: Path
    path: Path

    def describe(self) -> str:
        return f"remove the directory {self.path.relative_to(self.esp)} from the ESP"

    def execute(self) -> None:
        if self.path.is_dir() and not list_names(self.path):
            remove_checked(self.esp, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTimes:
    """Give directories of the ESP the times that they had."""

    esp: Path
    record: BesideRecord

    def describe(self) -> str:
        return "give back the times of directories on the ESP"

    def execute(self) -> None:
        for path, time in self.record.times.items():
            place = self.esp / path
            if place.is_dir():
                os.utime(place, ns=(time, time))
                fsync_directory(place)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveSystem:
    """Remove the new system with all that is its own, but for the record."""

    atoll: Path

    def describe(self) -> str:
        return f"remove {self.atoll}"

    def execute(self) -> None:
        for name in list_names(self.atoll):
            if name != RECORD:
                remove_tree(self.atoll / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRecord:
    """Remove the record and its directory; the root directory gets the time that it had."""

    top: Path
    time: int | None
    """In nanoseconds since 1970; None where no record says it."""

    def describe(self) -> str:
        return "remove the record of what was there before"

    def execute(self) -> None:
        (self.top / ATOLL / RECORD).unlink(missing_ok=True)
        (self.top / ATOLL).rmdir()
        if self.time is not None:
            status = self.top.stat()
            os.utime(self.top, ns=(status.st_atime_ns, self.time))
        fsync_directory(self.top)


def find_own_entries(firmware: FirmwareList, record: BesideRecord) -> tuple[str, ...]:
    """Entries that start the boot loader from the ESP, and were not there before."""
    return tuple(
        number
        for number, (_, path) in sorted(firmware.entries.items())
        if number not in record.entries and record.esp in path.lower() and _LOADER in path.lower()
    )


def find_esp_device(record: BesideRecord, devices: BlockDevices) -> Path:
    """The ESP that was used. Raises NotFound when it is not there."""
    parts = (part for disk in devices.disks for part in disk.partitions)
    found = next((part.path for part in parts if part.uuid.lower() == record.esp), None)
    if found is None:
        raise NotFound(
            f"the ESP with UUID {record.esp} is not there", hint="connect its disk; see: lsblk"
        )
    return found


def plan_order_back(record: BesideRecord, now: FirmwareList) -> tuple[str, ...]:
    """The order from before, without entries that are gone; what others have added since comes
    last. Empty where the order from before is not known."""
    if not record.order:
        return ()
    there = [number for number in record.order if number in now.entries or number in now.order]
    return (*there, *(number for number in now.order if number not in record.order))


def plan_undo(record: BesideRecord, sysroot: Sysroot) -> tuple[Operation, ...]:
    """All after the firmware's list; ``sysroot`` is mounted, with its ESP."""
    esp = sysroot.esp
    entries, others = _own_files(esp, record)
    below = sorted((esp / ATOLL).rglob("*"), reverse=True) if ATOLL in record.absent else []
    directories = sorted(
        (esp / path for path in record.absent if (esp / path).is_dir()), key=_depth, reverse=True
    )
    return (
        *(RemoveEspFile(esp=esp, path=path) for path in (*entries, *others)),
        *(RemoveEspDirectory(esp=esp, path=path) for path in below if path.is_dir()),
        *(RemoveEspDirectory(esp=esp, path=path) for path in directories),
        RestoreTimes(esp=esp, record=record),
        RemoveSystem(atoll=sysroot.atoll),
        SyncStatePartition(path=sysroot.root),
        RemoveRecord(top=sysroot.root, time=record.top_time),
    )


def apply_undo(record: BesideRecord, sysroot: Sysroot, reporter: Reporter) -> tuple[str, ...]:
    """Raises the first error but that of the firmware, which is returned with what stays."""
    warnings = apply_each((RestoreFirmwareList(record=record),))
    apply_operations(plan_undo(record, sysroot), reporter)
    left = [path for path in record.absent if (sysroot.esp / path).exists()]
    return (*warnings, *(f"{path} stays on the ESP: others have changed it" for path in left))


def _depth(path: Path) -> tuple[int, str]:
    return len(path.parts), str(path)


def _own_files(esp: Path, record: BesideRecord) -> tuple[list[Path], list[Path]]:
    """Boot entries, and all other files of Atoll's."""
    folder = esp / ENTRIES
    entries = [
        folder / name
        for name in list_names(folder)
        if name == OLD_SYSTEM or parse_entry_name(name) is not None
    ]
    files = [esp / path for path in sorted(record.absent) if _is_own(esp / path, esp)]
    if any(not _is_own(path, esp) for path in (esp / FALLBACK).glob("grub*.efi")):
        # grub-install has taken the removable-media path since. Its shim is Debian's, byte for byte
        # that of Atoll's, and needs to stay where it starts GRUB.
        files = [path for path in files if path.parent != esp / FALLBACK]
    # The loader's own directory after EFI/BOOT: it tells whose the files there are.
    for own in (OWN, ATOLL):
        if own in record.absent:
            files += [path for path in sorted((esp / own).rglob("*")) if path.is_file()]
    return entries, files


def _is_own(path: Path, esp: Path) -> bool:
    """Whether a file has the content that Atoll wrote, or that a cut has left of it."""
    if not path.is_file():
        return False
    content = read_regular(path, limit=OWN_LIMIT)
    if path == esp / LOADER_SETTINGS:
        return MENU_PATTERN in content or not content.rstrip(b"\0")
    loaders = [read_regular(each, limit=OWN_LIMIT) for each in (esp / OWN).glob("*.efi")]
    is_beginning = any(each.startswith(content.rstrip(b"\0")) for each in loaders)
    return is_beginning or LOADER_MARK in content

"""Boot entries of the firmware (NVRAM), written by efibootmgr: first or last in the boot order.

Firmware is known to forget entries, to start only its removable-media path or Windows', and to have
no space for one more. So the entry is written when the system is complete, and what fails here is a
warning that says how the system starts all the same.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, ProgramFailed
from atoll.host.run import require_program, run
from atoll.installer.apply.disk_operations import read_partition_uuid

if TYPE_CHECKING:
    from pathlib import Path

LABEL = "Atoll"
_ENTRY = re.compile(r"Boot([0-9A-F]{4})\*? ([^\t]*)\t?(.*)", re.IGNORECASE)
_ORDER = re.compile(r"BootOrder: ([0-9A-F,]+)", re.IGNORECASE)
_VARIABLES = "/sys/firmware/efi/efivars"
_REASONS = {
    "No space left on device": "the firmware's memory for its variables is full; make space:"
    f" rm {_VARIABLES}/dump-* (reports of kernels that crashed), or delete an entry that is not"
    " needed: efibootmgr --delete-bootnum --bootnum NUMBER",
    "Read-only file system": f"the firmware's variables are mounted read-only; mount -o remount,rw"
    f" {_VARIABLES} makes them writable",
    "not supported on this system": "this system was started without access to the firmware's"
    " variables (noefi, efi=noruntime)",
}
"""Why it failed and what to do, by a part of what efibootmgr says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareList:
    """``order`` has the numbers, four hex digits each, that are tried one after the other;
    ``entries`` has label and device path of each that is there."""

    order: tuple[str, ...]
    entries: dict[str, tuple[str, str]]

    def find(self, partition: str, loader: str) -> str | None:
        """The number of the entry that starts ``loader`` from the partition with this UUID. The
        loaders of all disks have the same path, so without a UUID there would be no telling."""
        for number, (_, path) in self.entries.items():
            here = partition != "" and partition.lower() in path.lower()
            if here and loader.lower() in path.lower():
                return number
        return None


def parse_firmware_list(text: str) -> FirmwareList:
    """What ``efibootmgr --verbose`` prints."""
    order: tuple[str, ...] = ()
    entries = {}
    for line in text.splitlines():
        ordered, entry = _ORDER.fullmatch(line.strip()), _ENTRY.fullmatch(line.rstrip())
        if ordered is not None:
            order = tuple(ordered[1].upper().split(","))
        elif entry is not None:
            entries[entry[1].upper()] = (entry[2], entry[3])
    return FirmwareList(order=order, entries=entries)


def plan_order(order: tuple[str, ...], number: str, *, first: bool) -> tuple[str, ...]:
    """``order`` with ``number`` at one end; all others stay in their order. One that is in it
    already keeps its place unless it shall be the first."""
    if number in order and not first:
        return order
    others = tuple(each for each in order if each != number)
    return (number, *others) if first else (*others, number)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddFirmwareEntry:
    """Let the firmware's list name the boot loader of the new system; other entries stay."""

    disk: Path
    number: int
    esp: Path
    """Partition ``number`` of ``disk``."""
    loader: str
    """Its path on the ESP, with backslashes."""
    first: bool

    def describe(self) -> str:
        return f"add {LABEL} to the firmware's list of systems"

    def execute(self) -> None:
        """Raises AtollError, which says how the system starts without an entry."""
        try:
            self._add(require_program("efibootmgr", package="efibootmgr"))
        except AtollError as error:
            raise AtollError(describe_failure(self, error)) from error

    def _add(self, program: str) -> None:
        uuid = read_partition_uuid(self.esp)
        before = read_firmware_list(program)
        found = before.find(uuid, self.loader)
        if found is None:
            run([program, "--quiet", "--create-only", *self.words()])
            found = read_firmware_list(program).find(uuid, self.loader)
        if found is None:
            raise Damaged("the firmware did not keep the new entry")
        order = plan_order(before.order, found, first=self.first)
        if order != before.order:
            run([program, "--quiet", "--bootorder", ",".join(order)])

    def words(self) -> tuple[str, ...]:
        """What describes the entry to efibootmgr."""
        where = ("--disk", str(self.disk), "--part", str(self.number), "--loader", self.loader)
        return ("--label", LABEL, *where)


def read_firmware_list(program: str) -> FirmwareList:
    """``program`` is efibootmgr. Raises ProgramFailed where variables cannot be read."""
    return parse_firmware_list(run([program, "--verbose"]).decode(errors="replace"))


def describe_failure(entry: AddFirmwareEntry, error: AtollError) -> str:
    """Why the entry was not added, and how the new system, which is complete, starts. Pure."""
    reason = error.message
    if isinstance(error, ProgramFailed):
        known = (why for said, why in _REASONS.items() if said in error.stderr_tail)
        last = error.stderr_tail.strip().splitlines()[-1:] or [f"status {error.status}"]
        reason = next(known, f"efibootmgr failed: {last[0]}")
    again = shlex.join(("efibootmgr", "--create", *entry.words()))
    return (
        f"{reason}. The new system is complete: choose {entry.disk} in the firmware's boot menu,"
        r" which starts \EFI\BOOT\BOOTX64.EFI. Where that belongs to another system, add the entry"
        f" later: {again}"
    )

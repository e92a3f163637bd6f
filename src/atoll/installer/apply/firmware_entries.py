"""Boot entries of the firmware (NVRAM), written by efibootmgr: first or last in the boot order.

Firmware is known to forget entries, to start only its removable-media path or Windows', and to have
no space for one more. So an entry is never what a system needs alone, and what fails here is a
warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.host.run import require_program, run

if TYPE_CHECKING:
    from pathlib import Path

LABEL = "Atoll"
_ENTRY = re.compile(r"Boot([0-9A-F]{4})\*? ([^\t]*)\t?(.*)", re.IGNORECASE)
_ORDER = re.compile(r"BootOrder: ([0-9A-F,]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareList:
    """``order`` has the numbers, four hex digits each, that are tried one after the other;
    ``entries`` has label and device path of each that is there."""

    order: tuple[str, ...]
    entries: dict[str, tuple[str, str]]

    def find(self, partition: str, loader: str) -> str | None:
        """The number of the entry that starts ``loader`` from the partition with this UUID."""
        for number, (_, path) in self.entries.items():
            if partition.lower() in path.lower() and loader.lower() in path.lower():
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
    uuid: str
    """Of the ESP in the partition table."""
    loader: str
    """Its path on the ESP, with backslashes."""
    first: bool

    def describe(self) -> str:
        return f"add {LABEL} to the firmware's list of systems"

    def execute(self) -> None:
        program = require_program("efibootmgr", package="efibootmgr")
        before = parse_firmware_list(run([program, "--verbose"]).decode(errors="replace"))
        found = before.find(self.uuid, self.loader)
        if found is None:
            where = ("--disk", self.disk, "--part", str(self.number), "--loader", self.loader)
            run([program, "--quiet", "--create-only", "--label", LABEL, *where])
            after = parse_firmware_list(run([program, "--verbose"]).decode(errors="replace"))
            found = after.find(self.uuid, self.loader)
        if found is None:
            raise Damaged(
                "the firmware did not keep the new entry",
                hint="choose the disk in the firmware's boot menu; see: efibootmgr",
            )
        order = plan_order(before.order, found, first=self.first)
        if order != before.order:
            run([program, "--quiet", "--bootorder", ",".join(order)])

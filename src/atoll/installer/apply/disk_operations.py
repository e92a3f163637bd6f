"""Operations on a disk: its partition table, and new file systems.

A whole disk gets its table by sfdisk. A table with partitions of others is changed by
``tree.gpt.plan_changes``: block by block, so that a power cut leaves the old table or the new one;
sfdisk writes over the one copy that Linux reads.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from atoll.base.errors import Damaged, ProgramFailed, Refused
from atoll.host.run import require_program, run
from atoll.installer.devices.block_devices import partition_path
from atoll.machine.disk_layout import EXT4_OPTIONS, FAT_OPTIONS, MIB, STATE_OPTIONS
from atoll.machine.grow import apply_writes
from atoll.tree.gpt import (
    ENTRY,
    GptEntry,
    has_spare_place,
    parse_entry,
    parse_header,
    parse_table,
    plan_changes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.installer.plan.partitioning import PlannedPartition
    from atoll.tree.gpt import BlockWrite, GptTable

_KNOWN = Path("/sys/class/block")
NODE_SECONDS = 10
"""How long a new partition may take to appear in /dev."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTable:
    """Give a disk a new partition table. What its signatures said of the old content goes."""

    disk: Path
    sector: int
    partitions: tuple[PlannedPartition, ...]

    def describe(self) -> str:
        return f"write a new partition table to {self.disk}"

    def execute(self) -> None:
        words = ("--quiet", "--lock=no", "--no-reread", "--no-tell-kernel")
        wipe = ("--wipe", "always", "--wipe-partitions", "always")
        script = format_script(self.partitions, self.sector).encode()
        run([require_program("sfdisk", package="fdisk"), *words, *wipe, self.disk], stdin=script)
        _flush(self.disk)


def format_script(partitions: tuple[PlannedPartition, ...], sector: int) -> str:
    """A new GPT as sfdisk reads it."""
    lines = ["label: gpt", f"first-lba: {MIB // sector}"]
    for each in partitions:
        flags = f', attrs="{each.flags}"' if each.flags else ""
        lines.append(
            f"{each.number} : start={each.start // sector}, size={each.size // sector},"
            f" type={each.kind}, name={each.name}{flags}"
        )
    return "\n".join([*lines, ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTable:
    """Remove partitions of a GPT, add new ones, and give others their type, flags and name.

    ``uuids`` are those of the new partitions, by number.
    """

    disk: Path
    sector: int
    removed: tuple[int, ...]
    written: tuple[PlannedPartition, ...]
    uuids: Mapping[int, UUID] = field(default_factory=dict)

    def describe(self) -> str:
        words = [f"remove partition {number}" for number in self.removed]
        words += [f"write partition {each.number}" for each in self.written]
        return f"change the partition table of {self.disk}: {', '.join(words)}"

    def execute(self) -> None:
        with self.disk.open("r+b", buffering=0) as disk:
            apply_writes(disk.fileno(), self.plan_writes(disk.fileno()), self.sector)

    def plan_writes(self, disk: int) -> tuple[BlockWrite, ...]:
        """What is written to the disk that is open under ``disk``. Raises Damaged or Refused."""
        table = read_table_of(disk, self.disk, self.sector)
        if not has_spare_place(table):
            raise Refused(
                f"the partition table of {self.disk} has no space for a change that a power cut"
                " cannot damage: its first partition begins too early",
                hint="move it to 1 MiB (gparted does), or use the whole disk with --disk",
            )
        changes: dict[int, GptEntry | None] = dict.fromkeys(self.removed)
        for each in self.written:
            changes[each.number] = self._entry(each, table)
        return plan_changes(table, changes)

    def _entry(self, part: PlannedPartition, table: GptTable) -> GptEntry:
        there = parse_entry(table.entries[(part.number - 1) * ENTRY : part.number * ENTRY])
        new = self.uuids.get(part.number)
        if new is None and there is None:
            raise Damaged(f"{part.path} is no longer in the partition table of {self.disk}")
        return GptEntry(
            kind=UUID(part.kind),
            uuid=new or (there.uuid if there else uuid4()),
            first=part.start // self.sector,
            last=part.end // self.sector - 1,
            flags=parse_flags(part.flags),
            name=part.name,
        )


def read_table_of(handle: int, disk: Path, sector: int) -> GptTable:
    """The first copy of the GPT of an open disk. Raises Damaged."""
    try:
        header = parse_header(os.pread(handle, sector, sector), lba=1)
        entries = os.pread(handle, header.count * ENTRY, header.entries_lba * sector)
        return parse_table(header, entries, block=sector)
    except Damaged as error:
        raise Damaged(f"{disk}: {error.message}", hint=error.hint) from error


def parse_flags(text: str) -> int:
    """The bits of sfdisk's ``RequiredPartition GUID:59,63``."""
    named = {"RequiredPartition": 0, "NoBlockIOProtocol": 1, "LegacyBIOSBootable": 2}
    bits = 0
    for word in text.split():
        if word in named:
            bits |= 1 << named[word]
        for number in word.removeprefix("GUID:").split(","):
            bits |= 1 << int(number) if number.isdecimal() else 0
    return bits


@dataclass(frozen=True, slots=True, kw_only=True)
class TellKernel:
    """Let the kernel know the new partitions, and wait for their devices. ``removed`` None: it
    forgets all that it knew of the disk, which may be more than the last table had."""

    disk: Path
    removed: tuple[int, ...] | None
    added: tuple[PlannedPartition, ...]

    def describe(self) -> str:
        return f"let the kernel use the new partitions of {self.disk}"

    def execute(self) -> None:
        partx = require_program("partx", package="util-linux")
        for number in _known_numbers(self.disk) if self.removed is None else self.removed:
            if (_KNOWN / partition_path(self.disk, number).name).exists():
                run([partx, "--delete", "--nr", str(number), self.disk])
        for each in self.added:
            run([partx, "--add", "--nr", str(each.number), self.disk])
        for each in self.added:
            self._wait_for(each)

    def _wait_for(self, part: PlannedPartition) -> None:
        known = _KNOWN / part.path.name
        ends = time.monotonic() + NODE_SECONDS
        while not (known.exists() and part.path.is_block_device()):
            if time.monotonic() > ends:
                raise Damaged(
                    f"the kernel does not show {part.path}, which was just made",
                    hint="restart the computer, then install again",
                )
            time.sleep(0.05)
        if int((known / "start").read_text()) * 512 != part.start:
            raise Damaged(f"{part.path} is not where it was made", hint="see: dmesg")


def _known_numbers(disk: Path) -> list[int]:
    """The partitions that the kernel knows of a disk."""
    return sorted(int(path.read_text()) for path in (_KNOWN / disk.name).glob("*/partition"))


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeFat:
    """An ESP or a partition for kernels: FAT32, as ``atoll disk`` makes it."""

    device: Path
    label: str

    def describe(self) -> str:
        return f"make a FAT file system on {self.device}"

    def execute(self) -> None:
        program = require_program("mkfs.vfat", package="dosfstools")
        run([program, *FAT_OPTIONS, "-n", self.label, self.device])
        _flush(self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeExt4:
    """The state partition: ext4 with verity, as ``atoll disk`` makes it."""

    device: Path
    uuid: UUID

    def describe(self) -> str:
        return f"make an ext4 file system on {self.device}"

    def execute(self) -> None:
        program = require_program("mke2fs", package="e2fsprogs")
        extended = "root_owner=0:0"
        run(
            [
                program,
                "-q",
                "-F",
                *EXT4_OPTIONS,
                *STATE_OPTIONS,
                "-m",
                "0",
                "-U",
                str(self.uuid),
                "-E",
                extended,
                self.device,
            ]
        )
        _flush(self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFileSystem:
    """Read a file system back from the disk, unmounted, by the program that repairs it."""

    device: Path
    kind: str

    def describe(self) -> str:
        return f"check the {self.kind} file system on {self.device}"

    def execute(self) -> None:
        if self.kind == "ext4":
            words = [require_program("e2fsck", package="e2fsprogs"), "-f", "-n"]
        else:
            words = [require_program("fsck.fat", package="dosfstools"), "-n"]
        try:
            run([*words, self.device])
        except ProgramFailed as error:
            raise Damaged(
                f"{self.device} does not read back as it was written: {error.stderr_tail.strip()}",
                hint="the disk may be failing; see: journalctl -k",
            ) from error


def read_partition_uuid(partition: Path) -> str:
    """The UUID that the partition table gives it. Raises Damaged."""
    program = require_program("blkid", package="util-linux")
    words = (program, "--probe", "--match-tag", "PART_ENTRY_UUID", "--output", "value")
    found = run([*words, partition]).decode().strip()
    if not found:
        raise Damaged(f"{partition} has no UUID in its partition table", hint="see: blkid -p")
    return found


def _flush(device: Path) -> None:
    handle = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

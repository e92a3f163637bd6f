"""The log of a disk's writes that QEMU's blklogwrites driver keeps, and its replay.

    sector 0      magic, version (8 bytes each), count of entries (8), size of a sector (4)
    from then on  for each entry one sector: first sector, count of sectors, flags,
                  length of data (8 bytes each), and then the data, unless it is a discard

All numbers are little-endian. A killed QEMU leaves a log whose count covers what was written.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

from vmtest.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

MAGIC = 0x6A736677736872
VERSION = 1
SUPER = struct.Struct("<QQQL")
ENTRY = struct.Struct("<QQQQ")


class Flag(IntFlag):
    """What kind of request an entry is."""

    FLUSH = 1
    FUA = 2
    DISCARD = 4
    MARK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request as the disk received it."""

    flags: Flag
    offset: int
    size: int
    data: bytes = b""

    def is_barrier(self) -> bool:
        """All writes before it are on the disk when it is done."""
        return bool(self.flags & Flag.FLUSH)


def read_log(path: Path) -> list[Entry]:
    """All requests in the order in which the disk received them."""
    with path.open("rb") as file:
        return parse_log(file)


def parse_log(file: BinaryIO) -> list[Entry]:
    head = file.read(SUPER.size)
    if len(head) < SUPER.size:
        raise MachineError("the write log is empty")
    magic, version, count, sector = SUPER.unpack(head)
    if (magic, version) != (MAGIC, VERSION) or sector < SUPER.size:
        raise MachineError("the write log is of another kind")
    file.seek(sector)
    return [_parse_entry(file, sector) for _ in range(count)]


def _parse_entry(file: BinaryIO, sector: int) -> Entry:
    head = file.read(sector)
    if len(head) < sector:
        raise MachineError("the write log is cut off")
    first, count, bits, _ = ENTRY.unpack_from(head)
    flags = Flag(bits)
    size = count * sector
    data = b"" if flags & Flag.DISCARD else file.read(size)
    if not flags & Flag.DISCARD and len(data) < size:
        raise MachineError("the write log is cut off")
    return Entry(flags=flags, offset=first * sector, size=size, data=data)


def flush_points(log: Sequence[Entry]) -> list[int]:
    """How many entries a flush made safe, for each flush."""
    return [number for number, entry in enumerate(log, 1) if entry.is_barrier()]


def replay(log: Sequence[Entry], image: Path) -> None:
    """Apply requests to an image: a prefix of a log, or a choice of writes since a flush."""
    with image.open("r+b") as file:
        for entry in log:
            file.seek(entry.offset)
            # A discarded range may read as anything; zeros are what most disks give.
            file.write(bytes(entry.size) if entry.flags & Flag.DISCARD else entry.data)

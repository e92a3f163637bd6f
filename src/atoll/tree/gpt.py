"""A GUID partition table as bytes: read it, and write it again with a larger last partition.

::

    block 0                a protective MBR
    block 1                the header: where the entries are, the disk's last block, checksums
    from 2, or wherever    the entries, 128 bytes each
    the last blocks        the second entries and, in the very last block, the second header

The specification lets the first header name any place for its entries. So there is no moment
without a valid table while one is changed: new entries go where neither copy has its own, and one
block, the header, makes them the table.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from uuid import UUID

from atoll.base.errors import Damaged

SIGNATURE = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = 128
_MOST_ENTRIES = 1024
_GROWS = 1 << 59
"""The flag of a partition that may fill its disk, by the Discoverable Partitions Specification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """``number`` counts from 1; ``first`` and ``last`` are blocks, both its own. ``grows``: whoever
    made it wants it to fill the disk."""

    number: int
    kind: UUID
    first: int
    last: int
    grows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GptHeader:
    """A header of 92 bytes as it stands in its block."""

    here: int
    other: int
    first_usable: int
    last_usable: int
    disk: bytes
    entries_at: int
    count: int
    entries_sum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GptTable:
    """The first header and all entries; ``block`` is the size of a block in bytes."""

    header: GptHeader
    entries: bytes
    block: int

    @property
    def partitions(self) -> tuple[Partition, ...]:
        found = []
        for number in range(1, self.header.count + 1):
            entry = self.entries[(number - 1) * ENTRY : number * ENTRY]
            kind = UUID(bytes_le=entry[:16])
            if kind.int:
                first, last, flags = struct.unpack_from("<QQQ", entry, 32)
                found.append(
                    Partition(
                        number=number, kind=kind, first=first, last=last, grows=bool(flags & _GROWS)
                    )
                )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWrite:
    """Bytes that go to block ``at``."""

    at: int
    data: bytes


def parse_header(data: bytes, *, here: int) -> GptHeader:
    """The header in block ``here``. Raises Damaged."""
    if len(data) < _HEADER.size:
        raise Damaged("the partition table is truncated")
    (
        mark,
        _revision,
        size,
        checksum,
        _zero,
        own,
        other,
        first,
        last,
        disk,
        entries_at,
        count,
        width,
        entries_sum,
    ) = _HEADER.unpack_from(data)
    if mark != SIGNATURE or size != _HEADER.size or own != here or width != ENTRY:
        raise Damaged("the disk has no partition table that Atoll supports")
    if zlib.crc32(data[:16] + bytes(4) + data[20:size]) != checksum or count > _MOST_ENTRIES:
        raise Damaged("the header of the partition table is damaged")
    return GptHeader(
        here=own,
        other=other,
        first_usable=first,
        last_usable=last,
        disk=disk,
        entries_at=entries_at,
        count=count,
        entries_sum=entries_sum,
    )


def parse_table(header: GptHeader, entries: bytes, *, block: int) -> GptTable:
    """Raises Damaged when ``entries`` are not those of ``header``."""
    if len(entries) != header.count * ENTRY or zlib.crc32(entries) != header.entries_sum:
        raise Damaged("the entries of the partition table are damaged")
    return GptTable(header=header, entries=entries, block=block)


def format_header(header: GptHeader) -> bytes:
    def pack(checksum: int) -> bytes:
        return _HEADER.pack(
            SIGNATURE,
            0x10000,
            _HEADER.size,
            checksum,
            0,
            header.here,
            header.other,
            header.first_usable,
            header.last_usable,
            header.disk,
            header.entries_at,
            header.count,
            ENTRY,
            header.entries_sum,
        )

    return pack(zlib.crc32(pack(0)))


def plan_growth(
    table: GptTable, number: int, *, blocks: int, mbr: bytes
) -> tuple[tuple[BlockWrite, ...], int] | None:
    """What lets partition ``number`` end where a disk of so many blocks ends, and its new last
    block; None when it is not the last one, ends there already, or has no flag to grow: a person
    who partitioned the disk by hand may have left room for something else. ``mbr`` is block 0.

    The writes are to be durable one by one: up to the last of them the old table holds, from it on
    the new one.
    """
    header, block = table.header, table.block
    room = -(-len(table.entries) // block)
    alignment = max(1, (1 << 20) // block)
    usable = blocks - 2 - room
    own = next((each for each in table.partitions if each.number == number), None)
    others = [each for each in table.partitions if each.number != number]
    # A whole MiB stays free: the second table's place, whatever tool writes it next.
    last = (blocks // alignment - 1) * alignment - 1
    if own is None or not own.grows or last <= own.last:
        return None
    if any(each.last > own.first for each in others):
        return None
    entries = bytearray(table.entries)
    struct.pack_into("<Q", entries, (number - 1) * ENTRY + 40, last)
    spare = 2 + room if header.entries_at == 2 else 2
    if max(2, spare) + room > header.first_usable:
        return None
    summed = zlib.crc32(entries)
    first = replace(
        header, other=blocks - 1, last_usable=usable, entries_at=spare, entries_sum=summed
    )
    second = replace(first, here=blocks - 1, other=1, entries_at=blocks - 1 - room)
    padded = bytes(entries).ljust(room * block, b"\0")
    return (
        BlockWrite(at=second.entries_at, data=padded),
        BlockWrite(at=second.here, data=format_header(second).ljust(block, b"\0")),
        *_protective(mbr, blocks),
        BlockWrite(at=first.entries_at, data=padded),
        BlockWrite(at=first.here, data=format_header(first).ljust(block, b"\0")),
    ), last


def _protective(mbr: bytes, blocks: int) -> tuple[BlockWrite, ...]:
    """The MBR tells old tools that the whole disk is taken; one that says more stays as it is."""
    if mbr[450] != 0xEE or any(mbr[462:510]):
        return ()
    size = struct.pack("<I", min(blocks - 1, 0xFFFFFFFF))
    return (BlockWrite(at=0, data=mbr[:458] + size + mbr[462:]),)

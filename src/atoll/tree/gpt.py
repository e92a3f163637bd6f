"""A GUID partition table (UEFI specification, chapter 5): parse it, and change its partitions.

::

    block 0                the protective MBR
    block 1                the primary header: address of the entries, last block, checksums
    from 2, or elsewhere   the entries, 128 bytes each
    the last blocks        the backup entries and, in the very last block, the backup header

The header says where its entries are, which may be anywhere before the first usable block. So the
change is atomic: new entries are written where neither copy has its own, and writing one block, the
header, makes them valid.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

from atoll.base.errors import Damaged

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNATURE = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
ENTRY = 128
_ENTRIES_LIMIT = 1024
_GROW_FLAG = 1 << 59
"""The grow-file-system flag of the Discoverable Partitions Specification (attribute bit 59)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A used entry.

    ``number`` counts from 1. ``kind`` is the type GUID. ``first`` and ``last`` are block numbers,
    both included. ``grows``: the flag to grow is set.
    """

    number: int
    kind: UUID
    first: int
    last: int
    grows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GptEntry:
    """An entry of the table. ``kind`` is the type GUID, ``uuid`` the partition's own, ``first`` and
    ``last`` are block numbers, both included, and ``flags`` the attribute bits."""

    kind: UUID
    uuid: UUID
    first: int
    last: int
    flags: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GptHeader:
    """A header of 92 bytes. Its LBAs are block numbers; the other header is at
    ``alternate_lba``."""

    my_lba: int
    alternate_lba: int
    first_usable: int
    last_usable: int
    disk_guid: bytes
    entries_lba: int
    count: int
    entries_crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GptTable:
    """The primary header and all entries; ``block`` is the size of a block in bytes."""

    header: GptHeader
    entries: bytes
    block: int

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The used entries, by number."""
        found = []
        for number in range(1, self.header.count + 1):
            entry = self.entries[(number - 1) * ENTRY : number * ENTRY]
            kind = UUID(bytes_le=entry[:16])
            if kind.int:
                first, last, flags = struct.unpack_from("<QQQ", entry, 32)
                found.append(
                    Partition(
                        number=number,
                        kind=kind,
                        first=first,
                        last=last,
                        grows=bool(flags & _GROW_FLAG),
                    )
                )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWrite:
    """Bytes to write at block number ``at``."""

    at: int
    data: bytes


def parse_header(data: bytes, *, lba: int) -> GptHeader:
    """Parse and check the header in block number ``lba``. Raises Damaged."""
    if len(data) < _HEADER.size:
        raise Damaged("the partition table is truncated")
    (
        signature,
        _revision,
        size,
        checksum,
        _zero,
        own,
        alternate,
        first,
        last,
        disk_guid,
        entries_lba,
        count,
        width,
        entries_crc,
    ) = _HEADER.unpack_from(data)
    if signature != SIGNATURE or size != _HEADER.size or own != lba or width != ENTRY:
        raise Damaged("the disk has no partition table that Atoll supports")
    if zlib.crc32(data[:16] + bytes(4) + data[20:size]) != checksum or count > _ENTRIES_LIMIT:
        raise Damaged("the header of the partition table is damaged")
    return GptHeader(
        my_lba=own,
        alternate_lba=alternate,
        first_usable=first,
        last_usable=last,
        disk_guid=disk_guid,
        entries_lba=entries_lba,
        count=count,
        entries_crc=entries_crc,
    )


def parse_table(header: GptHeader, entries: bytes, *, block: int) -> GptTable:
    """Check ``entries`` against ``header``; ``block`` is the block size. Raises Damaged."""
    if len(entries) != header.count * ENTRY or zlib.crc32(entries) != header.entries_crc:
        raise Damaged("the entries of the partition table are damaged")
    return GptTable(header=header, entries=entries, block=block)


def format_header(header: GptHeader) -> bytes:
    """The 92 bytes of a header, with its checksum."""

    def pack(checksum: int) -> bytes:
        return _HEADER.pack(
            SIGNATURE,
            0x10000,
            _HEADER.size,
            checksum,
            0,
            header.my_lba,
            header.alternate_lba,
            header.first_usable,
            header.last_usable,
            header.disk_guid,
            header.entries_lba,
            header.count,
            ENTRY,
            header.entries_crc,
        )

    return pack(zlib.crc32(pack(0)))


def plan_growth(
    table: GptTable, number: int, *, blocks: int, mbr: bytes
) -> tuple[tuple[BlockWrite, ...], int] | None:
    """Plan to grow partition ``number`` to the end of a disk of ``blocks`` blocks.

    Returns the writes and the partition's new last block. None if it is not the last partition,
    already ends there, or does not have the flag to grow: whoever partitioned the disk by hand may
    have left space for something else. ``mbr`` is the content of block 0.

    Sync after each write, in this order: the old table is valid until the last write, and the new
    one from then on.
    """
    header, block = table.header, table.block
    entry_blocks = -(-len(table.entries) // block)
    alignment = max(1, (1 << 20) // block)
    usable = blocks - 2 - entry_blocks
    own = next((each for each in table.partitions if each.number == number), None)
    others = [each for each in table.partitions if each.number != number]
    # Leave a whole MiB for the backup table, in whatever size another tool may write it.
    last = (blocks // alignment - 1) * alignment - 1
    if own is None or not own.grows or last <= own.last:
        return None
    if any(each.last > own.first for each in others):
        return None
    entries = bytearray(table.entries)
    struct.pack_into("<Q", entries, (number - 1) * ENTRY + 40, last)
    if _spare(table) + entry_blocks > header.first_usable:
        return None
    grown = replace(header, alternate_lba=blocks - 1, last_usable=usable)
    return _rewrite(table, grown, bytes(entries), _protective(mbr, blocks)), last


def parse_entry(data: bytes) -> GptEntry | None:
    """Parse an entry of 128 bytes; None for an unused one."""
    kind, uuid, first, last, flags, name = _ENTRY.unpack(data)
    if not any(kind):
        return None
    return GptEntry(
        kind=UUID(bytes_le=kind),
        uuid=UUID(bytes_le=uuid),
        first=first,
        last=last,
        flags=flags,
        name=name.decode("utf-16-le", errors="replace").rstrip("\0"),
    )


def format_entry(entry: GptEntry | None) -> bytes:
    """The 128 bytes of an entry; zeros for an unused one."""
    if entry is None:
        return bytes(ENTRY)
    name = entry.name.encode("utf-16-le").ljust(72, b"\0")
    kind, uuid = entry.kind.bytes_le, entry.uuid.bytes_le
    return _ENTRY.pack(kind, uuid, entry.first, entry.last, entry.flags, name)


def has_spare_place(table: GptTable) -> bool:
    """Whether there is space before the first partition for a second copy of the entries."""
    entry_blocks = -(-len(table.entries) // table.block)
    begins = min((each.first for each in table.partitions), default=table.header.first_usable)
    return _spare(table) + entry_blocks <= max(begins, table.header.first_usable)


def plan_changes(table: GptTable, changes: Mapping[int, GptEntry | None]) -> tuple[BlockWrite, ...]:
    """Plan to replace entries, by partition number; None removes one.

    Other entries are unchanged, byte for byte. The table must have a spare place
    (``has_spare_place``), and its backup copy must be valid.

    Sync after each write, in this order: the old table is valid until the last write, and the new
    one from then on.
    """
    entries = bytearray(table.entries)
    for number, entry in changes.items():
        entries[(number - 1) * ENTRY : number * ENTRY] = format_entry(entry)
    entry_blocks = -(-len(table.entries) // table.block)
    usable = max(table.header.first_usable, _spare(table) + entry_blocks)
    return _rewrite(table, replace(table.header, first_usable=usable), bytes(entries))


def _spare(table: GptTable) -> int:
    """The first block for new entries: two places alternate, so the valid copy is never
    overwritten."""
    entry_blocks = -(-len(table.entries) // table.block)
    return 2 + entry_blocks if table.header.entries_lba == 2 else 2


def _rewrite(
    table: GptTable, header: GptHeader, entries: bytes, between: tuple[BlockWrite, ...] = ()
) -> tuple[BlockWrite, ...]:
    """The writes: the backup copy first, then the primary entries in the spare place, and the
    primary header last."""
    block = table.block
    entry_blocks = -(-len(entries) // block)
    first = replace(header, entries_lba=_spare(table), entries_crc=zlib.crc32(entries))
    second = replace(
        first,
        my_lba=header.alternate_lba,
        alternate_lba=1,
        entries_lba=header.alternate_lba - entry_blocks,
    )
    padded = entries.ljust(entry_blocks * block, b"\0")
    return (
        BlockWrite(at=second.entries_lba, data=padded),
        BlockWrite(at=second.my_lba, data=format_header(second).ljust(block, b"\0")),
        *between,
        BlockWrite(at=first.entries_lba, data=padded),
        BlockWrite(at=first.my_lba, data=format_header(first).ljust(block, b"\0")),
    )


def _protective(mbr: bytes, blocks: int) -> tuple[BlockWrite, ...]:
    """The protective MBR with the new size of the disk; none for an MBR with more partitions."""
    if mbr[450] != 0xEE or any(mbr[462:510]):
        return ()
    size = struct.pack("<I", min(blocks - 1, 0xFFFFFFFF))
    return (BlockWrite(at=0, data=mbr[:458] + size + mbr[462:]),)

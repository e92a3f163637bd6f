"""The on-disk format of FAT: boot sector, file allocation table, directories. Little-endian.

The format is Microsoft's "FAT: General Overview of On-Disk Format", version 1.03 (fatgen103). Where
drivers differ from it, this module follows Linux, because Linux unlinks the files::

    | reserved sectors | FAT, one or more copies | root of FAT12/16 | clusters 2, 3, 4, … |

    boot sector     0x0b u16 bytes a sector       0x16 u16 sectors a FAT, 0 on FAT32
                    0x0d u8  sectors a cluster    0x20 u32 sectors, where 0x13 is 0
                    0x0e u16 reserved sectors     0x24 u32 sectors a FAT (FAT32)
                    0x10 u8  copies of the FAT    0x28 u16 0x80: only one FAT is active (FAT32)
                    0x11 u16 slots in the root    0x2c u32 first cluster of the root (FAT32)
                    0x13 u16 sectors, or 0        0x1fe    55 aa

    FAT             an entry of 12, 16 or 32 (upper four ignored) bits per cluster:
                    0: free, …7: bad, …8 and above: end of chain, else: the next cluster

    slot of a file  0x00 u8[11] short name        0x14 u16 first cluster, upper half (FAT32)
    (32 bytes)      0x0b u8 attributes            0x1a u16 first cluster, lower half
                    0x0c u8 which case            0x1c u32 size

    slot of a part  0x00 u8 number, 0x40: last    0x0d u8 checksum of the short name
    of a long name  0x0b u8 0x0f                  0x01, 0x0e, 0x1c: 5 + 6 + 2 characters, UTF-16

A slot that begins with 0xe5 is free; one that begins with 0x00 is free and ends the directory. The
parts of a long name precede the slot of its file, last part first.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass

from atoll.base.errors import Damaged

SECTOR = 512
FREE, BAD, LAST = 0, 0x0FFFFFF7, 0x0FFFFFF8
FIRST_CLUSTER = 2
CLUSTER_LIMIT = 1 << 22
"""More clusters than any ESP has: 16 GiB with mkfs.vfat's cluster size of 4 KiB."""

SLOT = 32
_FAT12_CLUSTERS = 4084
_COPIES_LIMIT = 4
_BOOT = struct.Struct("<11xHBHBHHxH8xIIH2xI")
_FILE = struct.Struct("<11sBB7xH4xHI")
_PART = struct.Struct("<B10sxxB12sxx4s")
_FREE_SLOT, _END, _ESCAPED = 0xE5, 0x00, 0x05
_LABEL, _DIRECTORY, _LONG = 0x08, 0x10, 0x0F
_LOWER_BASE, _LOWER_EXTENSION = 0x08, 0x10
_LAST_PART, _PARTS_LIMIT = 0x40, 20
_ONE_FAT = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class FatGeometry:
    """Offsets and sizes of a volume's parts in bytes, except for numbers of clusters and copies.

    ``bits`` is 12, 16 or 32. ``root_cluster`` is 0 on FAT12 and FAT16, whose root directory has a
    fixed place (``root_start``).
    """

    bits: int
    cluster_size: int
    clusters: int
    fat_start: int
    fat_size: int
    copies: int
    root_start: int
    root_size: int
    root_cluster: int
    data_start: int
    end: int

    @property
    def end_cluster(self) -> int:
        """The last cluster number plus one."""
        return self.clusters + FIRST_CLUSTER

    def offset_of(self, cluster: int) -> int:
        """The offset of a cluster in the volume, in bytes."""
        return self.data_start + (cluster - FIRST_CLUSTER) * self.cluster_size


@dataclass(frozen=True, slots=True, kw_only=True)
class FatEntry:
    """A directory entry. ``alias`` is its short name, ``first`` its first cluster or 0."""

    name: str
    alias: str
    is_directory: bool
    first: int
    size: int


def malformed(what: str) -> Damaged:
    """The error for a volume that cannot be parsed at all."""
    return Damaged(f"the FAT volume is damaged: {what}")


def parse_boot_sector(sector: bytes) -> FatGeometry:
    """Parse the first 512 bytes of a volume. Raises Damaged."""
    if len(sector) < SECTOR or sector[0x1FE:SECTOR] != b"\x55\xaa":
        raise malformed("it has no boot sector")
    (unit, per_cluster, reserved, copies, slots, small, short_fat, large, long_fat, flags, root) = (
        _BOOT.unpack_from(sector)
    )
    if unit not in (512, 1024, 2048, 4096) or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128):
        raise malformed("its boot sector is not a FAT boot sector")
    is_fat32 = short_fat == 0
    per_fat = long_fat if is_fat32 else short_fat
    root_sectors = -(-slots * SLOT // unit)
    total, before = small or large, reserved + copies * per_fat + root_sectors
    if not reserved or not 1 <= copies <= _COPIES_LIMIT or not per_fat or is_fat32 == bool(slots):
        raise malformed("its boot sector is inconsistent")
    if is_fat32 and flags & _ONE_FAT and flags & 0x0F:
        raise malformed("its first FAT is not the active one")
    clusters = (total - before) // per_cluster
    bits = 32 if is_fat32 else 12 if clusters <= _FAT12_CLUSTERS else 16
    clusters = min(clusters, per_fat * unit * 8 // bits - FIRST_CLUSTER)
    if not 1 <= clusters <= CLUSTER_LIMIT:
        raise malformed("it has no clusters, or too many for an ESP")
    return FatGeometry(
        bits=bits,
        cluster_size=unit * per_cluster,
        clusters=clusters,
        fat_start=reserved * unit,
        fat_size=per_fat * unit,
        copies=copies,
        root_start=(before - root_sectors) * unit,
        root_size=slots * SLOT,
        root_cluster=root if is_fat32 else 0,
        data_start=before * unit,
        end=total * unit,
    )


def used_fat_size(geometry: FatGeometry) -> int:
    """The size in bytes of the used part of the FAT."""
    return -(-geometry.end_cluster * geometry.bits // 8)


def parse_fat(data: bytes, geometry: FatGeometry) -> array[int]:
    """The entries of the FAT, normalized to FAT32: FREE, BAD, LAST or above, or a cluster."""
    count = geometry.end_cluster
    if geometry.bits == 32:
        whole = int.from_bytes(data[: count * 4], "little")
        mask = int.from_bytes(b"\xff\xff\xff\x0f" * count, "little")
        return _numbers("I", (whole & mask).to_bytes(count * 4, "little"))
    if geometry.bits == 16:
        raw, bad = _numbers("H", data[: count * 2]).tolist(), 0xFFF7
    else:
        bad = 0xFF7
        triples = (data[at : at + 3] for at in range(0, count * 3 // 2 + 1, 3))
        pairs = (int.from_bytes(triple, "little") for triple in triples)
        raw = [number for pair in pairs for number in (pair & 0xFFF, pair >> 12)][:count]
    return array("I", [number if number < bad else number - bad + BAD for number in raw])


def _numbers(kind: str, data: bytes) -> array[int]:
    numbers = array(kind, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def parse_slots(data: bytes, *, bits: int) -> tuple[list[FatEntry], bool]:
    """(entries of a directory; whether there are entries after its end marker).

    Linux ignores the end marker, so entries after it are included. ``.``, ``..`` and volume labels
    are left out.
    """
    found = []
    parts: list[bytes] = []
    ended = past_end = False
    for at in range(0, len(data) - SLOT + 1, SLOT):
        head = data[at]
        if head in (_END, _FREE_SLOT):
            ended = ended or head == _END
            parts = []
            continue
        past_end = past_end or ended
        attributes = data[at + 11]
        if attributes == _LONG:
            parts = _add_part(parts, data[at : at + SLOT])
            continue
        raw, attributes, case, high, low, size = _FILE.unpack_from(data, at)
        if not attributes & _LABEL and raw not in DOTS:
            alias = _short_name(raw, case)
            slot = FatEntry(
                name=_long_name(parts, raw) or alias,
                alias=alias,
                is_directory=bool(attributes & _DIRECTORY),
                first=low | (high << 16 if bits == 32 else 0),
                size=size,
            )
            found.append(slot)
        parts = []
    return found, past_end


DOTS = (b".          ", b"..         ")


def is_directory_start(data: bytes, first: int, *, bits: int) -> bool:
    """Whether ``data`` begins with valid ``.`` and ``..`` entries of a directory at ``first``."""
    if len(data) < 2 * SLOT:
        return False
    here, above = _FILE.unpack_from(data), _FILE.unpack_from(data, SLOT)
    itself = here[4] | (here[3] << 16 if bits == 32 else 0)
    kinds = here[1] & above[1] & _DIRECTORY
    return (here[0], above[0]) == DOTS and bool(kinds) and itself == first


def _add_part(parts: list[bytes], slot: bytes) -> list[bytes]:
    """``parts`` of a long name with ``slot`` added; empty if it is not the expected next part."""
    number = slot[0]
    if number & _LAST_PART:
        return [slot] if 1 <= number & ~_LAST_PART <= _PARTS_LIMIT else []
    if not parts or number != (parts[-1][0] & ~_LAST_PART) - 1 or slot[13] != parts[0][13]:
        return []
    return [*parts, slot]


def _long_name(parts: list[bytes], short: bytes) -> str | None:
    if not parts or parts[-1][0] & ~_LAST_PART != 1 or parts[0][13] != checksum(short):
        return None
    text = b""
    for part in reversed(parts):
        _, first, _, second, third = _PART.unpack(part)
        text += first + second + third
    name = text.decode("utf-16-le", errors="replace").partition("\0")[0]
    return name.replace("/", "\N{REPLACEMENT CHARACTER}") or None


def checksum(short: bytes) -> int:
    """The checksum of an 11-byte short name that is stored in the parts of its long name."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7 | total >> 1) + byte & 0xFF
    return total


def _short_name(raw: bytes, case: int) -> str:
    if raw[0] == _ESCAPED:
        raw = b"\xe5" + raw[1:]
    base, extension = (part.decode("cp437").rstrip(" ") for part in (raw[:8], raw[8:]))
    base = base.lower() if case & _LOWER_BASE else base
    extension = extension.lower() if case & _LOWER_EXTENSION else extension
    name = f"{base}.{extension}" if extension else base
    return name.replace("/", "\N{REPLACEMENT CHARACTER}").replace("\0", "\N{REPLACEMENT CHARACTER}")

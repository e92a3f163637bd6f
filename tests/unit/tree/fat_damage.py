"""FAT volumes that a test damages as a power cut, another system or a failing disk may."""

from __future__ import annotations

import functools
import gzip
import mmap
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from atoll.tree.fat import ROOT, FatFault, FatItem, Volume, parse_volume
from atoll.tree.fat_format import BAD, LAST, SLOT, checksum, parse_boot_sector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GOLDEN = Path(__file__).parents[2] / "golden" / "fat"
"""Recorded with ``tests.programs.fat_volumes.record``."""

KERNEL = "atoll/0123456789abcdef/linux"
INITRD = "atoll/0123456789abcdef/initrd"
ENTRY = "loader/entries/atoll-1.conf"
COUNTED = "loader/entries/atoll-2+1-2.conf"


@functools.cache
def golden(bits: int) -> bytes:
    return gzip.decompress((GOLDEN / f"fat{bits}.gz").read_bytes())


@functools.lru_cache(maxsize=4)
def _file_of(data: bytes) -> IO[bytes]:
    file = os.fdopen(os.memfd_create("volume"), "r+b")
    file.write(data)
    file.flush()
    return file


class Editable:
    """The bytes of a volume, and ways to change its fields."""

    def __init__(self, data: bytes) -> None:
        # Only the pages that a test changes are copied.
        self.data = mmap.mmap(_file_of(data).fileno(), 0, flags=mmap.MAP_PRIVATE)
        self.geometry = parse_boot_sector(data[:512])

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def parsed(self) -> Volume:
        return parse_volume(self.read)

    def item(self, path: str) -> FatItem:
        volume = self.parsed()
        (number,) = volume.find(path)
        return volume.items[number]

    def set_next(self, cluster: int, following: int, *, copies: int | None = None) -> None:
        """Let ``following``, as FAT32 says it, be what the FAT says of ``cluster``."""
        bits = self.geometry.bits
        value = following & ((1 << min(bits, 28)) - 1)
        for copy in range(copies or self.geometry.copies):
            start = self.geometry.fat_start + copy * self.geometry.fat_size
            at = start + cluster * bits // 8
            if bits == 12:
                old = int.from_bytes(self.data[at : at + 2], "little")
                value_there = value << 4 | old & 0xF if cluster % 2 else value | old & 0xF000
                self.data[at : at + 2] = value_there.to_bytes(2, "little")
            else:
                self.data[at : at + bits // 8] = value.to_bytes(bits // 8, "little")

    def slot_of(self, path: str) -> int:
        """Where the slot of a file is: the one in its directory with its first cluster and size."""
        item = self.item(path)
        low = (item.first & 0xFFFF).to_bytes(2, "little") + item.size.to_bytes(4, "little")
        for at in self.slots_of(item.parent):
            if self.data[at + 26 : at + 32] == low and self.data[at + 11] != 0x0F:
                return at
        raise AssertionError(f"{path} has no slot")

    def slots_of(self, directory: int) -> list[int]:
        geometry = self.geometry
        chain = self.parsed().items[directory].chain
        starts = [(geometry.offset_of(cluster), geometry.cluster_size) for cluster in chain]
        if directory == ROOT and geometry.root_size:
            starts = [(geometry.root_start, geometry.root_size)]
        return [at for start, size in starts for at in range(start, start + size, SLOT)]

    def set_first(self, path: str, cluster: int) -> None:
        at = self.slot_of(path)
        self.data[at + 26 : at + 28] = (cluster & 0xFFFF).to_bytes(2, "little")
        self.data[at + 20 : at + 22] = (cluster >> 16).to_bytes(2, "little")

    def set_size(self, path: str, size: int) -> None:
        at = self.slot_of(path)
        self.data[at + 28 : at + 32] = size.to_bytes(4, "little")

    def add_name(self, path: str, short: bytes, *, skip: int = 0) -> None:
        """A second name for a file in its directory, in the first free slot but ``skip``."""
        at = self.slot_of(path)
        slot = bytearray(self.data[at : at + SLOT])
        slot[:11], slot[12] = short, 0
        free = [at for at in self.slots_of(self.item(path).parent) if self.data[at] == 0]
        self.data[free[skip] : free[skip] + SLOT] = slot

    def remove_name(self, path: str) -> None:
        """The slot of a file and those of its long name, and nothing else."""
        at = self.slot_of(path)
        total = checksum(bytes(self.data[at : at + 11]))
        self.data[at] = 0xE5
        while self.data[at - SLOT + 11] == 0x0F and self.data[at - SLOT + 13] == total:
            at -= SLOT
            self.data[at] = 0xE5


def renamed_by_half(volume: Editable) -> None:
    volume.add_name(COUNTED, b"RENAMED CON")


def renamed_past_the_end(volume: Editable) -> None:
    volume.add_name(COUNTED, b"RENAMED CON", skip=1)


def on_the_chain_of_another(volume: Editable) -> None:
    volume.set_first(ENTRY, volume.item(KERNEL).first)


def into_the_chain_of_another(volume: Editable) -> None:
    volume.set_next(volume.item(ENTRY).chain[0], volume.item(KERNEL).chain[3])


def directory_into_a_file(volume: Editable) -> None:
    volume.set_next(volume.item("loader/entries").chain[-1], volume.item(KERNEL).chain[3])


def freed(volume: Editable) -> None:
    for cluster in volume.item(INITRD).chain:
        volume.set_next(cluster, 0)


def half_freed(volume: Editable) -> None:
    volume.set_next(volume.item(INITRD).chain[5], 0)


def into_bad(volume: Editable) -> None:
    volume.set_next(volume.item(INITRD).chain[5], BAD)


def circle(volume: Editable) -> None:
    chain = volume.item(INITRD).chain
    volume.set_next(chain[-1], chain[4])


def beyond(volume: Editable) -> None:
    volume.set_next(volume.item(INITRD).chain[5], volume.geometry.end_cluster)


def into_reserved(volume: Editable) -> None:
    volume.set_next(volume.item(INITRD).chain[5], 1)


def begins_beyond(volume: Editable) -> None:
    volume.set_first(INITRD, volume.geometry.end_cluster + 7)


def begins_nowhere(volume: Editable) -> None:
    volume.set_first(INITRD, 0)


def half_written(volume: Editable) -> None:
    volume.set_next(volume.item(INITRD).chain[5], LAST)


def smaller_than_its_chain(volume: Editable) -> None:
    volume.set_size(INITRD, 600)


def forgotten(volume: Editable) -> None:
    volume.remove_name(INITRD)


def copies_differ(volume: Editable) -> None:
    volume.set_next(volume.item(INITRD).chain[5], 0)
    copied = volume.geometry.fat_start + volume.geometry.fat_size
    first = volume.geometry.fat_start
    size = volume.geometry.fat_size
    spare = volume.data[first : first + size]
    volume.data[first : first + size] = golden(volume.geometry.bits)[first : first + size]
    volume.data[copied : copied + size] = spare


def no_directory(volume: Editable) -> None:
    start = volume.geometry.offset_of(volume.item("loader/entries").first)
    volume.data[start : start + 512] = b"\xa5" * 512


DAMAGES: Mapping[Callable[[Editable], None], tuple[set[FatFault], set[str]]] = {
    # damage: the expected faults, the files that must not be unlinked
    renamed_by_half: ({FatFault.SHARED}, {COUNTED, "loader/entries/RENAMED.CON"}),
    renamed_past_the_end: (
        {FatFault.SHARED, FatFault.AFTER_END},
        {COUNTED, "loader/entries/RENAMED.CON"},
    ),
    on_the_chain_of_another: ({FatFault.SHARED, FatFault.LOST}, {ENTRY, KERNEL}),
    into_the_chain_of_another: ({FatFault.SHARED, FatFault.LOST}, {ENTRY, KERNEL}),
    directory_into_a_file: (
        {FatFault.SHARED, FatFault.AFTER_END, FatFault.OUTSIDE},
        {ENTRY, COUNTED, KERNEL},
    ),
    freed: ({FatFault.INTO_FREE}, {INITRD}),
    half_freed: ({FatFault.INTO_FREE, FatFault.LOST}, {INITRD}),
    into_bad: ({FatFault.INTO_BAD, FatFault.LOST}, {INITRD}),
    circle: ({FatFault.LOOP}, {INITRD}),
    beyond: ({FatFault.OUTSIDE, FatFault.LOST}, {INITRD}),
    into_reserved: ({FatFault.OUTSIDE, FatFault.LOST}, {INITRD}),
    begins_beyond: ({FatFault.OUTSIDE, FatFault.LOST}, {INITRD}),
    begins_nowhere: ({FatFault.SHORT, FatFault.LOST}, set()),
    half_written: ({FatFault.SHORT, FatFault.LOST}, set()),
    smaller_than_its_chain: ({FatFault.LONG}, set()),
    forgotten: ({FatFault.LOST}, set()),
    copies_differ: ({FatFault.COPIES}, set()),
    no_directory: ({FatFault.NO_DIRECTORY, FatFault.LOST}, set()),
}

"""Check the files and directories of a FAT volume for damage, as from a power cut.

FAT has no link counts: removing a name frees its clusters, even if another name refers to them. So
the chain of every name is followed, as Linux does, and each cluster belongs to the first name that
refers to it. This also bounds the work: no cluster is visited twice, however damaged the volume is.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING

from atoll.tree.fat_format import (
    BAD,
    FIRST_CLUSTER,
    FREE,
    LAST,
    SECTOR,
    FatGeometry,
    is_directory_start,
    malformed,
    parse_boot_sector,
    parse_fat,
    parse_slots,
    used_fat_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIRECTORY_LIMIT = 1 << 21
"""The largest directory in bytes, by the specification. Linux has the same limit."""

DIRECTORIES_LIMIT = 1 << 26
ITEMS_LIMIT = 1 << 17
_SHOWN_DEPTH = 16
ROOT = 0


class FatFault(StrEnum):
    """A kind of damage, and its message: ``{}`` is the file, ``{other}`` another one."""

    SHARED = "{} and {other} share clusters"
    INTO_FREE = "the cluster chain of {} contains a free cluster"
    INTO_BAD = "the cluster chain of {} contains a bad cluster"
    LOOP = "the cluster chain of {} has a loop"
    OUTSIDE = "the cluster chain of {} leaves the volume"
    NO_DIRECTORY = "{} is marked as a directory but does not contain one"
    TOO_LONG = "directory {} is larger than FAT allows"
    SHORT = "{} has fewer clusters than its size needs"
    LONG = "{} has more clusters than its size needs"
    AFTER_END = "directory {} has entries after its end marker"
    LOST = "lost clusters (allocated, but part of no file): {count}"
    COPIES = "the copies of the FAT differ"

    @property
    def forbids_unlink(self) -> bool:
        """Whether unlinking the name would free clusters of another file, or make Linux remount the
        volume read-only."""
        return self not in (
            FatFault.SHORT,
            FatFault.LONG,
            FatFault.AFTER_END,
            FatFault.LOST,
            FatFault.COPIES,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FatFinding:
    """A fault, and the numbers of the affected items; ``count`` is a number of clusters."""

    fault: FatFault
    item: int = ROOT
    other: int = ROOT
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FatItem:
    """A file or directory of ``size`` bytes (0 for directories).

    ``parent`` is the number of its directory, ``first`` its first cluster. ``chain`` has its
    clusters, up to the first that already belongs to another item.
    """

    parent: int
    name: str
    is_directory: bool
    first: int
    size: int
    chain: array[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """All files and directories of a volume; an item's number is its index, the root's is ROOT."""

    geometry: FatGeometry
    items: tuple[FatItem, ...]
    findings: tuple[FatFinding, ...]
    _children: dict[tuple[int, str], list[int]] = field(repr=False)
    _obstacles: dict[int, list[FatFinding]] = field(repr=False)

    def path_of(self, number: int) -> str:
        """The path of an item, such as ``loader/loader.conf``; shortened if very deep."""
        names: list[str] = []
        while number != ROOT and len(names) < _SHOWN_DEPTH:
            names.append(self.items[number].name)
            number = self.items[number].parent
        return "/".join(reversed([*names, "…"] if number != ROOT else names))

    def find(self, path: str) -> tuple[int, ...]:
        """The items that ``path`` can refer to; several if a directory has a name twice.

        Case-insensitive; long and short names match.
        """
        found = [ROOT]
        for part in path.split("/"):
            if part:
                found = [
                    below for at in found for below in self._children.get((at, _key(part)), ())
                ]
        return tuple(found)

    def obstacles(self, number: int) -> tuple[FatFinding, ...]:
        """The findings for which the item must not be unlinked: its own and its parents'."""
        found = list(self._obstacles.get(number, ()))
        while number != ROOT:
            number = self.items[number].parent
            found += self._obstacles.get(number, ())
        return tuple(found)

    def describe(self, finding: FatFinding) -> str:
        """The finding as one line of text; unprintable characters of names are replaced."""
        here, there = (
            _format_path(self.path_of(number)) for number in (finding.item, finding.other)
        )
        return finding.fault.value.format(here, other=there, count=finding.count)


def parse_volume(read: Callable[[int, int], bytes]) -> Volume:
    """Read and check a volume through ``read(offset, size)``, both in bytes.

    Reads only the boot sector, the FAT and the directories. Damage to files and directories is
    returned as findings. Raises Damaged if the volume is too damaged for that, or exceeds limits.
    """
    geometry = parse_boot_sector(_read(read, 0, SECTOR))
    _read(read, geometry.end - SECTOR, SECTOR)
    size = used_fat_size(geometry)
    copies = [
        _read(read, geometry.fat_start + copy * geometry.fat_size, size)
        for copy in range(geometry.copies)
    ]
    walk = _Walk(read, geometry, parse_fat(copies[0], geometry))
    # The first two entries are no clusters but the media type and flags: do not compare them.
    flags = 2 * geometry.bits // 8
    if any(copy[flags:] != copies[0][flags:] for copy in copies):
        walk.findings.append(FatFinding(fault=FatFault.COPIES))
    return walk.build()


class _Walk:
    """A breadth-first walk from the root; an item claims its clusters when it is found."""

    def __init__(
        self, read: Callable[[int, int], bytes], geometry: FatGeometry, fat: array[int]
    ) -> None:
        self._read = read
        self._geometry = geometry
        self._fat = fat
        self._owners = array("I", bytes(4 * geometry.end_cluster))
        self._items: list[FatItem] = []
        self._children: dict[tuple[int, str], list[int]] = defaultdict(list)
        self._bytes = 0
        self.findings: list[FatFinding] = []

    def build(self) -> Volume:
        root = self._geometry.root_cluster
        self._add(ROOT, "", first=root, size=0, is_directory=True)
        for number, item in enumerate(self._items):
            if item.is_directory:
                self._enter(number, item)
        self._count_lost()
        obstacles: dict[int, list[FatFinding]] = defaultdict(list)
        for finding in self.findings:
            if finding.fault.forbids_unlink:
                obstacles[finding.item].append(finding)
                if finding.fault is FatFault.SHARED:
                    obstacles[finding.other].append(finding)
        return Volume(
            geometry=self._geometry,
            items=tuple(self._items),
            findings=tuple(self.findings),
            _children=dict(self._children),
            _obstacles=dict(obstacles),
        )

    def _enter(self, number: int, item: FatItem) -> None:
        data = self._directory_data(number, item)
        bits = self._geometry.bits
        if number != ROOT and data and not is_directory_start(data, item.first, bits=bits):
            self._found(FatFault.NO_DIRECTORY, number)
            return
        slots, past_end = parse_slots(data, bits=bits)
        if past_end:
            self._found(FatFault.AFTER_END, number)
        if len(self._items) + len(slots) > ITEMS_LIMIT:
            raise malformed("it has more files than an ESP can have")
        for slot in slots:
            for key in {_key(slot.name), _key(slot.alias)}:
                self._children[number, key].append(len(self._items))
            self._add(
                number, slot.name, first=slot.first, size=slot.size, is_directory=slot.is_directory
            )

    def _directory_data(self, number: int, item: FatItem) -> bytes:
        geometry = self._geometry
        if number == ROOT and geometry.root_size:
            return _read(self._read, geometry.root_start, geometry.root_size)
        size = len(item.chain) * geometry.cluster_size
        if size > DIRECTORY_LIMIT:
            self._found(FatFault.TOO_LONG, number)
            size = DIRECTORY_LIMIT
        self._bytes += size
        if self._bytes > DIRECTORIES_LIMIT:
            raise malformed("its directories are larger than an ESP can have")
        offsets = map(geometry.offset_of, item.chain[: -(-size // geometry.cluster_size)])
        pieces = [_read(self._read, offset, min(size, geometry.cluster_size)) for offset in offsets]
        return b"".join(pieces)

    def _add(self, parent: int, name: str, *, first: int, size: int, is_directory: bool) -> None:
        number = len(self._items)
        has_none = first == 0 and (not is_directory or (number == ROOT and self._fixed_root()))
        chain, is_whole = (array("I"), True) if has_none else self._claim(number, first)
        if is_whole and not is_directory:
            needed = -(-size // self._geometry.cluster_size)
            if len(chain) != needed:
                self._found(FatFault.SHORT if len(chain) < needed else FatFault.LONG, number)
        self._items.append(
            FatItem(
                parent=parent,
                name=name,
                is_directory=is_directory,
                first=first,
                size=size,
                chain=chain,
            )
        )

    def _fixed_root(self) -> bool:
        return bool(self._geometry.root_size)

    def _claim(self, number: int, first: int) -> tuple[array[int], bool]:
        """Claim the chain from ``first`` for item ``number``; False if the chain is damaged."""
        chain = array("I")
        fat, owners, end_cluster = self._fat, self._owners, self._geometry.end_cluster
        cluster = first
        while FIRST_CLUSTER <= cluster < end_cluster:
            if owners[cluster]:
                owner = owners[cluster] - 1
                fault = FatFault.LOOP if owner == number else FatFault.SHARED
                self.findings.append(FatFinding(fault=fault, item=number, other=owner))
                return chain, False
            owners[cluster] = number + 1
            chain.append(cluster)
            cluster = fat[cluster]
            if cluster >= LAST:
                return chain, True
            if cluster in (FREE, BAD):
                self._found(FatFault.INTO_FREE if cluster == FREE else FatFault.INTO_BAD, number)
                return chain, False
        self._found(FatFault.OUTSIDE, number)
        return chain, False

    def _count_lost(self) -> None:
        # Without a step of Python's for each cluster: a volume has up to four million.
        ownerless = map(not_, self._owners[FIRST_CLUSTER:])
        following = array("I", compress(self._fat[FIRST_CLUSTER:], ownerless))
        count = len(following) - following.count(FREE) - following.count(BAD)
        if count:
            self.findings.append(FatFinding(fault=FatFault.LOST, count=count))

    def _found(self, fault: FatFault, number: int) -> None:
        self.findings.append(FatFinding(fault=fault, item=number))


def files(volume: Volume) -> Iterator[tuple[str, FatItem]]:
    """All items except the root, with their paths."""
    for number, item in enumerate(volume.items):
        if number != ROOT:
            yield volume.path_of(number), item


def _read(read: Callable[[int, int], bytes], offset: int, size: int) -> bytes:
    data = read(offset, size)
    if len(data) != size:
        raise malformed("it is truncated")
    return data


def _key(name: str) -> str:
    return name.upper()


def _format_path(path: str) -> str:
    """A path for one line of text; unprintable characters are replaced."""
    return (
        "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in path) or "/"
    )

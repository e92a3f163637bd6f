"""The files of a FAT volume, and the damage of a power cut or of a rename by another system.

FAT does not count links: removing a name frees its clusters, even when another name refers to them
as well. So every cluster chain is followed from every name, as Linux does it, and each cluster
belongs to the first name that refers to it. This also bounds the work: no cluster is visited twice,
however damaged the volume is.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
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
"""The largest directory in bytes, by the specification; Linux stops there, too."""

DIRECTORIES_LIMIT = 1 << 26
ITEMS_LIMIT = 1 << 17
_SHOWN_DEPTH = 16
ROOT = 0


class FatFault(StrEnum):
    """A kind of damage and its message: ``{}`` is the file, ``{other}`` another one."""

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
        """Whether removing the name would free clusters of another file, or make Linux remount the
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
    """Something that is wrong, and the numbers of the items that it is wrong with."""

    fault: FatFault
    item: int = ROOT
    other: int = ROOT
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FatItem:
    """A file or directory. ``chain`` has its clusters up to the first that is not its alone."""

    parent: int
    name: str
    is_directory: bool
    first: int
    size: int
    chain: array[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """All that a volume names; an item's number is its place in ``items``, the root's is ROOT."""

    geometry: FatGeometry
    items: tuple[FatItem, ...]
    findings: tuple[FatFinding, ...]
    _children: dict[tuple[int, str], list[int]] = field(repr=False)
    _obstacles: dict[int, list[FatFinding]] = field(repr=False)

    def path_of(self, number: int) -> str:
        """From the root of the volume, as ``loader/loader.conf``; shortened when very deep."""
        names: list[str] = []
        while number != ROOT and len(names) < _SHOWN_DEPTH:
            names.append(self.items[number].name)
            number = self.items[number].parent
        return "/".join(reversed([*names, "…"] if number != ROOT else names))

    def find(self, path: str) -> tuple[int, ...]:
        """The items that Linux may mean by ``path``: more than one where names are there twice."""
        found = [ROOT]
        for part in path.split("/"):
            if part:
                found = [
                    below for at in found for below in self._children.get((at, _key(part)), ())
                ]
        return tuple(found)

    def obstacles(self, number: int) -> tuple[FatFinding, ...]:
        """Why the item may not be unlinked: findings on it, and on the directories above it."""
        found = list(self._obstacles.get(number, ()))
        while number != ROOT:
            number = self.items[number].parent
            found += self._obstacles.get(number, ())
        return tuple(found)

    def describe(self, finding: FatFinding) -> str:
        """The finding as one line for a person, whatever characters the names are of."""
        here, there = (_shown(self.path_of(number)) for number in (finding.item, finding.other))
        return finding.fault.value.format(here, other=there, count=finding.count)


def parse_volume(read: Callable[[int, int], bytes]) -> Volume:
    """What is on the volume that ``read(offset, size)`` gives the bytes of. Raises Damaged.

    Only its boot sector, its FAT and its directories are read. What is wrong with files and
    directories comes as findings; Damaged is for a volume of which not even that can be said.
    """
    geometry = parse_boot_sector(_read(read, 0, SECTOR))
    _read(read, geometry.end - SECTOR, SECTOR)
    size = used_fat_size(geometry)
    copies = [
        _read(read, geometry.fat_start + copy * geometry.fat_size, size)
        for copy in range(geometry.copies)
    ]
    walk = _Walk(read, geometry, parse_fat(copies[0], geometry))
    own = 2 * geometry.bits // 8
    if any(copy[own:] != copies[0][own:] for copy in copies):
        walk.findings.append(FatFinding(fault=FatFault.COPIES))
    return walk.walked()


class _Walk:
    """From the root down: all items of one directory get their clusters, then it enters them."""

    def __init__(
        self, read: Callable[[int, int], bytes], geometry: FatGeometry, fat: array[int]
    ) -> None:
        self._read = read
        self._geometry = geometry
        self._fat = fat
        self._owners = array("I", bytes(4 * geometry.beyond))
        self._items: list[FatItem] = []
        self._children: dict[tuple[int, str], list[int]] = defaultdict(list)
        self._bytes = 0
        self.findings: list[FatFinding] = []

    def walked(self) -> Volume:
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
        places = map(geometry.place_of, item.chain[: -(-size // geometry.cluster_size)])
        pieces = [_read(self._read, place, min(size, geometry.cluster_size)) for place in places]
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
        """The clusters from ``first`` on, now the item's, and whether they end as they should."""
        chain = array("I")
        fat, owners, beyond = self._fat, self._owners, self._geometry.beyond
        cluster = first
        while FIRST_CLUSTER <= cluster < beyond:
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
        pairs = zip(self._fat[FIRST_CLUSTER:], self._owners[FIRST_CLUSTER:], strict=True)
        count = sum(1 for following, owner in pairs if not owner and following not in (FREE, BAD))
        if count:
            self.findings.append(FatFinding(fault=FatFault.LOST, count=count))

    def _found(self, fault: FatFault, number: int) -> None:
        self.findings.append(FatFinding(fault=fault, item=number))


def files(volume: Volume) -> Iterator[tuple[str, FatItem]]:
    """All items but the root, with their paths."""
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


def _shown(path: str) -> str:
    """A path that is safe in one line of text."""
    return (
        "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in path) or "/"
    )

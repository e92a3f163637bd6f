"""FAT volumes: their files, every kind of damage, and arbitrary bytes without a crash."""

from __future__ import annotations

import functools
from array import array
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.tree.fat import FatFault, FatFinding, Volume, files, parse_volume
from atoll.tree.fat_format import CLUSTER_LIMIT, parse_boot_sector
from tests.unit.tree.fat_damage import (
    COUNTED,
    DAMAGES,
    ENTRY,
    INITRD,
    KERNEL,
    Editable,
    golden,
    no_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BITS = (12, 16, 32)
SIZES = {
    "EFI": 0,
    "EFI/BOOT": 0,
    "EFI/BOOT/BOOTX64.EFI": 1500,
    "atoll": 0,
    "atoll/0123456789abcdef": 0,
    INITRD: 9000,
    KERNEL: 5000,
    "loader": 0,
    "loader/empty": 0,
    "loader/entries": 0,
    ENTRY: 600,
    COUNTED: 700,
    "loader/loader.conf": 40,
}


def allowed(volume: Volume, path: str) -> bool:
    found = volume.find(path)
    return bool(found) and not any(volume.obstacles(number) for number in found)


@pytest.mark.parametrize("bits", BITS)
def test_a_sound_volume_is_read_whole(bits: int) -> None:
    volume = Editable(golden(bits)).parsed()
    assert volume.geometry.bits == bits
    assert {path: item.size for path, item in files(volume)} == SIZES
    assert volume.findings == ()
    for path, item in files(volume):
        assert allowed(volume, path)
        length = -(-item.size // 512)
        assert len(item.chain) == (1 if item.is_directory else length)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_named(bits: int, damage: Callable[[Editable], None]) -> None:
    edited = Editable(golden(bits))
    damage(edited)
    volume = edited.parsed()
    faults, forbidden = DAMAGES[damage]
    assert {finding.fault for finding in volume.findings} == faults
    known = SIZES.keys() | forbidden
    paths = {path for path, item in files(volume) if path in known and not item.is_directory}
    assert {path for path in paths if not allowed(volume, path)} == forbidden
    for finding in volume.findings:
        assert "{" not in volume.describe(finding)


def test_a_finding_names_both_files() -> None:
    edited = Editable(golden(16))
    edited.add_name(COUNTED, b"RENAMED CON")
    volume = edited.parsed()
    (finding,) = volume.findings
    assert volume.describe(finding) == (f"loader/entries/RENAMED.CON and {COUNTED} share clusters")


def test_what_is_no_directory_is_not_entered_and_not_removed() -> None:
    edited = Editable(golden(32))
    no_directory(edited)
    volume = edited.parsed()
    assert volume.find(ENTRY) == ()
    assert not allowed(volume, "loader/entries")
    assert allowed(volume, "loader/loader.conf")


def test_names_are_found_as_linux_finds_them() -> None:
    volume = Editable(golden(32)).parsed()
    assert volume.find("LOADER/Entries/ATOLL-1.conf") == volume.find(ENTRY) != ()
    assert volume.find("efi/boot/bootx64.efi") == volume.find("EFI/BOOT/BOOTX64.EFI") != ()
    assert volume.find("loader/absent") == ()
    assert volume.find("loader/./loader.conf") == ()


def test_a_name_that_is_there_twice_means_both() -> None:
    edited = Editable(golden(16))
    edited.add_name("loader/loader.conf", b"EMPTY      ")
    volume = edited.parsed()
    assert len(volume.find("loader/empty")) == 2
    assert not allowed(volume, "loader/empty")


@pytest.mark.parametrize(
    ("at", "content"),
    [
        (0x1FE, b"\0\0"),
        (0x0B, b"\0\0"),
        (0x0B, b"\1\2"),
        (0x0D, b"\0"),
        (0x0D, b"\3"),
        (0x0E, b"\0\0"),
        (0x10, b"\0"),
        (0x10, b"\xff"),
        (0x13, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (0x20, b"\xff\xff\xff\xff"),
        (0x24, b"\0\0\0\0"),
        (0x28, b"\x81"),
    ],
)
def test_a_boot_sector_that_makes_no_sense_is_damage(at: int, content: bytes) -> None:
    edited = Editable(golden(32))
    edited.data[at : at + len(content)] = content
    with pytest.raises(Damaged, match="FAT volume is damaged"):
        edited.parsed()


@pytest.mark.parametrize("size", [0, 511, 512, 20_000, 4 << 20])
def test_a_volume_that_ends_too_early_is_damage(size: int) -> None:
    data = golden(32)[:size]
    with pytest.raises(Damaged):
        parse_volume(lambda offset, length: data[offset : offset + length])


def survey(read: Callable[[int, int], bytes]) -> None:
    """Call everything that a caller can call."""
    try:
        volume = parse_volume(read)
    except Damaged:
        return
    for finding in volume.findings[:200]:
        volume.describe(finding).encode()
    for number in range(min(200, len(volume.items))):
        volume.obstacles(number)
        volume.find(volume.path_of(number))
    owned = [cluster for item in volume.items[:200] for cluster in item.chain[:2000]]
    assert len(owned) == len(set(owned))


PLACES = st.one_of(st.integers(0, 0x5A), st.integers(0, 40_000), st.integers(0, 600_000))


@pytest.mark.parametrize("bits", BITS)
@given(changes=st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=64)), max_size=8))
def test_no_damaged_bytes_break_it(bits: int, changes: list[tuple[int, bytes]]) -> None:
    edited = Editable(golden(bits))
    for at, content in changes:
        at %= len(edited.data)
        edited.data[at : at + len(content)] = content[: len(edited.data) - at]
    survey(edited.read)


@functools.cache
def some_slots(bits: int) -> list[int]:
    """The offsets of the first six slots of each directory."""
    sound = Editable(golden(bits))
    directories = [n for n, item in enumerate(sound.parsed().items) if item.is_directory]
    return [at for number in directories for at in sound.slots_of(number)[:6]]


@pytest.mark.parametrize("bits", BITS)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 31), st.binary(min_size=1, max_size=8)),
        min_size=1,
        max_size=12,
    ),
    links=st.lists(st.tuples(st.integers(2, 45), st.integers(0, 50)), max_size=8),
)
def test_no_damaged_slots_and_chains_break_it(
    bits: int, changes: list[tuple[int, int, bytes]], links: list[tuple[int, int]]
) -> None:
    edited = Editable(golden(bits))
    column = some_slots(bits)
    for which, byte, content in changes:
        at = column[which % len(column)] + byte
        edited.data[at : at + len(content)] = content
    for cluster, following in links:
        edited.set_next(cluster, following)
    survey(edited.read)


@given(sector=st.binary(min_size=512, max_size=512), rest=st.binary(max_size=2000))
@example(sector=bytes(510) + b"\x55\xaa", rest=b"")
def test_garbage_is_damage(sector: bytes, rest: bytes) -> None:
    data = sector[:510] + b"\x55\xaa" + rest
    survey(lambda offset, size: data[offset : offset + size])


CLUSTERS = CLUSTER_LIMIT - 8
FAT_SECTORS = CLUSTERS * 4 // 512 + 1
FAT_START = 32 * 512
DATA_START = FAT_START + FAT_SECTORS * 512


def largest_boot_sector() -> bytes:
    boot = bytearray(golden(32)[:512])
    boot[0x0D:0x11] = b"\1\x20\0\1"
    boot[0x13:0x15] = bytes(2)
    boot[0x20:0x24] = (DATA_START // 512 + CLUSTERS).to_bytes(4, "little")
    boot[0x24:0x28] = FAT_SECTORS.to_bytes(4, "little")
    return bytes(boot)


def slot(name: bytes, first: int) -> bytes:
    low, high = (half.to_bytes(2, "little") for half in (first & 0xFFFF, first >> 16))
    return name.ljust(11) + b"\x10" + bytes(8) + high + bytes(4) + low + bytes(4)


def one_chain(offset: int, size: int) -> bytes:
    """All clusters form one chain, the root; all its names begin at cluster 3."""
    if offset == FAT_START:
        return array("I", range(1, size // 4 + 1)).tobytes()
    return slot(b"NAME", 3) * (size // 32)


def many_directories(offset: int, size: int) -> bytes:
    """Every cluster is a directory full of directories."""
    if offset == FAT_START:
        return b"\xff\xff\xff\x0f" * (size // 4)
    here = (offset - DATA_START) // 512 + 2
    below = [slot(b"%d" % number, here * 14 + number) for number in range(14)]
    head = slot(b".", here) + slot(b"..", 0)
    return (head + b"".join(below))[:size]


@pytest.mark.long
def test_one_chain_of_all_clusters_is_walked_once() -> None:
    boot = largest_boot_sector()
    assert parse_boot_sector(boot).data_start == DATA_START
    assert parse_boot_sector(boot).clusters == CLUSTERS
    reads = []

    def read(offset: int, size: int) -> bytes:
        reads.append(offset)
        return one_chain(offset, size) if offset else boot

    volume = parse_volume(read)
    assert len(reads) < 10_000
    assert FatFinding(fault=FatFault.TOO_LONG) in volume.findings[:2]
    assert len(volume.items) == 65536 + 1
    assert not allowed(volume, "name")


@pytest.mark.long
def test_a_volume_of_too_many_names_is_damage_soon() -> None:
    boot = largest_boot_sector()
    reads = []

    def read(offset: int, size: int) -> bytes:
        reads.append(offset)
        return many_directories(offset, size) if offset else boot

    with pytest.raises(Damaged, match="more files than an ESP"):
        parse_volume(read)
    assert len(reads) < 20_000


def test_every_fault_is_reached() -> None:
    reached = set().union(*(faults for faults, _ in DAMAGES.values()))
    assert set(FatFault) - reached == {FatFault.TOO_LONG}

"""A partition table that grows, judged by sfdisk: the old one or the new one after every cut."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, NothingToDo
from atoll.host.run import find_program
from atoll.machine.disk import partition
from atoll.machine.disk_layout import (
    MIB,
    SECTOR,
    STATE_START,
    STATE_TYPE,
    derive_identity,
    plan_installed_layout,
)
from atoll.machine.grow import (
    MountedPartition,
    apply_writes,
    can_open_at,
    find_partition,
    find_volume_size,
    plan_partition_growth,
)
from atoll.tree.gpt import parse_header, parse_table

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.tree.gpt import BlockWrite

SFDISK = find_program("sfdisk")
pytestmark = pytest.mark.skipif(SFDISK is None, reason="needs fdisk")
IDENTITY = derive_identity(UUID(int=7))
SMALL, LARGE = 2048 * MIB, 16_384 * MIB


def make(folder: Path) -> Path:
    disk = folder / "disk.img"
    partition(disk, plan_installed_layout(SMALL, 0), IDENTITY)
    return disk


def place_of(disk: Path) -> MountedPartition:
    return MountedPartition(
        disk=disk, number=2, start=STATE_START, size=SMALL - STATE_START - MIB, block=SECTOR
    )


def look(disk: Path) -> dict[str, object]:
    """The table as sfdisk reads it."""
    assert SFDISK is not None
    done = subprocess.run([SFDISK, "--json", disk], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["partitiontable"]
    assert isinstance(found, dict)
    return found


def partitions(disk: Path) -> list[dict[str, object]]:
    found = look(disk)["partitions"]
    assert isinstance(found, list)
    return [{key: value for key, value in each.items() if key != "node"} for each in found]


def planned(disk: Path, size: int = LARGE) -> tuple[BlockWrite, ...]:
    os.truncate(disk, size)
    with disk.open("r+b", buffering=0) as file:
        found = plan_partition_growth(file.fileno(), place_of(disk))
    assert found is not None
    return found[0]


def write(disk: Path, writes: tuple[BlockWrite, ...]) -> None:
    with disk.open("r+b", buffering=0) as file:
        apply_writes(file.fileno(), writes, SECTOR)


def copied(disk: Path, to: Path) -> Path:
    subprocess.run(["cp", "--sparse=always", disk, to], check=True)
    return to


def test_the_partition_ends_where_the_disk_does(tmp_path: Path) -> None:
    disk = make(tmp_path)
    before = partitions(disk)
    write(disk, planned(disk))
    esp, state = partitions(disk)
    assert esp == before[0]
    assert state == before[1] | {"size": (LARGE - STATE_START - MIB) // SECTOR}
    assert str(state["type"]).upper() == STATE_TYPE
    assert SFDISK is not None
    done = subprocess.run([SFDISK, "--verify", disk], capture_output=True, text=True, check=True)
    assert "No errors detected" in done.stdout and done.stderr == ""


def test_it_grows_again_and_otherwise_stays(tmp_path: Path) -> None:
    disk = make(tmp_path)
    with disk.open("r+b", buffering=0) as file:
        assert plan_partition_growth(file.fileno(), place_of(disk)) is None
    for size in (SMALL * 2, SMALL * 3, SMALL * 4):
        write(disk, planned(disk, size))
        assert partitions(disk)[1]["size"] == (size - STATE_START - MIB) // SECTOR
        with disk.open("r+b", buffering=0) as file:
            assert plan_partition_growth(file.fileno(), place_of(disk)) is None


def test_a_cut_leaves_the_old_table_or_the_new_one(tmp_path: Path) -> None:
    """Also within a write: only the last one, of one sector, changes what the first table says."""
    disk = make(tmp_path)
    writes = planned(disk)
    old = first_table(disk)
    for number, each in enumerate(writes):
        cut = copied(disk, tmp_path / "cut.img")
        for sectors in range(len(each.data) // SECTOR):
            torn = type(each)(at=each.at, data=each.data[: sectors * SECTOR])
            write(cut, (torn,))
            assert first_table(cut) == old, f"write {number} cut after {sectors} sectors"
        write(disk, (each,))
    assert first_table(disk) != old
    assert partitions(disk)[1]["size"] == (LARGE - STATE_START - MIB) // SECTOR


def first_table(disk: Path) -> tuple[object, ...]:
    """What firmware and kernel take: valid by its own checksums, or this raises."""
    with disk.open("rb") as file:
        file.seek(SECTOR)
        header = parse_header(file.read(SECTOR), lba=1)
        file.seek(header.entries_lba * SECTOR)
        return parse_table(header, file.read(header.count * 128), block=SECTOR).partitions


def test_a_cut_before_the_end_is_gone_on_with(tmp_path: Path) -> None:
    disk = make(tmp_path)
    writes = planned(disk)
    for number in range(len(writes)):
        cut = copied(disk, tmp_path / "cut.img")
        write(cut, writes[:number])
        write(cut, planned(cut))
        assert partitions(cut)[1]["size"] == (LARGE - STATE_START - MIB) // SECTOR


def test_what_is_behind_the_partition_is_left_alone(tmp_path: Path) -> None:
    disk = make(tmp_path)
    os.truncate(disk, LARGE)
    assert SFDISK is not None
    subprocess.run([SFDISK, "--quiet", "--append", disk], input=b"size=8M\n", check=True)
    with disk.open("r+b", buffering=0) as file:
        assert plan_partition_growth(file.fileno(), place_of(disk)) is None


def test_room_that_a_person_left_on_a_disk_of_their_own_stays_free(tmp_path: Path) -> None:
    """Only ``atoll disk`` sets the flag: nobody asked for more of what was made by hand."""
    disk = make(tmp_path)
    os.truncate(disk, LARGE)
    assert SFDISK is not None
    subprocess.run([SFDISK, "--quiet", "--part-attrs", disk, "2", "GUID:63"], check=True)
    with disk.open("r+b", buffering=0) as file:
        assert plan_partition_growth(file.fileno(), place_of(disk)) is None


def test_a_boot_program_in_the_first_sector_stays(tmp_path: Path) -> None:
    disk = make(tmp_path)
    with disk.open("r+b") as file:
        file.write(b"boot" * 110)
    write(disk, planned(disk))
    assert disk.open("rb").read(440) == b"boot" * 110


@given(at=st.integers(0, 91), bit=st.integers(0, 7))
def test_a_damaged_table_is_told_and_nothing_is_written(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    disk = make(tmp_path_factory.mktemp("gpt"))
    os.truncate(disk, LARGE)
    with disk.open("r+b", buffering=0) as file:
        file.seek(SECTOR + at)
        byte = file.read(1)[0] ^ (1 << bit)
        file.seek(SECTOR + at)
        file.write(bytes([byte]))
        with pytest.raises(Damaged):
            plan_partition_growth(file.fileno(), place_of(disk))
    shutil.rmtree(disk.parent)


def test_a_partition_and_its_disk_are_found_in_sysfs(tmp_path: Path) -> None:
    disk = tmp_path / "devices/vda"
    (disk / "queue").mkdir(parents=True)
    (disk / "queue/logical_block_size").write_text("4096\n")
    part = disk / "vda2"
    part.mkdir()
    for name, value in (("partition", 2), ("start", 2048), ("size", 8192)):
        (part / name).write_text(f"{value}\n")
    device = tmp_path.stat().st_dev
    links = tmp_path / "block"
    links.mkdir()
    with pytest.raises(NothingToDo):
        find_partition(tmp_path, links)
    (links / f"{os.major(device)}:{os.minor(device)}").symlink_to(part)
    found = find_partition(tmp_path, links)
    assert (str(found.disk), found.number, found.block) == ("/dev/vda", 2, 4096)
    assert (found.start, found.size) == (2048 * 512, 8192 * 512)
    assert find_volume_size(tmp_path, links) is None


def test_the_partition_of_an_encrypted_volume_is_found_below_it(tmp_path: Path) -> None:
    disk = tmp_path / "devices/vda"
    part = disk / "vda2"
    volume = tmp_path / "devices/dm-0"
    for folder in (disk / "queue", part, volume / "dm", volume / "slaves"):
        folder.mkdir(parents=True)
    (disk / "queue/logical_block_size").write_text("512\n")
    for name, value in (("partition", 2), ("start", 2048), ("size", 80000)):
        (part / name).write_text(f"{value}\n")
    (volume / "size").write_text("8192\n")
    (volume / "slaves/vda2").symlink_to(part)
    device = tmp_path.stat().st_dev
    links = tmp_path / "block"
    links.mkdir()
    (links / f"{os.major(device)}:{os.minor(device)}").symlink_to(volume)
    found = find_partition(tmp_path, links)
    assert (str(found.disk), found.number, found.size) == ("/dev/vda", 2, 80000 * 512)
    assert find_volume_size(tmp_path, links) == 8192 * 512
    # It ends with a whole sector of the volume, or the volume would not open again.
    assert can_open_at(found, 2048 + 80007)
    assert not can_open_at(found, 2048 + 80003)

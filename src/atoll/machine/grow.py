"""Grow the state partition and its file system to fill the disk, after writing an image to a disk.
On a live system that is the persistence partition of its stick.

This runs in the running system. Each step is durable before the next, so a power cut leaves the old
size or the new one (``tree.gpt``; ext4's journal). ``atoll/state/growing`` exists from before the
first step until after the last, so that the next boot continues after a power cut.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo
from atoll.host.syscalls import grow_ext4, resize_partition
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.beside import RECORD
from atoll.machine.deployments.flags import ClearFlag, SetFlag
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.sysroot import LiveChanges
from atoll.tree.gpt import BlockWrite, GptTable, parse_header, parse_table, plan_growth

if TYPE_CHECKING:
    from atoll.machine.deployments.sysroot import Sysroot

GROWING = "growing"
LUKS_HEADER = 32 << 20
"""Bytes of a partition that the volume in it may leave out."""
SYSFS = Path("/sys/dev/block")
SECTOR = 512
"""The unit of sizes in sysfs, in bytes, whatever the block size of the disk is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedPartition:
    """A partition: the device of its disk, its number, and its start and size in bytes."""

    disk: Path
    number: int
    start: int
    size: int
    block: int
    """The logical block size of the disk, in bytes."""


def grow(sysroot: Sysroot) -> int:
    """Grow the state partition to fill its disk; the bytes gained.

    An encrypted volume covers the larger partition when it is opened again, at the next boot: the
    file system grows then.

    Raises NothingToDo, Damaged for a partition table that is not understood, or OSError.
    """
    if sysroot.live is LiveChanges.MEMORY:
        raise NothingToDo("this live system keeps its changes in memory")
    partition = find_partition(sysroot.root)
    volume = find_volume_size(sysroot.root)
    with locked_machine(sysroot, esp=False, published=sysroot.live is None) as machine:
        if (machine.atoll / RECORD).exists():
            raise NothingToDo("the partition belongs to an older system and keeps its size")
        growing = machine.state / GROWING
        with partition.disk.open("r+b", buffering=0) as disk:
            planned = plan_partition_growth(disk.fileno(), partition)
            if volume is not None and planned and not can_open_at(partition, planned[1]):
                planned = None
            if planned is None and not growing.exists():
                raise NothingToDo("the state partition already fills its disk")
            apply_operations([SetFlag(path=growing)])
            size = partition.size
            if planned is not None:
                writes, last = planned
                apply_writes(disk.fileno(), writes, partition.block)
                size = (last + 1) * partition.block - partition.start
                resize_partition(disk.fileno(), partition.number, start=partition.start, size=size)
        if volume is None or volume + LUKS_HEADER >= size:
            _grow_file_system(machine.root, size if volume is None else volume)
            apply_operations([ClearFlag(path=growing)])
    return size - partition.size


def can_open_at(partition: MountedPartition, last: int) -> bool:
    """Whether an encrypted volume could be opened if the partition ended with block ``last``: it
    must have whole sectors, of up to 4096 bytes."""
    size = (last + 1) * partition.block - partition.start
    return size % 4096 == 0 or partition.size % 4096 != 0


def find_volume_size(directory: Path, sysfs: Path = SYSFS) -> int | None:
    """Bytes of the encrypted volume that ``directory`` is in, None if it is in none."""
    here = _sysfs_device(directory, sysfs)
    try:
        return int((here / "size").read_text()) * SECTOR if (here / "dm").is_dir() else None
    except (OSError, ValueError):
        return None


def find_partition(directory: Path, sysfs: Path = SYSFS) -> MountedPartition:
    """The partition that ``directory`` is on. Raises NothingToDo if it is not on a partition."""
    here = _sysfs_device(directory, sysfs)
    try:
        if (here / "dm").is_dir():
            (below,) = (here / "slaves").iterdir()
            here = below.resolve()
        number, start, size = (
            int((here / name).read_text()) for name in ("partition", "start", "size")
        )
        block = int((here.parent / "queue/logical_block_size").read_text())
    except (OSError, ValueError):
        raise NothingToDo(f"{directory} is not on a disk partition") from None
    return MountedPartition(
        disk=Path("/dev") / here.parent.name.replace("!", "/"),
        number=number,
        start=start * SECTOR,
        size=size * SECTOR,
        block=block,
    )


def _sysfs_device(directory: Path, sysfs: Path) -> Path:
    device = directory.stat().st_dev
    return (sysfs / f"{os.major(device)}:{os.minor(device)}").resolve()


def plan_partition_growth(
    disk: int, partition: MountedPartition
) -> tuple[tuple[BlockWrite, ...], int] | None:
    """``plan_growth`` for the open disk ``disk``: the writes and the new last block; None if the
    partition fills the disk. Raises Damaged."""
    block = partition.block
    header = parse_header(os.pread(disk, block, block), lba=1)
    entries = os.pread(disk, header.count * 128, header.entries_lba * block)
    table: GptTable = parse_table(header, entries, block=block)
    blocks = os.lseek(disk, 0, os.SEEK_END) // block
    return plan_growth(table, partition.number, blocks=blocks, mbr=os.pread(disk, block, 0))


def apply_writes(disk: int, writes: tuple[BlockWrite, ...], block: int) -> None:
    """Write the blocks in order, each durable before the next."""
    for write in writes:
        os.pwrite(disk, write.data, write.at * block)
        os.fsync(disk)


def _grow_file_system(root: Path, size: int) -> None:
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        grow_ext4(handle, size // os.fstatvfs(handle).f_frsize)
    finally:
        os.close(handle)

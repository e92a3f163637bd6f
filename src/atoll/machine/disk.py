"""A disk image that boots, made without mounts, loop devices or root; ``disk_layout`` draws it.

Both file systems are filled from staged directories: the ESP by mcopy into a file of its own, the
state partition by ``mke2fs -d``. ext4 stores a file's Merkle tree after its end, so staged files
have it as content (``object_transfer.StagedForExt4``). debugfs then sets the true size and the
verity flag of each. This needs no kernel support; the kernel that boots the disk finds valid verity
files.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.host.fs import create_private, make_directory, space_errors, temporary_directory
from atoll.host.run import require_program, run
from atoll.image.bootable import objects_of
from atoll.image.read_file import read_file
from atoll.machine.bios_message import format_boot_code
from atoll.machine.boot.new_entry import LiveState, StatePartition
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.object_transfer import StagedForExt4
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.disk_layout import (
    ESP_START,
    EXT4_OPTIONS,
    FAT_OPTIONS,
    MIB,
    SECTOR,
    STATE_OPTIONS,
    format_partitions,
    plan_installed_layout,
    plan_live_layout,
)
from atoll.machine.install import image_size, needed_space, plan_install, with_loader
from atoll.store.layout import open_store
from atoll.tree.gpt import ENTRY, parse_header, parse_table
from atoll.tree.verity import stored_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.machine.deployment import Origin
    from atoll.machine.disk_layout import DiskIdentity, DiskLayout
    from atoll.store.layout import Store

EXT4_FLAGS = 0x180000
"""An inode's EXTENTS and VERITY flags."""


EARLY_BOOT_LIVE = "usr/lib/dracut/modules.d/90atoll/early-boot.d/live.sh"
"""Trees with this file have an initrd that can boot a live system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSpec:
    """``persistence`` is the size of a partition for changes, in bytes; 0 keeps them in memory.
    When ``growing`` it will have all of the stick that is left, from the first start."""

    persistence: int = 0
    growing: bool = False


class DiskFormat(StrEnum):
    """The format of a disk image; the names are those of qemu-img."""

    RAW = "raw"
    """The bytes of the disk, which dd and stick writers take."""
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHDX = "vhdx"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """``size`` is in bytes, None for one that fits the image; a live system's always fits.
    ``sector`` is that of the disk which the image is written to."""

    size: int | None
    identity: DiskIdentity
    live: LiveSpec | None = None
    format: DiskFormat = DiskFormat.RAW
    sector: int = SECTOR


def content_size(image: BootableImage) -> int:
    """Bytes that a whole tree takes on the state partition."""
    objects = objects_of(image.store, image.tree)
    return sum(map(stored_size, objects.values())) + stored_size(image_size(image))


def plan_layout(image: BootableImage, spec: DiskSpec) -> DiskLayout:
    """Raises UsageError, or Refused for an image that cannot be a live system."""
    if spec.live is None:
        return plan_installed_layout(spec.size, content_size(image), spec.sector)
    if read_file(image.store, image.tree, EARLY_BOOT_LIVE) is None:
        raise Refused(
            f"{image.name} {image.version} was built before Atoll had live systems",
            hint="build it again, with atoll-system of this version",
        )
    boot_files = needed_space(image, ()).esp
    layout = plan_live_layout(content_size(image), boot_files, spec.live.persistence, spec.sector)
    return replace(layout, growing=spec.live.growing)


def make_disk(
    image: BootableImage,
    origin: Origin,
    out: Path,
    *,
    source: Store,
    spec: DiskSpec,
    reporter: Reporter,
) -> int:
    """Write a disk image that boots ``image`` to ``out``; the size of the disk.

    ``out`` gets its name when it is complete. Raises UsageError, Refused, NoSpace, Damaged or
    MissingProgram.
    """
    image = with_loader(image)
    layout = plan_layout(image, spec)
    if out.exists() and not out.is_file():
        raise Refused(f"{out} is not a regular file", hint="choose another name")
    if not out.absolute().parent.is_dir():
        raise NotFound(f"there is no directory {out.absolute().parent}", hint="make it first")
    require_programs(spec.format)
    with _written_beside(out) as (work, disk):
        with reporter.step("Preparing the file systems"):
            sizes = stage(image, origin, work, source=source, spec=spec)
        with reporter.step("Creating the partitions"):
            partition(disk, layout, spec.identity)
            fill_esp(disk, work, layout, spec.identity)
        with reporter.step("Writing the state partition"):
            fill_state(disk, work / "state", layout, spec.identity)
            seal_state(disk, work / "state", layout, sizes)
            if layout.persistence:
                make_persistence(disk, layout, spec.identity)
        if spec.format is not DiskFormat.RAW:
            with reporter.step(f"Converting the disk to {spec.format}"):
                convert(disk, spec.format)
    return layout.size


def require_programs(kind: DiskFormat) -> None:
    if kind is not DiskFormat.RAW:
        require_program("qemu-img", package="qemu-utils")
    for name, package in (
        ("sfdisk", "fdisk"),
        ("mkfs.vfat", "dosfstools"),
        ("mcopy", "mtools"),
        ("mke2fs", "e2fsprogs"),
        ("debugfs", "e2fsprogs"),
    ):
        require_program(name, package=package)


def stage(
    image: BootableImage, origin: Origin, work: Path, *, source: Store, spec: DiskSpec
) -> Mapping[str, int]:
    """Install into directories below ``work``; the sizes of the files before their Merkle trees."""
    sysroot = Sysroot(root=work / "state", esp=work / "esp")
    make_directory(sysroot.esp)
    make_directory(sysroot.root)
    contents = StagedForExt4(
        source=source, target=open_store(sysroot.atoll, create=True), top=sysroot.root
    )
    state = StatePartition(
        uuid=str(spec.identity.file_system), verity=True, live=plan_live_state(spec)
    )
    plan = plan_install(
        image,
        origin,
        sysroot=sysroot,
        state=state,
        contents=contents,
        objects=tuple(sorted(objects_of(source, image.tree))),
    )
    apply_operations(plan)
    return contents.sizes


def plan_live_state(spec: DiskSpec) -> LiveState | None:
    if spec.live is None:
        return None
    uuid = str(spec.identity.persistence_file_system)
    return LiveState(persistence=uuid if spec.live.persistence else None)


def partition(disk: Path, layout: DiskLayout, identity: DiskIdentity) -> None:
    # Private: the disk holds the password hashes and keys of the system.
    with os.fdopen(create_private(disk), "wb") as file:
        file.truncate(layout.size)
    script = format_partitions(layout, identity).encode()
    if layout.sector == SECTOR:
        run([require_program("sfdisk", package="fdisk"), "--quiet", disk], stdin=script)
    else:
        _write_large_sectors(disk, layout, script)
    if layout.live:
        with disk.open("r+b") as file:
            file.write(format_boot_code())


def _write_large_sectors(disk: Path, layout: DiskLayout, script: bytes) -> None:
    """sfdisk takes every file for a disk with sectors of 512 bytes; fdisk can be told, and reads
    the same scripts."""
    disk.with_name("partitions").write_bytes(script)
    words = ("--sector-size", str(layout.sector), "--wipe", "never", disk.name)
    program = require_program("fdisk", package="fdisk")
    run([program, *words], stdin=b"I\npartitions\nw\n", cwd=disk.parent)
    with disk.open("rb") as file:
        # It says "not valid" of a script, and ends with 0.
        file.seek(layout.sector)
        header = parse_header(file.read(layout.sector), lba=1)
        file.seek(header.entries_lba * layout.sector)
        table = parse_table(header, file.read(header.count * ENTRY), block=layout.sector)
    if len(table.partitions) != script.count(b"\nstart="):
        raise Damaged(f"fdisk did not write the partitions to {disk}")


def fill_esp(disk: Path, work: Path, layout: DiskLayout, identity: DiskIdentity) -> None:
    volume = work / "esp.fat"
    with volume.open("wb") as file:
        file.truncate(layout.esp)
    run(
        [
            require_program("mkfs.vfat", package="dosfstools"),
            *FAT_OPTIONS,
            *(() if layout.sector == SECTOR else ("-S", str(layout.sector))),
            "-n",
            "ESP",
            "-i",
            identity.volume,
            volume,
        ]
    )
    names = sorted((work / "esp").iterdir())
    run([require_program("mcopy", package="mtools"), "-s", "-m", "-i", volume, *names, "::"])
    with space_errors(disk), volume.open("rb") as source, disk.open("r+b") as target:
        while chunk := source.read(MIB):
            if chunk.count(0) < len(chunk):
                os.pwrite(target.fileno(), chunk, ESP_START + source.tell() - len(chunk))


def fill_state(disk: Path, content: Path, layout: DiskLayout, identity: DiskIdentity) -> None:
    kind: list[str | Path] = [*STATE_OPTIONS]
    if layout.live:
        # Nothing is ever added: no journal, no room to grow, and no more inodes than are used.
        inodes = sum(1 for _ in content.rglob("*")) + 1024
        features = "verity,^has_journal,^resize_inode"
        kind = ["-O", features, "-N", str(inodes), "-L", "atoll-live"]
    extended = f"offset={layout.state_start},root_owner=0:0,hash_seed={identity.hash_seed}"
    _make_ext4(
        disk,
        layout.state,
        [*kind, "-m", "0", "-U", str(identity.file_system), "-E", extended, "-d", content],
    )


def make_persistence(disk: Path, layout: DiskLayout, identity: DiskIdentity) -> None:
    """An empty file system: early boot fills it from the state partition."""
    # nodiscard: mke2fs would tell a stick to forget its blocks, which takes some of them minutes.
    extended = f"offset={layout.persistence_start},nodiscard,root_owner=0:0"
    extended += f",hash_seed={identity.hash_seed}"
    uuid = str(identity.persistence_file_system)
    label = "atoll-changes"
    words = ["-m", "0", "-L", label, "-U", uuid, "-E", extended]
    if layout.growing:
        # For the size that it will have: as small as it is, it would get 4 times the inodes.
        words += ["-T", "default"]
    _make_ext4(disk, layout.persistence, words)


def _make_ext4(disk: Path, size: int, words: list[str | Path] | list[str]) -> None:
    argv: list[str | Path] = [
        require_program("mke2fs", package="e2fsprogs"),
        *("-q", "-F", *EXT4_OPTIONS),
        *words,
        disk,
        f"{size // 1024}k",
    ]
    run(argv)


def seal_state(disk: Path, content: Path, layout: DiskLayout, sizes: Mapping[str, int]) -> None:
    """Turn the staged files into verity files owned by root, whoever made the disk."""
    commands = [
        line
        for name, size in sizes.items()
        for line in (f"sif /{name} size {size}\n", f"sif /{name} flags {EXT4_FLAGS:#x}\n")
    ]
    if os.geteuid() != 0 or os.getegid() != 0:
        for path in content.rglob("*"):
            name = path.relative_to(content).as_posix()
            commands += [f"sif /{name} uid 0\n", f"sif /{name} gid 0\n"]
    run(
        [
            require_program("debugfs", package="e2fsprogs"),
            "-w",
            "-f",
            "-",
            f"{disk}?offset={layout.state_start}",
        ],
        stdin="".join(commands).encode(),
    )


def convert(disk: Path, kind: DiskFormat) -> None:
    """Replace a raw disk image by one of another format."""
    converted = disk.with_name("converted")
    # qemu-img keeps the mode of a file that is there.
    os.close(create_private(converted))
    program = require_program("qemu-img", package="qemu-utils")
    run([program, "convert", "-f", "raw", "-O", kind, disk, converted])
    converted.rename(disk)


@contextmanager
def _written_beside(out: Path) -> Iterator[tuple[Path, Path]]:
    """A directory to work in and the file that becomes ``out``; both are removed after an error."""
    parent = out.absolute().parent
    with space_errors(parent), temporary_directory(parent, prefix=f".{out.name}.") as work:
        disk = work / "disk"
        yield work, disk
        with disk.open("rb") as file:
            os.fsync(file.fileno())
        disk.rename(out)

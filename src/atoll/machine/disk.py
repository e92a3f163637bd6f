"""A disk image that boots, made without mounts, loop devices or root.

::

    1 MiB     ESP        FAT32, 512 MiB: systemd-boot, kernel and initrd, the boot entry
    513 MiB   state      ext4 with the verity feature: a sysroot (``machine.state`` draws it)
    last MiB  (the second partition table)

Both file systems are filled from staged directories: the ESP by mcopy into a file of its own, the
state partition by ``mke2fs -d``. ext4 keeps a file's Merkle tree behind its end, so staged files
carry it as content (``contents.StagedForExt4``) and debugfs then tells each its true size and sets
its verity flag: no kernel is asked, and a kernel that reads the disk later finds all in place.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from atoll.base.errors import NotFound, Refused, UsageError
from atoll.host.fs import create_private, make_directory, space_errors, temporary_directory
from atoll.host.run import require_program, run
from atoll.image.bootable import objects_of
from atoll.machine.boot.new_entry import StatePartition
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.object_transfer import StagedForExt4
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.install import image_size, plan_install, with_loader
from atoll.store.layout import open_store
from atoll.tree.verity import stored_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.machine.deployment import Origin
    from atoll.store.layout import Store

MIB = 1 << 20
SECTOR = 512
ESP_START = 1 * MIB
ESP_SIZE = 512 * MIB
STATE_START = ESP_START + ESP_SIZE
TABLE_END = 1 * MIB
DEPLOYMENTS_KEPT = 3
USER_SPACE = 1024 * MIB
"""What a disk of automatic size has for user files, beside its deployments."""
SMALLEST = 4096 * MIB

ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
STATE_TYPE = "4D21B016-B534-45C2-A9FB-5C16E091FD2D"
"""Variable data, by the Discoverable Partitions Specification; see docs/decisions/0014."""
STATE_FLAGS = "GUID:59,63"
"""Discoverable Partitions Specification: grow the file system, do not mount automatically."""
EXT4_FLAGS = 0x180000
"""An inode's EXTENTS and VERITY flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskIdentity:
    """The UUIDs of a disk, its partitions and file systems."""

    disk: UUID
    esp: UUID
    state: UUID
    file_system: UUID
    hash_seed: UUID

    @property
    def volume(self) -> str:
        """The FAT volume's number, eight hex digits."""
        return self.esp.hex[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """``size`` is in bytes, None for one that fits the image."""

    size: int | None
    identity: DiskIdentity


def derive_identity(seed: UUID) -> DiskIdentity:
    """The same seed gives the same identity."""
    names = ("disk", "esp", "state", "file_system", "hash_seed")
    return DiskIdentity(**{name: uuid5(seed, f"atoll disk {name}") for name in names})


def automatic_size(content: int) -> int:
    """Space for the deployments that a machine keeps, ``content`` bytes each, and for user files.

    A multiple of 1 MiB.
    """
    size = STATE_START + content * DEPLOYMENTS_KEPT * 11 // 10 + USER_SPACE + TABLE_END
    return max(SMALLEST, -(-size // MIB) * MIB)


def content_size(image: BootableImage) -> int:
    """Bytes that a whole tree takes on the state partition."""
    objects = objects_of(image.store, image.tree)
    return sum(map(stored_size, objects.values())) + stored_size(image_size(image))


def check_size(size: int, content: int) -> int:
    """``size`` in whole MiB; raises UsageError when ``content`` bytes do not fit."""
    least = STATE_START + content * 11 // 10 + 256 * MIB + TABLE_END
    if size < least:
        raise UsageError(
            f"a disk of {size // MIB} MiB is too small for this image",
            hint=f"choose at least {-(-least // MIB)} MiB",
        )
    return size // MIB * MIB


def make_disk(
    image: BootableImage,
    origin: Origin,
    out: Path,
    *,
    source: Store,
    spec: DiskSpec,
    reporter: Reporter,
) -> int:
    """Write a disk image that boots ``image`` to ``out``; its size.

    ``out`` gets its name when it is complete. Raises UsageError, Refused, NoSpace, Damaged or
    MissingProgram.
    """
    content = content_size(image)
    size = automatic_size(content) if spec.size is None else check_size(spec.size, content)
    if out.exists() and not out.is_file():
        raise Refused(f"{out} is not a regular file", hint="choose another name")
    if not out.absolute().parent.is_dir():
        raise NotFound(f"there is no directory {out.absolute().parent}", hint="make it first")
    require_programs()
    with _written_beside(out) as (work, disk):
        with reporter.step("Preparing the file systems"):
            sizes = stage(image, origin, work, source=source, identity=spec.identity)
        with reporter.step("Creating the partitions"):
            partition(disk, size, spec.identity)
            fill_esp(disk, work, spec.identity)
        with reporter.step("Writing the state partition"):
            fill_state(disk, work / "state", size, spec.identity)
            seal_state(disk, work / "state", sizes)
    return size


def require_programs() -> None:
    for name, package in (
        ("sfdisk", "fdisk"),
        ("mkfs.vfat", "dosfstools"),
        ("mcopy", "mtools"),
        ("mke2fs", "e2fsprogs"),
        ("debugfs", "e2fsprogs"),
    ):
        require_program(name, package=package)


def stage(
    image: BootableImage, origin: Origin, work: Path, *, source: Store, identity: DiskIdentity
) -> Mapping[str, int]:
    """Install into directories below ``work``; the sizes of the files before their Merkle trees."""
    sysroot = Sysroot(root=work / "state", esp=work / "esp")
    make_directory(sysroot.esp)
    make_directory(sysroot.root)
    contents = StagedForExt4(
        source=source, target=open_store(sysroot.atoll, create=True), top=sysroot.root
    )
    state = StatePartition(uuid=str(identity.file_system), verity=True)
    plan = plan_install(
        with_loader(image),
        origin,
        sysroot=sysroot,
        state=state,
        contents=contents,
        objects=tuple(sorted(objects_of(source, image.tree))),
    )
    apply_operations(plan)
    return contents.sizes


def partition(disk: Path, size: int, identity: DiskIdentity) -> None:
    # Private: the disk holds the password hashes and keys of the system.
    with os.fdopen(create_private(disk), "wb") as file:
        file.truncate(size)
    script = f"""label: gpt
label-id: {identity.disk}
first-lba: {ESP_START // SECTOR}
start={ESP_START // SECTOR}, size={ESP_SIZE // SECTOR}, type={ESP_TYPE}, \
uuid={identity.esp}, name=esp
start={STATE_START // SECTOR}, size={_state_size(size) // SECTOR}, type={STATE_TYPE}, \
attrs="{STATE_FLAGS}", uuid={identity.state}, name=atoll
"""
    run([require_program("sfdisk", package="fdisk"), "--quiet", disk], stdin=script.encode())


def fill_esp(disk: Path, work: Path, identity: DiskIdentity) -> None:
    volume = work / "esp.fat"
    with volume.open("wb") as file:
        file.truncate(ESP_SIZE)
    run(
        [
            require_program("mkfs.vfat", package="dosfstools"),
            "-F",
            "32",
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


def fill_state(disk: Path, content: Path, size: int, identity: DiskIdentity) -> None:
    extended = f"offset={STATE_START},root_owner=0:0,hash_seed={identity.hash_seed}"
    argv: list[str | Path] = [
        require_program("mke2fs", package="e2fsprogs"),
        "-q",
        "-F",
        "-t",
        "ext4",
        "-O",
        "verity",
        "-b",
        "4096",
        "-i",
        "8192",
        "-m",
        "0",
        "-L",
        "atoll",
        "-U",
        str(identity.file_system),
        "-E",
        extended,
        "-d",
        content,
        disk,
        f"{_state_size(size) // 1024}k",
    ]
    run(argv)


def seal_state(disk: Path, content: Path, sizes: Mapping[str, int]) -> None:
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
            f"{disk}?offset={STATE_START}",
        ],
        stdin="".join(commands).encode(),
    )


def _state_size(size: int) -> int:
    return size - STATE_START - TABLE_END


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

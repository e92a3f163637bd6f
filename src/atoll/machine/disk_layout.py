"""Where the partitions of a disk image are, and how large; all sizes are in bytes.

::

    installed                                   live (``atoll disk --live``)
    1 MiB     ESP      512 MiB                  1 MiB   ESP          as large as its files need
    513 MiB   state    ext4 with verity         …       state        ext4 with verity, only read
    last MiB  (the second partition table)      …       persistence  ext4, if it is asked for
                                                last MiB
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from atoll.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SECTOR = 512
SECTORS = (512, 4096)
"""What the logical sectors of disks have, in bytes. A partition table is for one of the two."""
ESP_START = 1 * MIB
ESP_SIZE = 512 * MIB
STATE_START = ESP_START + ESP_SIZE
TABLE_END = 1 * MIB
DEPLOYMENTS_KEPT = 3
USER_SPACE = 1024 * MIB
"""What a disk of automatic size has for user files, beside its deployments."""
SMALLEST = 4096 * MIB
SMALLEST_LIVE_ESP = {512: 64 * MIB, 4096: 260 * MIB}
"""By the size of a sector: FAT32 has at least 65525 clusters, of one sector or more."""
SMALLEST_PERSISTENCE = 256 * MIB

ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
XBOOTLDR_TYPE = "BC13C2FF-59E6-4262-A352-B275FD6F7172"
"""Kernels and boot entries beside a small ESP, by the Boot Loader Specification."""
STATE_TYPE = "4D21B016-B534-45C2-A9FB-5C16E091FD2D"
"""Variable data, by the Discoverable Partitions Specification; see docs/decisions/0014."""
LINUX_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
"""A Linux file system of no special use."""
GROWING = "GUID:59,63"
"""Discoverable Partitions Specification: grow the file system, do not mount automatically."""
NOT_MOUNTED = "GUID:63"
ONLY_READ = "GUID:60,63"

FAT_OPTIONS = ("-F", "32")
EXT4_OPTIONS = ("-t", "ext4", "-b", "4096")
STATE_OPTIONS = ("-O", "verity", "-i", "8192", "-L", "atoll")
"""How mkfs.vfat and mke2fs make the file systems of a machine, in an image and on a disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskIdentity:
    """The UUIDs of a disk, its partitions and file systems."""

    disk: UUID
    esp: UUID
    state: UUID
    file_system: UUID
    hash_seed: UUID
    persistence: UUID
    persistence_file_system: UUID

    @property
    def volume(self) -> str:
        """The FAT volume's number, eight hex digits."""
        return self.esp.hex[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLayout:
    """The sizes of the partitions, multiples of 1 MiB; ``persistence`` is 0 without one, and
    ``growing`` when it will fill the stick. ``sector`` is one of SECTORS."""

    esp: int
    state: int
    persistence: int = 0
    growing: bool = False
    live: bool = False
    sector: int = SECTOR

    @property
    def state_start(self) -> int:
        return ESP_START + self.esp

    @property
    def persistence_start(self) -> int:
        return self.state_start + self.state

    @property
    def size(self) -> int:
        return self.persistence_start + self.persistence + TABLE_END


def derive_identity(seed: UUID) -> DiskIdentity:
    """The same seed gives the same identity."""
    names = DiskIdentity.__slots__
    return DiskIdentity(**{name: uuid5(seed, f"atoll disk {name}") for name in names})


def automatic_size(content: int) -> int:
    """Space for the deployments that a machine keeps, ``content`` bytes each, and for user files.

    A multiple of 1 MiB.
    """
    size = STATE_START + content * DEPLOYMENTS_KEPT * 11 // 10 + USER_SPACE + TABLE_END
    return max(SMALLEST, round_up(size))


def check_size(size: int, content: int) -> int:
    """``size`` in whole MiB; raises UsageError when ``content`` bytes do not fit."""
    least = STATE_START + content * 11 // 10 + 256 * MIB + TABLE_END
    if size < least:
        raise UsageError(
            f"a disk of {size // MIB} MiB is too small for this image",
            hint=f"choose at least {round_up(least) // MIB} MiB",
        )
    return size // MIB * MIB


def plan_installed_layout(size: int | None, content: int, sector: int = SECTOR) -> DiskLayout:
    """For a disk of ``size`` bytes, or of automatic size; raises UsageError when it is too small
    for a deployment of ``content`` bytes."""
    size = automatic_size(content) if size is None else check_size(size, content)
    return DiskLayout(esp=ESP_SIZE, state=size - STATE_START - TABLE_END, sector=sector)


def plan_live_layout(
    content: int, boot_files: int, persistence: int, sector: int = SECTOR
) -> DiskLayout:
    """No larger than what is on it, for every byte is written to a stick: ``content`` bytes of a
    deployment, ``boot_files`` bytes on the ESP. Raises UsageError."""
    if 0 < persistence < SMALLEST_PERSISTENCE:
        raise UsageError(
            f"a persistence partition of {persistence // MIB} MiB is too small",
            hint=f"choose at least {SMALLEST_PERSISTENCE // MIB}M",
        )
    return DiskLayout(
        esp=max(SMALLEST_LIVE_ESP[sector], round_up(boot_files * 21 // 20 + 32 * MIB)),
        state=round_up(content * 21 // 20 + 64 * MIB),
        persistence=persistence // MIB * MIB,
        live=True,
        sector=sector,
    )


def format_partitions(layout: DiskLayout, identity: DiskIdentity) -> str:
    """What sfdisk reads."""
    sector = layout.sector
    rows = [f"label: gpt\nlabel-id: {identity.disk}\nfirst-lba: {ESP_START // sector}"]
    for start, size, rest in _partitions(layout, identity):
        rows.append(f"start={start // sector}, size={size // sector}, {rest}")
    return "\n".join([*rows, ""])


def _partitions(layout: DiskLayout, identity: DiskIdentity) -> Iterator[tuple[int, int, str]]:
    yield ESP_START, layout.esp, f"type={ESP_TYPE}, uuid={identity.esp}, name=esp"
    name, flags = ("atoll-live", ONLY_READ) if layout.live else ("atoll", GROWING)
    words = f'type={STATE_TYPE}, attrs="{flags}", uuid={identity.state}, name={name}'
    yield layout.state_start, layout.state, words
    if layout.persistence:
        flags = GROWING if layout.growing else NOT_MOUNTED
        words = f'type={LINUX_TYPE}, attrs="{flags}", uuid={identity.persistence}'
        yield layout.persistence_start, layout.persistence, f"{words}, name=atoll-persistence"


def round_up(size: int) -> int:
    """To a multiple of 1 MiB."""
    return -(-size // MIB) * MIB

"""Machines with disks for tests of the installer, as values; sizes in MiB."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atoll.installer.devices.block_devices import (
    NO_SIGNATURE,
    BlockDevices,
    DeviceIdentity,
    Disk,
    DiskPartition,
    EspContent,
    MachineFirmware,
    PartitionTable,
    Signature,
    Use,
    WindowsState,
    partition_path,
)
from atoll.installer.plan.partitioning import ImageNeeds
from atoll.machine.disk_layout import ESP_TYPE, MIB, XBOOTLDR_TYPE

GIB = 1024
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
WINDOWS = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
NEEDS = ImageNeeds(
    title="hello 1", content=1500 * MIB, pair=60 * MIB, loader=128 * 1024, efi_name="x64"
)
SDA = Path("/dev/sda")
FAT = Signature(kind="vfat", label="SYSTEM", uuid="AAAA-BBBB", version="FAT32")


def part(
    number: int,
    start: int,
    size: int,
    kind: str = LINUX,
    *,
    signature: Signature = NO_SIGNATURE,
    uses: tuple[Use, ...] = (),
    windows: WindowsState | None = None,
    name: str = "",
) -> DiskPartition:
    """A partition of whatever disk it is given to."""
    return DiskPartition(
        path=Path("/dev/none"),
        number=number,
        start=start * MIB,
        size=size * MIB,
        kind=kind,
        uuid=f"00000000-0000-0000-0000-{number:012}",
        name=name,
        signature=signature,
        uses=uses,
        windows=windows,
    )


def make_disk(
    *parts: DiskPartition, size: int = 100 * GIB, path: Path = SDA, label: str = "gpt"
) -> Disk:
    placed = tuple(
        replace(each, path=partition_path(path, each.number))
        for each in sorted(parts, key=lambda each: each.start)
    )
    table = PartitionTable(
        label=label, uuid="", first=MIB, end=size * MIB - 33 * 512, partitions=placed, digest="1"
    )
    return Disk(
        path=path,
        identity=DeviceIdentity(number="8:0", size=size * MIB, sector=512, model="Made Disk"),
        table=table,
    )


def make_devices(*disks: Disk, esp_free: int = 300, bits: int | None = 64) -> BlockDevices:
    esps = tuple(
        EspContent(
            partition=each.path,
            size=each.size,
            free=esp_free * MIB,
            files=frozenset({"efi/boot/bootx64.efi", "efi/microsoft/boot/bootmgfw.efi"}),
        )
        for disk in disks
        for each in disk.partitions
        if each.kind in (ESP_TYPE, XBOOTLDR_TYPE)
    )
    return BlockDevices(disks=disks, firmware=MachineFirmware(bits=bits), esps=esps)


def with_content(devices: BlockDevices, **changes: object) -> BlockDevices:
    """The same machine with another first ESP."""
    first = replace(devices.esps[0], **changes)  # type: ignore[arg-type]
    return replace(devices, esps=(first, *devices.esps[1:]))


def with_contents(devices: BlockDevices, changes: dict[int, dict[str, object]]) -> BlockDevices:
    """The same machine with other ESPs and boot partitions, by their number."""
    esps = list(devices.esps)
    for number, changed in changes.items():
        esps[number] = replace(esps[number], **changed)  # type: ignore[arg-type]
    return replace(devices, esps=tuple(esps))


def windows_disk(state: WindowsState = WindowsState.CLEAN, *, path: Path = SDA) -> Disk:
    """A laptop with Windows, shrunk: ESP 100 MB, reserved, Windows, 40 GiB free, recovery."""
    return make_disk(
        part(1, 1, 100, ESP_TYPE, signature=FAT),
        part(2, 101, 16, "E3C9E316-0B5C-4DB8-817D-F92DF00215AE"),
        part(
            3,
            117,
            50 * GIB,
            WINDOWS,
            signature=Signature(kind="ntfs", label="Windows"),
            windows=state,
        ),
        part(4, 99 * GIB, 600, "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC"),
        path=path,
    )


def debian_disk() -> Disk:
    """An ESP, Debian, a /home, and a partition that nobody needs."""
    return make_disk(
        part(1, 1, 512, ESP_TYPE, signature=FAT),
        part(2, 513, 30 * GIB, signature=Signature(kind="ext4", label="debian", uuid="d" * 8)),
        part(3, 31 * GIB, 30 * GIB, signature=Signature(kind="ext4", label="home", uuid="h" * 8)),
        part(4, 61 * GIB, 30 * GIB, signature=Signature(kind="ext4", label="old", uuid="0" * 8)),
    )

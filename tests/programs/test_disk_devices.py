"""What the installer reads of real block devices, made by the programs that others use."""

from __future__ import annotations

import os
import struct
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, Refused
from atoll.host.run import find_program
from atoll.installer.devices.block_devices import (
    BlockDevices,
    Disk,
    MachineFirmware,
    TableFlaw,
    UseKind,
    WindowsState,
)
from atoll.installer.devices.read_devices import read_block_devices, read_firmware, read_signature
from atoll.installer.plan.partitioning import Target, TargetKind
from atoll.installer.plan.plan_installation import plan_installation
from tests.loop_disks import ESP, attached, forget, know, make_file, write_table
from tests.unit.installer.made_devices import NEEDS

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("sfdisk", "lsblk", "blkid", "partx", "losetup", "mkfs.vfat", "mke2fs", "mcopy")
missing = [name for name in PROGRAMS if find_program(name) is None]
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}"),
]
MIB = 1 << 20
SIZE = 8 << 30
LAYOUT = (f"start=1MiB, size=300MiB, type={ESP}, name=esp", "size=2GiB, name=data", "size=4GiB")


@contextmanager
def disk_of(folder: Path, *, sector: int = 512) -> Iterator[Path]:
    file = make_file(folder / "disk.img", SIZE)
    with attached(file, sector=sector) as device:
        write_table(device, *LAYOUT)
        know(device)
        yield device


def partition(device: Path, number: int) -> Path:
    return Path(f"{device}p{number}")


def look(device: Path) -> Disk:
    disk = devices().find_disk(device)
    assert disk is not None
    return disk


def devices() -> BlockDevices:
    return replace(read_block_devices(), firmware=MachineFirmware(bits=64))


def make(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_disk_is_read_as_it_is(tmp_path: Path, sector: int) -> None:
    with disk_of(tmp_path, sector=sector) as device:
        make("mkfs.vfat", "-F", "32", "-n", "SYSTEM", partition(device, 1))
        make("mke2fs", "-q", "-t", "ext4", "-L", "data", partition(device, 2))
        disk = look(device)
    assert (disk.identity.size, disk.identity.sector) == (SIZE, sector)
    assert disk.table is not None
    assert (disk.table.label, disk.table.flaws) == ("gpt", ())
    assert disk.table.end <= SIZE - 33 * 512
    esp, data, empty = disk.partitions
    assert (esp.start, esp.size, esp.kind, esp.name) == (MIB, 300 * MIB, ESP, "esp")
    assert (esp.signature.kind, esp.signature.label) == ("vfat", "SYSTEM")
    assert (data.start, data.size, data.signature.label) == (301 * MIB, 2048 * MIB, "data")
    assert empty.signature.kind == ""
    assert disk.uses == data.uses == ()


def test_an_esp_is_read_without_a_mount(tmp_path: Path) -> None:
    with disk_of(tmp_path) as device:
        esp = partition(device, 1)
        make("mkfs.vfat", "-F", "32", esp)
        empty = devices().esp_content(esp)
        for folder in ("EFI", "EFI/BOOT"):
            make("mmd", "-i", esp, f"::{folder}")
        loader = make_file(tmp_path / "loader", 10 * MIB)
        make("mcopy", "-i", esp, loader, "::EFI/BOOT/BOOTX64.EFI")
        filled = devices().esp_content(esp)
        make("dd", "if=/dev/zero", f"of={esp}", "bs=512", "count=1", "conv=fsync")
        broken = devices().esp_content(esp)
    assert empty is not None
    assert filled is not None
    assert broken is not None
    assert (empty.files, empty.flaw) == (frozenset(), "")
    assert filled.files == {"efi", "efi/boot", "efi/boot/bootx64.efi"}
    assert 10 * MIB <= empty.free - filled.free < 11 * MIB
    assert broken.flaw


def test_who_uses_a_disk_is_seen(tmp_path: Path) -> None:
    with disk_of(tmp_path) as device:
        data, swap = partition(device, 2), partition(device, 3)
        make("mke2fs", "-q", "-t", "ext4", data)
        place = tmp_path / "mounted"
        place.mkdir()
        make("mount", data, place)
        make("mkswap", swap)
        try:
            disk = look(device)
            handle = os.open(swap, os.O_RDONLY | os.O_EXCL)
            try:
                held = look(device)
            finally:
                os.close(handle)
        finally:
            make("umount", place)
    assert [(use.kind, use.name) for use in disk.partitions[1].uses] == [
        (UseKind.MOUNTED, str(place))
    ]
    assert disk.partitions[2].signature.kind == "swap"
    assert [use.kind for use in held.partitions[2].uses] == [UseKind.OPEN]


def test_a_mount_in_another_namespace_counts(tmp_path: Path) -> None:
    """lsblk does not see it; an exclusive opening does."""
    with disk_of(tmp_path) as device:
        data = partition(device, 2)
        make("mke2fs", "-q", "-t", "ext4", data)
        script = f"mount {data} /mnt && echo ready && read -r line"
        with subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            disk = look(device)
            other.communicate("\n")
    assert [use.kind for use in disk.partitions[1].uses] == [UseKind.OPEN]


def test_a_hibernated_linux_is_seen(tmp_path: Path) -> None:
    with disk_of(tmp_path) as device:
        swap = partition(device, 3)
        make("mkswap", swap)
        with swap.open("r+b") as file:  # what the kernel writes over the mark of the swap
            file.seek(4096 - 10)
            file.write(b"S1SUSPEND\0")
        target = Target(kind=TargetKind.FREE_SPACE, device=device)
        with pytest.raises(Refused, match="hibernated system"):
            plan_installation(target, devices(), NEEDS, encrypted=False)


def test_what_belongs_to_a_set_is_told_from_a_closed_volume(tmp_path: Path) -> None:
    with disk_of(tmp_path) as device:
        with partition(device, 2).open("r+b") as file:
            file.write(lvm_label())
        with partition(device, 3).open("r+b") as file:
            file.write(b"LUKS\xba\xbe\x00\x01".ljust(592, b"\0"))
        lvm, luks = look(device).partitions[1:]
    assert (lvm.signature.kind, luks.signature.kind) == ("LVM2_member", "crypto_LUKS")


def test_a_set_counts_although_an_older_signature_is_left(tmp_path: Path) -> None:
    with disk_of(tmp_path) as device:
        data = partition(device, 2)
        make("mke2fs", "-q", "-t", "ext4", data)
        with data.open("r+b") as file:
            for number in range(8):  # uberblocks of ZFS, behind its first label
                file.seek((128 + number) << 10)
                file.write(struct.pack("<QQQQQ", 0x00BAB10C, 5000, 1, 1, 1))
        assert look(device).partitions[1].signature.kind == "zfs_member"
        target = Target(kind=TargetKind.DISK, device=device)
        with pytest.raises(Refused, match="part of ZFS"):
            plan_installation(target, devices(), NEEDS, encrypted=False)


def lvm_label() -> bytes:
    """The second sector of a physical volume: its mark, a checksum, where its header is."""
    header = b"A" * 32 + (1 << 30).to_bytes(8, "little")
    rest = ((32).to_bytes(4, "little") + b"LVM2 001" + header).ljust(512 - 20, b"\0")
    checksum = 0xF597A6CF
    for byte in rest:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (0xEDB88320 if checksum & 1 else 0)
    label = b"LABELONE" + (1).to_bytes(8, "little") + checksum.to_bytes(4, "little") + rest
    return bytes(512) + label


@pytest.mark.skipif(find_program("mkntfs") is None, reason="needs ntfs-3g")
def test_windows_is_asked_whether_it_sleeps(tmp_path: Path) -> None:
    with disk_of(tmp_path) as device:
        volume = partition(device, 2)
        make("mkntfs", "--fast", "--quiet", "--label", "Windows", volume)
        clean = look(device).partitions[1]
        image = tmp_path / "hiberfil.sys"
        image.write_bytes(b"\0" * 100_000)
        make("ntfscp", volume, image, "hiberfil.sys")
        awake = look(device).partitions[1]
        image.write_bytes(b"HIBR" + b"\0" * 100_000)
        make("ntfscp", volume, image, "hiberfil.sys")
        asleep = look(device).partitions[1]
        volume.write_bytes(volume.read_bytes()[:MIB])
    assert clean.windows is awake.windows is WindowsState.CLEAN
    assert clean.signature.label == "Windows"
    assert asleep.windows is WindowsState.HIBERNATED


@pytest.mark.skipif(find_program("mkntfs") is None, reason="needs ntfs-3g")
def test_an_ntfs_that_is_marked_dirty_is_seen(tmp_path: Path) -> None:
    with disk_of(tmp_path) as device:
        volume = partition(device, 2)
        make("mkntfs", "--fast", "--quiet", volume)
        set_dirty(volume)
        assert look(device).partitions[1].windows is WindowsState.DIRTY


def set_dirty(volume: Path) -> None:
    """Set the flag in the $VOLUME_INFORMATION of record 3 of the file table."""
    with volume.open("r+b") as file:
        boot = file.read(512)
        cluster = int.from_bytes(boot[11:13], "little") * boot[13]
        places = [int.from_bytes(boot[at : at + 8], "little") * cluster for at in (48, 56)]
        records = [place + 3 * 1024 for place in places]
        file.seek(records[0])
        data = bytearray(file.read(1024))
        at = int.from_bytes(data[20:22], "little")
        while int.from_bytes(data[at : at + 4], "little") != 0x70:
            at += int.from_bytes(data[at + 4 : at + 8], "little")
        value = at + int.from_bytes(data[at + 20 : at + 22], "little")
        data[value + 10] |= 1
        for record in records:  # that of the file table, and its mirror
            file.seek(record)
            file.write(data)


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_damaged_table_is_seen(tmp_path: Path, sector: int) -> None:
    with disk_of(tmp_path, sector=sector) as device:
        whole = device.open("r+b", buffering=0)
        with whole:
            blocks = SIZE // sector
            first, second = os.pread(whole.fileno(), sector, sector), (blocks - 1) * sector
            last = os.pread(whole.fileno(), sector, second)
            os.pwrite(whole.fileno(), bytes(sector), second)
            assert flaws(device) == (TableFlaw.SECOND_DAMAGED,)
            os.pwrite(whole.fileno(), last, second)
            os.pwrite(whole.fileno(), bytes(sector), sector)
            assert flaws(device) == (TableFlaw.FIRST_DAMAGED,)
            os.pwrite(whole.fileno(), first, sector)
            assert flaws(device) == ()
            entries = os.pread(whole.fileno(), 1, 2 * sector + 40)
            os.pwrite(whole.fileno(), bytes([entries[0] ^ 1]), 2 * sector + 40)
            assert TableFlaw.FIRST_DAMAGED in flaws(device)


def test_a_table_without_space_for_a_second_copy_is_seen(tmp_path: Path) -> None:
    """Known when the plan is made, not when it is confirmed."""
    file = make_file(tmp_path / "disk.img", SIZE)
    with attached(file, sector=512) as device:
        script = "label: gpt\nfirst-lba: 34\nstart=34, size=1GiB\nstart=2GiB, size=1GiB\n"
        subprocess.run(["sfdisk", "--quiet", device], input=script.encode(), check=True)
        know(device)
        assert flaws(device) == (TableFlaw.CROWDED,)


def test_a_disk_that_is_unplugged_while_it_is_read_is_damage(tmp_path: Path) -> None:
    """Another disk, listed and gone again, must not end an installation in a traceback."""
    gone = tmp_path / "gone"
    gone.write_bytes(b"")
    with pytest.raises(Damaged, match="ends at byte 0"):
        read_signature(gone)


def flaws(device: Path) -> tuple[TableFlaw, ...]:
    table = look(device).table
    assert table is not None
    return table.flaws


def test_a_table_that_the_kernel_does_not_know_is_stale(tmp_path: Path) -> None:
    with disk_of(tmp_path) as device:
        assert flaws(device) == ()
        write_table(device, "start=1MiB, size=100MiB")
        assert flaws(device) == (TableFlaw.STALE,)
        forget(device)
        know(device)
        assert flaws(device) == ()


def test_a_disk_that_grew_has_its_second_table_elsewhere(tmp_path: Path) -> None:
    file = make_file(tmp_path / "disk.img", SIZE)
    write_table(file, *LAYOUT)
    os.truncate(file, 2 * SIZE)
    with attached(file) as device:
        know(device)
        assert flaws(device) == (TableFlaw.SECOND_ELSEWHERE,)


def test_a_disk_without_a_table_has_a_signature(tmp_path: Path) -> None:
    with attached(make_file(tmp_path / "disk.img", SIZE)) as device:
        assert (look(device).table, look(device).signature.kind) == (None, "")
        make("mke2fs", "-q", "-t", "ext4", device)
        assert (look(device).table, look(device).signature.kind) == (None, "ext4")


def test_an_mbr_table_is_known(tmp_path: Path) -> None:
    with attached(make_file(tmp_path / "disk.img", SIZE)) as device:
        subprocess.run(
            ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", device],
            input="label: dos\nsize=1GiB, type=83\n",
            text=True,
            check=True,
        )
        know(device)
        table = look(device).table
    assert table is not None
    assert (table.label, table.partitions[0].kind) == ("dos", "83")


@pytest.mark.parametrize("cut", [False, True])
def test_a_gpt_without_a_whole_copy_is_no_mbr(tmp_path: Path, cut: bool) -> None:
    """sfdisk shows the protective MBR; to convert that would be the end of the partitions."""
    file = make_file(tmp_path / "disk.img", SIZE)
    write_table(file, *LAYOUT)
    if cut:
        os.truncate(file, SIZE // 2)
    else:
        with file.open("r+b") as raw:
            os.pwrite(raw.fileno(), bytes(512), 512)
            os.pwrite(raw.fileno(), bytes(512), SIZE - 512)
    with attached(file) as device:
        assert flaws(device) == (TableFlaw.BOTH_DAMAGED,)
        for kind, place in (
            (TargetKind.FREE_SPACE, device),
            (TargetKind.PARTITION, partition(device, 2)),
        ):
            with pytest.raises(Refused, match="both copies") as caught:
                target = Target(kind=kind, device=place)
                plan_installation(target, devices(), NEEDS, encrypted=False)
            assert "testdisk" in str(caught.value.hint)


def test_what_is_on_a_whole_disk_is_erased_by_name(tmp_path: Path) -> None:
    with attached(make_file(tmp_path / "disk.img", SIZE)) as device:
        device.write_bytes(b"LUKS\xba\xbe\x00\x01".ljust(592, b"\0"))
        assert f"{device.name}: LUKS encryption" in erased_on(device)


@pytest.mark.skipif(find_program("mkntfs") is None, reason="needs ntfs-3g")
def test_a_volume_over_a_whole_disk_has_no_table(tmp_path: Path) -> None:
    """Though its first sector looks like an MBR to sfdisk."""
    with attached(make_file(tmp_path / "disk.img", SIZE)) as device:
        make("mkntfs", "--fast", "--quiet", "--force", device)
        assert f"{device.name}: NTFS" in erased_on(device)


def erased_on(device: Path) -> tuple[str, ...]:
    """Of a disk that has no space for partitions beside what is there."""
    free = Target(kind=TargetKind.FREE_SPACE, device=device)
    with pytest.raises(Refused, match="has no partition table"):
        plan_installation(free, devices(), NEEDS, encrypted=False)
    target = Target(kind=TargetKind.DISK, device=device)
    return plan_installation(target, devices(), NEEDS, encrypted=False).erased


def test_reading_leaves_every_byte_as_it_was(tmp_path: Path) -> None:
    file = make_file(tmp_path / "disk.img", 1 << 30)
    with attached(file) as device:
        write_table(device, LAYOUT[0], "size=500MiB")
        know(device)
        make("mkfs.vfat", "-F", "32", partition(device, 1))
        make("mke2fs", "-q", "-t", "ext4", partition(device, 2))
        os.sync()
        copy = tmp_path / "copy"
        make("cp", "--sparse=always", file, copy)
        look(device)
        os.sync()
        make("cmp", file, copy)


def test_firmware_is_what_the_kernel_says(tmp_path: Path) -> None:
    assert read_firmware(tmp_path / "none").bits is None
    (tmp_path / "fw_platform_size").write_text("32\n")
    assert read_firmware(tmp_path).bits == 32

"""Which disks are taken for a stick, and what a person is told before one is erased."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atoll.base.errors import NotFound, Refused, UsageError
from atoll.cli.main import main
from atoll.installer.apply.write_stick import check_fits, find_stick, format_stick
from atoll.installer.devices.block_devices import Disk, Signature, Use, UseKind
from tests.unit.installer.made_devices import (
    GIB,
    SDA,
    debian_disk,
    make_devices,
    make_disk,
    part,
)

STICK = Path("/dev/sdb")
MIB = 1 << 20


def stick(**changes: object) -> Disk:
    found = make_disk(
        part(1, 1, 4000, signature=Signature(kind="vfat", label="PHOTOS")),
        size=16 * GIB,
        path=STICK,
    )
    return replace(found, removable=True, transport="usb", **changes)  # type: ignore[arg-type]


def test_a_person_sees_what_is_erased() -> None:
    found = find_stick(STICK, make_devices(debian_disk(), stick()))
    assert format_stick(found).splitlines() == [
        "sdb (17 GB, Made Disk) will be erased:",
        '  sdb1: FAT "PHOTOS", 4.2 GB',
    ]
    check_fits(found, 16 * GIB * MIB)
    with pytest.raises(Refused, match="17 GB, and the system needs 19 GB"):
        check_fits(found, 18 * GIB * MIB)


def test_a_disk_of_the_computer_is_named_as_such() -> None:
    told = format_stick(find_stick(SDA, make_devices(debian_disk(), stick())))
    assert "ATTENTION: sda is not a USB stick, but a disk of this computer." in told
    assert 'sda2: ext4 "debian"' in told


def test_an_empty_stick_has_nothing_to_lose() -> None:
    empty = replace(stick(), table=None)
    assert "nothing that is known" in format_stick(find_stick(STICK, make_devices(empty)))
    iso = replace(empty, signature=Signature(kind="iso9660"))
    assert format_stick(find_stick(STICK, make_devices(iso))).endswith("  sdb: iso9660")


@pytest.mark.parametrize(
    ("disk", "told"),
    [
        (
            stick(uses=(Use(kind=UseKind.MOUNTED, name="/media/photos"),)),
            "/dev/sdb is mounted at /media/photos",
        ),
        (
            stick(uses=(Use(kind=UseKind.MOUNTED, name="/sysroot/atoll/objects"),)),
            "this computer runs from /dev/sdb",
        ),
        (
            stick(uses=(Use(kind=UseKind.HOLDER, name="/dev/md0", detail="raid1"),)),
            "/dev/sdb is part of /dev/md0",
        ),
        (stick(uses=(Use(kind=UseKind.SWAP),)), "/dev/sdb is in use as swap"),
        (stick(signature=Signature(kind="LVM2_member")), "/dev/sdb is part of LVM"),
        (stick(read_only=True), "/dev/sdb is read-only"),
        (
            stick(identity=replace(stick().identity, sector=1024)),
            "/dev/sdb has sectors of 1024 bytes",
        ),
    ],
)
def test_what_stands_against_a_stick_is_said(disk: Disk, told: str) -> None:
    with pytest.raises(Refused, match=told):
        find_stick(STICK, make_devices(debian_disk(), disk))


def test_the_stick_that_the_system_runs_from_is_refused() -> None:
    devices = replace(make_devices(stick()), started_from=stick().partitions[0].uuid.lower())
    with pytest.raises(Refused, match=r"running system was started from /dev/sdb1"):
        find_stick(STICK, devices)


def test_a_partition_is_no_stick() -> None:
    devices = make_devices(stick())
    with pytest.raises(UsageError, match=r"/dev/sdb1 is a partition") as caught:
        find_stick(Path("/dev/sdb1"), devices)
    assert caught.value.hint == "name the whole disk: --usb /dev/sdb"
    with pytest.raises(NotFound, match="there is no disk /dev/sdc"):
        find_stick(Path("/dev/sdc"), devices)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "OUT is missing"),
        (["--live", "/dev/sdb"], "atoll disk --live store:hello --usb /dev/sdb"),
        (["x.img", "--live", "--usb", "/dev/sdb"], "both OUT (x.img) and --usb"),
        (["--usb", "/dev/sdb"], "--usb is for live systems"),
        (["--live", "--usb", "/dev/sdb", "--format", "qcow2"], "a stick has no --format"),
        (["x.img", "--yes-erase", "sdb"], "--yes-erase goes with --usb"),
    ],
)
def test_words_that_do_not_go_together(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk", "store:hello", *words]) == 2
    assert told in capsys.readouterr().err

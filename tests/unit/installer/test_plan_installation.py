"""Where a system goes on a disk, and everything that stands against it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import NotFound, Refused, UsageError
from atoll.base.text import width
from atoll.installer.devices.block_devices import (
    INSTALLING,
    BlockDevices,
    Signature,
    TableFlaw,
    Use,
    UseKind,
    WindowsState,
)
from atoll.installer.plan.describe_plan import format_plan
from atoll.installer.plan.install_request import boot_size, least_size
from atoll.installer.plan.partitioning import (
    Fate,
    FirmwareEntry,
    InstallationPlan,
    Role,
    Target,
    TargetKind,
)
from atoll.installer.plan.plan_installation import plan_installation
from atoll.machine.disk_layout import ESP_TYPE, MIB, STATE_TYPE, XBOOTLDR_TYPE
from tests.unit.installer.made_devices import (
    FAT,
    GIB,
    NEEDS,
    SDA,
    debian_disk,
    make_devices,
    make_disk,
    part,
    windows_disk,
    with_content,
)

if TYPE_CHECKING:
    from atoll.installer.devices.block_devices import Disk, DiskPartition
    from atoll.installer.plan.partitioning import PlannedPartition

DISK = Target(kind=TargetKind.DISK, device=SDA)
FREE = Target(kind=TargetKind.FREE_SPACE, device=SDA)
PARTITION = Target(kind=TargetKind.PARTITION, device=Path("/dev/sda4"))


def plan(target: Target, devices: BlockDevices, *, encrypted: bool = False) -> InstallationPlan:
    return plan_installation(target, devices, NEEDS, encrypted=encrypted)


def refusal(target: Target, devices: BlockDevices) -> str:
    with pytest.raises(Refused) as caught:
        plan(target, devices)
    return f"{caught.value.message}\n{caught.value.hint}"


def with_part(disk: Disk, number: int, **changes: object) -> Disk:
    assert disk.table is not None
    parts = tuple(
        replace(each, **changes) if each.number == number else each  # type: ignore[arg-type]
        for each in disk.partitions
    )
    return replace(disk, table=replace(disk.table, partitions=parts))


def test_a_whole_disk_gets_an_esp_and_the_system() -> None:
    made = plan(DISK, make_devices(debian_disk()))
    assert [(each.role, each.fate) for each in made.after] == [
        (Role.ESP, Fate.CREATED),
        (Role.STATE, Fate.CREATED),
    ]
    assert made.after[1].end == (100 * GIB - 1) * MIB
    assert {each.fate for each in made.before} == {Fate.ERASED}
    assert len(made.erased) == 5
    assert made.firmware is FirmwareEntry.NONE
    assert (made.esp, made.state) == (Path("/dev/sda1"), Path("/dev/sda2"))


def test_another_disk_that_comes_or_cannot_be_read_does_not_change_the_plan() -> None:
    stick = replace(make_disk(path=Path("/dev/sdz")), table=None, unreadable="it was unplugged")
    alone, beside = make_devices(debian_disk()), make_devices(debian_disk(), stick)
    assert plan(DISK, beside) == plan(DISK, alone)
    assert any("sdz cannot be read" in each for each in plan(DISK, beside).notes)


def test_a_disk_whose_name_ends_in_a_digit_has_partitions_with_a_p() -> None:
    target = Target(kind=TargetKind.DISK, device=Path("/dev/nvme0n1"))
    made = plan(target, make_devices(make_disk(path=Path("/dev/nvme0n1"))))
    assert (made.esp, made.state) == (Path("/dev/nvme0n1p1"), Path("/dev/nvme0n1p2"))


def test_a_partition_is_formatted_and_nothing_else_changes() -> None:
    disk = debian_disk()
    made = plan(replace(PARTITION, home=Path("/dev/sda3")), make_devices(disk))
    assert made.erased == ('sda4: ext4 "old", 32 GB',)
    assert [each.fate for each in made.before] == [
        Fate.USED,
        Fate.KEPT,
        Fate.USED,
        Fate.FORMATTED,
    ]
    assert [(each.start, each.size) for each in made.before] == [
        (each.start, each.size) for each in made.after
    ]
    assert made.after[:3] == made.before[:3]
    assert (made.after[3].kind, made.after[3].role) == (STATE_TYPE, Role.STATE)
    assert made.firmware is FirmwareEntry.LAST


def test_beside_windows_kernels_get_a_partition_of_their_own() -> None:
    made = plan(FREE, make_devices(windows_disk(), esp_free=60))
    boot, state = (each for each in made.after if each.fate is Fate.CREATED)
    assert (boot.kind, boot.role, boot.number) == (XBOOTLDR_TYPE, Role.BOOT, 5)
    assert (state.kind, state.role, state.number) == (STATE_TYPE, Role.STATE, 6)
    assert boot.end == state.start
    assert state.end == 99 * GIB * MIB
    assert {boot.name, state.name} == {INSTALLING}
    assert made.erased == ()
    assert made.boot == boot.path
    assert made.esp == Path("/dev/sda1")


def test_free_space_of_a_disk_without_an_esp_gets_one() -> None:
    made = plan(FREE, make_devices(make_disk(part(1, 1, 10 * GIB))))
    assert [each.role for each in made.after] == [Role.OTHER, Role.ESP, Role.STATE]
    assert made.firmware is FirmwareEntry.NONE


def test_a_large_esp_is_shared_as_it_is() -> None:
    made = plan(FREE, make_devices(debian_disk()))
    assert [each.role for each in made.after if each.fate is Fate.CREATED] == [Role.STATE]
    assert made.boot is None


def test_what_an_interrupted_installation_left_is_used_again() -> None:
    """The same place, and the same numbers; nothing of it when an entry may boot it."""
    disk = windows_disk()
    first = plan(FREE, make_devices(disk, esp_free=60))
    left = [
        part(
            each.number,
            each.start // MIB,
            each.size // MIB,
            each.kind,
            name=each.name,
            signature=Signature(kind="ext4", uuid="5A") if each.role is Role.STATE else FAT,
        )
        for each in first.after
        if each.fate is Fate.CREATED
    ]
    again = make_devices(make_disk(*disk.partitions, *left), esp_free=60)
    second = plan(FREE, again)
    assert second.after == first.after
    assert len(second.erased) == 2
    assert "interrupted" in second.erased[0]
    booted = with_content(again, entry_uuids=frozenset({"5a"}))
    assert "largest free space" in refusal(FREE, booted)


def test_a_system_that_is_formatted_loses_its_entries() -> None:
    devices = make_devices(debian_disk())
    ours = with_content(devices, entry_uuids=frozenset({"0" * 8}))
    assert plan(PARTITION, ours).replaces
    others = with_content(devices, entry_uuids=frozenset({"f" * 8}))
    assert "boot entries of an Atoll system" in refusal(PARTITION, others)


MOUNTED = Use(kind=UseKind.MOUNTED, name="/srv")


def test_a_file_system_over_several_whole_disks_is_not_torn_apart() -> None:
    pool = Signature(kind="btrfs", uuid="b" * 8)
    first = replace(make_disk(), table=None, signature=pool)
    second = replace(make_disk(path=Path("/dev/sdb")), table=None, signature=pool)
    assert "btrfs that also lies on /dev/sdb" in refusal(DISK, make_devices(first, second))
    beside = with_part(make_disk(part(1, 1, GIB), path=Path("/dev/sdb")), 1, signature=pool)
    assert "also lies on /dev/sdb1" in refusal(DISK, make_devices(first, beside))
    assert plan(DISK, make_devices(first)).erased[1] == "sda: btrfs"


OBSTACLES = [
    ({"uses": (MOUNTED,)}, "sda4 is mounted at /srv", "umount /srv"),
    (
        {"uses": (Use(kind=UseKind.MOUNTED, name="/home"), Use(kind=UseKind.MOUNTED, name="/"))},
        "runs from /dev/sda4, mounted at /",
        "another disk",
    ),
    (
        {"uses": (MOUNTED, Use(kind=UseKind.MOUNTED, name="/mnt/a b"))},
        "mounted at /srv, /mnt/a b",
        "umount /srv '/mnt/a b'",
    ),
    (
        {"uses": (Use(kind=UseKind.MOUNTED, name="/run/live/medium"),)},
        "runs from /dev/sda4",
        "another stick",
    ),
    ({"uses": (Use(kind=UseKind.SWAP),)}, "in use as swap", "swapoff /dev/sda4"),
    (
        {"uses": (Use(kind=UseKind.HOLDER, name="/dev/mapper/x", detail="crypt"),)},
        "an opened LUKS volume",
        "cryptsetup close /dev/mapper/x",
    ),
    (
        {"uses": (Use(kind=UseKind.HOLDER, name="/dev/mapper/v", detail="lvm"),)},
        "active LVM",
        "vgchange",
    ),
    (
        {"uses": (Use(kind=UseKind.HOLDER, name="/dev/md0", detail="raid1"),)},
        "RAID",
        "mdadm --stop /dev/md0",
    ),
    ({"uses": (Use(kind=UseKind.OPEN),)}, "in use by another program", "lsof"),
    ({"signature": Signature(kind="LVM2_member")}, "part of LVM", "wipefs --all /dev/sda4"),
    ({"signature": Signature(kind="linux_raid_member")}, "part of a RAID", "mdadm"),
    ({"signature": Signature(kind="isw_raid_member")}, "RAID of the firmware", "delete the RAID"),
    ({"signature": Signature(kind="zfs_member")}, "part of ZFS", "zpool labelclear"),
]


@pytest.mark.parametrize("target", [DISK, PARTITION])
@pytest.mark.parametrize(("changes", "what", "advice"), OBSTACLES)
def test_a_partition_in_use_is_not_erased(
    target: Target, changes: dict[str, object], what: str, advice: str
) -> None:
    said = refusal(target, make_devices(with_part(debian_disk(), 4, **changes)))
    assert what in said
    assert advice in said


def test_a_partition_in_use_is_no_obstacle_where_it_stays() -> None:
    disk = with_part(debian_disk(), 2, uses=(Use(kind=UseKind.MOUNTED, name="/"),))
    assert plan(PARTITION, make_devices(disk)).erased
    assert plan(FREE, make_devices(disk)).erased == ()


@pytest.mark.parametrize("target", [FREE, replace(PARTITION, device=Path("/dev/sda4"))])
@pytest.mark.parametrize(
    ("state", "words"),
    [
        (WindowsState.HIBERNATED, "fast start"),
        (WindowsState.DIRTY, "not unmounted properly"),
        (WindowsState.UNKNOWN, "apt install ntfs-3g"),
    ],
)
def test_a_windows_that_sleeps_is_not_disturbed(
    target: Target, state: WindowsState, words: str
) -> None:
    disk = with_part(windows_disk(state), 4, size=4 * GIB * MIB)
    assert words in refusal(target, make_devices(disk))
    assert plan(DISK, make_devices(disk)).erased


def test_a_hibernated_linux_is_not_disturbed_on_any_disk() -> None:
    asleep = with_part(debian_disk(), 3, signature=Signature(kind="swsuspend"))
    other = make_disk(path=Path("/dev/sdb"))
    onto_other = Target(kind=TargetKind.DISK, device=Path("/dev/sdb"))
    for target in (PARTITION, FREE, onto_other):
        assert "hibernated system is on /dev/sda3" in refusal(target, make_devices(asleep, other))
    assert any("hibernated" in line for line in plan(DISK, make_devices(asleep)).erased)


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        (TableFlaw.FIRST_DAMAGED, "gdisk /dev/sda"),
        (TableFlaw.SECOND_ELSEWHERE, "sgdisk --move-second-header /dev/sda"),
        (TableFlaw.HYBRID, "hybrid"),
        (TableFlaw.CROWDED, "--disk /dev/sda"),
        (TableFlaw.STALE, "partx --update /dev/sda"),
    ],
)
def test_a_damaged_table_is_not_changed(flaw: TableFlaw, words: str) -> None:
    disk = debian_disk()
    assert disk.table is not None
    flawed = replace(disk, table=replace(disk.table, flaws=(flaw,)))
    for target in (PARTITION, FREE):
        assert words in refusal(target, make_devices(flawed))
    assert plan(DISK, make_devices(flawed)).new_table


def test_a_damaged_second_copy_is_said() -> None:
    disk = debian_disk()
    assert disk.table is not None
    flawed = replace(disk, table=replace(disk.table, flaws=(TableFlaw.SECOND_DAMAGED,)))
    assert any("second copy" in note for note in plan(FREE, make_devices(flawed)).notes)


def test_an_mbr_table_is_said_with_the_way_out() -> None:
    disk = make_disk(part(1, 1, 10 * GIB, "83"), label="dos")
    said = refusal(FREE, make_devices(disk))
    assert "MBR" in said
    assert "mbr2gpt" in said
    assert plan(DISK, make_devices(disk)).new_table


def test_firmware_without_uefi_is_refused_before_all_else() -> None:
    for target in (DISK, FREE, PARTITION):
        assert "BIOS" in refusal(target, make_devices(debian_disk(), bits=None))
        assert "32 bits" in refusal(target, make_devices(debian_disk(), bits=32))


def test_the_stick_that_the_system_was_started_from_stays() -> None:
    disk = debian_disk()
    devices = replace(make_devices(disk), started_from=disk.partitions[0].uuid)
    assert "was started from /dev/sda1" in refusal(DISK, devices)
    assert plan(FREE, devices).erased == ()


def test_small_read_only_and_strange_disks_are_refused() -> None:
    small = make_devices(make_disk(size=1 * GIB))
    assert "needs" in refusal(DISK, small)
    assert "needs" in refusal(FREE, small)
    tiny = with_part(debian_disk(), 4, size=MIB)
    assert "needs" in refusal(PARTITION, make_devices(tiny))
    assert "read-only" in refusal(DISK, make_devices(replace(debian_disk(), read_only=True)))
    strange = replace(debian_disk().identity, sector=520)
    assert "520 bytes" in refusal(DISK, make_devices(replace(debian_disk(), identity=strange)))


def test_two_paths_to_one_disk_are_seen() -> None:
    one = replace(debian_disk(), identity=replace(debian_disk().identity, wwn="0x5"))
    other = replace(make_disk(path=Path("/dev/sdb")), identity=one.identity)
    assert "multipath" in refusal(DISK, make_devices(one, other))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flaw": "its boot sector is not there"}, "fsck.fat"),
        ({"foreign_menu": True}, "systemd-boot"),
    ],
)
def test_an_esp_that_cannot_be_shared_is_refused(changes: dict[str, object], words: str) -> None:
    devices = with_content(make_devices(debian_disk()), **changes)
    assert words in refusal(PARTITION, devices)
    assert words in refusal(FREE, devices)


def test_an_esp_is_asked_for_where_none_or_several_are() -> None:
    none = make_disk(part(4, 1, 50 * GIB))
    assert "--esp" in refusal(PARTITION, make_devices(none))
    both = make_disk(
        part(1, 1, 512, ESP_TYPE, signature=FAT),
        part(2, 513, 512, ESP_TYPE, signature=FAT),
        part(4, 2 * GIB, 50 * GIB),
    )
    assert "several" in refusal(PARTITION, make_devices(both))
    named = replace(PARTITION, esp=Path("/dev/sda2"))
    assert plan(named, make_devices(both)).esp == Path("/dev/sda2")
    wrong = replace(PARTITION, esp=Path("/dev/sda4"))
    assert "not an EFI system partition" in refusal(wrong, make_devices(both))


def test_the_esp_of_another_disk_is_used_when_it_is_named() -> None:
    other = make_disk(part(1, 1, 50 * GIB), path=Path("/dev/nvme0n1"))
    target = Target(kind=TargetKind.PARTITION, device=Path("/dev/nvme0n1p1"), esp=Path("/dev/sda1"))
    made = plan(target, make_devices(debian_disk(), other))
    assert [each.path for each in made.expected] == [Path("/dev/nvme0n1"), SDA]


def test_home_must_be_a_file_system_that_stays() -> None:
    devices = make_devices(debian_disk())
    assert "would be erased" in refusal(replace(DISK, home=Path("/dev/sda3")), devices)
    assert "would be erased" in refusal(replace(PARTITION, home=PARTITION.device), devices)
    assert "needs a Linux file system" in refusal(
        replace(PARTITION, home=Path("/dev/sda1")), devices
    )
    with pytest.raises(NotFound):
        plan(replace(PARTITION, home=Path("/dev/sdz9")), devices)


def test_words_that_do_not_fit_are_told_apart() -> None:
    devices = make_devices(debian_disk())
    with pytest.raises(UsageError, match="is a partition"):
        plan(replace(DISK, device=Path("/dev/sda1")), devices)
    with pytest.raises(UsageError, match="is a whole disk"):
        plan(replace(PARTITION, device=SDA), devices)
    with pytest.raises(UsageError, match="ESP of its own"):
        plan(replace(DISK, esp=Path("/dev/sda1")), devices)
    with pytest.raises(NotFound):
        plan(replace(DISK, device=Path("/dev/sdz")), devices)
    with pytest.raises(NotFound):
        plan(replace(PARTITION, device=Path("/dev/sdz1")), devices)


def test_all_obstacles_are_named_at_once() -> None:
    disk = with_part(debian_disk(), 2, uses=(MOUNTED,))
    disk = with_part(disk, 3, uses=(Use(kind=UseKind.SWAP),))
    said = refusal(DISK, make_devices(disk, bits=None))
    assert "BIOS" in said
    assert "umount /srv" in said
    assert "swapoff /dev/sda3" in said


@st.composite
def tables(draw: st.DrawFn) -> tuple[DiskPartition, ...]:
    """Partitions with gaps between them; one or no ESP; places that are not aligned."""
    at = draw(st.integers(1, 100))
    found: list[DiskPartition] = []
    numbers = draw(st.permutations(range(1, 9)))
    for number in numbers[: draw(st.integers(0, 8))]:
        size = draw(st.sampled_from([1, 100, 512, 5000, 20_000]))
        kind = ESP_TYPE if not found and draw(st.booleans()) else ""
        made = part(number, at, size, kind or "0FC63DAF-8483-4772-8E79-3D69D8477DE4")
        if kind:
            made = replace(made, signature=FAT)
        found.append(replace(made, start=made.start + 512 * draw(st.integers(0, 100))))
        at += size + draw(st.sampled_from([1, 7, 3000, 30_000]))
    return tuple(found)


@given(tables(), st.sampled_from([30, 150, 400]), st.booleans())
def test_a_plan_never_touches_what_was_not_named(
    parts: tuple[DiskPartition, ...], esp_free: int, encrypted: bool
) -> None:
    disk = make_disk(*parts, size=200 * GIB)
    devices = make_devices(disk, esp_free=esp_free)
    targets = [
        FREE,
        *(
            Target(kind=TargetKind.PARTITION, device=each.path)
            for each in disk.partitions
            if each.kind != ESP_TYPE
        ),
    ]
    for target in targets:
        try:
            made = plan(target, devices, encrypted=encrypted)
        except Refused:
            continue
        judge_plan(made, disk, target)


def judge_plan(made: InstallationPlan, disk: Disk, target: Target) -> None:
    assert disk.table is not None
    kept = {each.path: each for each in made.after if each.fate in (Fate.KEPT, Fate.USED)}
    named = {target.device}
    for each in disk.partitions:
        if each.path not in named:
            same = kept[each.path]
            assert (same.start, same.size, same.kind, same.name, same.number) == (
                each.start,
                each.size,
                each.kind,
                each.name,
                each.number,
            )
    for before, behind in pairwise(made.after):
        assert before.end <= behind.start
    for new in created(made):
        assert new.start % MIB == new.size % MIB == 0
        assert disk.table.first <= new.start
        assert new.end <= disk.table.end
        assert new.role is Role.STATE or new.size >= boot_size(NEEDS)
    numbers = [each.number for each in made.after]
    assert len(numbers) == len(set(numbers))
    state = next(each for each in made.after if each.role is Role.STATE)
    assert state.size >= least_size(NEEDS, encrypted=made.encrypted)


def created(made: InstallationPlan) -> list[PlannedPartition]:
    return [each for each in made.after if each.fate is Fate.CREATED]


@pytest.mark.parametrize("target", [DISK, FREE, PARTITION])
def test_a_plan_fits_a_terminal_and_names_what_goes(target: Target) -> None:
    text = format_plan(plan(target, make_devices(debian_disk()), encrypted=True))
    assert max(width(line) for line in text.splitlines()) <= 80
    assert "Now\n" in text
    assert "Afterwards\n" in text
    assert "encrypted" in text
    assert ("Nothing is erased" in text) is (target is FREE)

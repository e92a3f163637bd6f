"""Where kernels go when the ESP is small: what systemd-boot reads, and as many as a machine
keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Refused
from atoll.installer.devices.block_devices import INSTALLING, NO_SIGNATURE, Signature
from atoll.installer.plan.describe_plan import format_plan
from atoll.installer.plan.install_request import boot_size
from atoll.installer.plan.partitioning import Fate, InstallationPlan, Role, Target, TargetKind
from atoll.installer.plan.plan_installation import plan_installation
from atoll.machine.disk_layout import ESP_TYPE, MIB, XBOOTLDR_TYPE
from tests.unit.installer.made_devices import (
    FAT,
    GIB,
    NEEDS,
    SDA,
    make_devices,
    make_disk,
    part,
    with_contents,
)

if TYPE_CHECKING:
    from atoll.installer.devices.block_devices import BlockDevices, Disk

FREE = Target(kind=TargetKind.FREE_SPACE, device=SDA)
PARTITION = Target(kind=TargetKind.PARTITION, device=Path("/dev/sda2"))
OLD = Signature(kind="ext4", label="old", uuid="0" * 8)
EXT4 = Signature(kind="ext4", uuid="b" * 8)


def disk(*boots: Signature, free: int = 30 * GIB, name: str = "") -> Disk:
    """A small ESP, a system, and XBOOTLDR partitions of 1 GiB; ``free`` MiB behind them."""
    parts = [
        part(1, 1, 100, ESP_TYPE, signature=FAT),
        part(2, 101, 30 * GIB, signature=OLD),
        *(
            part(number, 101 + (27 + number) * GIB, GIB, XBOOTLDR_TYPE, signature=kind, name=name)
            for number, kind in enumerate(boots, 3)
        ),
    ]
    return make_disk(*parts, size=101 + (30 + len(boots)) * GIB + free)


def small_esp(layout: Disk, free: int = 60) -> BlockDevices:
    """An ESP with ``free`` MiB; boot partitions have enough for all kernels."""
    return with_contents(make_devices(layout, esp_free=400), {0: {"free": free * MIB}})


def plan(target: Target, devices: BlockDevices) -> InstallationPlan:
    return plan_installation(target, devices, NEEDS, encrypted=False)


def refusal(target: Target, devices: BlockDevices) -> str:
    with pytest.raises(Refused) as caught:
        plan(target, devices)
    return f"{caught.value.message}\n{caught.value.hint}"


def new(made: InstallationPlan) -> list[Role]:
    return [each.role for each in made.after if each.fate is Fate.CREATED]


@pytest.mark.parametrize("target", [PARTITION, FREE])
def test_a_boot_partition_that_is_there_gets_the_kernels(target: Target) -> None:
    made = plan(target, small_esp(disk(FAT)))
    assert made.boot == Path("/dev/sda3")
    used = {each.path.name: each.fate for each in made.before}
    assert (used["sda1"], used["sda3"]) == (Fate.USED, Fate.USED)
    assert Role.BOOT not in new(made)
    assert "The ESP sda1 is small, so kernels go on sda3." in format_plan(made)
    assert all(len(line) <= 80 for line in format_plan(made).splitlines())


def test_a_large_esp_is_used_although_there_is_a_boot_partition() -> None:
    made = plan(PARTITION, make_devices(disk(FAT)))
    assert made.boot is None
    assert {each.path.name: each.fate for each in made.after}["sda3"] is Fate.KEPT


def test_beside_a_partition_that_is_formatted_one_for_kernels_is_made() -> None:
    made = plan(PARTITION, small_esp(disk()))
    (boot,) = [each for each in made.after if each.fate is Fate.CREATED]
    assert (boot.role, boot.kind, boot.name) == (Role.BOOT, XBOOTLDR_TYPE, INSTALLING)
    assert (made.boot, boot.size) == (boot.path, boot_size(NEEDS))
    assert made.erased == ('sda2: ext4 "old", 32 GB',)
    assert any("a partition of their own" in note for note in made.notes)


def test_what_an_interrupted_installation_left_for_kernels_is_made_again() -> None:
    first = plan(PARTITION, small_esp(disk()))
    again = small_esp(disk(FAT, name=INSTALLING))
    second = plan(PARTITION, again)
    assert second.boot == first.boot
    assert any("interrupted" in each for each in second.erased)
    # With an entry of the system that is formatted it is no leftover, but its boot partition.
    booted = with_contents(again, {1: {"entry_uuids": frozenset({"0" * 8})}})
    third = plan(PARTITION, booted)
    assert third.boot == Path("/dev/sda3")
    assert third.replaces == (Path("/dev/sda3"),)
    assert new(third) == []


@pytest.mark.parametrize("target", [PARTITION, FREE])
def test_fewer_kernels_are_said_before(target: Target) -> None:
    """Where the disk has no space for a partition of its own, or has one that cannot be read."""
    layout = disk(EXT4) if target is FREE else disk(free=100)
    made = plan(target, make_devices(layout, esp_free=150))
    assert made.boot is None
    assert any("only 2 kernels fit" in note for note in made.notes)


def test_what_fits_most_kernels_is_chosen() -> None:
    two = make_devices(disk(FAT), esp_free=150)
    made = plan(PARTITION, with_contents(two, {0: {"free": 60 * MIB}}))
    assert made.boot == Path("/dev/sda3")
    assert any("kernels go on sda3: only 2 kernels fit" in note for note in made.notes)


@pytest.mark.parametrize(
    ("layout", "contents", "words"),
    [
        (disk(free=100), {}, "for a partition for kernels"),
        (disk(FAT), {1: {"free": 100 * MIB}}, "the boot loader partition /dev/sda3 has 105 MB"),
        (disk(EXT4), {}, "/dev/sda3 has ext4, which firmware cannot read"),
        (disk(NO_SIGNATURE), {}, "no file system that is known"),
        # A second boot loader partition is never looked at.
        (disk(EXT4, FAT), {}, "which firmware cannot read"),
        (disk(FAT), {0: {"free": 100_000}}, "the boot loader needs"),
        (disk(FAT), {1: {"flaw": "a loop"}}, "/dev/sda3 is damaged: a loop\nrepair it unmounted"),
        (
            disk(FAT),
            {1: {"entry_uuids": frozenset({"f" * 8})}},
            "/dev/sda3 already has boot entries of an Atoll system",
        ),
    ],
)
def test_what_it_cannot_do_is_said(
    layout: Disk, contents: dict[int, dict[str, object]], words: str
) -> None:
    said = refusal(PARTITION, with_contents(small_esp(layout), contents))
    assert words in said


def test_entries_of_the_replaced_system_go_wherever_they_are() -> None:
    """Else the menu would go on naming a file system that is formatted, and prefer it."""
    devices = with_contents(make_devices(disk(FAT)), {1: {"entry_uuids": frozenset({"0" * 8})}})
    made = plan(PARTITION, devices)
    assert made.boot is None
    assert made.replaces == (Path("/dev/sda3"),)


def test_kernels_of_the_replaced_system_make_space() -> None:
    """Also those that a run has left which was cut after it had removed their entries."""
    full: dict[str, object] = {"free": 10 * MIB, "kernels": 300 * MIB}
    for uuids in ({"0" * 8}, set()):
        entries = frozenset(uuids)
        devices = with_contents(make_devices(disk()), {0: {**full, "entry_uuids": entries}})
        made = plan(PARTITION, devices)
        assert (made.boot, made.replaces) == (None, (Path("/dev/sda1"),))
    others = with_contents(make_devices(disk()), {0: {**full, "entry_uuids": frozenset("f")}})
    assert "/dev/sda1 already has boot entries" in refusal(PARTITION, others)


def test_a_partition_for_kernels_is_made_only_on_the_disk_of_the_esp() -> None:
    """systemd-boot does not see one on another disk."""
    other = make_disk(part(1, 1, 40 * GIB), path=Path("/dev/sdb"))
    target = Target(kind=TargetKind.FREE_SPACE, device=other.path, esp=Path("/dev/sda1"))
    two = plan(target, make_devices(disk(), other, esp_free=150))
    assert two.boot is None
    assert new(two) == [Role.STATE]
    assert "/dev/sda1 has 63 MB free" in refusal(target, make_devices(disk(), other, esp_free=60))
    there = make_devices(disk(FAT), other, esp_free=400)
    there = with_contents(there, {0: {"free": 60 * MIB}})
    assert plan(target, there).boot == Path("/dev/sda3")


@given(
    esp_free=st.integers(0, 400),
    boot_free=st.integers(0, 400),
    boots=st.lists(st.sampled_from([FAT, EXT4, NO_SIGNATURE]), max_size=2),
    free=st.sampled_from([10, 400, 700, 30 * GIB]),
    target=st.sampled_from([PARTITION, FREE]),
)
def test_whatever_is_there_two_kernels_fit_where_systemd_boot_finds_them(
    esp_free: int, boot_free: int, boots: list[Signature], free: int, target: Target
) -> None:
    devices = make_devices(disk(*boots, free=free), esp_free=boot_free)
    devices = with_contents(devices, {0: {"free": esp_free * MIB}})
    try:
        made = plan(target, devices)
    except Refused:
        return
    kernels = next(each for each in made.after if each.path == (made.boot or made.esp))
    assert made.boot is None or all(
        each.number >= kernels.number for each in made.after if each.kind == XBOOTLDR_TYPE
    )
    room = {made.esp: esp_free, Path("/dev/sda3"): boot_free} if boots else {made.esp: esp_free}
    assert room.get(kernels.path, kernels.size // MIB) >= 2 * NEEDS.pair // MIB

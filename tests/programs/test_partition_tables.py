"""Partition tables that an installation writes, judged by sfdisk and sgdisk on disks of files."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.base.errors import Refused
from atoll.host.run import find_program
from atoll.installer.apply.disk_operations import ChangeTable, WriteTable, parse_flags
from atoll.installer.devices.block_devices import (
    BlockDevices,
    DeviceIdentity,
    Disk,
    EspContent,
    MachineFirmware,
    Signature,
    TableFlaw,
)
from atoll.installer.devices.read_devices import read_table
from atoll.installer.plan.partitioning import Fate, InstallationPlan, Target, TargetKind
from atoll.installer.plan.plan_installation import plan_installation
from atoll.machine.disk_layout import ESP_TYPE
from atoll.machine.grow import apply_writes
from tests.loop_disks import make_file, write_table
from tests.unit.installer.made_devices import NEEDS

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ("sfdisk", "sgdisk")
missing = [name for name in PROGRAMS if find_program(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}")
MIB = 1 << 20
SIZE = 8 << 30
IDENTITY = DeviceIdentity(number="8:0", size=SIZE, sector=512)


def as_device(file: Path) -> Disk:
    """A disk of a file, as if the kernel knew its partitions; an ESP of it has a file system."""
    table = read_table(file, IDENTITY, {})
    assert table is not None
    parts = tuple(
        replace(each, signature=Signature(kind="vfat")) if each.kind == ESP_TYPE else each
        for each in table.partitions
    )
    return Disk(path=file, identity=IDENTITY, table=replace(table, partitions=parts, flaws=()))


def machine(disk: Disk, *, esp_free: int = 400 * MIB) -> BlockDevices:
    esps = tuple(
        EspContent(partition=each.path, size=each.size, free=esp_free, files=frozenset())
        for each in disk.partitions
        if each.kind == ESP_TYPE
    )
    return BlockDevices(disks=(disk,), firmware=MachineFirmware(bits=64), esps=esps)


def operation(plan: InstallationPlan) -> ChangeTable | WriteTable:
    if plan.new_table:
        return WriteTable(disk=plan.device, sector=512, partitions=plan.after)
    written = [each for each in plan.after if each.fate in (Fate.CREATED, Fate.FORMATTED)]
    return ChangeTable(
        disk=plan.device,
        sector=512,
        removed=tuple(each.number for each in plan.before if each.fate is Fate.ERASED),
        written=tuple(written),
        uuids={each.number: uuid4() for each in written if each.fate is Fate.CREATED},
    )


def rows(file: Path) -> dict[int, dict[str, object]]:
    """The table as sfdisk reads it, by number; it must not complain."""
    done = subprocess.run(
        ["/usr/sbin/sfdisk", "--json", file], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)["partitiontable"].get("partitions", [])
    return {int(str(each["node"]).removeprefix(f"{file}").strip("p")): each for each in found}


def judge(file: Path) -> None:
    """Both copies are whole and agree; nothing overlaps."""
    done = subprocess.run(
        ["/usr/sbin/sgdisk", "--verify", file], check=False, capture_output=True, text=True
    )
    assert "No problems found" in done.stdout, done.stdout
    verified = subprocess.run(
        ["/usr/sbin/sfdisk", "--verify", file], capture_output=True, text=True, check=True
    )
    assert "No errors detected" in verified.stdout


@st.composite
def layouts(draw: st.DrawFn) -> list[str]:
    """Lines for sfdisk: partitions of any place, an ESP among them or not."""
    lines, at, esp = [], draw(st.integers(2048, 300_000)), False
    for number in range(1, draw(st.integers(0, 6)) + 1):
        size = draw(st.sampled_from([2048, 200_003, 1_048_576, 5_500_000]))
        if at + size > SIZE // 512 - 2048:
            break
        is_esp = not esp and draw(st.booleans())
        esp = esp or is_esp
        kind = ESP_TYPE if is_esp else "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
        lines.append(f'{number} : start={at}, size={size}, type={kind}, name="part {number}"')
        at += size + draw(st.sampled_from([0, 1, 100_000, 6_000_000]))
    return lines


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(layouts(), st.sampled_from([0, 400 * MIB]), st.data())
def test_a_changed_table_is_right_and_keeps_every_other_partition(
    tmp_path: Path, lines: list[str], esp_free: int, data: st.DataObject
) -> None:
    file = make_file(tmp_path / "disk", SIZE)
    write_table(file, *lines)
    disk = as_device(file)
    targets = [Target(kind=TargetKind.FREE_SPACE, device=file)]
    targets += [Target(kind=TargetKind.PARTITION, device=each.path) for each in disk.partitions]
    target = data.draw(st.sampled_from(targets))
    try:
        plan = plan_installation(
            target, machine(disk, esp_free=esp_free), NEEDS, encrypted=data.draw(st.booleans())
        )
    except Refused:
        return
    before = rows(file)
    operation(plan).execute()
    judge(file)
    after = rows(file)
    made = {each.number: each for each in plan.after if each.fate in (Fate.CREATED, Fate.FORMATTED)}
    assert after.keys() == before.keys() | made.keys()
    for number, row in before.items():
        if number not in made:
            assert after[number] == row
    for number, part in made.items():
        row = after[number]
        assert (int(str(row["start"])) * 512, int(str(row["size"])) * 512) == (
            part.start,
            part.size,
        )
        assert row["type"] == part.kind
        assert row.get("attrs", "") == part.flags


def test_a_whole_disk_gets_a_new_table_over_every_old_one(tmp_path: Path) -> None:
    file = make_file(tmp_path / "disk", SIZE)
    write_table(file, "size=1GiB", "size=3GiB")
    with file.open("r+b") as disk:
        disk.seek(MIB)
        disk.write(b"LUKS\xba\xbe\x00\x01".ljust(4096, b"x"))
    plan = plan_installation(
        Target(kind=TargetKind.DISK, device=file),
        machine(as_device(file)),
        NEEDS,
        encrypted=False,
    )
    operation(plan).execute()
    judge(file)
    esp, state = rows(file).values()
    assert (esp["name"], state["name"], state["attrs"]) == ("esp", "atoll", "GUID:59,63")
    with file.open("rb") as disk:
        disk.seek(MIB)
        assert disk.read(4) != b"LUKS"


def test_a_cut_leaves_the_old_table_or_the_new_one(tmp_path: Path) -> None:
    """After each write, and after half of it; and a second run goes on from there."""
    original = make_file(tmp_path / "original", SIZE)
    write_table(original, f"size=500MiB, type={ESP_TYPE}", "size=2GiB, name=kept")
    plan = plan_installation(
        Target(kind=TargetKind.FREE_SPACE, device=original),
        machine(as_device(original)),
        NEEDS,
        encrypted=False,
    )
    change = operation(plan)
    assert isinstance(change, ChangeTable)
    with original.open("rb") as disk:
        writes = change.plan_writes(disk.fileno())
    for done in range(len(writes) + 1):
        cut = tmp_path / "cut"
        subprocess.run(["cp", "--sparse=always", original, cut], check=True)
        with cut.open("r+b", buffering=0) as disk:
            apply_writes(disk.fileno(), writes[:done], 512)
            if done < len(writes) - 1:  # the last one is one sector, which has no half
                half = writes[done]
                os.pwrite(disk.fileno(), half.data[: len(half.data) // 2], half.at * 512)
        table = read_table(cut, IDENTITY, {})
        assert table is not None
        assert TableFlaw.FIRST_DAMAGED not in table.flaws
        numbers = {each.number for each in table.partitions}
        assert numbers == ({1, 2, 3} if done == len(writes) else {1, 2})
        replace(change, disk=cut).execute()
        judge(cut)
        assert set(rows(cut)) == {1, 2, 3}


def test_a_table_without_space_for_a_safe_change_is_left_alone(tmp_path: Path) -> None:
    file = make_file(tmp_path / "disk", SIZE)
    write_table(file, "first-lba: 34", "start=34, size=32734", f"size=1GiB, type={ESP_TYPE}")
    plan = plan_installation(
        Target(kind=TargetKind.FREE_SPACE, device=file),
        machine(as_device(file)),
        NEEDS,
        encrypted=False,
    )
    with file.open("rb") as disk:
        before = disk.read(MIB)
    with pytest.raises(Refused, match="begins too early"):
        operation(plan).execute()
    with file.open("rb") as disk:
        assert disk.read(MIB) == before


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("", 0),
        ("GUID:63", 1 << 63),
        ("RequiredPartition GUID:59,63", 1 | 1 << 59 | 1 << 63),
        ("LegacyBIOSBootable", 4),
    ],
)
def test_flags_are_read_as_sfdisk_writes_them(text: str, bits: int) -> None:
    assert parse_flags(text) == bits

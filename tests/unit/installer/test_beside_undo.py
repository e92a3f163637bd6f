"""The record of what was there before, and what --undo does by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atoll.base.errors import Damaged, NotFound
from atoll.installer.apply.firmware_entries import FirmwareList
from atoll.installer.beside.apply_beside import format_old_entry
from atoll.installer.beside.undo import (
    RemoveRecord,
    find_esp_device,
    find_own_entries,
    plan_order_back,
    plan_undo,
)
from atoll.machine.boot.boot_entries import OLD_SYSTEM, read_menu
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.beside import (
    RECORD,
    BesideRecord,
    find_older_system,
    find_record,
    format_record,
    parse_record,
)
from atoll.machine.deployments.sysroot import Sysroot
from tests.unit.installer.old_debian import TITLE, debian_devices

ESP_UUID = "00000000-0000-0000-0000-000000000001"
LOADER = b"systemd-boot " * 100
RECORDED = BesideRecord(
    system=TITLE,
    esp=ESP_UUID,
    absent=(
        "EFI/systemd",
        "EFI/BOOT",
        "loader",
        "loader/entries",
        "atoll",
        "EFI/BOOT/BOOTX64.EFI",
        "loader/loader.conf",
    ),
    times={"EFI": 1_700_000_000_000_000_000},
    top_time=1_600_000_000_123_456_789,
    order=("0003", "0000"),
    entries=("0000", "0003"),
)
PATH = f"HD(1,GPT,{ESP_UUID},0x800,0x100000)/File(\\EFI\\systemd\\systemd-bootx64.efi)"


def firmware(*order: str, **entries: str) -> FirmwareList:
    return FirmwareList(
        order=order, entries={name.removeprefix("n"): ("x", path) for name, path in entries.items()}
    )


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    sysroot = Sysroot(root=tmp_path, esp=tmp_path / "esp")
    assert find_record(sysroot) is None and find_older_system(sysroot) == ""
    sysroot.atoll.mkdir()
    (sysroot.atoll / RECORD).write_bytes(format_record(RECORDED))
    assert find_record(sysroot) == RECORDED
    assert find_older_system(sysroot) == TITLE


@pytest.mark.parametrize("cut", [0, 1, 40, 200])
def test_a_damaged_record_is_an_error_and_not_absent(tmp_path: Path, cut: int) -> None:
    sysroot = Sysroot(root=tmp_path, esp=tmp_path / "esp")
    sysroot.atoll.mkdir()
    (sysroot.atoll / RECORD).write_bytes(format_record(RECORDED)[:cut])
    with pytest.raises(Damaged):
        find_record(sysroot)
    assert find_older_system(sysroot) == ""
    with pytest.raises(Damaged):
        parse_record(format_record(RECORDED).replace(b'"format": 1', b'"format": 2'), where="x")


def test_only_entries_that_were_added_are_removed() -> None:
    now = firmware(
        "0005", "0003", n0003=PATH.replace("systemd\\systemd-boot", "debian\\shim"), n0005=PATH
    )
    assert find_own_entries(now, RECORDED) == ("0005",)
    assert find_own_entries(firmware(n0000=PATH), RECORDED) == ()
    other = firmware(n0005=PATH.replace(ESP_UUID, "f" * 36), n0006="PciRoot(0)")
    assert find_own_entries(other, RECORDED) == ()


@pytest.mark.parametrize(
    ("now", "after"),
    [
        (("0003", "0000"), ("0003", "0000")),
        (("0000", "0003"), ("0003", "0000")),
        (("0000",), ("0000",)),
        (("0007", "0000", "0003"), ("0003", "0000", "0007")),
        ((), ()),
    ],
)
def test_the_order_comes_back(now: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert plan_order_back(RECORDED, firmware(*now)) == after


def test_an_order_that_was_not_known_is_left_alone() -> None:
    assert plan_order_back(replace(RECORDED, order=()), firmware("0001")) == ()


def written(folder: Path) -> Sysroot:
    """A machine with the files of an installation, and those of others."""
    sysroot = Sysroot(root=folder / "top", esp=folder / "esp")
    files = {
        "EFI/debian/grubx64.efi": b"GRUB",
        "EFI/systemd/systemd-bootx64.efi": LOADER,
        "EFI/systemd/shimx64.efi": b"shim",
        "EFI/BOOT/BOOTX64.EFI": LOADER,
        "loader/loader.conf": b"timeout 3\ndefault atoll-*\neditor no\n",
        "loader/entries/atoll-1+3.conf": b"linux /x\n",
        "loader/entries/atoll-4.conf": b"linux /x\n",
        f"loader/entries/{OLD_SYSTEM}": b"efi /x\n",
        "atoll/abcd/linux": b"kernel",
        "atoll/abcd/initrd": b"initrd",
        "atoll/machine/abcd.img": b"keymap",
    }
    for name, content in files.items():
        path = sysroot.esp / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in ("objects/ab/cd", "state/machine-id", "var/log/x", RECORD):
        path = sysroot.atoll / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return sysroot


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_only_what_was_there_before_stays(tmp_path: Path) -> None:
    sysroot = written(tmp_path)
    apply_operations(plan_undo(RECORDED, sysroot))
    assert names(sysroot.esp) == ["EFI", "EFI/debian", "EFI/debian/grubx64.efi"]
    assert names(sysroot.root) == []
    assert (sysroot.esp / "EFI").stat().st_mtime_ns == RECORDED.times["EFI"]
    assert sysroot.root.stat().st_mtime_ns == RECORDED.top_time


def test_it_goes_on_after_each_step_that_was_the_last(tmp_path: Path) -> None:
    for count in range(30):
        sysroot = written(tmp_path / str(count))
        plan = plan_undo(RECORDED, sysroot)
        apply_operations(plan[:count])
        if count >= len(plan):
            return
        assert (sysroot.atoll / RECORD).exists()
        apply_operations(plan_undo(RECORDED, sysroot))
        assert names(sysroot.esp) == ["EFI", "EFI/debian", "EFI/debian/grubx64.efi"]
        assert names(sysroot.root) == []
    pytest.fail("the plan has no end")


def test_files_of_others_stay(tmp_path: Path) -> None:
    sysroot = written(tmp_path)
    (sysroot.esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(b"GRUB, which grub-install put there")
    (sysroot.esp / "loader/entries/windows.conf").write_bytes(b"efi /x\n")
    apply_operations(plan_undo(RECORDED, sysroot))
    assert [each for each in names(sysroot.esp) if "." in each] == [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/debian/grubx64.efi",
        "loader/entries/windows.conf",
    ]


def test_a_shim_that_starts_another_grub_now_stays(tmp_path: Path) -> None:
    """grub-install --removable has written Debian's shim, which Atoll has written, too."""
    sysroot = written(tmp_path)
    (sysroot.esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(b"shim")
    (sysroot.esp / "EFI/BOOT/grubx64.efi").write_bytes(b"GRUB")
    (sysroot.esp / "EFI/BOOT/mmx64.efi").write_bytes(b"MokManager")
    absent = (*RECORDED.absent, "EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi")
    apply_operations(plan_undo(replace(RECORDED, absent=absent), sysroot))
    assert [each for each in names(sysroot.esp) if "BOOT/" in each] == [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/BOOT/grubx64.efi",
        "EFI/BOOT/mmx64.efi",
    ]


def test_the_beginning_of_a_loader_that_a_cut_has_left_goes_too(tmp_path: Path) -> None:
    sysroot = written(tmp_path)
    (sysroot.esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(LOADER[:100] + b"\0" * 50)
    (sysroot.esp / "loader/loader.conf").write_bytes(b"")
    apply_operations(plan_undo(RECORDED, sysroot))
    assert names(sysroot.esp) == ["EFI", "EFI/debian", "EFI/debian/grubx64.efi"]


def test_a_directory_that_a_cut_has_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "atoll").mkdir()
    RemoveRecord(top=tmp_path, time=None).execute()
    assert names(tmp_path) == []


def test_the_esp_is_found_by_its_uuid() -> None:
    assert find_esp_device(RECORDED, debian_devices()) == Path("/dev/sda1")
    with pytest.raises(NotFound, match="is not there"):
        find_esp_device(replace(RECORDED, esp="f" * 36), debian_devices())


def test_the_entry_of_the_older_system_comes_last_and_is_not_foreign(tmp_path: Path) -> None:
    text = format_old_entry("Debian\n13", "/EFI/debian/shimx64.efi").decode()
    assert text == ("title Debian13\nefi /EFI/debian/shimx64.efi\nsort-key atoll-old-system\n")
    (tmp_path / OLD_SYSTEM).write_text(text)
    (tmp_path / "other.conf").write_text(text)
    assert read_menu(tmp_path, tmp_path / "none").foreign == ("other.conf",)

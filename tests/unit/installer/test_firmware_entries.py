"""The firmware's list of systems, as efibootmgr prints it, where a new one goes, and firmware that
does not keep it: its memory is full, it is not writable, it forgets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from atoll.installer.apply.firmware_entries import (
    AddFirmwareEntry,
    parse_firmware_list,
    plan_order,
)
from atoll.machine.deployments.apply import apply_until_failure

ESP = "5c6f3b0a-7f3e-4a83-9d5a-0123456789ab"
LOADER = "\\EFI\\systemd\\systemd-bootx64.efi"
OLD = f"""BootCurrent: 0001
Timeout: 3 seconds
BootOrder: 0001,0000,2001
Boot0000* Windows Boot Manager\tHD(1,GPT,{ESP.upper()},0x800,0x32000)/File(\\EFI\\x.efi)WIN
Boot0001* debian\tHD(1,GPT,{ESP},0x800,0x32000)/File(\\EFI\\debian\\shimx64.efi)
Boot2001* EFI USB Device\tRC
"""
NEW = f"{OLD}Boot0003* Atoll\tHD(1,GPT,{ESP},0x800,0x32000)/File({LOADER})\n"
NEWER = NEW.replace(f"File({LOADER})", LOADER)
"""efibootmgr 18 and later print the path alone."""


def test_a_list_is_read() -> None:
    found = parse_firmware_list(OLD)
    assert found.order == ("0001", "0000", "2001")
    assert found.entries["0000"][0] == "Windows Boot Manager"
    assert found.find(ESP, LOADER) is None


@pytest.mark.parametrize("text", [NEW, NEWER, NEW.upper().replace("BOOT", "Boot")])
def test_an_entry_is_found_by_partition_and_loader(text: str) -> None:
    assert parse_firmware_list(text).find(ESP, LOADER) == "0003"
    assert parse_firmware_list(text).find("0" * 36, LOADER) is None
    assert parse_firmware_list(text).find("", LOADER) is None, "a loader of some other disk"


def test_no_list_is_an_empty_one() -> None:
    assert parse_firmware_list("No BootOrder is set; firmware will attempt recovery\n").order == ()


def test_other_systems_keep_their_order() -> None:
    order = ("0001", "0000")
    assert plan_order(order, "0003", first=False) == ("0001", "0000", "0003")
    assert plan_order(order, "0003", first=True) == ("0003", "0001", "0000")
    assert plan_order(("0003", "0001"), "0003", first=False) == ("0003", "0001")
    assert plan_order(("0001", "0003"), "0003", first=True) == ("0003", "0001")
    assert plan_order((), "0003", first=False) == ("0003",)


PROGRAM = """#!/bin/sh
# efibootmgr with a list in a file; the file "fails" has what it says of a change of the kind $fails
cd {folder}
echo "$*" >> calls
refuse() {{ echo "Could not prepare Boot variable: $(cat "$1")" >&2; exit 5; }}
case "$*" in
*--create-only*)
    [ ! -e create-fails ] || refuse create-fails
    [ -e forgets ] || cat entry >> list ;;
*--bootorder*)
    [ ! -e order-fails ] || refuse order-fails
    for order; do :; done
    sed -i "s/^BootOrder: .*/BootOrder: $order/" list ;;
*)
    [ ! -e list-fails ] || {{ cat list-fails >&2; exit 2; }}
    cat list ;;
esac
"""
FULL = "No space left on device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A stand-in for efibootmgr and blkid."""

    folder: Path

    def say(self, kind: str, text: str) -> None:
        (self.folder / kind).write_text(text)

    def list(self) -> str:
        return (self.folder / "list").read_text()

    def calls(self) -> str:
        path = self.folder / "calls"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Firmware:
    (tmp_path / "bin").mkdir()
    programs = {
        "efibootmgr": PROGRAM.format(folder=tmp_path),
        "blkid": f"#!/bin/sh\n[ -e {tmp_path}/no-uuid ] || echo {ESP}\n",
    }
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    made = Firmware(folder=tmp_path)
    made.say("list", OLD)
    made.say("entry", NEW.removeprefix(OLD))
    return made


def added(*, first: bool = False) -> tuple[str, ...]:
    """The warnings of an installation that adds its entry."""
    entry = AddFirmwareEntry(
        disk=Path("/dev/sdb"), number=1, esp=Path("/dev/sdb1"), loader=LOADER, first=first
    )
    return apply_until_failure((entry,))


@pytest.mark.parametrize(
    ("first", "order"), [(False, "0001,0000,2001,0003"), (True, "0003,0001,0000,2001")]
)
def test_an_entry_is_added_once(firmware: Firmware, *, first: bool, order: str) -> None:
    for _ in range(2):
        assert added(first=first) == ()
        assert f"BootOrder: {order}\n" in firmware.list()
    assert firmware.calls().count("--create-only") == 1
    assert "--disk /dev/sdb --part 1" in firmware.calls()


@pytest.mark.parametrize(
    ("kind", "said", "reason"),
    [
        ("create-fails", FULL, "memory for its variables is full"),
        ("order-fails", FULL, "dump-*"),
        ("create-fails", "Read-only file system", "mount -o remount,rw"),
        ("list-fails", "EFI variables are not supported on this system.", "efi=noruntime"),
        ("create-fails", "Input/output error", "efibootmgr failed: Could not prepare"),
        ("forgets", "", "did not keep the new entry"),
        ("no-uuid", "", "has no UUID in its partition table"),
    ],
)
def test_firmware_that_keeps_no_entry_is_a_warning_that_says_how_to_start(
    firmware: Firmware, kind: str, said: str, reason: str
) -> None:
    firmware.say(kind, said)
    (warning,) = added()
    assert reason in warning
    assert "choose /dev/sdb in the firmware's boot menu" in warning
    assert r"\EFI\BOOT\BOOTX64.EFI" in warning
    assert f"efibootmgr --create --label Atoll --disk /dev/sdb --part 1 --loader '{LOADER}'" in (
        warning
    )
    assert "BootOrder: 0001,0000,2001\n" in firmware.list(), "what was there starts as before"

"""The firmware's list of systems, as efibootmgr prints it, and where a new one goes."""

from __future__ import annotations

import pytest

from atoll.installer.apply.firmware_entries import parse_firmware_list, plan_order

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


def test_no_list_is_an_empty_one() -> None:
    assert parse_firmware_list("No BootOrder is set; firmware will attempt recovery\n").order == ()


def test_other_systems_keep_their_order() -> None:
    order = ("0001", "0000")
    assert plan_order(order, "0003", first=False) == ("0001", "0000", "0003")
    assert plan_order(order, "0003", first=True) == ("0003", "0001", "0000")
    assert plan_order(("0003", "0001"), "0003", first=False) == ("0003", "0001")
    assert plan_order(("0001", "0003"), "0003", first=True) == ("0003", "0001")
    assert plan_order((), "0003", first=False) == ("0003",)

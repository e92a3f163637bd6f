"""Boot entries of a machine whose state partition is encrypted, through the life of its files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, Refused
from atoll.base.report import NullReporter
from atoll.image.bootable import objects_of, read_bootable
from atoll.machine.boot.boot_entry import EntryName, format_entry, parse_entry
from atoll.machine.boot.luks import find_luks
from atoll.machine.boot.machine_initrd import initrd_name, make_machine_initrd
from atoll.machine.boot.new_entry import StatePartition, make_entry
from atoll.machine.cleanup import clean_up, list_pairs
from atoll.machine.deployment import Origin, make_deployment
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.boot_check import find_entry_flaw
from atoll.machine.deployments.object_transfer import choose_transfer
from atoll.machine.deployments.operations import WriteMachineInitrd
from atoll.machine.deployments.quick_check import check_entry
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.install import install, plan_install, sysroot_in
from atoll.machine.state_partition import check_can_open
from atoll.store.layout import open_store
from tests.unit.machine.small_image import FACTS, files_of, make_store

if TYPE_CHECKING:
    from pathlib import Path

UUID = "11111111-2222-3333-4444-555555555555"
LUKS = "66666666-7777-8888-9999-aaaaaaaaaaaa"
INITRD = make_machine_initrd(b"keymaps 0-127\nkeycode 21 = z\n")
STATE = StatePartition(uuid=UUID, verity=True, luks=LUKS, initrd=INITRD)


@pytest.fixture
def machine(tmp_path: Path) -> Sysroot:
    store, tree = make_store(tmp_path / "store")
    sysroot = Sysroot(root=tmp_path / "machine", esp=tmp_path / "machine/esp")
    sysroot.esp.mkdir(parents=True)
    plan = plan_install(
        read_bootable(store, tree),
        Origin(image="store:hello"),
        sysroot=sysroot,
        state=STATE,
        contents=choose_transfer(open_store(sysroot.atoll, create=True), store),
        objects=tuple(objects_of(store, tree)),
    )
    apply_operations(plan)
    return sysroot


def test_the_entry_names_the_volume_and_the_layout_of_the_keyboard(machine: Sysroot) -> None:
    text = (machine.entries / "atoll-1+3.conf").read_text()
    lines = text.splitlines()
    assert lines[1] == f"initrd /atoll/machine/{initrd_name(INITRD)}"
    assert lines[2].endswith("/initrd")
    assert f" rd.luks.name={LUKS}=atoll rd.luks.options={LUKS}=tries=0 panic=" in lines[-1]
    assert (machine.esp / "atoll/machine" / initrd_name(INITRD)).read_bytes() == INITRD
    name = EntryName(sequence=1, tries_left=3)
    entry = parse_entry(name, text)
    assert entry is not None
    assert format_entry(entry).decode() == text
    with pytest.raises(Damaged, match="3 initrds"):
        parse_entry(name, text.replace("initrd ", "initrd /other\ninitrd ", 1))


def test_an_american_keyboard_needs_no_initrd_of_its_own(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    image = read_bootable(store, tree)
    state = replace(STATE, initrd=b"")
    entry = make_entry(image, make_deployment(image, 1), state, EntryName(sequence=1))
    assert format_entry(entry).decode().count("initrd ") == 1
    assert entry.option("rd.luks.name") == f"{LUKS}=atoll"


def test_what_is_missing_or_damaged_is_said(machine: Sysroot) -> None:
    state = read_state(machine)
    (menu_entry,) = state.menu.entries
    deployment = state.deployments[0].deployment
    assert find_entry_flaw(machine, deployment, menu_entry) == ""
    place = machine.esp / "atoll/machine" / initrd_name(INITRD)
    place.write_bytes(INITRD[:-1] + b"x")
    assert check_entry(machine, deployment, menu_entry) == ""
    assert "layout for its passphrase is damaged" in find_entry_flaw(
        machine, deployment, menu_entry
    )
    place.unlink()
    assert "missing" in check_entry(machine, deployment, menu_entry)


def test_what_an_entry_names_stays_and_what_none_names_goes(machine: Sysroot) -> None:
    other = machine.esp / "atoll/machine" / initrd_name(b"other")
    other.write_bytes(b"other")
    foreign = machine.esp / "atoll/machine/notes.txt"
    foreign.write_text("mine")
    assert f"machine/{other.name}" in list_pairs(machine)
    clean_up(machine, NullReporter())
    assert (machine.esp / "atoll/machine" / initrd_name(INITRD)).exists()
    assert not other.exists()
    assert foreign.exists()


def test_an_image_that_cannot_open_it_is_refused(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "without")
    image = read_bootable(store, tree)
    check_can_open(image, None)
    with pytest.raises(Refused) as caught:
        check_can_open(image, LUKS)
    assert caught.value.hint is not None
    assert "systemd-cryptsetup" in caught.value.hint
    files = {**files_of(FACTS), "usr/lib/systemd/systemd-cryptsetup": b"program"}
    store, tree = make_store(tmp_path / "with", files)
    check_can_open(read_bootable(store, tree), LUKS)
    with pytest.raises(Refused, match="loadkeys"):
        check_can_open(read_bootable(store, tree), LUKS, INITRD)
    files["usr/bin/loadkeys"] = b"program"
    store, tree = make_store(tmp_path / "with both", files)
    check_can_open(read_bootable(store, tree), LUKS, INITRD)


def test_the_kernel_says_which_volume_a_directory_is_in(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    place = tmp_path / f"sys/{device >> 8 & 0xFFF}:{device & 0xFF}/dm"
    assert find_luks(tmp_path, tmp_path / "sys") is None
    place.mkdir(parents=True)
    (place / "uuid").write_text(f"CRYPT-LUKS2-{LUKS.replace('-', '')}-atoll\n")
    assert find_luks(tmp_path, tmp_path / "sys") == LUKS
    (place / "uuid").write_text("LVM-abc\n")
    assert find_luks(tmp_path, tmp_path / "sys") is None


def test_an_install_names_the_initrd_that_its_settings_write(tmp_path: Path) -> None:
    files = {**files_of(FACTS), "usr/bin/loadkeys": b"program"}
    store, tree = make_store(tmp_path / "store", files)
    root = tmp_path / "machine"
    settings = (WriteMachineInitrd(esp=root / "esp", content=INITRD),)
    image = read_bootable(store, tree)
    origin = Origin(image="store:hello")
    sysroot = sysroot_in(root)
    install(image, origin, sysroot, source=store, reporter=NullReporter(), settings=settings)
    (menu_entry,) = read_state(sysroot).menu.entries
    assert menu_entry.machine_initrd == initrd_name(INITRD)
    assert (root / "esp/atoll/machine" / initrd_name(INITRD)).read_bytes() == INITRD

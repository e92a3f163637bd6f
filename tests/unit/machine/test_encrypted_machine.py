"""An encrypted machine through upgrades and rollbacks: each entry can open its disk, and takes the
passphrase from the keyboard that the machine has then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Refused
from atoll.base.report import NullReporter
from atoll.machine.boot.machine_initrd import make_machine_initrd
from atoll.machine.boot.new_entry import StatePartition
from atoll.machine.deployments.state import read_state
from atoll.machine.rollback import rollback
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.machines import UUID, Maker, check_machine, write

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.boot.boot_entry import BootEntry
    from atoll.machine.deployments.sysroot import Sysroot

pytestmark = pytest.mark.root

LUKS = "66666666-7777-8888-9999-aaaaaaaaaaaa"
FIRST = make_machine_initrd(b"the first keymap")
OPENS = {
    "usr/lib/systemd/systemd-cryptsetup": "program",
    "usr/bin/loadkeys": "program",
}
CKBCOMP = '#!/bin/sh\n[ "$3" != nowhere ] || exit 1\necho "keymap of $*"\n'


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
def machine(maker: Maker, tmp_path: Path) -> Sysroot:
    state = StatePartition(uuid=UUID, verity=True, luks=LUKS, initrd=FIRST)
    return maker.install(tmp_path / "machine", maker.publish("1", OPENS), state=state)


@pytest.fixture
def _ckbcomp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/ckbcomp"
    program.parent.mkdir()
    program.write_text(CKBCOMP)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")


def go(machine: Sysroot) -> BootEntry:
    upgrade(machine, UpgradeRequest(verb="upgrade"), NullReporter())
    check_machine(machine)
    return default_entry(machine)


def default_entry(machine: Sysroot) -> BootEntry:
    entry = read_state(machine).menu.entries[0].entry
    assert entry is not None
    assert entry.option("rd.luks.name") == f"{LUKS}=atoll"
    return entry


def initrd_of(machine: Sysroot, entry: BootEntry) -> bytes:
    return (machine.esp / entry.machine_initrd.lstrip("/")).read_bytes()


def test_upgrade_and_rollback_keep_what_opens_the_disk(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2", OPENS)
    assert initrd_of(machine, go(machine)) == FIRST
    rollback(machine, None, NullReporter(), keep_etc=False)
    check_machine(machine)
    assert initrd_of(machine, default_entry(machine)) == FIRST


@pytest.mark.usefixtures("_ckbcomp")
def test_another_layout_counts_from_the_next_upgrade(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2", OPENS)
    upper = machine.deployments / "1/etc/upper"
    write(upper, {"default/keyboard": 'XKBLAYOUT="fr"\nXKBVARIANT="bepo"\n'})
    new = go(machine)
    assert b"keymap of -model pc105 fr bepo" in initrd_of(machine, new)
    # The fallback is typed as before.
    old = read_state(machine).menu.entries[1].entry
    assert old is not None
    assert initrd_of(machine, old) == FIRST


@pytest.mark.usefixtures("_ckbcomp")
@pytest.mark.parametrize("layout", ["nowhere", ""])
def test_a_layout_that_cannot_be_compiled_changes_nothing(
    maker: Maker, machine: Sysroot, layout: str
) -> None:
    maker.publish("2", OPENS)
    upper = machine.deployments / "1/etc/upper"
    write(upper, {"default/keyboard": f"XKBLAYOUT={layout}\n"})
    assert initrd_of(machine, go(machine)) == FIRST


@pytest.mark.parametrize("missing", list(OPENS))
def test_an_image_that_could_not_open_the_disk_changes_nothing(
    maker: Maker, machine: Sysroot, missing: str
) -> None:
    maker.publish("2", {path: text for path, text in OPENS.items() if path != missing})
    before = sorted(path.name for path in machine.entries.iterdir())
    with pytest.raises(Refused, match=missing.rpartition("/")[2]):
        upgrade(machine, UpgradeRequest(verb="upgrade"), NullReporter())
    assert sorted(path.name for path in machine.entries.iterdir()) == before
    check_machine(machine)

"""The record of a live change, the mounts it reads, and the machine after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from atoll.base.errors import Damaged, NothingToDo, Refused
from atoll.base.report import NullReporter
from atoll.machine.boot.mounts import parse_mounts, stack_at
from atoll.machine.deployments.retention import choose_superseded, required_deployments
from atoll.machine.deployments.state import read_state, with_applied
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.live.live import find_own_unit, require_running, undo_live
from atoll.machine.live.mount_stack import list_foreign
from atoll.machine.live.record import (
    LiveChange,
    LivePlaces,
    LiveResult,
    Phase,
    format_change,
    read_change,
    read_result,
    write_result,
)
from atoll.machine.live.units import UnitPlan
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.machines import Maker

UNITS = UnitPlan(stop=("a",), start=("b", "c"), restart=("d",), kept=(("e", "why"),))
MOUNTS = """
22 1 0:20 / / ro - overlay composefs ro,verity=require
40 60 0:20 /usr /usr ro - overlay composefs ro
41 40 8:1 /var/usrlocal /usr/local rw - ext4 /dev/sda1 rw
60 22 0:31 /usr /usr ro - overlay atoll-2 ro
61 60 8:1 /var/usrlocal /usr/local rw - ext4 /dev/sda1 rw
62 22 0:33 / /etc rw - overlay etc rw
63 62 0:40 / /etc/pve rw - fuse pve rw
64 41 0:41 / /usr/local/share rw - tmpfs x rw
65 40 0:42 / /usr/games rw - tmpfs x rw
"""


def test_what_is_written_is_read(tmp_path: Path) -> None:
    places = LivePlaces(run=tmp_path)
    assert read_change(places) is None and read_result(places) is None
    change = LiveChange(
        source=1, target=2, phase=Phase.SWITCHING, own="x.scope", units=UNITS, protected=(7,)
    )
    places.change.write_bytes(format_change(change))
    assert read_change(places) == change
    result = LiveResult(units=UNITS, warnings=("one",), error="no", hint="yes")
    write_result(places, result)
    assert read_result(places) == result


@pytest.mark.parametrize("damage", [b"{}", b"[", b'{"format": 2}', b'{"format": 1, "phase": "x"}'])
def test_a_damaged_record_is_an_error(tmp_path: Path, damage: bytes) -> None:
    places = LivePlaces(run=tmp_path)
    places.change.write_bytes(damage)
    with pytest.raises(Damaged):
        read_change(places)


def test_the_uppermost_mount_is_the_one_that_no_other_is_on() -> None:
    mounts = parse_mounts(MOUNTS)
    assert [each.source for each in stack_at(mounts, Path("/usr"))] == ["composefs", "atoll-2"]
    assert [each.source for each in stack_at(mounts, Path("/etc"))] == ["etc"]
    assert stack_at(mounts, Path("/srv")) == ()
    assert "verity=require" in stack_at(mounts, Path("/"))[0].options
    assert list_foreign(mounts, Path("/")) == ("/etc/pve", "/usr/games")


def test_the_own_unit_is_the_last_one_of_the_cgroup(tmp_path: Path) -> None:
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("0::/user.slice/user-0.slice/session-3.scope\n")
    assert find_own_unit(cgroup) == "session-3.scope"
    cgroup.write_text("0::/system.slice/ssh.service\n")
    assert find_own_unit(cgroup) == "ssh.service"
    assert find_own_unit(tmp_path / "absent") == ""


def test_only_the_running_system_is_changed_live() -> None:
    sysroot = Sysroot(root=Path("/x"), esp=Path("/x/esp"))
    with pytest.raises(Refused, match="only the running system"):
        require_running(sysroot)
    with pytest.raises(NothingToDo):
        undo_live(Sysroot(root=Path("/x"), esp=Path("/x"), booted=1), NullReporter())


def test_neither_the_booted_nor_the_running_deployment_is_removed(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    machine = maker.install(tmp_path / "machine", maker.publish("1"))
    for version in ("2", "3"):
        maker.publish(version)
        upgrade(machine, UpgradeRequest(verb="upgrade"), NullReporter())
        if version == "2":
            (machine.entries / "atoll-2+3.conf").rename(machine.entries / "atoll-2.conf")
    state = with_applied(read_state(machine), 2)
    assert state.current is not None and state.current.number == 2
    assert 2 in required_deployments(state) and 2 not in choose_superseded(state)
    assert [each.number for each in state.deployments if each.running] == [2]

"""Power fails at any effect of ``upgrade --confirm``, of a live change that must be confirmed, or
of going back: what boots still asks to be confirmed, or is what was there before."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NothingToDo
from atoll.machine import confirm
from atoll.machine.confirm import go_back
from atoll.machine.confirm_live import confirm_live, go_live_unconfirmed
from atoll.machine.deployments.confirmation import find_unconfirmed
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.live import live
from atoll.machine.live.record import LivePlaces
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.faults.test_machine_faults import CUT, DONE, QUIET, cut, run_child
from tests.machines import Maker, check_machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

CONFIRM = UpgradeRequest(verb="upgrade", confirm=600)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine whose next version is downloaded, and the same one with it staged."""
    place = tmp_path_factory.mktemp("prepared")
    maker = Maker(place / "maker")
    machine = maker.install(place / "downloaded", maker.publish("1"))
    maker.publish("2", {"etc/two.conf": "two\n"}, kernel="6.13-two")
    upgrade(machine, UpgradeRequest(verb="upgrade", download_only=True), QUIET)
    shutil.copytree(place / "downloaded", place / "staged", symlinks=True)
    staged = Sysroot(root=place / "staged", esp=place / "staged/esp")
    upgrade(staged, CONFIRM, QUIET)
    return place


def fresh(prepared: Path, name: str, into: Path) -> Sysroot:
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(prepared / name, into, symlinks=True)
    return Sysroot(root=into, esp=into / "esp")


@pytest.fixture
def numbers(request: pytest.FixtureRequest) -> Iterator[int]:
    """The effects that are cut before: all of them with --long."""
    return itertools.count(0, 1 if request.config.getoption("--long") else 11)


def test_what_boots_always_asks(prepared: Path, tmp_path: Path, numbers: Iterator[int]) -> None:
    for number in numbers:
        machine = fresh(prepared, "downloaded", tmp_path / "machine")
        status = run_child(partial(upgrade, machine, CONFIRM, QUIET), number, cut)
        assert status in (CUT, DONE)
        boots = read_state(machine).default
        assert boots is not None
        if boots.number != 1:
            assert find_unconfirmed(replace(machine, booted=boots.number)) is not None, number
        if status == DONE:
            assert boots.number == 2
            break
    check_machine(machine)


def test_going_back_goes_on_after_a_cut(
    prepared: Path, tmp_path: Path, numbers: Iterator[int]
) -> None:
    for number in numbers:
        machine = fresh(prepared, "staged", tmp_path / "machine")
        waiting = replace(machine, booted=2)
        status = run_child(partial(go_back, waiting, QUIET), number, cut)
        assert status in (CUT, DONE)
        boots = read_state(machine).default
        assert boots is not None
        if boots.number == 2:
            # It boots once more, waits once more, and goes back then.
            assert find_unconfirmed(waiting) is not None, number
            go_back(waiting, QUIET)
            boots = read_state(machine).default
        assert boots is not None and boots.number == 1, number
        if status == DONE:
            break
    check_machine(machine)
    with pytest.raises(NothingToDo):
        go_back(replace(machine, booted=1), QUIET)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for systemd: the live change that is asked for is made at once."""
    run, programs = tmp_path / "run", tmp_path / "programs"
    programs.mkdir()
    change = f"rm {run}/live-change.json; echo '{{\"deployment\": 2}}' > {run}/running"
    result = f'echo \'{{"error": "", "hint": "", "warnings": []}}\' > {run}/live-result.json'
    for name, text in (
        ("systemctl", f"[ $1 = stop ] || {{ {change}; {result}; }}"),
        ("systemd-run", ":"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/usr/sbin:/bin:/sbin")
    monkeypatch.setattr(live, "PLACES", LivePlaces(root=tmp_path / "root", run=run))
    monkeypatch.setattr(confirm, "WAITING", run / "confirm.json")
    return run


def test_no_cut_of_a_live_change_boots_what_nobody_confirmed(
    tmp_path: Path, programs: Path, numbers: Iterator[int]
) -> None:
    maker = Maker(tmp_path / "maker")
    installed = maker.install(tmp_path / "staged", maker.publish("1"))
    maker.publish("2", {"etc/two.conf": "two\n"})
    upgrade(installed, UpgradeRequest(verb="upgrade", confirm=600), QUIET)

    def work(machine: Sysroot) -> None:
        waiting = replace(machine, booted=1)
        go_live_unconfirmed(waiting, 2, 600, QUIET)
        confirm_live(replace(waiting, applied=2))

    for number in numbers:
        shutil.rmtree(programs, ignore_errors=True)
        programs.mkdir()
        machine = fresh(tmp_path, "staged", tmp_path / "machine")
        status = run_child(partial(work, machine), number, cut)
        assert status in (CUT, DONE)
        boots = read_state(machine).default
        assert boots is not None
        asks = find_unconfirmed(replace(machine, booted=boots.number)) is not None
        # Confirming commits the entry first: in between it is asked for once more.
        was_live = (programs / "running").exists()
        assert boots.number == 1 or asks or (was_live and boots.number == 2), number
        if status == DONE:
            assert boots.number == 2 and not asks
            break
    check_machine(machine)

"""Power fails at any effect of ``upgrade --confirm`` or of going back: what boots still asks to be
confirmed, or is what was there before."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NothingToDo
from atoll.machine.confirm import go_back
from atoll.machine.deployments.confirmation import find_unconfirmed
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
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

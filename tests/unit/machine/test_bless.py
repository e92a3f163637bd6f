"""Blessing a deployment, cut after every operation: something boots, and the next run ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NotFound
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine.boot.boot_entries import read_menu
from atoll.machine.boot.boot_entry import EntryName, format_entry_name
from atoll.machine.deployments.flags import LastNumbers
from atoll.machine.deployments.plan_check import after
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.health.bless import bless, plan_bless
from tests.unit.machine.test_state import place

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.boot.boot_entries import BootMenu

OLD = EntryName(sequence=1)
TRIED = EntryName(sequence=2, tries_left=2, tries_used=1)
STAGED = EntryName(sequence=3, tries_left=3)


def machine(root: Path, *names: EntryName) -> Sysroot:
    for number, name in enumerate(names, 1):
        place(root, number, name)
    tries = root / "atoll/state/tries/2"
    tries.mkdir(parents=True)
    (tries / "1-started").write_text("atoll-2+2-1.conf\n")
    return Sysroot(root=root, esp=root / "esp")


def menu_of(sysroot: Sysroot) -> BootMenu:
    return read_menu(sysroot.entries, sysroot.entry_list)


def names(sysroot: Sysroot) -> list[str]:
    return [format_entry_name(each.name) for each in menu_of(sysroot).entries]


def test_the_counted_entry_gives_way_to_one_without_a_counter(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, OLD, TRIED)
    bless(sysroot, 2, NullReporter())
    assert names(sysroot) == ["atoll-3.conf", "atoll-1.conf"]
    assert (sysroot.state / "blessed/2").exists()
    assert not (sysroot.state / "tries/2").exists()
    state = read_state(sysroot)
    assert [(each.number, each.default, each.blessed) for each in state.deployments] == [
        (2, True, True),
        (1, False, True),
    ]


def test_blessing_twice_changes_nothing(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, OLD, TRIED)
    for _ in range(2):
        assert main(["health", "bless", "--root", str(tmp_path), "--deployment", "2"]) == 0
        assert names(sysroot) == ["atoll-3.conf", "atoll-1.conf"]


@pytest.mark.parametrize("count", range(8))
def test_a_cut_leaves_what_boots_and_the_next_run_ends_it(tmp_path: Path, count: int) -> None:
    sysroot = machine(tmp_path, OLD, TRIED)
    plan = plan_bless(sysroot, 2, menu_of(sysroot), LastNumbers(deployment=2, sequence=2))
    assert len(plan) == 7
    for operation in plan[:count]:
        operation.execute()
    assert menu_of(sysroot).default == 2
    assert "atoll-1.conf" in names(sysroot)
    bless(sysroot, 2, NullReporter())
    entries = menu_of(sysroot).entries_of(2)
    assert all(each.name.tries_left is None for each in entries)
    assert len(entries) == 1
    assert (sysroot.state / "blessed/2").exists()
    assert not (sysroot.state / "tries/2").exists()


def test_what_boots_next_stays_that(tmp_path: Path) -> None:
    """Staged while the other was on trial, or preferred to one that a person chose by hand."""
    sysroot = machine(tmp_path, OLD, TRIED, STAGED)
    bless(sysroot, 2, NullReporter())
    assert names(sysroot) == ["atoll-5+3.conf", "atoll-4.conf", "atoll-1.conf"]
    assert menu_of(sysroot).default == 3


def test_one_that_was_given_up_and_came_up_after_all_boots_again(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, OLD, EntryName(sequence=2, tries_left=0, tries_used=4))
    bless(sysroot, 2, NullReporter())
    assert names(sysroot) == ["atoll-3.conf", "atoll-1.conf"]


def test_what_never_boots_is_not_blessed(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, OLD)
    with pytest.raises(NotFound):
        bless(sysroot, 2, NullReporter())


def test_a_blessed_deployment_is_a_way_back_in_what_is_planned(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, OLD, TRIED)
    state = read_state(sysroot)
    for operation in plan_bless(sysroot, 2, state.menu, LastNumbers(deployment=2, sequence=2)):
        state = after(state, operation)
    assert [each.blessed for each in state.deployments] == [True, True]

"""Blessing a deployment after a healthy boot: its boots are no longer counted.

Unlike systemd-bless-boot, this renames nothing, because a rename on FAT is not atomic: the
deployment gets a new entry without a counter, then its flag, and only then the counted entry is
removed. After a power cut in between the new entry boots, and the rest is done then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound
from atoll.machine.boot.boot_entry import EntryName, format_entry_name
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.boot_check import verifier
from atoll.machine.deployments.flags import BLESSED, LastNumbers, SetFlag, set_last_numbers
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.operations import (
    RemoveFromEsp,
    RemovePath,
    WriteEntryList,
    plan_entry,
)
from atoll.machine.deployments.plan_check import check_plan
from atoll.machine.deployments.state import next_numbers, read_state
from atoll.machine.health.boot_attempts import attempts_directory

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.machine.boot.boot_entries import BootMenu, MenuEntry
    from atoll.machine.boot.boot_entry import BootEntry
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot


def bless(sysroot: Sysroot, number: int, reporter: Reporter) -> None:
    """Raises NotFound, Busy, MissingPrivilege or what writing to the ESP raises."""
    with locked_machine(sysroot) as machine:
        state = read_state(machine)
        numbers = next_numbers(machine, state.menu)
        given = LastNumbers(deployment=numbers.deployment - 1, sequence=numbers.sequence - 1)
        plan = plan_bless(machine, number, state.menu, given)
        check_plan(state, plan, verifier(machine))
        apply_operations(plan, reporter)


def plan_bless(
    sysroot: Sysroot, number: int, menu: BootMenu, given: LastNumbers
) -> tuple[Operation, ...]:
    """``given`` are the last numbers that were assigned."""
    own = [each for each in menu.entries_of(number) if each.entry is not None]
    if not own:
        hint = f"see: {sysroot.command('status')}"
        raise NotFound(f"deployment {number} has no boot entry", hint=hint)
    counted = [each for each in own if each.name.tries_left is not None]
    added: list[BootEntry] = []
    preferred: list[MenuEntry] = []
    if len(counted) == len(own):
        newest = max(own, key=lambda each: each.name.sequence)
        preferred = _preferred_to(newest, menu)
        added = _with_new_numbers(newest, preferred, first=given.sequence + 1)
    operations: list[Operation] = []
    if added:
        last = LastNumbers(deployment=given.deployment, sequence=given.sequence + len(added))
        operations.append(set_last_numbers(sysroot.state, last))
    for entry in added:
        operations += plan_entry(sysroot, entry)
    operations.append(SetFlag(path=sysroot.state / BLESSED / str(number)))
    operations += [
        RemoveFromEsp(esp=sysroot.esp, path=sysroot.entries / format_entry_name(each.name))
        for each in (*counted, *preferred)
    ]
    operations.append(RemovePath(path=attempts_directory(sysroot, number)))
    operations.append(WriteEntryList(sysroot=sysroot))
    return tuple(operations)


def _preferred_to(blessed: MenuEntry, menu: BootMenu) -> list[MenuEntry]:
    """The entries that the loader prefers to the one that is being blessed."""
    later = [
        each
        for each in menu.entries
        if each.entry is not None
        and each.deployment != blessed.deployment
        and not each.name.is_bad
        and (each.name.sequence > blessed.name.sequence)
    ]
    return sorted(later, key=lambda each: each.name.sequence)


def _with_new_numbers(blessed: MenuEntry, later: list[MenuEntry], *, first: int) -> list[BootEntry]:
    """Preferred entries get newer numbers too, so that blessing does not change what boots next."""
    assert blessed.entry is not None
    entries = [replace(blessed.entry, name=EntryName(sequence=first))]
    for number, each in enumerate(later, first + 1):
        assert each.entry is not None
        entries.append(replace(each.entry, name=replace(each.name, sequence=number)))
    return entries

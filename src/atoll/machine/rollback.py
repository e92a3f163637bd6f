"""Going back: an older deployment gets a newer entry; what a person flees is not taken by itself.

::

    trees of the fled deployments held → the entry of the older one: one sector
      → entries of the fled ones used up, so that no fallback returns to them
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo
from atoll.machine.access import changing
from atoll.machine.bootentry import EntryName
from atoll.machine.choices import (
    TRIES,
    Removal,
    check_sound,
    choose_fled,
    choose_removal,
    choose_rollback,
    entries_to_use_up,
    superfluous_entries,
)
from atoll.machine.deploy import entry_again, event_of, free_numbers, plan_deploy
from atoll.machine.etc.machine import read_machine_etc
from atoll.machine.etc.stage import try_again
from atoll.machine.etc.views import compare
from atoll.machine.history import Record, read_history
from atoll.machine.image import read_bootable
from atoll.machine.marks import HELD, ROLLED_BACK, ClearMark, Hold, hold_mark
from atoll.machine.operations import NoteEntries, plan_entry
from atoll.machine.state import read_origin, read_state
from atoll.machine.tidy import list_pairs, plan_removal, tidy
from atoll.machine.upgrade import forget_pending
from atoll.machine.used_up import plan_used_up
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.machine.etc.views import Change
    from atoll.machine.operations import Operation
    from atoll.machine.state import DeploymentState, MachineState, Sysroot


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What going back does. ``settings`` are the paths below ``/etc`` that will be as they were
    in the older deployment; none when they are kept."""

    target: DeploymentState
    fled: tuple[DeploymentState, ...]
    settings: tuple[tuple[str, Change], ...]
    number: int
    """The deployment that boots next: another than the target when ``/etc`` is kept."""


def foresee_rollback(sysroot: Sysroot, wish: str | None, *, keep_etc: bool) -> Return:
    """What ``rollback`` would do; raises as it does."""
    return _foresee(sysroot, read_state(sysroot), wish, keep_etc=keep_etc)


def rollback(sysroot: Sysroot, wish: str | None, reporter: Reporter, *, keep_etc: bool) -> Return:
    """Make an older deployment boot next. Raises NotFound, NothingToDo, Refused or UsageError."""
    with changing(sysroot) as machine:
        state = tidy(machine, reporter)
        current = check_sound(state)
        found = _foresee(machine, state, wish, keep_etc=keep_etc)
        with reporter.step(f"Going back to {found.target.deployment.title}"):
            if keep_etc:
                made = try_again(lambda: _with_this_etc(machine, state, current, found))
                flee = plan_flight(machine, read_state(machine), found.fled)
                for operation in flee:
                    operation.execute()
                return Return(target=found.target, fled=found.fled, settings=(), number=made)
            for operation in plan_rollback(machine, state, found):
                operation.execute()
    return found


def plan_rollback(sysroot: Sysroot, state: MachineState, found: Return) -> tuple[Operation, ...]:
    """The hold first, so that a cut after the commit does not let the fled one come back."""
    target = found.target
    leaving = entries_to_use_up(state, [each.number for each in found.fled])
    count = 1 + len({each.deployment for each in leaving})
    first, reserve = free_numbers(sysroot, state, count)
    name = EntryName(sequence=first, tries_left=None if target.blessed else TRIES)
    return (
        reserve,
        *_holds(sysroot, found.fled),
        *plan_entry(sysroot, entry_again(state, target.number, name)),
        *_unhold(sysroot, target),
        Record(state=sysroot.state, event=event_of("rollback", target.deployment, state)),
        *plan_used_up(sysroot, state, leaving, first=first + 1),
        *plan_removal(sysroot, Removal(entries=superfluous_entries(state, of=target.number))),
        NoteEntries(sysroot=sysroot),
    )


def plan_flight(
    sysroot: Sysroot, state: MachineState, fled: tuple[DeploymentState, ...]
) -> tuple[Operation, ...]:
    """What keeps the loader and upgrades from what a person left."""
    leaving = entries_to_use_up(state, [each.number for each in fled])
    return (*_holds(sysroot, fled), *plan_used_up(sysroot, state, leaving))


def cancel(sysroot: Sysroot, reporter: Reporter) -> tuple[str, ...]:
    """Let what runs boot next again, and drop what was staged or fetched; what was dropped.

    Of a machine in a directory, where nothing runs, the newest blessed deployment boots next.
    Raises NothingToDo.
    """
    with changing(sysroot) as machine:
        state = tidy(machine, reporter)
        stay = check_sound(state) if state.booted is not None else _before(state)
        staged = state.default
        dropped: list[str] = []
        if stay is not None and staged is not None and staged.number != stay.number:
            with reporter.step(f"Letting {stay.deployment.title} boot next"):
                for operation in plan_cancel(machine, state, stay, staged):
                    operation.execute()
            dropped.append(staged.deployment.title)
        if forget_pending(machine):
            dropped.append("what was downloaded")
    if not dropped:
        raise NothingToDo("nothing is staged and nothing was downloaded")
    return tuple(dropped)


def plan_cancel(
    sysroot: Sysroot, state: MachineState, stay: DeploymentState, staged: DeploymentState
) -> tuple[Operation, ...]:
    first, reserve = free_numbers(sysroot, state, 1)
    name = EntryName(sequence=first, tries_left=None if stay.blessed else TRIES)
    gone = () if staged.blessed or staged.pinned else (staged.number,)
    old = superfluous_entries(state, of=stay.number)
    removal = choose_removal(state, gone, entries=old, pairs=list_pairs(sysroot))
    return (
        reserve,
        *plan_entry(sysroot, entry_again(state, stay.number, name)),
        *_unhold(sysroot, stay),
        Record(state=sysroot.state, event=event_of("cancel", stay.deployment, state)),
        NoteEntries(sysroot=sysroot),
        *plan_removal(sysroot, removal),
    )


def _before(state: MachineState) -> DeploymentState | None:
    """What boots next when the default, which never came up, is taken away."""
    if state.default is None or state.default.blessed:
        return None
    return next((each for each in state.deployments if each.fallback), None)


def _foresee(sysroot: Sysroot, state: MachineState, wish: str | None, *, keep_etc: bool) -> Return:
    current = check_sound(state)
    events = read_history(sysroot.state)
    target = choose_rollback(state, wish, events, datetime.now().astimezone())
    settings: tuple[tuple[str, Change], ...] = ()
    if not keep_etc and target.number != current.number:
        here = read_machine_etc(sysroot, current.number)
        there = read_machine_etc(sysroot, target.number)
        mine = {path for path, _ in (*here.changes, *there.changes)}
        settings = tuple((path, change) for path, change in compare(here.live, there.live)
                         if path in mine)  # fmt: skip
    return Return(
        target=target,
        fled=choose_fled(state, target.number),
        settings=settings,
        number=target.number,
    )


def _with_this_etc(
    machine: Sysroot, state: MachineState, current: DeploymentState, found: Return
) -> int:
    """The older tree once more, as a deployment of its own with the ``/etc`` of today."""
    tree = found.target.deployment.tree
    image = read_bootable(open_store(machine.atoll), tree)
    origin = read_origin(machine, found.target.number)
    made = plan_deploy(machine, state, current, image, origin, what="rollback")
    for operation in (*_holds(machine, found.fled), *made.operations):
        operation.execute()
    return made.deployment.number


def _holds(sysroot: Sysroot, fled: tuple[DeploymentState, ...]) -> tuple[Operation, ...]:
    """What is held for another reason stays held for that."""
    now = int(time.time())
    return tuple(
        hold_mark(sysroot.state, each.deployment.tree,
                  Hold(deployment=each.number, version=each.deployment.version,
                       why=ROLLED_BACK, when=now))
        for each in fled
        if each.hold is None
    )  # fmt: skip


def _unhold(sysroot: Sysroot, target: DeploymentState) -> tuple[Operation, ...]:
    """Whoever goes to a deployment by name wants it."""
    if target.hold is None:
        return ()
    return (ClearMark(path=sysroot.state / HELD / target.deployment.tree),)

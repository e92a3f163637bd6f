"""``--live --confirm 10m``: a live change goes back by itself unless somebody confirms it in time.

It is for machines that only the network reaches. ::

    staged                 the new deployment boots next, and its boots would ask, too
    the older boots next   its entry is written again; the new tree is held, the request expired
    the timer starts       before anything changes: what cuts off the session cannot stop it
    the live change        atoll-live.service, outside of the session
    atoll confirm          the new deployment boots next, and is no longer held
    the timer ends         a live change back; where that is not possible, a reboot

So while the machine waits, every reboot, and every power cut, ends in the older system. Its record
is the one of ``upgrade --confirm`` (``deployments/confirmation.py``), for the deployment that is
live. It says ``expired`` from the begin, because that is what holds after a reboot.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from atoll.base.errors import AtollError, Damaged, NothingToDo
from atoll.host.fs import read_if_there
from atoll.machine.boot.boot_entry import EntryName
from atoll.machine.cleanup import plan_removal
from atoll.machine.confirm import begin_waiting, end_waiting
from atoll.machine.deployments.apply import CommitPlan, apply_each, apply_plan
from atoll.machine.deployments.boot_check import verifier
from atoll.machine.deployments.confirmation import (
    Confirmation,
    clear_confirmation,
    find_unconfirmed,
    require_way_back,
    set_confirmation,
)
from atoll.machine.deployments.flags import Hold, plan_clear_hold, set_hold
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.operations import WriteEntryList, plan_entry
from atoll.machine.deployments.plan_check import check_plan
from atoll.machine.deployments.retention import (
    BOOT_TRIES,
    Removal,
    redundant_entries,
    require_current,
)
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import parse_booted
from atoll.machine.live import live
from atoll.machine.live.change import refused
from atoll.machine.live.record import read_change
from atoll.machine.rollback import plan_machine_file
from atoll.machine.staging import copy_entry, reserve_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.report import Reporter
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.live.record import LiveResult

Result = TypeVar("Result")
NOT_CONFIRMED = "not confirmed after a live change"
"""Why a tree is held while its live change waits to be confirmed."""


def go_live_unconfirmed(
    sysroot: Sysroot, number: int, seconds: int, reporter: Reporter
) -> LiveResult:
    """As ``go_live``; unless it is confirmed within ``seconds`` from now, it is taken back.

    Raises what ``go_live`` raises, and Refused where the running deployment never was healthy.
    ``number`` boots next then, and its boot asks to be confirmed.
    """
    reasons = live.check_live(sysroot, number)
    if reasons:
        _change(sysroot, lambda machine, state: _plan_ask(machine, state, number, seconds))
        raise refused(reasons)
    request = _change(sysroot, lambda machine, state: _plan_begin(machine, state, number, seconds))
    end_waiting()  # of an earlier live change that was taken back
    try:
        begin_waiting(sysroot, request)
        return live.go_live(sysroot, number, reporter)
    except AtollError:
        if not _is_changed(number):
            end_waiting()
            _change(sysroot, lambda machine, state: _plan_give_up(machine, state, request))
        raise


def confirm_live(sysroot: Sysroot) -> str:
    """Confirm the live change; the title of its deployment. It boots next, as after any live
    change: its first boot is still counted. Raises NothingToDo."""
    try:
        number = sysroot.applied if find_unconfirmed(sysroot) is not None else None
    except Damaged:
        number = sysroot.applied  # nobody could confirm it otherwise
    if number is None:
        raise NothingToDo("nothing has to be confirmed")

    def plan(machine: Sysroot, state: MachineState) -> tuple[str, CommitPlan]:
        found = _require(state, number)
        kept = _plan_boots_next(machine, state, found)
        forgotten = _plan_forget(machine, state, number)
        return found.deployment.title, replace(kept, afterwards=(*forgotten, *kept.afterwards))

    title = _change(sysroot, plan)
    end_waiting()
    return title


def go_back_live(sysroot: Sysroot, found: Confirmation, reporter: Reporter) -> LiveResult:
    """The time is over: make the deployment before the running one again. It boots next already.

    Raises what a live change raises; a reboot goes back then.
    """
    result = live.go_live(sysroot, found.back, reporter)
    end_waiting()
    applied = None if found.back == sysroot.booted else found.back
    with locked_machine(replace(sysroot, applied=applied), esp=False) as machine:
        warnings = apply_each(plan_machine_file(machine, found.back))
    return replace(result, warnings=(*result.warnings, *warnings))


def find_unconfirmed_live(sysroot: Sysroot) -> Confirmation | None:
    """The request for what is live; None where nothing is, or needs no confirmation. A record that
    cannot be read is none here: it must not block the way back."""
    with suppress(Damaged):
        return None if sysroot.applied is None else find_unconfirmed(sysroot)
    return None


def take_back_live(sysroot: Sysroot, reporter: Reporter) -> LiveResult:
    """``undo_live`` by a person: nothing has to be confirmed then, and its tree is not held."""
    found = find_unconfirmed_live(sysroot)
    result = live.undo_live(sysroot, reporter)
    if found is None:
        return result
    if sysroot.is_running:
        end_waiting()
    with locked_machine(replace(sysroot, applied=None), esp=False) as machine:
        forgotten = _plan_forget(machine, read_state(machine), found.deployment)
        warnings = apply_each((*forgotten, *plan_machine_file(machine, found.back)))
    return replace(result, warnings=(*result.warnings, *warnings))


def _plan_begin(
    machine: Sysroot, state: MachineState, number: int, seconds: int
) -> tuple[Confirmation, CommitPlan]:
    """The record comes first: from then on a boot of ``number`` asks, until the older deployment's
    entry commits. Raises Refused."""
    current, target = require_current(state), _require(state, number)
    require_way_back(current)
    request = Confirmation(deployment=number, back=current.number, seconds=seconds, expired=True)
    hold = Hold(
        deployment=number,
        version=target.deployment.version,
        why=NOT_CONFIRMED,
        when=int(time.time()),
    )
    same = target.deployment.tree == current.deployment.tree
    back = _plan_boots_next(machine, state, current)
    reserve, *others = back.commit
    first: tuple[Operation, ...] = (
        reserve,
        set_confirmation(machine, request),
        *(() if same else (set_hold(machine.state, target.deployment.tree, hold),)),
    )
    return request, replace(back, commit=(*first, *others))


def _plan_ask(
    machine: Sysroot, state: MachineState, number: int, seconds: int
) -> tuple[None, CommitPlan]:
    """It may have been staged before, without a request: its boot asks all the same."""
    current = require_current(state)
    require_way_back(current)
    request = Confirmation(deployment=number, back=current.number, seconds=seconds)
    return None, CommitPlan(commit=(set_confirmation(machine, request),), afterwards=())


def _plan_give_up(
    machine: Sysroot, state: MachineState, request: Confirmation
) -> tuple[None, CommitPlan]:
    """Nothing became live: the deployment boots next again, and its boot asks."""
    kept = _plan_boots_next(machine, state, _require(state, request.deployment))
    again = set_confirmation(machine, replace(request, expired=False))
    hold = plan_clear_hold(machine.state, state.held, request.deployment)
    return None, replace(kept, afterwards=(again, *hold, *kept.afterwards))


def _plan_boots_next(machine: Sysroot, state: MachineState, wanted: DeploymentState) -> CommitPlan:
    first, reserve = reserve_sequences(machine, state, 1)
    name = EntryName(sequence=first, tries_left=None if wanted.blessed else BOOT_TRIES)
    old = redundant_entries(state, of=wanted.number)
    return CommitPlan(
        commit=(reserve, *plan_entry(machine, copy_entry(state, wanted.number, name))),
        afterwards=(
            *plan_removal(machine, Removal(entries=old)),
            WriteEntryList(sysroot=machine),
        ),
    )


def _plan_forget(machine: Sysroot, state: MachineState, number: int) -> tuple[Operation, ...]:
    return (
        *clear_confirmation(machine),
        *plan_clear_hold(machine.state, state.held, number),
    )


def _change(
    sysroot: Sysroot, plan: Callable[[Sysroot, MachineState], tuple[Result, CommitPlan]]
) -> Result:
    """Lock, plan, check and apply. What fails after the commit is done by the next operation."""
    with locked_machine(sysroot) as machine:
        state = read_state(machine)
        result, planned = plan(machine, state)
        check_plan(state, planned.operations, verifier(machine))
        apply_plan(planned)
    return result


def _require(state: MachineState, number: int) -> DeploymentState:
    found = state.find(number)
    if found is None:
        raise Damaged(f"deployment {number} cannot be read", hint="see: atoll status")
    return found


def _is_changed(number: int) -> bool:
    """Whether the live change was made, or goes on."""
    if read_change(live.PLACES) is not None:
        return True
    running = read_if_there(live.PLACES.running)
    return running is not None and parse_booted(running) == number

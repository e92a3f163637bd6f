"""Cancel: what was booted runs and boots next again, and what was staged or fetched is dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NothingToDo
from atoll.machine.boot.boot_entry import EntryName
from atoll.machine.cleanup import clean_up, list_pairs, plan_removal
from atoll.machine.confirm_live import find_unconfirmed_live, take_back_live
from atoll.machine.deployments.apply import CommitPlan, apply_plan, format_warning
from atoll.machine.deployments.boot_check import verifier
from atoll.machine.deployments.history import RecordEvent
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.operations import WriteEntryList, plan_entry
from atoll.machine.deployments.plan_check import check_plan
from atoll.machine.deployments.retention import (
    BOOT_TRIES,
    choose_removal,
    redundant_entries,
    require_current,
)
from atoll.machine.deployments.way_back import find_boot_flaw
from atoll.machine.rollback import plan_machine_file, plan_unhold, require_bootable
from atoll.machine.stage_image import forget_pending
from atoll.machine.staging import copy_entry, make_event, reserve_sequences

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """``dropped`` is what was staged or fetched."""

    dropped: tuple[str, ...]
    warning: str | None = None


def cancel(sysroot: Sysroot, reporter: Reporter) -> Cancelled:
    """Let what was booted run and boot next again, and drop what was staged or fetched.

    Of a machine in a directory, where nothing runs, the newest blessed deployment boots next.
    Raises NothingToDo, or Refused when what would boot next cannot boot.
    """
    dropped, failed = list[str](), tuple[str, ...]()
    unconfirmed = find_unconfirmed_live(sysroot)
    if sysroot.applied is not None:
        failed = take_back_live(sysroot, reporter).warnings
        dropped.append(f"the live change to deployment {sysroot.applied}")
        sysroot = replace(sysroot, applied=None)
    with locked_machine(sysroot) as machine:
        state = clean_up(machine, reporter)
        verify = verifier(machine)
        stay = require_current(state) if state.booted is not None else _previous_default(state)
        # While a live change waits to be confirmed, its deployment does not boot next.
        staged = state.default if unconfirmed is None else state.find(unconfirmed.deployment)
        if stay is not None and staged is not None and staged.number != stay.number:
            require_bootable(machine, stay, find_boot_flaw(state, stay, verify))
            plan = plan_cancel(machine, state, stay, staged)
            check_plan(state, plan.operations, verify)
            with reporter.step(f"Making {stay.deployment.title} boot next"):
                failed += apply_plan(plan)
            dropped.append(staged.deployment.title)
        try:
            if forget_pending(machine):
                dropped.append("the downloaded image")
        except (AtollError, OSError) as error:
            if not dropped:
                raise
            failed += (str(error),)
    if not dropped:
        raise NothingToDo("there is nothing to cancel: nothing is staged or downloaded")
    return Cancelled(dropped=tuple(dropped), warning=format_warning(failed))


def plan_cancel(
    sysroot: Sysroot, state: MachineState, stay: DeploymentState, staged: DeploymentState
) -> CommitPlan:
    first, reserve = reserve_sequences(sysroot, state, 1)
    name = EntryName(sequence=first, tries_left=None if stay.blessed else BOOT_TRIES)
    gone = () if staged.blessed or staged.pinned or state.unreadable else (staged.number,)
    old = redundant_entries(state, of=stay.number)
    removal = choose_removal(state, gone, entries=old, pairs=list_pairs(sysroot))
    return CommitPlan(
        commit=(reserve, *plan_entry(sysroot, copy_entry(state, stay.number, name))),
        afterwards=(
            *plan_unhold(sysroot, state, stay),
            RecordEvent(state=sysroot.state, event=make_event("cancel", stay.deployment, state)),
            WriteEntryList(sysroot=sysroot),
            *plan_machine_file(sysroot, stay.number),
            *plan_removal(sysroot, removal),
        ),
    )


def _previous_default(state: MachineState) -> DeploymentState | None:
    """What boots next when a default that has never booted successfully is removed."""
    if state.default is None or state.default.blessed:
        return None
    return next((each for each in state.deployments if each.fallback), None)

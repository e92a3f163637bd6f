"""Rollback: an older deployment gets a newer boot entry, and upgrades skip what was left.

::

    hold the trees of the deployments that are left → write the older one's entry: one sector
      → disable the entries of those that are left, so that no fallback returns to them

A deployment that cannot boot is refused, but damage to the one that is left does not block the
rollback. What is left stays the fallback, and is not held, while it is the only deployment that is
known to boot (``deployments/way_back.py``): the older one may never have booted successfully.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, Refused
from atoll.image.bootable import read_bootable
from atoll.machine.boot.boot_entry import EntryName
from atoll.machine.cleanup import clean_up, plan_removal
from atoll.machine.deployment import MachineFiles, Origin
from atoll.machine.deployments.apply import CommitPlan, apply_plan, format_warning
from atoll.machine.deployments.boot_check import find_tree_flaw, verifier
from atoll.machine.deployments.built_from import read_machine_files
from atoll.machine.deployments.confirmation import plan_forget
from atoll.machine.deployments.flags import (
    HELD,
    ROLLED_BACK,
    ClearFlag,
    Hold,
    LastNumbers,
    set_hold,
    set_last_numbers,
)
from atoll.machine.deployments.history import RecordEvent, read_history
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.operations import WriteEntryList, plan_entry
from atoll.machine.deployments.plan_check import check_plan
from atoll.machine.deployments.retention import (
    BOOT_TRIES,
    Removal,
    entries_to_disable,
    redundant_entries,
    require_current,
)
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.deployments.way_back import find_boot_flaw, ways_back
from atoll.machine.disable_entries import plan_disable_entries
from atoll.machine.etc.etc_commands import read_machine_etc
from atoll.machine.etc.etc_tree import compare
from atoll.machine.etc.stage import retry_if_changed
from atoll.machine.machine_file import has_layers, read_machine_text
from atoll.machine.restore_machine_file import OLD_PLACE, plan_restore_machine_file
from atoll.machine.rollback_choice import choose_rollback, left_deployments
from atoll.machine.staging import (
    StageRequest,
    copy_entry,
    make_event,
    plan_staging,
    reserve_sequences,
)
from atoll.machine.upgrade_check import check_staging_space
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.machine.deployments.history import HistoryEvent
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.deployments.way_back import Verify
    from atoll.machine.etc.etc_tree import EtcChange
    from atoll.machine.staging import StagingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPreview:
    """What going back does. ``settings`` are the paths below ``/etc`` that will be as they were
    in the older deployment; none when they are kept, None when they cannot be compared."""

    target: DeploymentState
    left_behind: tuple[DeploymentState, ...]
    settings: tuple[tuple[str, EtcChange], ...] | None
    number: int
    """The deployment that boots next: another than the target when ``/etc`` is kept."""
    warning: str | None = None


def preview_rollback(sysroot: Sysroot, which: str | None, *, keep_etc: bool) -> RollbackPreview:
    """What ``rollback`` would do; raises as it does."""
    return preview_rollback_of(
        sysroot, read_state(sysroot), which, verifier(sysroot), keep_etc=keep_etc
    )


def rollback(
    sysroot: Sysroot, which: str | None, reporter: Reporter, *, keep_etc: bool
) -> RollbackPreview:
    """Make an older deployment boot next. Raises NotFound, NothingToDo, Refused or UsageError."""
    with locked_machine(sysroot) as machine:
        state = clean_up(machine, reporter)
        verify = verifier(machine)
        found = preview_rollback_of(machine, state, which, verify, keep_etc=keep_etc)

        def roll_back() -> RollbackPreview:
            number, plan = plan_rollback(machine, state, found, keep_etc=keep_etc)
            check_plan(state, plan.operations, verify)
            return replace(found, number=number, warning=format_warning(apply_plan(plan)))

        with reporter.step(f"Rolling back to {found.target.deployment.title}"):
            return retry_if_changed(roll_back)


def plan_rollback(
    sysroot: Sysroot, state: MachineState, found: RollbackPreview, *, keep_etc: bool
) -> tuple[int, CommitPlan]:
    """The number of the deployment that boots next, and what makes it so."""
    if keep_etc:
        return _plan_keeping_etc(sysroot, state, found)
    return found.target.number, _plan_older_entry(sysroot, state, found)


def _plan_older_entry(sysroot: Sysroot, state: MachineState, found: RollbackPreview) -> CommitPlan:
    """Hold what is left first: after a power cut behind the commit no upgrade takes it again."""
    target = found.target
    leaving = entries_to_disable(state, [each.number for each in found.left_behind])
    count = 1 + len({each.deployment for each in leaving})
    first, reserve = reserve_sequences(sysroot, state, count)
    name = EntryName(sequence=first, tries_left=None if target.blessed else BOOT_TRIES)
    event = make_event("rollback", target.deployment, state)
    return CommitPlan(
        commit=(
            reserve,
            *_plan_holds(sysroot, state, found),
            *plan_entry(sysroot, copy_entry(state, target.number, name)),
        ),
        afterwards=(
            *plan_unhold(sysroot, state, target),
            RecordEvent(state=sysroot.state, event=event),
            *plan_disable_entries(sysroot, state, leaving, first=first + 1),
            *plan_removal(sysroot, Removal(entries=redundant_entries(state, of=target.number))),
            WriteEntryList(sysroot=sysroot),
            *plan_machine_file(sysroot, target.number),
        ),
    )


def plan_machine_file(sysroot: Sysroot, number: int) -> tuple[Operation, ...]:
    """A damaged ``/etc`` must not block the way back."""
    try:
        return plan_restore_machine_file(sysroot, number)
    except (AtollError, OSError):
        return ()


def _plan_keeping_etc(
    sysroot: Sysroot, state: MachineState, found: RollbackPreview
) -> tuple[int, CommitPlan]:
    """The older tree once more, as a deployment of its own with the ``/etc`` of today."""
    staged = _stage_older_tree(sysroot, state, require_current(state), found.target)
    leaving = entries_to_disable(state, [each.number for each in found.left_behind])
    number, sequence = staged.deployment.number, staged.entry.name.sequence
    disabled = sequence + len({each.deployment for each in leaving})
    last = LastNumbers(deployment=number, sequence=disabled)
    return number, CommitPlan(
        commit=(*_plan_holds(sysroot, state, found), *staged.plan.commit),
        afterwards=(
            *plan_unhold(sysroot, state, found.target),
            *staged.plan.afterwards,
            *((set_last_numbers(sysroot.state, last),) if leaving else ()),
            *plan_disable_entries(sysroot, state, leaving, first=sequence + 1),
        ),
    )


def preview_rollback_of(
    sysroot: Sysroot, state: MachineState, which: str | None, verify: Verify, *, keep_etc: bool
) -> RollbackPreview:
    current = require_current(state) if keep_etc else None
    # Only a date needs the history: without one, a damaged history must not block a rollback.
    events = _known_events(sysroot) if which is not None else ()

    def judge(each: DeploymentState) -> str:
        # Kernel and initrd come from the tree again with a new deployment.
        return (
            find_tree_flaw(sysroot, each.deployment)
            if keep_etc
            else find_boot_flaw(state, each, verify)
        )

    target = choose_rollback(state, which, events, datetime.now().astimezone(), judge)
    require_bootable(sysroot, target, judge(target))
    if current is not None:
        check_staging_space(_stage_older_tree(sysroot, state, current, target), sysroot, state)
    settings = () if keep_etc else _changed_settings(sysroot, state, target)
    left_behind = left_deployments(state, target.number)
    return RollbackPreview(
        target=target,
        left_behind=left_behind
        if _keeps_way_back(state, None if keep_etc else target, left_behind, verify)
        else (),
        settings=settings,
        number=target.number,
    )


def _known_events(sysroot: Sysroot) -> tuple[HistoryEvent, ...]:
    """``status`` tells of a history that cannot be read; a day is then not found in it."""
    try:
        return read_history(sysroot.state)
    except (Damaged, OSError):
        return ()


def _changed_settings(
    sysroot: Sysroot, state: MachineState, target: DeploymentState
) -> tuple[tuple[str, EtcChange], ...] | None:
    """None when either side cannot be read: a damaged ``/etc`` must not block a rollback."""
    current = state.current
    if current is None or state.booted in state.damaged_numbers:
        return None
    if target.number == current.number:
        return ()
    try:
        here = read_machine_etc(sysroot, current.number)
        there = read_machine_etc(sysroot, target.number)
        mine = {path for path, _ in (*here.changes, *there.changes)}
        return tuple(
            (path, change) for path, change in compare(here.live, there.live) if path in mine
        )
    except (AtollError, OSError):
        return None


def _keeps_way_back(
    state: MachineState,
    target: DeploymentState | None,
    left_behind: tuple[DeploymentState, ...],
    verify: Verify,
) -> bool:
    """Whether a way back remains when the entries of ``left_behind`` are disabled.

    ``target`` is one by its new entry if it booted successfully once. None stands for a new
    deployment, which did not.
    """
    if target is not None and target.blessed:
        return True
    leaving = {each.number for each in left_behind}
    return any(not verify(*pair) for pair in ways_back(state) if pair[0].number not in leaving)


def require_bootable(sysroot: Sysroot, target: DeploymentState, flaw: str) -> None:
    if flaw:
        again = sysroot.command(f"rollback number:{target.number} --keep-etc")
        raise Refused(
            f"{target.deployment.title} cannot boot: {flaw}",
            hint=f"choose another one (see: {sysroot.command('status')}); if its tree is intact,"
            f" --keep-etc makes a new deployment of it: {again}",
        )


def _stage_older_tree(
    sysroot: Sysroot, state: MachineState, current: DeploymentState, target: DeploymentState
) -> StagingPlan:
    image = read_bootable(open_store(sysroot.atoll), target.deployment.tree)
    try:
        origin = read_origin(sysroot, target.number)
    except (Damaged, OSError):
        # A damaged origin must not block a rollback: the new deployment then follows no image.
        origin = Origin(image=target.deployment.tree)
    request = StageRequest(
        verb="rollback",
        tree=target.deployment.tree,
        origin=origin,
        machine=_machine_files(sysroot, state, target),
    )
    return plan_staging(sysroot, state, current, image, request)


def _machine_files(
    sysroot: Sysroot, state: MachineState, target: DeploymentState
) -> MachineFiles | None:
    """What the older tree was built from: of all settings this one goes back, or file and tree
    would not agree. Today's file stays beside it. None where today's file fits the tree too."""
    try:
        own = read_machine_files(sysroot, target.number)
        found = [read_machine_files(sysroot, each.number) for each in state.deployments]
        today = read_machine_etc(sysroot, require_current(state).number).live
        text = read_machine_text(today)
        if all(each is None for each in found):
            return None
        if not (has_layers(today) or read_origin(sysroot, target.number).base):
            return None
    except (AtollError, OSError):
        return None
    others = () if text is None else ((OLD_PLACE, text),)
    files = own or MachineFiles(text=b"", lock=b"")
    return files if files.text == text else replace(files, others=others)


def _plan_holds(
    sysroot: Sysroot, state: MachineState, found: RollbackPreview
) -> tuple[Operation, ...]:
    """Hold the trees that are left. An existing hold keeps its reason; the target is not held."""
    now = int(time.time())
    wanted = found.target.deployment.tree
    return tuple(
        set_hold(
            sysroot.state,
            each.deployment.tree,
            Hold(
                deployment=each.number, version=each.deployment.version, why=ROLLED_BACK, when=now
            ),
        )
        for each in found.left_behind
        if each.deployment.tree != wanted and _may_hold(state, each)
    )


def _may_hold(state: MachineState, each: DeploymentState) -> bool:
    hold = state.held.get(each.deployment.tree)
    return hold is None or (hold.why == ROLLED_BACK and hold.deployment != each.number)


def plan_unhold(
    sysroot: Sysroot, state: MachineState, target: DeploymentState
) -> tuple[Operation, ...]:
    """Choosing a deployment explicitly clears the hold of its tree, and what must be confirmed."""
    held = target.deployment.tree in state.held
    clear = (ClearFlag(path=sysroot.state / HELD / target.deployment.tree),) if held else ()
    return (*plan_forget(sysroot, target.number), *clear)

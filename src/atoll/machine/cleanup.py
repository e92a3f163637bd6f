"""Removal: leftovers of interrupted operations, deployments that policy does not keep, and the
objects that are no longer needed then.

Names are removed before what they point to: entries, then kernel pairs, deployments and objects.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, Refused
from atoll.base.ids import TreeId, is_hex_digest
from atoll.host.fs import list_names
from atoll.machine.boot.esp_check import check_esp
from atoll.machine.boot.machine_initrd import FOLDER, is_initrd_name
from atoll.machine.deployments.apply import apply_each, apply_until_failure, format_warning
from atoll.machine.deployments.boot_check import verifier
from atoll.machine.deployments.flags import BLESSED, HELD, PINNED, ROLLED_BACK, ClearFlag
from atoll.machine.deployments.leftovers import list_leftovers
from atoll.machine.deployments.operations import (
    RemoveDeployment,
    RemoveFromEsp,
    RemovePath,
    WriteEntryList,
)
from atoll.machine.deployments.own_var import has_own_var, plan_take_over
from atoll.machine.deployments.plan_check import check_plan
from atoll.machine.deployments.retention import (
    Removal,
    choose_damaged,
    choose_entries_to_disable,
    choose_leftovers,
    choose_obsolete,
    choose_removal,
    redundant_entries,
)
from atoll.machine.deployments.state import may_need_tree, read_origin, read_state
from atoll.machine.deployments.way_back import with_way_back
from atoll.machine.disable_entries import plan_disable_entries
from atoll.machine.etc.conflicts import damaged_path
from atoll.store.gc import GcResult, collect
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.base.report import Reporter
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.deployments.way_back import Verify


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupResult:
    """``titles`` names the deployments that were removed, or would be; ``warning`` says what could
    not be removed, and why."""

    removal: Removal
    titles: tuple[str, ...]
    collected: GcResult
    warning: str | None = None


def plan_leftovers(sysroot: Sysroot, state: MachineState) -> tuple[Operation, ...]:
    """Remove all that interrupted operations left; each operation may fail alone."""
    removal = choose_removal(
        state,
        choose_leftovers(state),
        entries=redundant_entries(state),
        pairs=list_pairs(sysroot),
    )
    return (
        *plan_removal(sysroot, removal),
        *(RemovePath(path=path) for path in list_leftovers(sysroot)),
    )


def plan_unfinished(sysroot: Sysroot, state: MachineState) -> tuple[Operation, ...]:
    """Finish what interrupted operations had still to do."""
    left_behind = [each for each in state.deployments if each.hold and each.hold.why == ROLLED_BACK]
    return (
        *plan_disable_entries(sysroot, state, choose_entries_to_disable(state)),
        # The rollback that held it was interrupted before its commit.
        *(
            ClearFlag(path=sysroot.state / HELD / each.deployment.tree)
            for each in left_behind
            if each.default
        ),
        *_plan_finish_reset(sysroot, state),
    )


def _plan_finish_reset(sysroot: Sysroot, state: MachineState) -> tuple[Operation, ...]:
    """Once a deployment that ``atoll reset`` staged was healthy, nothing of before it stays."""
    current = state.current
    if current is None or not current.blessed or not has_own_var(sysroot, current.number):
        return ()
    others = {each.number for each in state.deployments} - {current.number}
    removal = choose_removal(state, others, entries=(), pairs=list_pairs(sysroot))
    return (*plan_removal(sysroot, removal), *plan_take_over(sysroot, current.number))


def plan_prune(
    sysroot: Sysroot, state: MachineState, keep: int, *, damaged: bool = False
) -> tuple[Removal, tuple[str, ...]]:
    """What policy no longer keeps, with the titles of the deployments; with ``damaged`` also
    deployments whose description cannot be read."""
    gone = choose_obsolete(state, keep)
    titles = tuple(each.deployment.title for each in state.deployments if each.number in gone)
    lost = choose_damaged(state) if damaged else ()
    titles += tuple(f"deployment {number}, which is damaged" for number in lost)
    removal = choose_removal(state, {*gone, *lost}, entries=(), pairs=list_pairs(sysroot))
    return removal, titles


def plan_removal(sysroot: Sysroot, removal: Removal) -> tuple[Operation, ...]:
    if removal.is_empty:
        return ()
    state = sysroot.state
    return (
        *(RemoveFromEsp(esp=sysroot.esp, path=sysroot.entries / name) for name in removal.entries),
        *(
            RemoveFromEsp(esp=sysroot.esp, path=sysroot.esp / "atoll" / pair)
            for pair in removal.pairs
        ),
        *(RemoveDeployment(sysroot=sysroot, number=number) for number in removal.deployments),
        *(
            operation
            for number in removal.deployments
            for operation in (
                ClearFlag(path=state / PINNED / str(number)),
                ClearFlag(path=state / BLESSED / str(number)),
                RemovePath(path=state / "tries" / str(number)),
                RemovePath(path=state / "conflicts" / str(number)),
                RemovePath(path=damaged_path(state / "conflicts" / str(number))),
            )
        ),
        WriteEntryList(sysroot=sysroot),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupPlan:
    """What cleans up after interrupted operations: ``leftovers`` may fail alone, ``unfinished`` are
    executed in order. ``refused`` says why neither is safe, empty when they are."""

    leftovers: tuple[Operation, ...] = ()
    unfinished: tuple[Operation, ...] = ()
    refused: str = ""

    @property
    def operations(self) -> tuple[Operation, ...]:
        return (*self.leftovers, *self.unfinished)


def plan_cleanup(sysroot: Sysroot, state: MachineState, verify: Verify) -> CleanupPlan:
    plan = CleanupPlan(
        leftovers=plan_leftovers(sysroot, state), unfinished=plan_unfinished(sysroot, state)
    )
    try:
        check_plan(state, plan.operations, verify)
    except Refused as error:
        return CleanupPlan(refused=error.message)
    return plan


def clean_up(sysroot: Sysroot, reporter: Reporter) -> MachineState:
    """Clean up after interrupted operations; the machine as it is then, with its way back.

    What cannot be removed is reported, and does not block the operation that follows.
    """
    verify = verifier(sysroot)
    state = with_way_back(read_state(sysroot), verify)
    _report_esp(sysroot, reporter)
    plan = plan_cleanup(sysroot, state, verify)
    failed: tuple[str, ...] = (plan.refused,) if plan.refused else ()
    if plan.operations:
        with reporter.step("Cleaning up after an interrupted operation"):
            failed = (*apply_each(plan.leftovers), *apply_until_failure(plan.unfinished))
        state = with_way_back(read_state(sysroot), verify)
    for each in (*state.damaged, *failed):
        reporter.notice(f"not changed: {each}")
    return state


def _report_esp(sysroot: Sysroot, reporter: Reporter) -> None:
    """Report damage on the ESP. It blocks nothing, and nothing is removed that would spread it."""
    try:
        check = check_esp(sysroot.esp, ())
    except AtollError as error:
        reporter.notice(f"the ESP cannot be checked, so nothing on it is removed: {error.message}")
        return
    if check.findings:
        reporter.notice(f"the ESP is damaged: {'; '.join(check.findings)}\n  {check.repair}")


def prune(
    sysroot: Sysroot, keep: int, reporter: Reporter, *, dry: bool = False, damaged: bool = False
) -> CleanupResult:
    """Remove what policy does not keep, and the objects that are not needed then.

    ``warning`` of the result says what could not be removed, and why.
    """
    verify = verifier(sysroot)
    state = with_way_back(read_state(sysroot), verify)
    removal, titles = plan_prune(sysroot, state, keep, damaged=damaged)
    plan = plan_removal(sysroot, removal)
    check_plan(state, plan, verify)
    with reporter.step("Removing old deployments"):
        failed = () if dry else apply_each(plan)
        state = read_state(sysroot)
        # What could not be removed still needs its objects.
        gone = frozenset(removal.deployments if dry else ())
        unknown = unknown_needs(sysroot, state, but=gone)
        collected = GcResult()
        if unknown:
            numbers = ", ".join(map(str, unknown))
            failed += (f"no contents are removed: what deployment {numbers} needs is not known",)
        else:
            try:
                trees = trees_of(state, but=gone) | bases_of(sysroot, state, but=gone)
                collected = collect(open_store(sysroot.atoll), trees, dry=dry)
            except (AtollError, OSError) as error:
                failed += (str(error),)
    return CleanupResult(
        removal=removal, titles=titles, collected=collected, warning=format_warning(failed)
    )


def unknown_needs(
    sysroot: Sysroot, state: MachineState, *, but: Iterable[int] = ()
) -> tuple[int, ...]:
    """Deployments that cannot be read and may need a tree that no entry names, except ``but``."""
    named = {each.deployment for each in state.menu.entries if each.entry is not None}
    return tuple(
        number
        for number in sorted(state.damaged_numbers - named - frozenset(but))
        if may_need_tree(sysroot, number)
    )


def trees_of(state: MachineState, *, but: Iterable[int] = ()) -> frozenset[TreeId]:
    """The trees that deployments or entries name, except those of the deployments ``but``."""
    gone = frozenset(but)
    trees = {each.deployment.tree for each in state.deployments if each.number not in gone}
    for menu_entry in state.menu.entries:
        named = menu_entry.entry.option("composefs") if menu_entry.entry else None
        if named is not None and is_hex_digest(named) and menu_entry.deployment not in gone:
            trees.add(TreeId(named))
    return frozenset(trees)


def bases_of(
    sysroot: Sysroot, state: MachineState, *, but: Iterable[int] = ()
) -> frozenset[TreeId]:
    """The images that deployments were made of by the machine file, as far as they are there. The
    machine boots without them: they only spare the next change a download."""
    store, gone = open_store(sysroot.atoll), frozenset(but)
    found = set()
    for each in state.deployments:
        if each.number not in gone:
            with suppress(Damaged, OSError):
                base = read_origin(sysroot, each.number).base
                if base is not None and store.image_path(base).exists():
                    found.add(base)
    return frozenset(found)


def list_pairs(sysroot: Sysroot) -> tuple[str, ...]:
    """The directories of kernels and initrds on the ESP, and the initrds of the machine."""
    pairs = filter(is_hex_digest, list_names(sysroot.esp / "atoll"))
    initrds = filter(is_initrd_name, list_names(sysroot.esp / FOLDER))
    return (*pairs, *(f"machine/{name}" for name in initrds))

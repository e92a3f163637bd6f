"""What goes: leftovers of operations that were cut, deployments that policy does not keep, and the
objects that nobody needs then.

Names go before what is behind them: entries, then kernel pairs, then deployments, then objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.base.ids import TreeId, is_hex_digest
from atoll.machine.choices import (
    Removal,
    choose_kept,
    choose_leftovers,
    choose_removal,
    choose_superseded,
    entries_to_use_up,
    superfluous_entries,
)
from atoll.machine.esp_check import check_esp
from atoll.machine.marks import BLESSED, HELD, PINNED, ROLLED_BACK, ClearMark
from atoll.machine.operations import DropDeployment, NoteEntries, RemoveFromEsp, RemovePath
from atoll.machine.state import read_state
from atoll.machine.used_up import plan_used_up
from atoll.store.collect import Collected, collect
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.machine.operations import Operation
    from atoll.machine.state import MachineState, Sysroot


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """``titles`` are those of the deployments that went, or would go."""

    removal: Removal
    titles: tuple[str, ...]
    collected: Collected


def plan_leftovers(sysroot: Sysroot, state: MachineState) -> tuple[Operation, ...]:
    """All that operations which were cut have left, and what they had still to do."""
    removal = choose_removal(
        state,
        choose_leftovers(state),
        entries=superfluous_entries(state),
        pairs=list_pairs(sysroot),
    )
    fled = [each for each in state.deployments if each.hold and each.hold.why == ROLLED_BACK]
    leaving = entries_to_use_up(state, [each.number for each in fled if not each.default])
    return (
        *plan_removal(sysroot, removal),
        *(RemovePath(path=path) for path in _half_made(sysroot)),
        *plan_used_up(sysroot, state, leaving),
        # Going back from it was cut before it was done.
        *(
            ClearMark(path=sysroot.state / HELD / each.deployment.tree)
            for each in fled
            if each.default
        ),
    )


def plan_prune(sysroot: Sysroot, state: MachineState, keep: int) -> tuple[Removal, tuple[str, ...]]:
    """What policy lets go, with the titles of the deployments."""
    kept = choose_kept(state, keep)
    gone = {each.number for each in state.deployments if each.number not in kept}
    gone |= set(choose_superseded(state))
    titles = tuple(each.deployment.title for each in state.deployments if each.number in gone)
    return choose_removal(state, gone, entries=(), pairs=list_pairs(sysroot)), titles


def plan_removal(sysroot: Sysroot, removal: Removal) -> tuple[Operation, ...]:
    if removal.is_empty:
        return ()
    state, _esp = sysroot.state, sysroot.esp
    return (
        *(RemoveFromEsp(esp=sysroot.esp, path=sysroot.entries / name) for name in removal.entries),
        *(
            RemoveFromEsp(esp=sysroot.esp, path=sysroot.esp / "atoll" / pair)
            for pair in removal.pairs
        ),
        *(DropDeployment(sysroot=sysroot, number=number) for number in removal.deployments),
        *(
            operation
            for number in removal.deployments
            for operation in (
                ClearMark(path=state / PINNED / str(number)),
                ClearMark(path=state / BLESSED / str(number)),
                RemovePath(path=state / "tries" / str(number)),
                RemovePath(path=state / "conflicts" / str(number)),
            )
        ),
        NoteEntries(sysroot=sysroot),
    )


def tidy(sysroot: Sysroot, reporter: Reporter) -> MachineState:
    """Take away what cut operations left; the machine as it is then."""
    state = read_state(sysroot)
    _tell_esp(sysroot, reporter)
    operations = plan_leftovers(sysroot, state)
    if not operations:
        return state
    with reporter.step("Clearing up what an interrupted operation left"):
        for operation in operations:
            operation.execute()
    return read_state(sysroot)


def _tell_esp(sysroot: Sysroot, reporter: Reporter) -> None:
    """What a cut has left wrong on the ESP: nothing fails for it, and nothing makes it worse."""
    try:
        check = check_esp(sysroot.esp, ())
    except AtollError as error:
        reporter.notice(f"the ESP cannot be checked, so nothing is removed there: {error.message}")
        return
    if check.findings:
        reporter.notice(f"the ESP is damaged: {'; '.join(check.findings)}\n  {check.repair}")


def prune(sysroot: Sysroot, keep: int, reporter: Reporter, *, dry: bool = False) -> Tidied:
    """Remove what policy lets go, and all contents that nobody needs then."""
    state = read_state(sysroot)
    removal, titles = plan_prune(sysroot, state, keep)
    with reporter.step("Removing what is no longer kept"):
        if not dry:
            for operation in plan_removal(sysroot, removal):
                operation.execute()
        trees = trees_of(read_state(sysroot), but=removal.deployments)
        collected = collect(open_store(sysroot.atoll), trees, dry=dry)
    return Tidied(removal=removal, titles=titles, collected=collected)


def trees_of(state: MachineState, *, but: Iterable[int] = ()) -> frozenset[TreeId]:
    """The trees that deployments, or entries, name."""
    gone = frozenset(but)
    trees = {each.deployment.tree for each in state.deployments if each.number not in gone}
    for placed in state.menu.entries:
        named = placed.entry.option("composefs") if placed.entry else None
        if named is not None and is_hex_digest(named) and placed.deployment not in gone:
            trees.add(TreeId(named))
    return frozenset(trees)


def list_pairs(sysroot: Sysroot) -> tuple[str, ...]:
    """The directories of kernels and initrds on the ESP."""
    place = sysroot.esp / "atoll"
    if not place.is_dir():
        return ()
    return tuple(sorted(path.name for path in place.iterdir() if is_hex_digest(path.name)))


def _half_made(sysroot: Sysroot) -> list[Path]:
    return sorted(
        path for path in sysroot.deployments.iterdir() if path.name.startswith(("new-", "gone-"))
    )

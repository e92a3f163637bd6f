"""Which deployments, entries and kernels stay. Pure.

Policy keeps the booted, the running and the default deployment, the fallback, the way back and
pinned ones; then the newest blessed ones, up to ``keep`` deployments in total. A deployment without
an entry was left by an interrupted operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.machine.deployments.flags import ROLLED_BACK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.machine.boot.boot_entries import MenuEntry
    from atoll.machine.deployments.state import DeploymentState, MachineState

DEFAULT_KEEP = 3
"""How many deployments are kept if neither the machine file nor the image says."""
BOOT_TRIES = 3
"""How many boots a new deployment gets before its fallback boots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What is removed: deployments, entries (theirs, and drafts), and what nothing boots any more
    in the folder ``atoll`` of the ESP: kernel pairs, and initrds of the machine."""

    deployments: tuple[int, ...] = ()
    entries: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.deployments or self.entries or self.pairs)


def required_deployments(state: MachineState) -> frozenset[int]:
    """The deployments that no policy removes."""
    return frozenset(
        each.number
        for each in state.deployments
        if each.booted
        or each.running
        or each.default
        or each.fallback
        or each.pinned
        or each.number == state.way_back
    )


def choose_kept(state: MachineState, keep: int) -> frozenset[int]:
    """The deployments that policy keeps when up to ``keep`` may stay.

    A deployment that cannot boot does not count towards ``keep``; it stays if it is newer than the
    last one that is kept.
    """
    kept = set(required_deployments(state))
    bootable = len(kept)
    with_entry = {each.deployment for each in state.menu.entries}
    for each in state.deployments:
        if bootable >= keep:
            break
        if each.blessed and each.number in with_entry and each.number not in kept:
            kept.add(each.number)
            bootable += not each.flaw
    return frozenset(kept)


def choose_leftovers(state: MachineState) -> tuple[int, ...]:
    """Deployments that no entry boots.

    None while the menu lacks entries that must be in it (the ESP may be that of another machine),
    or while an entry or a flag cannot be read: it may belong to such a deployment.
    """
    if not _is_its_menu(state) or state.menu.damaged or state.unreadable:
        return ()
    with_entry = {each.deployment for each in state.menu.entries}
    kept = required_deployments(state)
    return tuple(
        sorted(
            each.number
            for each in state.deployments
            if each.number not in with_entry and each.number not in kept
        )
    )


def _is_its_menu(state: MachineState) -> bool:
    """Whether the menu belongs to this machine: it has entries of the default and the booted
    deployment."""
    with_entry = {each.deployment for each in state.menu.entries}
    return state.default is not None and (state.booted is None or state.booted in with_entry)


def choose_damaged(state: MachineState) -> tuple[int, ...]:
    """Deployments whose description cannot be read. They are removed only on request, and never
    when they run, boot next or are pinned, or may still boot while there is no way back."""
    if state.menu.damaged or state.unreadable:
        return ()
    kept = {state.booted, state.applied, state.menu.default, *state.pinned}
    if state.way_back is None:
        kept |= {each.deployment for each in state.menu.entries if each.name.tries_left is None}
    return tuple(sorted(state.damaged_numbers - kept))


def choose_superseded(state: MachineState, *, but: int | None = None) -> tuple[int, ...]:
    """Deployments that never booted successfully and are not going to be tried."""
    return tuple(
        each.number
        for each in state.deployments
        if not (each.blessed or each.booted or each.running or each.default or each.pinned)
        and each.number != but
    )


def choose_obsolete(state: MachineState, keep: int) -> frozenset[int]:
    """The deployments that policy does not keep. None while a flag cannot be read, or while the
    menu lacks entries that must be in it. A deployment without an entry stays while an entry cannot
    be read: that may be its own."""
    if state.unreadable or not _is_its_menu(state):
        return frozenset()
    kept = choose_kept(state, keep)
    gone = {each.number for each in state.deployments if each.number not in kept}
    gone |= set(choose_superseded(state))
    if state.menu.damaged:
        gone &= {each.deployment for each in state.menu.entries}
    return frozenset(gone)


def choose_removal(
    state: MachineState, gone: Iterable[int], *, entries: Iterable[str], pairs: Iterable[str]
) -> Removal:
    """Everything that is removed with the deployments ``gone``; ``entries`` are further entries to
    remove, ``pairs`` the kernel pairs and machine's initrds on the ESP."""
    from atoll.machine.boot.boot_entry import format_entry_name

    numbers = tuple(sorted(set(gone)))
    names = {*entries, *state.menu.drafts}
    names |= {
        format_entry_name(each.name) for each in state.menu.entries if each.deployment in numbers
    }
    left = [each for each in state.menu.entries if format_entry_name(each.name) not in names]
    used = {each.pair for each in left} | {f"machine/{each.machine_initrd}" for each in left}
    used |= {each.deployment.pair for each in state.deployments if each.number not in numbers}
    # An entry that cannot be read may use any of them.
    unused = () if state.menu.damaged else tuple(sorted(set(pairs) - used))
    return Removal(deployments=numbers, entries=tuple(sorted(names)), pairs=unused)


def choose_entries_to_disable(state: MachineState) -> tuple[MenuEntry, ...]:
    """Entries that an interrupted rollback should have disabled. The last way back is not among
    them."""
    left_behind = [
        each.number
        for each in state.deployments
        if each.hold and each.hold.why == ROLLED_BACK and not each.default
    ]
    return entries_to_disable(state, [number for number in left_behind if number != state.way_back])


def entries_to_disable(state: MachineState, numbers: Iterable[int]) -> tuple[MenuEntry, ...]:
    """The entries of deployments that the loader could still start by itself."""
    chosen = frozenset(numbers)
    return tuple(
        each
        for each in state.menu.entries
        if each.deployment in chosen and not each.name.is_bad and each.entry is not None
    )


def redundant_entries(state: MachineState, *, of: int | None = None) -> tuple[str, ...]:
    """Entries of deployments that have another entry, which the loader prefers.

    With ``of`` all entries of that deployment: it is about to get a new one.
    """
    from atoll.machine.boot.boot_entry import format_entry_name

    first: dict[int, MenuEntry] = {}
    for each in state.menu.entries:
        first.setdefault(each.deployment, each)

    def is_redundant(each: MenuEntry) -> bool:
        # An uncounted entry is never redundant: a counted one before it may run out of tries.
        better = first[each.deployment]
        counted = each.name.tries_left is None and better.name.tries_left is not None
        return better != each and not counted

    return tuple(
        format_entry_name(each.name)
        for each in state.menu.entries
        if (each.deployment == of or (of is None and is_redundant(each)))
    )


def require_current(state: MachineState) -> DeploymentState:
    """The deployment that changes start from; raises Refused when it is unknown or unreadable."""
    current = state.current
    if state.booted is not None and state.booted in state.damaged_numbers:
        current = None
    if current is None:
        why = "; ".join(state.damaged) or "no entry on the ESP boots a deployment"
        raise Refused(
            f"nothing was changed because the machine is damaged: {why}",
            hint="repair that first, then try again",
        )
    return current

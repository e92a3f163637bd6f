"""The state of a machine: its deployments, their entries, which one runs and which boots next."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged
from atoll.host.fs import is_absent, list_names, read_if_there
from atoll.machine.boot.boot_entries import BootMenu, read_menu
from atoll.machine.deployment import (
    Deployment,
    Origin,
    is_number,
    parse_deployment,
    parse_origin,
)
from atoll.machine.deployments.built_from import list_layers
from atoll.machine.deployments.displaced import find_displaced
from atoll.machine.deployments.flags import (
    NUMBER_LIMIT,
    UNKNOWN,
    Flags,
    Hold,
    LastNumbers,
    read_flags,
    read_numbers,
)
from atoll.machine.deployments.history import NAME as HISTORY
from atoll.machine.deployments.history import read_history
from atoll.machine.deployments.quick_check import find_flaws

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atoll.base.ids import TreeId
    from atoll.machine.deployments.sysroot import Sysroot

SEQUENCE_GAP = 100
"""How many sequence numbers are skipped when the last ones are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentState:
    """A deployment and its current state.

    ``staged``: it boots next and does not run yet. ``fallback``: it boots if the default fails.
    ``running``: a live change made its ``/usr`` and ``/etc`` the running ones. ``hold`` is the hold
    of its tree that names this deployment. ``flaw`` says why it cannot boot; empty if
    ``quick_check`` finds no fault. ``layers`` is what the machine file made of its image.
    """

    deployment: Deployment
    booted: bool = False
    default: bool = False
    staged: bool = False
    pinned: bool = False
    blessed: bool = False
    fallback: bool = False
    running: bool = False
    hold: Hold | None = None
    flaw: str = ""
    layers: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        return self.deployment.number

    @property
    def held(self) -> bool:
        return self.hold is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """The state of a machine, newest deployment first. ``damaged`` says what could not be read, and
    why.

    ``damaged_numbers`` are deployments whose description cannot be read. ``unreadable`` lists flags
    that could not be read, so that what is pinned or blessed is unknown. ``way_back`` is the
    deployment that must stay (module ``way_back``); None before ``with_way_back``, or without one.
    """

    deployments: tuple[DeploymentState, ...]
    menu: BootMenu
    damaged: tuple[str, ...] = ()
    damaged_numbers: frozenset[int] = frozenset()
    booted: int | None = None
    held: Mapping[TreeId, Hold] = field(default_factory=dict)
    """Holds of all trees, also of trees that no deployment has."""
    unreadable: tuple[str, ...] = ()
    pinned: frozenset[int] = frozenset()
    """Pinned deployments, also those that cannot be read."""
    way_back: int | None = None
    applied: int | None = None
    """The deployment that a live change made the running one (``Sysroot.applied``)."""

    def find(self, number: int | None) -> DeploymentState | None:
        return next((each for each in self.deployments if each.number == number), None)

    @property
    def default(self) -> DeploymentState | None:
        return next((each for each in self.deployments if each.default), None)

    @property
    def current(self) -> DeploymentState | None:
        """The deployment that runs; of a machine in a directory, the one that boots next.

        If that cannot be read, the first one in the loader's order that can be.
        """
        running = self.booted if self.applied is None else self.applied
        wanted = running if running is not None else self.menu.default
        order = (wanted, *(each.deployment for each in self.menu.entries))
        return next((found for number in order if (found := self.find(number))), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What could not be read, and why; ``deployments`` are those without a readable description."""

    reasons: tuple[str, ...] = ()
    deployments: frozenset[int] = frozenset()


NO_DAMAGE = Damage()


def read_state(sysroot: Sysroot) -> MachineState:
    """Everything that is known about a machine; damage is reported in the result, not raised."""
    menu = read_menu(sysroot.entries, sysroot.entry_list)
    deployments, damaged, numbers = [], [], set()
    for number in sorted(deployment_numbers(sysroot), reverse=True):
        try:
            deployments.append(read_deployment(sysroot, number))
        except (AtollError, OSError) as error:
            damaged.append(str(error))
            numbers.add(number)
    try:
        read_numbers(sysroot.state)
    except (Damaged, OSError) as error:
        damaged.append(f"{error}; numbering continues after the highest number found")
    damaged += _unreadable(sysroot, deployments)
    state = make_state(
        tuple(deployments),
        menu,
        read_flags(sysroot.state),
        booted=sysroot.booted,
        damage=Damage(reasons=tuple(damaged), deployments=frozenset(numbers)),
        flaws=find_flaws(sysroot, deployments, menu),
    )
    state = replace(
        state,
        deployments=tuple(
            replace(each, layers=list_layers(sysroot, each.number)) for each in state.deployments
        ),
    )
    return with_applied(state, sysroot.applied)


def _unreadable(sysroot: Sysroot, deployments: Iterable[Deployment]) -> list[str]:
    """Damage to files that a boot does not need, but an upgrade or a rollback does."""
    found = []
    for each in deployments:
        try:
            read_origin(sysroot, each.number)
        except (Damaged, OSError) as error:
            found.append(f"{error}; to follow an image again: {sysroot.command('rebase REF')}")
    try:
        read_if_there(sysroot.state / HISTORY)
    except PermissionError:
        pass
    except (Damaged, OSError) as error:
        found.append(str(error))
    return [*found, *find_displaced(sysroot)]


def make_state(
    deployments: tuple[Deployment, ...],
    menu: BootMenu,
    flags: Flags,
    *,
    booted: int | None = None,
    damage: Damage = NO_DAMAGE,
    flaws: Mapping[int, str] = MappingProxyType({}),
) -> MachineState:
    """Put together what was read. A deployment is blessed that has an entry without a counter."""
    blessed = flags.blessed | {
        each.deployment for each in menu.entries if each.name.tries_left is None
    }
    trees = {each.number: each.tree for each in deployments}
    default = menu.default if menu.default in trees else None
    holds = {number: flags.hold_of(number, tree) for number, tree in trees.items()}
    fallback = _find_fallback(menu, default, blessed, holds, flaws)
    return MachineState(
        deployments=tuple(
            DeploymentState(
                deployment=each,
                booted=each.number == booted,
                default=each.number == default,
                staged=each.number == default and booted not in (None, each.number),
                pinned=each.number in flags.pinned,
                blessed=each.number in blessed,
                fallback=each.number == fallback,
                hold=holds[each.number],
                flaw=flaws.get(each.number, ""),
            )
            for each in deployments
        ),
        menu=menu,
        damaged=(*damage.reasons, *menu.damaged, *flags.unreadable),
        damaged_numbers=damage.deployments,
        booted=booted,
        held=flags.held,
        unreadable=flags.unreadable,
        pinned=flags.pinned,
    )


def refresh_state(state: MachineState) -> MachineState:
    """``state`` with everything that follows from its deployments, entries and flags found anew,
    after these were changed in memory (``plan_check.after``)."""
    flags = Flags(
        pinned=state.pinned,
        blessed=frozenset(each.number for each in state.deployments if each.blessed),
        held=state.held,
        unreadable=state.unreadable,
    )
    fresh = make_state(
        tuple(each.deployment for each in state.deployments),
        state.menu,
        flags,
        booted=state.booted,
        damage=Damage(deployments=state.damaged_numbers),
        flaws={each.number: each.flaw for each in state.deployments if each.flaw},
    )
    return with_applied(fresh, state.applied)


def with_applied(state: MachineState, applied: int | None) -> MachineState:
    """``state`` after a live change to the deployment ``applied``; None if there was none."""
    deployments = (replace(each, running=each.number == applied) for each in state.deployments)
    return replace(state, deployments=tuple(deployments), applied=applied)


def _find_fallback(
    menu: BootMenu,
    default: int | None,
    blessed: frozenset[int],
    holds: Mapping[int, Hold | None],
    flaws: Mapping[int, str],
) -> int | None:
    """``holds`` has each deployment that can be read."""
    return next(
        (
            each.deployment
            for each in menu.entries
            if each.deployment in holds
            and each.deployment != default
            and each.deployment in blessed
            and not each.name.is_bad
            and not prevents_fallback(holds[each.deployment])
            and not flaws.get(each.deployment)
        ),
        None,
    )


def prevents_fallback(hold: Hold | None) -> bool:
    """Whether a hold prevents a deployment from being a fallback; an unreadable one does not."""
    return hold is not None and hold.deployment != UNKNOWN


def deployment_numbers(sysroot: Sysroot) -> list[int]:
    """The numbers of the deployments; other names in the directory are leftovers."""
    return sorted(int(name) for name in list_names(sysroot.deployments) if is_number(name))


def read_deployment(sysroot: Sysroot, number: int) -> Deployment:
    """The description of a deployment. Raises Damaged."""
    path = sysroot.deployments / str(number) / "deployment.json"
    data = read_if_there(path)
    if data is None:
        raise Damaged(f"deployment {number} has no {path}")
    deployment = parse_deployment(data, where=str(path))
    if deployment.number != number:
        raise Damaged(f"{path} describes deployment {deployment.number}")
    return deployment


def read_origin(sysroot: Sysroot, number: int) -> Origin:
    """The image that a deployment came from. Raises Damaged, with a hint."""
    path = sysroot.deployments / str(number) / "origin.toml"
    data = read_if_there(path)
    try:
        if data is None:
            raise Damaged(f"deployment {number} has no {path}")
        return parse_origin(data, where=str(path))
    except Damaged as error:
        error.hint = f"say which image to follow: {sysroot.command('rebase REF')}"
        raise


def may_need_tree(sysroot: Sysroot, number: int) -> bool:
    """Whether deployment ``number``, which cannot be read, may need a tree. It does not if it has
    no description file: that is written before the directory gets its number."""
    place = sysroot.deployments / str(number)
    try:
        os.lstat(place / "deployment.json")
    except OSError as error:
        return not is_absent(error)
    return True


def next_numbers(sysroot: Sysroot, menu: BootMenu) -> LastNumbers:
    """The numbers that the next deployment and the next entry get.

    If ``numbers.json`` is damaged or lost, numbering continues after the highest number that any
    file still names.
    """
    try:
        last = read_numbers(sysroot.state)
        lost = last == LastNumbers() and any(
            "displaced" in each for each in find_displaced(sysroot)
        )
    except (Damaged, OSError):
        lost = True
    if lost:
        last = LastNumbers(
            deployment=max(_remaining_numbers(sysroot), default=0),
            sequence=menu.last_sequence + SEQUENCE_GAP,
        )
    return LastNumbers(
        deployment=max(
            last.deployment, *filter(is_plausible_number, deployment_numbers(sysroot)), 0
        )
        + 1,
        sequence=max(last.sequence, menu.last_sequence) + 1,
    )


def _remaining_numbers(sysroot: Sysroot) -> list[int]:
    """Numbers of removed deployments that some file still names."""
    state = sysroot.state
    names = [name.rpartition("-")[2] for name in list_names(sysroot.deployments)]
    recorded: list[int] = []
    for kind in ("pinned", "blessed", "tries", "conflicts"):
        with suppress(OSError):
            names += list_names(state / kind)
    with suppress(OSError, Damaged):
        recorded = [each.deployment or 0 for each in read_history(state)]
    return list(
        filter(is_plausible_number, [*recorded, *(int(name) for name in names if is_number(name))])
    )


def is_plausible_number(number: int) -> bool:
    """Whether ``number`` may have been assigned, rather than invented by a person."""
    return 0 < number < NUMBER_LIMIT

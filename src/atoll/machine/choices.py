"""What is to be done with the deployments of a machine, decided without touching anything.

Policy keeps what runs, what boots next, its fallback and what is pinned; beyond these the newest
blessed ones until ``keep`` are there. A deployment that no entry boots is what a cut left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, NothingToDo, Refused, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.machine.history import Event
    from atoll.machine.menu import Placed
    from atoll.machine.state import DeploymentState, MachineState

KEEP = 3
"""How many deployments a machine has where its machine file does not say."""
TRIES = 3
"""How often a new deployment may fail to come up before its fallback boots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Deployments that go, entries that go (with theirs, and drafts), and pairs nobody uses."""

    deployments: tuple[int, ...] = ()
    entries: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.deployments or self.entries or self.pairs)


def needed(state: MachineState) -> frozenset[int]:
    """The deployments that no policy removes."""
    return frozenset(
        each.number
        for each in state.deployments
        if each.booted or each.default or each.fallback or each.pinned
    )


def choose_kept(state: MachineState, keep: int) -> frozenset[int]:
    """What policy keeps when up to ``keep`` deployments may stay."""
    kept = set(needed(state))
    with_entry = {each.deployment for each in state.menu.entries}
    for each in state.deployments:
        if len(kept) >= keep:
            break
        if each.blessed and each.number in with_entry:
            kept.add(each.number)
    return frozenset(kept)


def choose_leftovers(state: MachineState) -> tuple[int, ...]:
    """Deployments that nothing boots, and damaged ones that nobody needs.

    None while the menu does not have what must be in it: it may be that of another machine.
    """
    with_entry = {each.deployment for each in state.menu.entries}
    if state.default is None or (state.booted is not None and state.booted not in with_entry):
        return ()
    kept = needed(state)
    orphans = [
        each.number
        for each in state.deployments
        if each.number not in with_entry and each.number not in kept
    ]
    # What runs is needed even when its description is damaged.
    damaged = [number for number in state.damaged_numbers if number != state.booted]
    return tuple(sorted([*orphans, *damaged]))


def choose_superseded(state: MachineState, *, but: int | None = None) -> tuple[int, ...]:
    """Deployments that never came up and that nothing waits for any more."""
    return tuple(
        each.number
        for each in state.deployments
        if not (each.blessed or each.booted or each.default or each.pinned or each.number == but)
    )


def choose_removal(
    state: MachineState, gone: Iterable[int], *, entries: Iterable[str], pairs: Iterable[str]
) -> Removal:
    """All that goes when the deployments ``gone`` go; ``entries`` are further entries to remove,
    ``pairs`` the kernel pairs that are on the ESP."""
    from atoll.machine.bootentry import format_entry_name

    numbers = tuple(sorted(set(gone)))
    names = {*entries, *state.menu.drafts}
    names |= {
        format_entry_name(each.name) for each in state.menu.entries if each.deployment in numbers
    }
    left = [each for each in state.menu.entries if format_entry_name(each.name) not in names]
    used = {each.pair for each in left}
    used |= {
        each.deployment.pair for each in state.deployments if each.number not in numbers
    }  # fmt: skip
    # An entry that cannot be read may use any of them.
    unused = () if state.menu.damaged else tuple(sorted(set(pairs) - used))
    return Removal(deployments=numbers, entries=tuple(sorted(names)), pairs=unused)


def choose_rollback(
    state: MachineState, wish: str | None, events: tuple[Event, ...], now: datetime
) -> DeploymentState:
    """The deployment to go back to: a number, a version, ``yesterday``, a date, or the one before.

    Without a wish it is the newest that came up once, is not the default, and that nobody fled
    from; when there is none, the one that was fled from last. Raises NotFound, UsageError or
    NothingToDo.
    """
    if wish is not None:
        found = _wished(state, wish, events, now)
    else:
        order = {
            each.deployment: place for place, each in reversed([*enumerate(state.menu.entries)])
        }
        others = [
            each
            for each in state.deployments
            if each.blessed and not each.default and each.number in order
        ]
        others.sort(key=lambda each: (each.held, order[each.number]))
        if not others:
            raise NotFound("there is no other deployment that ever came up",
                           hint="see: atoll status")  # fmt: skip
        found = others[0]
    if found.default:
        raise NothingToDo(f"{found.deployment.title} is what boots next already")
    return found


def _wished(
    state: MachineState, wish: str, events: tuple[Event, ...], now: datetime
) -> DeploymentState:
    known = ", ".join(f"{each.number} ({each.deployment.version})" for each in state.deployments)
    by_number = state.find(int(wish)) if wish.isdecimal() else None
    if by_number is not None:
        return by_number
    by_version = [each for each in state.deployments if each.deployment.version == wish]
    if by_version:
        return by_version[0]
    moment = parse_moment(wish, now)
    if moment is None:
        raise NotFound(f"there is no deployment or version {wish}", hint=f"there are: {known}")
    before = [event for event in events if event.when < moment.timestamp()]
    number = before[-1].deployment if before else None
    if number is None and events:
        number = events[0].was
    found = state.find(number)
    if found is None:
        what = "nothing is recorded of that time" if number is None else f"deployment {number}"
        gone = "" if number is None else ", which was the system then, is no longer here"
        raise NotFound(f"{wish}: {what}{gone}", hint=f"there are: {known}")
    return found


def parse_moment(wish: str, now: datetime) -> datetime | None:
    """The end of the day that ``yesterday`` or ``YYYY-MM-DD`` means; None for no day.

    Raises UsageError for a day to come.
    """
    if wish == "yesterday":
        day = now.date() - timedelta(days=1)
    else:
        try:
            day = date.fromisoformat(wish)
        except ValueError:
            return None
    if day > now.date():
        raise UsageError(f"{wish} is yet to come", hint="name a day that was")
    return datetime.combine(day, time.max, tzinfo=now.tzinfo)


def choose_fled(state: MachineState, target: int) -> tuple[DeploymentState, ...]:
    """What a person leaves who goes back to ``target``: what runs, and what boots next.

    Only what is newer is fled: who goes forward again has nothing against the older one.
    """
    return tuple(
        each for each in state.deployments if (each.booted or each.default) and each.number > target
    )


def entries_to_use_up(state: MachineState, numbers: Iterable[int]) -> tuple[Placed, ...]:
    """The entries of deployments which the loader could still take by itself."""
    chosen = frozenset(numbers)
    return tuple(
        each
        for each in state.menu.entries
        if each.deployment in chosen and not each.name.is_used_up and each.entry is not None
    )


def superfluous_entries(state: MachineState, *, of: int | None = None) -> tuple[str, ...]:
    """Entries that boot what another one boots, which the loader takes before them.

    With ``of`` all entries of that deployment: it is about to get another one.
    """
    from atoll.machine.bootentry import format_entry_name

    first: dict[int, Placed] = {}
    for each in state.menu.entries:
        first.setdefault(each.deployment, each)
    return tuple(
        format_entry_name(each.name)
        for each in state.menu.entries
        if (each.deployment == of or (of is None and first[each.deployment] != each))
    )


def check_sound(state: MachineState) -> DeploymentState:
    """The deployment that changes start from; raises Refused when it cannot be told or read."""
    current = state.current
    if state.booted is not None and state.booted in state.damaged_numbers:
        current = None
    if current is None:
        why = "; ".join(state.damaged) or "no entry on the ESP boots a deployment"
        raise Refused(f"nothing is changed, for the machine is damaged: {why}",
                      hint="put that right first; see: atoll status")  # fmt: skip
    return current

"""Which deployment a rollback chooses, and which ones it leaves behind. Pure."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, NothingToDo, Refused, UsageError
from atoll.machine.deployment import is_number
from atoll.machine.deployments.history import BOOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from atoll.machine.deployments.history import HistoryEvent
    from atoll.machine.deployments.state import DeploymentState, MachineState

    Judge: TypeAlias = Callable[[DeploymentState], str]
    """Why a deployment cannot boot; empty when it can."""

_EXPLICIT = re.compile(r"(number|version):(.+)")
_LONGEST = 256
"""Characters of ``which``: no version is longer."""


def choose_rollback(
    state: MachineState,
    which: str | None,
    events: tuple[HistoryEvent, ...],
    now: datetime,
    judge: Judge,
) -> DeploymentState:
    """The deployment to go back to: a number, a version, ``yesterday``, a date, or the one before.

    Without ``which`` it is the running one, when another one boots next. Otherwise it is the newest
    that booted successfully once, can boot, is not the default and is not held; if all are held,
    the first of these that the boot loader would take.

    Raises NotFound, UsageError, Refused or NothingToDo.
    """
    if which is not None:
        found = _find_requested(state, which, events, now)
        if not found.default:
            return found
    else:
        running = state.find(state.booted)
        others = _others(state)
        if running is not None and running.blessed and not running.default:
            others = [running, *(each for each in others if each != running)]
        if not others:
            raise NotFound(
                "no other deployment has ever booted successfully", hint=_list_known(state)
            )
        flaws = {}
        for each in others:
            flaws[each.deployment.title] = flaw = judge(each)
            if not flaw:
                return each
        why = "; ".join(f"{title}: {flaw}" for title, flaw in flaws.items())
        raise Refused(f"no other deployment can boot: {why}", hint=_list_known(state))
    raise NothingToDo(f"{found.deployment.title} already boots next")


def _others(state: MachineState) -> list[DeploymentState]:
    order = {each.deployment: place for place, each in reversed([*enumerate(state.menu.entries)])}
    others = [
        each
        for each in state.deployments
        if each.blessed and not each.default and each.number in order
    ]
    return sorted(others, key=lambda each: (each.held, order[each.number]))


def _find_requested(
    state: MachineState, which: str, events: tuple[HistoryEvent, ...], now: datetime
) -> DeploymentState:
    there_are = _list_known(state)
    if len(which) > _LONGEST:
        raise UsageError(f"{which[:20]}… is too long for a number or a version", hint=there_are)
    meant = _meanings(state, which)
    if len(meant) > 1:
        raise UsageError(
            f"{which} is ambiguous: {' or '.join(meant)}",
            hint="say which: number:N, or version:V if only one has it",
        )
    if meant:
        return next(iter(meant.values()))
    moment = parse_moment(which, now)
    if moment is None:
        raise NotFound(f"there is no deployment or version {which}", hint=there_are)
    number = ran_at(events, moment.timestamp())
    found = state.find(number)
    if found is None:
        what = "there is no record of that time" if number is None else f"deployment {number}"
        gone = "" if number is None else ", which ran then, has been removed"
        raise NotFound(f"{which}: {what}{gone}", hint=there_are)
    return found


def _list_known(state: MachineState) -> str:
    known = ", ".join(f"{each.number} ({each.deployment.version})" for each in state.deployments)
    return f"there are: {known}"


def _meanings(state: MachineState, which: str) -> dict[str, DeploymentState]:
    """Each deployment that ``which`` may name, by an unambiguous name.

    A deployment whose number and version are both ``which`` is one meaning, not two.
    """
    explicit = _EXPLICIT.fullmatch(which)
    kind, word = (explicit[1], explicit[2]) if explicit else ("", which)
    numbers = {int(word)} if kind != "version" and is_number(word) else set()
    if kind != "number":
        same = {each.number for each in state.deployments if each.deployment.version == word}
        numbers = numbers & same or numbers | same
    found = [each for each in state.deployments if each.number in numbers]
    return {f"number:{each.number} ({each.deployment.title})": each for each in found}


def ran_at(events: Iterable[HistoryEvent], moment: float) -> int | None:
    """The deployment that ran at ``moment``, in seconds since 1970, by the recorded boots; without
    any, the one that was to boot next. None when the history is empty."""
    known = tuple(events)
    before = [each for each in known if each.when < moment]
    boots = [each for each in before if each.what == BOOT]
    if boots or before:
        return (boots or before)[-1].deployment
    return known[0].was if known else None


def parse_moment(which: str, now: datetime) -> datetime | None:
    """The end of the day that ``yesterday`` or ``YYYY-MM-DD`` names; None for other words.

    Raises UsageError for a day in the future.
    """
    if which == "yesterday":
        day = now.date() - timedelta(days=1)
    else:
        try:
            day = date.fromisoformat(which)
        except ValueError:
            return None
    if day > now.date():
        raise UsageError(f"{which} is in the future", hint="name a day in the past")
    return datetime.combine(day, time.max, tzinfo=now.tzinfo)


def left_deployments(state: MachineState, target: int) -> tuple[DeploymentState, ...]:
    """The deployments that a rollback to ``target`` leaves: the running one, and the default.

    Only newer ones count: a rollback to a newer deployment is no reason to hold the older one.
    """
    return tuple(
        each for each in state.deployments if (each.booted or each.default) and each.number > target
    )

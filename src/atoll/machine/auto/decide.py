"""What an automatic update may do now, and what holds it back. Pure.

The policy (``[update] auto``) says how far a run may go. Each reason that applies lowers that: a
metered connection to nothing at all, a battery to looking for a new version. Whether the machine
may reboot is decided apart, and again right before the reboot: what is staged may have come days
ago, and then no network is needed.

A fact that could not be read never allows a reboot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.recipe.model import Update

MEGABYTE = 1_000_000
BUSY = 1.0
"""Load per processor from which on a machine is not rebooted."""
SETTLE_SECONDS = 1800
"""A machine that was started this recently is not rebooted: somebody may be about to log in, and a
bad version or policy cannot make it reboot again and again."""


class AutoStep(IntEnum):
    """How far a run goes; each step includes those before."""

    NOTHING = 0
    CHECK = 1
    DOWNLOAD = 2
    STAGE = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A session of a person. ``where`` is a seat, a terminal or a remote host."""

    user: str
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibitor:
    """A program that asked not to be shut down now (systemd-inhibit(1)); ``who`` and ``why`` are
    its own words."""

    who: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoFacts:
    """What a decision is made from.

    ``boots_next`` is the title of the deployment that boots next and does not run, empty if there
    is none; ``unconfirmed`` that of a deployment that waits for ``atoll confirm``. ``metered`` is
    None where nothing knows. ``load`` is per processor, ``free`` in bytes on the state partition,
    ``uptime`` in seconds. ``unknown`` says what could not be read.
    """

    boots_next: str = ""
    unconfirmed: str = ""
    metered: bool | None = None
    on_battery: bool = False
    load: float = 0.0
    logins: tuple[Login, ...] = ()
    inhibitors: tuple[Inhibitor, ...] = ()
    free: int = 0
    uptime: float = float(SETTLE_SECONDS)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a run goes no further than ``limit``, or with ``reboot`` why the machine is not rebooted.
    ``code`` is for programs, ``text`` for people."""

    code: str
    text: str
    limit: AutoStep = AutoStep.STAGE
    reboot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoDecision:
    """How far a run may go, whether the machine may reboot then, and why not further."""

    step: AutoStep
    reboot: bool
    reasons: tuple[Reason, ...] = ()

    @property
    def held_back(self) -> tuple[Reason, ...]:
        """The reasons that limit the update itself."""
        return tuple(each for each in self.reasons if each.limit < AutoStep.STAGE)


def wanted_step(update: Update) -> AutoStep:
    """How far the policy lets a run go."""
    names = {"none": AutoStep.NOTHING, "check": AutoStep.CHECK, "download": AutoStep.DOWNLOAD}
    return names.get(update.auto, AutoStep.STAGE)


def plan_auto(facts: AutoFacts, update: Update, *, reboot_time: bool | None = None) -> AutoDecision:
    """What a run may do now.

    ``reboot_time`` says whether this is a time at which the machine may reboot; by default it is
    when the policy names no window for that.
    """
    wanted = wanted_step(update)
    if wanted is AutoStep.NOTHING:
        off = Reason(
            code="off",
            text='automatic updates are off ([update] auto is "none")',
            limit=AutoStep.NOTHING,
            reboot=True,
        )
        return AutoDecision(step=AutoStep.NOTHING, reboot=False, reasons=(off,))
    wants_reboot = update.auto == "reboot"
    if reboot_time is None:
        reboot_time = update.reboot_window is None
    reasons = [each for each in _reasons_for_update(facts, update) if each.limit < wanted]
    if wants_reboot:
        reasons += _reasons_against_reboot(facts, update, reboot_time=reboot_time)
    step = min((wanted, *(each.limit for each in reasons)))
    reboot = wants_reboot and not any(each.reboot for each in reasons)
    return AutoDecision(step=step, reboot=reboot, reasons=tuple(reasons))


def check_reserve(facts: AutoFacts, update: Update, *, needed: int, title: str) -> Reason | None:
    """Why ``title``, which takes ``needed`` bytes, is not downloaded; None if it fits."""
    left = facts.free - needed
    if left >= update.reserve * MEGABYTE:
        return None
    return Reason(
        code="space",
        text=f"{title} would leave {max(left, 0) // MEGABYTE} MB free, and the machine keeps"
        f" {update.reserve} MB free",
        limit=AutoStep.CHECK,
    )


def _reasons_for_update(facts: AutoFacts, update: Update) -> Iterator[Reason]:
    if facts.unconfirmed:
        yield Reason(
            code="unconfirmed",
            text=f"{facts.unconfirmed} waits for: atoll confirm",
            limit=AutoStep.NOTHING,
            reboot=True,
        )
    if facts.metered and not update.metered:
        yield Reason(code="metered", text="the connection is metered", limit=AutoStep.NOTHING)
    if facts.on_battery and not update.battery:
        yield Reason(
            code="battery", text="the machine runs on battery", limit=AutoStep.CHECK, reboot=True
        )
    if facts.free < update.reserve * MEGABYTE:
        yield Reason(
            code="space",
            text=f"only {facts.free // MEGABYTE} MB are free, and the machine keeps"
            f" {update.reserve} MB free",
            limit=AutoStep.CHECK,
        )


def _reasons_against_reboot(
    facts: AutoFacts, update: Update, *, reboot_time: bool
) -> Iterator[Reason]:
    if not reboot_time:
        yield Reason(code="window", text=f"it reboots at: {update.reboot_window}", reboot=True)
    if facts.uptime < SETTLE_SECONDS:
        minutes = int(facts.uptime) // 60
        yield Reason(
            code="uptime", text=f"the machine was started {minutes} minutes ago", reboot=True
        )
    for login in facts.logins:
        where = f" ({login.where})" if login.where else ""
        yield Reason(code="login", text=f"{login.user} is logged in{where}", reboot=True)
    for each in facts.inhibitors:
        yield Reason(
            code="inhibitor", text=f"{each.who} asks not to shut down: {each.why}", reboot=True
        )
    if facts.load >= BUSY:
        yield Reason(
            code="load",
            text=f"the machine is busy: a load of {facts.load:.1f} per processor",
            reboot=True,
        )
    for unknown in facts.unknown:
        yield Reason(code="unknown", text=unknown, reboot=True)

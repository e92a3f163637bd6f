"""An automatic update: what the timer runs, with the same functions as ``atoll upgrade``.

::

    1. read the policy and the facts, decide how far to go     policy.py, facts.py, decide.py
    2. look for a newer version: only manifest and config      machine/upgrade.py
    3. download or stage it                                    layering/upgrade_machine.py
    4. tell people                                             deployments/announcement.py
    5. read the facts again; reboot if nothing speaks against it

Each run is recorded (``last_run``), also one that failed. A machine that lost its network or power
in the middle is as it was before, and the next run begins again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NothingToDo, ProgramFailed, Refused
from atoll.host.run import run as run_program
from atoll.layering.upgrade_machine import upgrade_machine
from atoll.machine.auto.decide import AutoStep, check_reserve, plan_auto
from atoll.machine.auto.facts import read_auto_facts
from atoll.machine.auto.last_run import AutoOutcome, LastRun, write_last_run
from atoll.machine.auto.policy import read_update_policy
from atoll.machine.deployments.announcement import (
    Announcement,
    UpdateStage,
    write_announcement,
)
from atoll.machine.deployments.state import read_state
from atoll.machine.upgrade import UpgradeRequest, check_upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from atoll.base.report import Reporter
    from atoll.machine.auto.decide import AutoFacts, Reason
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.recipe.model import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoResult:
    """What a run did, in words, and what held it back."""

    outcome: AutoOutcome
    text: str
    reasons: tuple[Reason, ...] = ()


def run_auto(sysroot: Sysroot, reporter: Reporter) -> AutoResult:
    """Update as far as the policy and the facts allow. Raises what ``upgrade`` raises."""
    return _recorded(lambda: _run(sysroot, reporter))


def run_reboot(sysroot: Sysroot, reporter: Reporter) -> AutoResult:
    """The time of ``reboot_window``: reboot into what is staged if nothing speaks against it."""

    def reboot() -> AutoResult:
        update = read_update_policy().update
        nothing = AutoResult(outcome=AutoOutcome.CURRENT, text="nothing new is staged")
        return _reboot(sysroot, update, nothing, reporter, reboot_time=True)

    return _recorded(reboot)


def _recorded(act: Callable[[], AutoResult]) -> AutoResult:
    when = int(time.time())
    try:
        result = act()
    except AtollError as error:
        failed = LastRun(when=when, outcome=AutoOutcome.FAILED, text=error.message)
        write_last_run(failed)
        raise
    write_last_run(LastRun(when=when, outcome=result.outcome, text=result.text))
    return result


def _run(sysroot: Sysroot, reporter: Reporter) -> AutoResult:
    update = read_update_policy().update
    facts = read_auto_facts(sysroot, read_state(sysroot))
    decision = plan_auto(facts, update)
    if update.auto == "none":
        return AutoResult(outcome=AutoOutcome.OFF, text=_join(decision.reasons))
    if decision.step is AutoStep.NOTHING:
        held = decision.held_back
        result = AutoResult(outcome=AutoOutcome.NOT_NOW, text=_join(held), reasons=held)
    else:
        result = update_machine(sysroot, facts, update, reporter)
    if update.auto != "reboot":
        return result
    return _reboot(sysroot, update, result, reporter)


def update_machine(
    sysroot: Sysroot, facts: AutoFacts, update: Update, reporter: Reporter
) -> AutoResult:
    """Check, download or stage, as far as ``facts`` allow. Raises what ``upgrade`` raises."""
    decision = plan_auto(facts, update)
    reasons, step = decision.held_back, decision.step
    request = UpgradeRequest(verb="upgrade")
    try:
        candidate = check_upgrade(sysroot, request)
        full = check_reserve(facts, update, needed=candidate.needed.state, title=candidate.title)
        if full is not None and step > AutoStep.CHECK:
            reasons, step = (*reasons, full), AutoStep.CHECK
        if step is AutoStep.CHECK:
            return _announced(
                sysroot, UpdateStage.AVAILABLE, candidate.title, candidate.tree, reasons
            )
    except NothingToDo as error:
        # Packages of the machine file may be newer than those on the same image.
        if step is not AutoStep.STAGE:
            return AutoResult(outcome=AutoOutcome.CURRENT, text=error.message)
    except Refused as error:
        return AutoResult(outcome=AutoOutcome.NOT_NOW, text=error.message)
    return _upgrade(sysroot, step, reasons, reporter)


def _upgrade(
    sysroot: Sysroot, step: AutoStep, reasons: tuple[Reason, ...], reporter: Reporter
) -> AutoResult:
    request = UpgradeRequest(verb="upgrade", download_only=step is AutoStep.DOWNLOAD)
    try:
        done = upgrade_machine(sysroot, request, reporter)
    except NothingToDo as error:
        return AutoResult(outcome=AutoOutcome.CURRENT, text=error.message)
    except Refused as error:
        return AutoResult(outcome=AutoOutcome.NOT_NOW, text=error.message)
    title = done.candidate.title
    if done.deployment is None:
        return _announced(sysroot, UpdateStage.DOWNLOADED, title, done.candidate.tree, reasons)
    return _announced(sysroot, UpdateStage.STAGED, title, done.deployment.tree, reasons)


def _announced(
    sysroot: Sysroot, what: UpdateStage, title: str, tree: str, reasons: tuple[Reason, ...]
) -> AutoResult:
    if sysroot.is_running:
        write_announcement(Announcement(what=what, title=title, tree=tree))
    because = f"; not further: {_join(reasons)}" if reasons else ""
    return AutoResult(
        outcome=AutoOutcome(what.value), text=f"{title} is {what.value}{because}", reasons=reasons
    )


def _reboot(
    sysroot: Sysroot,
    update: Update,
    result: AutoResult,
    reporter: Reporter,
    *,
    reboot_time: bool | None = None,
) -> AutoResult:
    """Reboot if another deployment boots next and nothing speaks against it, else ``result``.

    The facts are read again: the download may have taken hours.
    """
    facts = read_auto_facts(sysroot, read_state(sysroot))
    if not facts.boots_next:
        return result
    decision = plan_auto(facts, update, reboot_time=reboot_time)
    against = tuple(each for each in decision.reasons if each.reboot)
    if not decision.reboot:
        text = f"{facts.boots_next} waits for a reboot: {_join(against)}"
        outcome = AutoOutcome.NOT_NOW if result.outcome.did_nothing else result.outcome
        return AutoResult(outcome=outcome, text=text, reasons=against)
    reporter.notice(f"rebooting into {facts.boots_next}")
    try:
        # logind looks once more, in case somebody logged in this very moment.
        run_program(["systemctl", "--no-block", "--check-inhibitors=yes", "reboot"])
    except ProgramFailed as error:
        text = f"{facts.boots_next} waits for a reboot: {error.stderr_tail.strip()}"
        return AutoResult(outcome=AutoOutcome.NOT_NOW, text=text)
    return AutoResult(
        outcome=AutoOutcome.REBOOTING, text=f"the machine reboots into {facts.boots_next}"
    )


def _join(reasons: Iterable[Reason]) -> str:
    return "; ".join(each.text for each in reasons)

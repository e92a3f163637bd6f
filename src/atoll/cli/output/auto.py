"""``atoll auto`` as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atoll.base.text import one_line
from atoll.cli.output.progress import format_moment
from atoll.machine.auto.decide import AutoStep
from atoll.machine.auto.schedule import REBOOT_TIMER, TIMER
from atoll.machine.deployments.confirmation import format_duration

if TYPE_CHECKING:
    from atoll.machine.auto.decide import Reason
    from atoll.machine.auto.status import AutoStatus

_MEANING = {
    "none": "off",
    "check": "look for a new version",
    "download": "download a new version",
    "stage": "stage a new version for the next boot",
    "reboot": "stage a new version and reboot into it",
}
_NOW = {
    AutoStep.NOTHING: "do nothing",
    AutoStep.CHECK: "look for a new version",
    AutoStep.DOWNLOAD: "download a new version",
    AutoStep.STAGE: "stage a new version",
}


def format_auto_status(status: AutoStatus) -> str:
    """At most five facts, and under each what stands against more."""
    update = status.policy.update
    lines = [f"policy    {update.auto}: {_MEANING[update.auto]} (from {status.policy.source})"]
    if update.auto != "none":
        lines += _format_times(status) + _format_now(status)
    if status.ready is not None:
        lines += [f"ready     {status.ready.summary}", f"          {status.ready.advice}"]
    elif status.facts.boots_next:
        lines.append(f"ready     {status.facts.boots_next} starts with the next reboot")
    if status.last is not None:
        lines.append(f"last run  {format_moment(status.last.when)}: {status.last.text}")
    return "\n".join(map(one_line, lines))


def _format_times(status: AutoStatus) -> list[str]:
    update = status.policy.update
    delay = f", up to {format_duration(update.delay)} later" if update.delay else ""
    next_time = _format_next(status.next_run, TIMER)
    lines = [f"when      {update.window}{delay}; next: {next_time}"]
    if update.auto == "reboot" and update.reboot_window is not None:
        next_time = _format_next(status.next_reboot, REBOOT_TIMER)
        lines.append(f"reboot    {update.reboot_window}{delay}; next: {next_time}")
    return lines


def _format_next(moment: int | None, timer: str) -> str:
    if moment is None:
        return f"the timer does not run (see: systemctl status {timer})"
    return format_moment(moment)


def _format_now(status: AutoStatus) -> list[str]:
    decision = status.decision
    what = _NOW[decision.step]
    lines = [f"now       {f'would only {what}:' if decision.held_back else f'would {what}'}"]
    lines += [f"          {each.text}" for each in decision.held_back]
    if status.policy.update.auto == "reboot":
        against = [each for each in decision.reasons if each.reboot]
        lines.append("reboot    would be possible" if not against else "reboot    not now:")
        lines += [f"          {each.text}" for each in against]
    return lines


def reason_as_json(reason: Reason) -> dict[str, Any]:
    return {
        "code": reason.code,
        "text": reason.text,
        "limit": reason.limit.word,
        "reboot": reason.reboot,
    }


def auto_status_as_json(status: AutoStatus) -> dict[str, Any]:
    update, last, ready = status.policy.update, status.last, status.ready
    names = ("auto", "window", "delay", "reboot_window", "metered", "battery", "reserve")
    return {
        "policy": {name: getattr(update, name) for name in names},
        "source": str(status.policy.source),
        "next": status.next_run,
        "next_reboot": status.next_reboot,
        "now": status.decision.step.word,
        "reboot_now": status.decision.reboot,
        "reasons": [reason_as_json(each) for each in status.decision.reasons],
        "boots_next": status.facts.boots_next or None,
        "ready": ready and {"what": ready.what.value, "title": ready.title, "tree": ready.tree},
        "last": last and {"when": last.when, "outcome": last.outcome.value, "text": last.text},
    }

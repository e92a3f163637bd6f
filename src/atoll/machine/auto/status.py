"""What ``atoll auto`` shows: policy, times, what a run would do now and why not more."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.machine.auto.decide import plan_auto
from atoll.machine.auto.facts import read_auto_facts
from atoll.machine.auto.last_run import read_last_run
from atoll.machine.auto.policy import read_update_policy
from atoll.machine.auto.schedule import REBOOT_TIMER, TIMER, read_next_times
from atoll.machine.deployments.announcement import read_announcement

if TYPE_CHECKING:
    from atoll.machine.auto.decide import AutoDecision, AutoFacts
    from atoll.machine.auto.last_run import LastRun
    from atoll.machine.auto.policy import UpdatePolicy
    from atoll.machine.deployments.announcement import Announcement
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoStatus:
    """``next_run`` and ``next_reboot`` are in seconds since 1970, None when no timer runs."""

    policy: UpdatePolicy
    facts: AutoFacts
    decision: AutoDecision
    next_run: int | None
    next_reboot: int | None
    last: LastRun | None
    ready: Announcement | None


def read_auto_status(sysroot: Sysroot, state: MachineState) -> AutoStatus:
    """Raises RecipeError for the machine file, Damaged for the image's policy."""
    policy = read_update_policy()
    facts = read_auto_facts(sysroot, state)
    times: dict[str, int] = {}
    last, ready = None, None
    with suppress(AtollError, OSError):
        times = read_next_times()
    with suppress(AtollError, OSError):
        last = read_last_run()
    with suppress(AtollError, OSError):
        ready = read_announcement()
    return AutoStatus(
        policy=policy,
        facts=facts,
        # Whether it is the time of the window is for the timer: here only what else there is.
        decision=plan_auto(facts, policy.update, reboot_time=True),
        next_run=times.get(TIMER),
        next_reboot=times.get(REBOOT_TIMER),
        last=last,
        ready=ready,
    )

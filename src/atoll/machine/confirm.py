"""``upgrade --confirm 10m``: unless somebody confirms in time, the machine goes back by itself.

It is for machines that only the network reaches: a version may be healthy and yet unreachable. ::

    upgrade --confirm    record the request, then commit the boot entry as always
    the new one is up    the health checks passed: do not bless it, start a timer
    atoll confirm        bless it and forget the request
    the timer ends       roll back to the deployment before, and reboot

A deployment that was not confirmed is not blessed, so the boot loader counts its boots. A power cut
while it waits gives it the whole time once more, in at most three boots; then the loader starts
the deployment before by itself, also where the new one no longer starts at all.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, NothingToDo
from atoll.host.fs import replace_file
from atoll.host.run import run
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.confirmation import (
    WAITING,
    Confirmation,
    WaitingConfirmation,
    clear_confirmation,
    find_unconfirmed,
    format_duration,
    format_waiting,
    read_confirmation,
    read_waiting,
    set_expired,
)
from atoll.machine.deployments.flags import plan_clear_hold
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.state import read_state
from atoll.machine.health.bless import bless
from atoll.machine.health.checks import end_trial
from atoll.machine.rollback import rollback

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.health.checks import HealthResult
    from atoll.machine.rollback import RollbackPreview

TIMER = "atoll-go-back"
"""The transient timer, and the service that it starts."""


def begin_waiting(sysroot: Sysroot, confirmation: Confirmation) -> WaitingConfirmation:
    """Start the time to confirm the running deployment; if it has begun, what is left of it.

    Raises ProgramFailed or MissingProgram when no timer can be started.
    """
    begun = read_waiting(WAITING)
    if begun is not None:
        return begun
    state = read_state(sysroot)
    waiting = WaitingConfirmation(
        deployment=confirmation.deployment,
        title=_title(state, confirmation.deployment),
        back=_title(state, confirmation.back),
        until=time.monotonic() + confirmation.seconds,
    )
    run(
        [
            "systemd-run",
            "--quiet",
            f"--unit={TIMER}.service",
            f"--on-active={confirmation.seconds}s",
            "--timer-property=AccuracySec=1s",
        ]
    )
    replace_file(WAITING, format_waiting(waiting))
    return waiting


def confirm(sysroot: Sysroot, health: HealthResult | None, reporter: Reporter) -> str:
    """Confirm the running deployment; its title. It stays, and its boots are no longer counted.

    ``health`` is that of this boot. Before its checks have run, or where they failed, it is not
    blessed here: that goes on as for any other boot. Raises NothingToDo, or what blessing raises:
    then the time goes on.
    """
    state = read_state(sysroot)
    runs = state.current
    try:
        found = find_unconfirmed(sysroot)
        waits = found is not None
    except Damaged:
        waits = runs is not None and not runs.blessed  # nobody could confirm it otherwise
    if not waits or runs is None:
        raise NothingToDo("nothing has to be confirmed", hint=_what_comes(sysroot, state))
    checked = health is not None and health.healthy
    if checked:
        bless(sysroot, runs.number, reporter)
    with locked_machine(sysroot, esp=False) as machine:
        held = plan_clear_hold(machine.state, state.held, runs.number)
        apply_operations((*clear_confirmation(machine), *held))
    if sysroot.is_running:
        end_waiting()
        if checked:
            end_trial()
    return runs.deployment.title


def end_waiting() -> None:
    """Stop the timer. One that goes on finds nothing to go back from."""
    WAITING.unlink(missing_ok=True)
    with suppress(AtollError):
        run(["systemctl", "stop", f"{TIMER}.timer"])


def go_back(sysroot: Sysroot, reporter: Reporter) -> RollbackPreview | None:
    """The time is over: make the deployment before boot next. None where it does already.

    Raises NothingToDo when the running deployment was confirmed, Refused when there is nothing to
    go back to: then it goes on running.
    """
    found = find_unconfirmed(sysroot)
    if found is None:
        if sysroot.is_running:
            WAITING.unlink(missing_ok=True)
        raise NothingToDo("the running deployment need not be confirmed")
    # With the ESP: its automount must be triggered before this process has mounts of its own.
    with locked_machine(sysroot) as machine:
        apply_operations((set_expired(machine, found),))
    state = read_state(sysroot)
    before = state.find(found.back)
    which = None if before is None else f"number:{before.number}"
    with suppress(NothingToDo):
        return rollback(sysroot, which, reporter, keep_etc=False)
    return None


def format_expired(sysroot: Sysroot, state: MachineState) -> str:
    """What the login says after the machine went back; empty if it did not."""
    try:
        found = read_confirmation(sysroot)
    except (Damaged, OSError):
        return ""
    if found is None or not found.expired or found.deployment == sysroot.running:
        return ""
    title = _title(state, found.deployment)
    return (
        f"{title} was not confirmed within {format_duration(found.seconds)}, so the machine went"
        " back. To try it again: atoll upgrade --even-held --confirm 30m"
    )


def _title(state: MachineState, number: int) -> str:
    found = state.find(number)
    return found.deployment.title if found else f"deployment {number}"


def _what_comes(sysroot: Sysroot, state: MachineState) -> str | None:
    """Whether what boots next will have to be confirmed."""
    with suppress(Damaged, OSError):
        found = read_confirmation(sysroot)
        default = state.default
        if found and default and not default.booted and found.deployment == default.number:
            return f"{default.deployment.title} has to be, after the reboot"
    return None

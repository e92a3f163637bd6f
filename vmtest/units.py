"""Waiting for a unit of the machine's systemd."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from vmtest.errors import MachineError, RequestFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmtest.clock import Deadline

PAUSE_SECONDS = 0.5


def wait_for_unit(ask: Callable[[str], str], unit: str, deadline: Deadline) -> None:
    """Return when ``unit`` is active. ``ask`` runs a command, whatever its status, for its stdout.

    Raises RequestFailed when nothing is going to start it, MachineError at the deadline.
    """
    name, idle = shlex.quote(unit), False
    while True:
        state, *job = ask(f"systemctl show -P ActiveState -P Job -- {name}").split()
        if state == "active":
            return
        jobs = job or ask("systemctl list-jobs --no-legend").split()
        # A job may have ended between the two questions: believe it when it is so twice.
        if not jobs and (state == "failed" or (state == "inactive" and idle)):
            status = ask(f"systemctl status --no-pager -n 20 -- {name}")
            raise RequestFailed(f"{unit} is {state}\n{status}".rstrip())
        idle = not jobs
        if deadline.is_over():
            raise MachineError(f"waited {deadline.seconds:.0f} s for {unit}, which is {state}")
        time.sleep(PAUSE_SECONDS)

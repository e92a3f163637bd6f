"""Giving space back when a person asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.machine.cleanup import prune, tidy
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.etc.etc_commands import read_machine_etc
from atoll.machine.machine_file import read_machine_file
from atoll.machine.policy import find_policy
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.machine.cleanup import CleanupResult
    from atoll.machine.deployments.sysroot import Sysroot


def collect_machine(
    sysroot: Sysroot,
    keep: int | None,
    reporter: Reporter,
    *,
    dry: bool = False,
    damaged: bool = False,
) -> CleanupResult:
    """Remove what policy does not keep, ``keep`` deployments or what the machine file says; with
    ``damaged`` also deployments of which nobody can tell what they are.

    Raises Refused when the machine is damaged so that nobody can tell what it needs, or Busy.
    """
    with locked_machine(sysroot) as machine:
        state = read_state(machine) if dry else tidy(machine, reporter)
        current = require_current(state)
        if keep is None:
            policy = find_policy(open_store(machine.atoll), current.deployment.tree)
            etc = read_machine_etc(machine, current.number)
            keep = read_machine_file(etc.live, policy).deployments
        return prune(machine, keep, reporter, dry=dry, damaged=damaged)

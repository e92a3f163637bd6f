"""Garbage collection on request: remove old deployments and the objects that only they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.image.policy import find_policy
from atoll.machine.cleanup import clean_up, prune
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.etc.etc_commands import read_machine_etc
from atoll.machine.machine_file import read_machine_file
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.machine.cleanup import CleanupResult
    from atoll.machine.deployments.state import DeploymentState
    from atoll.machine.deployments.sysroot import Sysroot


def collect_garbage(
    sysroot: Sysroot,
    keep: int | None,
    reporter: Reporter,
    *,
    dry: bool = False,
    damaged: bool = False,
) -> CleanupResult:
    """Keep ``keep`` deployments, or as many as the machine file says, and remove the others; with
    ``damaged`` also deployments whose description cannot be read.

    Raises Refused when damage hides what the machine needs, or Busy.
    """
    with locked_machine(sysroot) as machine:
        state = read_state(machine) if dry else clean_up(machine, reporter)
        current = require_current(state)
        if keep is None:
            keep = read_keep(machine, current)
        return prune(machine, keep, reporter, dry=dry, damaged=damaged)


def read_keep(sysroot: Sysroot, current: DeploymentState) -> int:
    """How many deployments the machine file, or the policy of the image, keeps."""
    policy = find_policy(open_store(sysroot.atoll), current.deployment.tree)
    etc = read_machine_etc(sysroot, current.number)
    return read_machine_file(etc.live, policy).deployments

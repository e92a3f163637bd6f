"""Recording in the history which deployment ran when: one event for each boot."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.history import BOOT, HistoryEvent, RecordEvent, read_history
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.state import read_deployment

if TYPE_CHECKING:
    from atoll.machine.deployments.sysroot import Sysroot

UPTIME = Path("/proc/uptime")


def record_boot(sysroot: Sysroot, uptime: Path = UPTIME) -> None:
    """Record the running deployment, once per boot, with the time of the boot. Raises Busy,
    Damaged."""
    if sysroot.booted is None:
        return
    began = int(time.time() - float(uptime.read_text().split()[0]))
    deployment = read_deployment(sysroot, sysroot.booted)
    # Not published: that would read a whole kernel, and the boot waits for this.
    with locked_machine(sysroot, esp=False, published=False) as machine:
        if is_recorded(machine, began):
            return
        event = HistoryEvent(
            when=began,
            what=BOOT,
            deployment=deployment.number,
            name=deployment.name,
            version=deployment.version,
            tree=deployment.tree,
        )
        apply_operations([RecordEvent(state=machine.state, event=event)])


def is_recorded(sysroot: Sysroot, began: int) -> bool:
    """Whether the boot that began at ``began`` is recorded. Two seconds of difference are
    tolerated: the clock may have been set meanwhile."""
    boots = [each for each in read_history(sysroot.state) if each.what == BOOT]
    return (
        bool(boots) and abs(boots[-1].when - began) < 2 and boots[-1].deployment == sysroot.booted
    )

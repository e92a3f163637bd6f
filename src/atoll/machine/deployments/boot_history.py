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
    """Once in each boot, with the time at which it began. Raises Busy or Damaged."""
    if sysroot.booted is None:
        return
    began = int(time.time() - float(uptime.read_text().split()[0]))
    deployment = read_deployment(sysroot, sysroot.booted)
    # The boot waits for this, and writing the status would read a whole kernel.
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
    """Whether the checks of the boot that began then have run before; clocks are set meanwhile."""
    boots = [each for each in read_history(sysroot.state) if each.what == BOOT]
    return (
        bool(boots) and abs(boots[-1].when - began) < 2 and boots[-1].deployment == sysroot.booted
    )

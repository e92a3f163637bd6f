"""Pinning: a deployment that policy must not remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, NothingToDo
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.flags import PINNED, ClearFlag, SetFlag
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.state import read_state

if TYPE_CHECKING:
    from atoll.machine.deployments.sysroot import Sysroot


def set_pin(sysroot: Sysroot, number: int, *, pinned: bool) -> str:
    """Pin or unpin a deployment; its title. Raises NotFound, NothingToDo or Busy."""
    with locked_machine(sysroot, esp=False) as machine:
        found = read_state(machine).find(number)
        if found is None:
            hint = f"see: {sysroot.command('status')}"
            raise NotFound(f"there is no deployment {number}", hint=hint)
        if found.pinned == pinned:
            what = "already pinned" if pinned else "not pinned"
            raise NothingToDo(f"deployment {number} is {what}")
        flag = machine.state / PINNED / str(number)
        apply_operations([SetFlag(path=flag) if pinned else ClearFlag(path=flag)])
        return found.deployment.title

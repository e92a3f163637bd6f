"""Whether a plan leaves a way back, at its end and wherever a power cut stops it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.machine.boot.boot_entries import MenuEntry, in_loader_order
from atoll.machine.deployment import is_number
from atoll.machine.deployments.flags import BLESSED, HELD, ClearFlag, SetFlag
from atoll.machine.deployments.operations import CommitEntry, RemoveDeployment, RemoveFromEsp
from atoll.machine.deployments.way_back import find_way_back, ways_back

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.way_back import Verify


def check_plan(state: MachineState, plan: Iterable[Operation], verify: Verify) -> None:
    """Raises Refused when ``plan`` would remove the last way back, at any of its steps.

    A machine without one may be changed freely: it has none to lose.
    """
    if not ways_back(state):
        return
    for operation in plan:
        before, state = ways_back(state), after(state, operation)
        left = ways_back(state)
        if len(left) < len(before) and find_way_back(state, verify) is None:
            titles = ", ".join(each.deployment.title for each, _ in before)
            raise Refused(
                f"this would leave no way back: {operation.describe()}",
                hint=f"the last one that has booted successfully and still can is among {titles}",
            )


def after(state: MachineState, operation: Operation) -> MachineState:
    """The machine after ``operation``, as far as entries, deployments and holds are concerned."""
    menu, deployments, held = state.menu, state.deployments, state.held
    match operation:
        case CommitEntry(entry=entry) if entry.deployment is not None:
            added = MenuEntry(name=entry.name, deployment=entry.deployment, entry=entry)
            last = max(menu.last_sequence, entry.name.sequence)
            menu = replace(
                menu, entries=in_loader_order([*menu.entries, added]), last_sequence=last
            )
        case ClearFlag(path=path) if path.parent.name == HELD:
            held = {tree: hold for tree, hold in held.items() if tree != path.name}
        case RemoveFromEsp(path=path):
            left = tuple(
                each
                for each in menu.entries
                if path.name not in (each.file, each.pair, each.machine_initrd)
            )
            menu = replace(menu, entries=left)
        case SetFlag(path=path) if path.parent.name == BLESSED and is_number(path.name):
            came_up = int(path.name)
            deployments = tuple(
                replace(each, blessed=True) if each.number == came_up else each
                for each in deployments
            )
        case RemoveDeployment(number=number):
            deployments = tuple(each for each in deployments if each.number != number)
    return replace(state, menu=menu, deployments=deployments, held=held)

"""The way back: a deployment that booted successfully once, can boot, and has an uncounted entry.

Every machine has one after every sequence of verbs, faults and power cuts, or ``status`` says that
it has none. The loader never disables an entry without a counter, so it stays bootable. What
removes or disables entries or deployments asks here first: ``plan_`` functions spare
``state.way_back``, and ``check_plan`` (``plan_check``) refuses a plan that removes the last one at
any of its steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from atoll.machine.boot.boot_entries import MenuEntry
    from atoll.machine.deployments.state import DeploymentState, MachineState

    Verify: TypeAlias = Callable[[DeploymentState, MenuEntry], str]
    """Why an entry could not boot its deployment; empty when it could."""


def ways_back(state: MachineState) -> tuple[tuple[DeploymentState, MenuEntry], ...]:
    """Possible ways back, each with its uncounted entry, the preferred one first. ``quick_check``
    found no fault with them.

    Deployments that stay anyway come first; among others, those that the loader prefers.
    """
    found = []
    for menu_entry in state.menu.entries:
        each = state.find(menu_entry.deployment)
        if (
            each is not None
            and menu_entry.name.tries_left is None
            and each.blessed
            and not each.flaw
        ):
            found.append((each, menu_entry))
    found.sort(key=lambda pair: not (pair[0].booted or pair[0].default or pair[0].fallback))
    return tuple(found)


def find_way_back(state: MachineState, verify: Verify) -> int | None:
    """The deployment of the first way back that can really boot, read from the disk."""
    return next(
        (each.number for each, menu_entry in ways_back(state) if not verify(each, menu_entry)), None
    )


def find_boot_flaw(state: MachineState, each: DeploymentState, verify: Verify) -> str:
    """Why a deployment could not boot by the entry that another entry would be copied from."""
    entries = [
        menu_entry
        for menu_entry in state.menu.entries_of(each.number)
        if menu_entry.entry is not None
    ]
    if not entries:
        return each.flaw or "none of its boot entries can be read"
    return each.flaw or verify(each, entries[0])


def explain_no_way_back(state: MachineState, verify: Verify) -> tuple[str, ...]:
    """Why no deployment is a way back, for each of them; empty when one is."""
    if find_way_back(state, verify) is not None:
        return ()
    free = {menu_entry.deployment: menu_entry for _, menu_entry in ways_back(state)}
    return tuple(
        f"{each.deployment.title}: {_explain_one(each, free.get(each.number), verify)}"
        for each in state.deployments
    )


def _explain_one(each: DeploymentState, menu_entry: MenuEntry | None, verify: Verify) -> str:
    if each.flaw:
        return each.flaw
    if menu_entry is not None:
        return verify(each, menu_entry)
    return (
        "its boot entry is still on trial or out of tries"
        if each.blessed
        else "it has never booted successfully"
    )


def with_way_back(state: MachineState, verify: Verify) -> MachineState:
    """``state`` with its ``way_back`` found: the deployment that no operation may remove."""
    return replace(state, way_back=find_way_back(state, verify))

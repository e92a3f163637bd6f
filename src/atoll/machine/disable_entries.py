"""Disabling boot entries: they stay in the menu, but the loader does not start them by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.machine.boot.boot_entry import EntryName, format_entry_name
from atoll.machine.deployments.flags import BLESSED, SetFlag
from atoll.machine.deployments.operations import RemoveFromEsp, WriteEntryList, plan_entry
from atoll.machine.staging import copy_entry, reserve_sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.machine.boot.boot_entries import MenuEntry
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot


def plan_disable_entries(
    sysroot: Sysroot, state: MachineState, entries: Sequence[MenuEntry], *, first: int | None = None
) -> tuple[Operation, ...]:
    """Give each deployment of ``entries`` a new entry without tries left, then remove the old ones.

    Nothing is renamed: a power cut during a rename on FAT could leave two names on one file.
    ``first`` is the first sequence number, if the caller has reserved it.
    """
    if not entries:
        return ()
    numbers = sorted({each.deployment for each in entries})
    reserve: tuple[Operation, ...] = ()
    if first is None:
        first, operation = reserve_sequences(sysroot, state, len(numbers))
        reserve = (operation,)
    used_up = (
        EntryName(sequence=first + place, tries_left=0, tries_used=1)
        for place in range(len(numbers))
    )
    # Their new entries have a counter, so only this flag says that they booted successfully.
    blessed = (each.number for each in state.deployments if each.number in numbers and each.blessed)
    return (
        *reserve,
        *(SetFlag(path=sysroot.state / BLESSED / str(number)) for number in blessed),
        *(
            operation
            for number, name in zip(numbers, used_up, strict=True)
            for operation in plan_entry(sysroot, copy_entry(state, number, name))
        ),
        *(
            RemoveFromEsp(esp=sysroot.esp, path=sysroot.entries / format_entry_name(each.name))
            for each in entries
        ),
        WriteEntryList(sysroot=sysroot),
    )

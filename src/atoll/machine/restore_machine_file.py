"""After a way back, the machine file says again what the system is made of.

The machine file is in ``/etc``, which each deployment has for itself. But what ``add`` writes to
the ``/etc`` of the running deployment takes effect in the next one. When that is cancelled, failed
to boot, or is rolled back from, the older deployment would be left with the newer file. So its own
file comes back, and the other one stays beside it as ``machine.toml.old``. A file that a person
changed since is left alone: ``apply`` puts it into effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.machine.deployments.built_from import read_machine_files
from atoll.machine.deployments.state import deployment_numbers
from atoll.machine.etc.etc_commands import plan_files, read_machine_etc
from atoll.machine.etc.etc_tree import is_file, node_at
from atoll.machine.machine_file import LOCK_PLACE, PLACE, has_layers, read_machine_text

if TYPE_CHECKING:
    from atoll.machine.deployment import MachineFiles
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_commands import MachineEtc

OLD_PLACE = f"{PLACE}.old"


def plan_restore_machine_file(sysroot: Sysroot, number: int) -> tuple[Operation, ...]:
    """Give deployment ``number`` the machine file and lock that it was built from, where it has
    those of another deployment. Raises Damaged, Busy, OSError or RecipeError."""
    etc = read_machine_etc(sysroot, number)
    text = read_machine_text(etc.live)
    own = read_machine_files(sysroot, number)
    if own is not None and own.text == text:
        return plan_files(etc, {LOCK_PLACE: own.lock or None}) if _lock_moved(etc, own) else ()
    if not _is_of_another(sysroot, number, text):
        return ()
    if own is None and not has_layers(etc.live):
        # The tree is the image's, as this file says.
        return ()
    files = {} if text is None else {OLD_PLACE: text}
    return plan_files(
        etc,
        {
            **files,
            PLACE: None if own is None else own.text,
            LOCK_PLACE: None if own is None else own.lock or None,
        },
    )


def _is_of_another(sysroot: Sysroot, number: int, text: bytes | None) -> bool:
    """Whether ``text`` is the machine file of another deployment than ``number``. That there is
    none is so of newer ones alone: they were staged while this one ran."""
    found = {
        each: read_machine_files(sysroot, each)
        for each in deployment_numbers(sysroot)
        if each != number
    }
    if text is None:
        return any(files is None for each, files in found.items() if each > number)
    return any(files is not None and files.text == text for files in found.values())


def _lock_moved(etc: MachineEtc, own: MachineFiles) -> bool:
    """Whether the lock is not that of the deployment: an upgrade moved it, and the same file stood
    for other versions."""
    node = node_at(etc.live, LOCK_PLACE)
    there = node.entry.read() if node is not None and is_file(node) else b""
    return there != own.lock

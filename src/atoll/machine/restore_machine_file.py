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
from atoll.machine.machine_file import LOCK_PLACE, PLACE, read_machine_text

if TYPE_CHECKING:
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot

OLD_PLACE = f"{PLACE}.old"


def plan_restore_machine_file(sysroot: Sysroot, number: int) -> tuple[Operation, ...]:
    """Give deployment ``number`` the machine file that it was built from, where it has that of
    another deployment. Raises Damaged, Busy, OSError or RecipeError."""
    etc = read_machine_etc(sysroot, number)
    text = read_machine_text(etc.live)
    own = read_machine_files(sysroot, number)
    if text is None or (own is not None and own.text == text):
        return ()
    others = (
        read_machine_files(sysroot, each) for each in deployment_numbers(sysroot) if each != number
    )
    if not any(each is not None and each.text == text for each in others):
        return ()
    return plan_files(
        etc,
        {
            OLD_PLACE: text,
            PLACE: None if own is None else own.text,
            LOCK_PLACE: None if own is None else own.lock or None,
        },
    )

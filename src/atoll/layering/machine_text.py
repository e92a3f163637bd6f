"""The machine file as text: read, checked and written, for a person who edits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import Busy
from atoll.layering.change_machine import find_situation
from atoll.layering.machine_tree import machine_folder
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.etc.etc_commands import plan_files, read_machine_etc
from atoll.machine.machine_file import PLACE

if TYPE_CHECKING:
    from atoll.machine.deployments.sysroot import Sysroot


def read_text(sysroot: Sysroot) -> str:
    """The machine file; empty without one. Raises RecipeError."""
    with locked_machine(sysroot, esp=False, published=False) as machine:
        return find_situation(machine, read_state(machine)).text


def check_machine_text(sysroot: Sysroot, text: str) -> None:
    """Raises RecipeError or NotFound for what is wrong in ``text``, local files included."""
    with locked_machine(sysroot, esp=False, published=False) as machine:
        here = find_situation(machine, read_state(machine))
        with machine_folder(here.live, text, machine.state) as folder:
            folder.read(here.base)


def write_text(sysroot: Sysroot, before: str, text: str) -> None:
    """Replace the machine file. Raises Busy when it is no longer ``before``."""
    with locked_machine(sysroot, esp=False) as machine:
        state = read_state(machine)
        if find_situation(machine, state).text != before:
            raise Busy("the machine file changed meanwhile", hint="edit it again: atoll edit")
        etc = read_machine_etc(machine, require_current(state).number)
        apply_operations(plan_files(etc, {PLACE: text.encode()}))

"""``kargs``: who set which kernel argument, and what adding or removing one makes of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, NothingToDo, Refused, UsageError
from atoll.base.fields import find_near
from atoll.builder.base_image import read_image_info
from atoll.builder.steps.kernel import is_meant, kernel_arguments
from atoll.layering.change_machine import Edited, find_base
from atoll.layering.edit_machine_file import add_arguments, remove_arguments
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.machine_file import FILE
from atoll.recipe.language.parse import parse_machine_recipe
from atoll.store.layout import open_store
from atoll.tree.cmdline import find_reserved, is_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.layering.change_machine import MachineBase
    from atoll.machine.deployments.sysroot import Sysroot

IMAGE, MACHINE, ATOLL, BY_HAND = "image", "machine", "Atoll", "entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelArgument:
    """``setter`` is ``image``, ``machine`` (the machine file), ``Atoll``, or ``entry``: somebody
    edited the boot entry."""

    text: str
    setter: str


def read_kernel_arguments(sysroot: Sysroot) -> tuple[KernelArgument, ...]:
    """Those of what boots next, in their order. Raises Refused where no entry can be read."""
    state = read_state(sysroot)
    newest = state.default or require_current(state)
    found = [each.entry for each in state.menu.entries_of(newest.number) if each.entry is not None]
    if not found:
        raise Refused(
            f"the boot entry of {newest.deployment.title} cannot be read",
            hint="only root can read it: try again with sudo",
        )
    store = open_store(sysroot.atoll)
    base = find_base(sysroot, newest)
    of_image = read_image_info(store, base.tree).args
    of_tree = read_image_info(store, newest.deployment.tree).args
    rows = []
    for argument in found[0].options:
        if argument in of_image:
            setter = IMAGE
        elif argument in of_tree:
            setter = MACHINE
        else:
            setter = ATOLL if find_reserved(argument) or _is_of_luks(argument) else BY_HAND
        rows.append(KernelArgument(text=argument, setter=setter))
    return tuple(rows)


def _is_of_luks(argument: str) -> bool:
    return argument.startswith("rd.luks.")


def edit_for_add(text: str, arguments: Sequence[str], machine: MachineBase) -> Edited:
    """Raises UsageError, or NothingToDo when all are set already."""
    for argument in arguments:
        reserved = find_reserved(argument)
        if reserved or not is_argument(argument):
            why = f"{reserved} is Atoll's own" if reserved else f"{argument!r} is not one argument"
            raise UsageError(why, hint="as on a kernel command line: quiet, console=ttyS0")
    there = _read_set(text, machine)
    if all(argument in there for argument in arguments):
        raise NothingToDo(f"set already: {' '.join(arguments)}")
    return Edited(text=add_arguments(text, [each for each in arguments if each not in there]))


def edit_for_remove(text: str, arguments: Sequence[str], machine: MachineBase) -> Edited:
    """An argument is named as a whole, or by its name. Raises NotFound for one that neither the
    image nor the machine file sets."""
    there = _read_set(text, machine)
    of_image = read_image_info(machine.store, machine.base.tree).args
    for argument in arguments:
        if not any(is_meant(each, argument) for each in there):
            hint = find_near(argument, there) or "see: atoll kargs"
            raise NotFound(f"no kernel argument {argument} is set", hint=hint)
    gone = [each for each in there if any(is_meant(each, word) for word in arguments)]
    base = [word for word in arguments if any(is_meant(each, word) for each in of_image)]
    return Edited(text=remove_arguments(text, gone, base=base))


def _read_set(text: str, machine: MachineBase) -> tuple[str, ...]:
    """What image and machine file set together. Raises RecipeError."""
    kernel = parse_machine_recipe(text, file=FILE).recipe.kernel
    return kernel_arguments(kernel, read_image_info(machine.store, machine.base.tree).args)

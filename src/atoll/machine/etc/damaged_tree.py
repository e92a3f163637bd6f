"""The ``/etc`` of a deployment whose tree is damaged: an upgrade is what cures it.

What a person changed is all in the upper directory, which is whole. Only what the tree had is not
known. So every path that the person changed counts as changed on both sides: the machine's stays,
and where the new image has something else, that is a conflict to be settled. What a person removed
stays removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import Busy, Damaged, NotFound
from atoll.machine.etc.etc_commands import MachineEtc, make_machine_etc, read_machine_etc
from atoll.machine.etc.etc_tree import Entry, Kind, Node, differences, replaced, walk
from atoll.machine.etc.read import read_layered
from atoll.machine.etc.stage import etc_paths

if TYPE_CHECKING:
    from atoll.machine.deployments.sysroot import Sysroot

_NOTHING = Node(Entry(kind=Kind.DIRECTORY, mode=0o755))


def read_source_etc(sysroot: Sysroot, number: int, new: Node | None) -> tuple[MachineEtc, str]:
    """The ``/etc`` that an upgrade starts from, and why its tree could not be read; empty when it
    could. ``new`` is the image's ``/etc``, as far as it is known.

    Raises Busy when something changed meanwhile, Damaged when the upper directory is damaged too.
    """
    try:
        etc = read_machine_etc(sysroot, number)
        for node in (etc.tree, etc.live):
            _read_all(node)
    except Busy:
        raise
    except (Damaged, NotFound, OSError) as error:
        return _without_tree(sysroot, number, new or _NOTHING), str(error)
    return etc, ""


def _read_all(etc: Node) -> None:
    for _, entry in walk(etc):
        if entry.kind is Kind.FILE:
            entry.read()


def _without_tree(sysroot: Sysroot, number: int, new: Node) -> MachineEtc:
    place = etc_paths(sysroot, number)
    reading = read_layered(new, place.upper)
    old = new
    for path, before, after in differences(new, reading.root):
        if path and before is not None and after is not None and not before.children:
            old = replaced(old, path, None)
    return make_machine_etc(number, place, old, reading)

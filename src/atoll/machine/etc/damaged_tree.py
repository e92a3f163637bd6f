"""The ``/etc`` of a deployment whose tree is damaged: an upgrade repairs such a machine.

All changes of the machine are in the upper directory, which is intact; only the tree's versions are
unknown, so there is no merge base. Every path in the upper directory therefore counts as changed on
both sides: the machine's version stays, and where the new image has another one, that is a
conflict. What was removed on the machine stays removed.
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

_EMPTY_ETC = Node(Entry(kind=Kind.DIRECTORY, mode=0o755))


def read_source_etc(sysroot: Sysroot, number: int, new: Node | None) -> tuple[MachineEtc, str]:
    """The ``/etc`` that an upgrade starts from, and why its tree could not be read; empty when it
    could. ``new`` is the image's ``/etc``, as far as it is known.

    Raises Busy when something changed meanwhile, Damaged when the upper directory is damaged too.
    """
    try:
        etc = read_machine_etc(sysroot, number)
        for node in (etc.tree, etc.live):
            _verify_contents(node)
    except Busy:
        raise
    except (Damaged, NotFound, OSError) as error:
        return _read_without_base(sysroot, number, new or _EMPTY_ETC), str(error)
    return etc, ""


def _verify_contents(etc: Node) -> None:
    for _, entry in walk(etc):
        if entry.kind is Kind.FILE:
            entry.read()


def _read_without_base(sysroot: Sysroot, number: int, new: Node) -> MachineEtc:
    paths = etc_paths(sysroot, number)
    reading = read_layered(new, paths.upper)
    old = new
    for path, before, after in differences(new, reading.root):
        if path and before is not None and after is not None and not before.children:
            old = replaced(old, path, None)
    return make_machine_etc(number, paths, old, reading)

"""``drift --adopt`` on a machine: read it, and write the machine file with what is beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import Busy
from atoll.layering.adopt import MachineView
from atoll.layering.change_machine import decode_machine_file
from atoll.layering.expected_etc import expect_etc
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.drift.etc_drift import EtcPair, find_etc_differences
from atoll.machine.drift.model import AccountKind
from atoll.machine.drift.read_drift import open_tree_files, read_drift, read_etc_pair
from atoll.machine.etc.etc_commands import plan_change, read_machine_etc, with_files
from atoll.machine.etc.etc_tree import (
    Entry,
    EtcChange,
    Kind,
    Node,
    is_file,
    node_at,
    replaced,
    with_content,
)
from atoll.machine.machine_file import FILE, PLACE, read_machine_text
from atoll.recipe.language.parse import parse_machine_recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.layering.adoption import Adoption
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.drift.model import AccountDrift, EtcDrift, UnitDrift
    from atoll.machine.etc.etc_commands import MachineEtc

_FOLDER = PLACE.rpartition("/")[0]


def read_view(sysroot: Sysroot, number: int) -> MachineView:
    """What differs from deployment ``number``, with the machine file. Raises RecipeError, Damaged,
    NotFound or Busy."""
    pair = read_etc_pair(sysroot, number)
    return MachineView(
        drift=read_drift(sysroot, number),
        pair=pair,
        tree=open_tree_files(sysroot, number),
        text=_read_text(pair),
    )


def _read_text(pair: EtcPair) -> str:
    """The machine file; empty without one, and for a user who may not read it."""
    try:
        return decode_machine_file(read_machine_text(pair.live))
    except PermissionError:
        return ""


def write_adoption(sysroot: Sysroot, number: int, view: MachineView, adoption: Adoption) -> None:
    """Write the machine file, after the files that it names. Raises Busy when the machine file, or
    one of these files, is no longer what it was."""
    with locked_machine(sysroot, esp=False) as machine:
        etc = read_machine_etc(machine, number)
        if decode_machine_file(read_machine_text(etc.live)) != view.text:
            raise Busy("the machine file changed meanwhile", hint="try again")
        apply_operations(plan_change(etc, _with_adoption(etc, adoption), etc.conflicts))


def _with_adoption(etc: MachineEtc, adoption: Adoption) -> Node:
    files = {**adoption.files, PLACE: adoption.text.encode()}
    live = with_files(etc.live, files)
    for path in adoption.private:
        entry = Entry(kind=Kind.FILE, mode=0o600)
        live = replaced(live, path, Node(with_content(entry, files[path])))
    return live


def find_explained(view: MachineView) -> frozenset[str]:
    """The names of what differs that the machine file explains: it is in the file already, and the
    tree that it describes is not built yet. Names are those that ``drift --adopt`` takes. Raises
    RecipeError."""
    if not view.text:
        return frozenset()
    recipe = parse_machine_recipe(view.text, file=FILE).recipe

    def read_source(name: str) -> bytes | None:
        node = node_at(view.pair.live, f"{_FOLDER}/{name}")
        if node is None or not is_file(node):
            return None
        try:
            return node.entry.read()
        except PermissionError:
            return None

    expected = expect_etc(view.pair, recipe, view.tree, read_source)
    pair = EtcPair(tree=expected, live=view.pair.live, unread=view.pair.unread)
    left = find_etc_differences(pair)
    drift = view.drift
    now = _names(drift.etc, drift.units, drift.accounts)
    return now - _names(left.files, left.units, left.accounts)


def _names(
    files: Iterable[EtcDrift], units: Iterable[UnitDrift], accounts: Iterable[AccountDrift]
) -> frozenset[str]:
    return frozenset(
        (
            *(f"/etc/{each.path}" for each in files),
            *(each.unit for each in units),
            *(name for each in accounts for name in _account_names(each)),
        )
    )


def _account_names(drift: AccountDrift) -> Iterator[str]:
    """The password of a user has a name of its own: adopting the user leaves it out."""
    apart = {"password"} if drift.kind is AccountKind.USER else set()
    fields = {each.field for each in drift.fields}
    if drift.change is not EtcChange.CHANGED or fields - apart:
        yield f"{drift.kind}:{drift.name}"
    if fields & apart:
        yield f"password:{drift.name}"

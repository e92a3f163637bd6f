"""Files of ``/etc`` that differ, without those that other parts of drift or nobody accounts for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.machine.drift.account_drift import find_account_drift, read_accounts_of
from atoll.machine.drift.model import EtcDrift
from atoll.machine.drift.unit_drift import (
    find_unit_drift,
    is_link_directory,
    is_script_link,
    parse_unit_link,
)
from atoll.machine.etc.etc_tree import (
    EtcChange,
    Node,
    compare,
    is_directory,
    is_file,
    node_at,
    replaced,
)
from atoll.machine.etc.keyed_files import KEYED
from atoll.tree.etc_rules import is_machine_made

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atoll.machine.drift.model import AccountDrift, UnitDrift

MACHINE_FILES = "atoll"
"""The directory of the machine file and what it refers to: the recipe of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcPair:
    """The ``/etc`` of the tree and that of the machine. ``unread`` are the paths that this user may
    not read in either."""

    tree: Node
    live: Node
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcDifferences:
    """All that differs in an ``/etc``, as far as it could be read."""

    files: tuple[EtcDrift, ...]
    units: tuple[UnitDrift, ...]
    accounts: tuple[AccountDrift, ...]
    unread: tuple[str, ...] = ()


def without_unread(pair: EtcPair) -> EtcPair:
    """The pair without what is below directories that one side may not read: the other side's
    content would look added or removed."""
    tree, live = pair.tree, pair.live
    for path in pair.unread:
        both = node_at(tree, path), node_at(live, path)
        if is_directory(both[0]) and is_directory(both[1]):
            tree, live = _emptied(tree, path), _emptied(live, path)
    return EtcPair(tree=tree, live=live, unread=pair.unread)


def _emptied(root: Node, path: str) -> Node:
    node = node_at(root, path)
    assert node is not None
    return replaced(root, path, Node(node.entry))


def find_etc_differences(pair: EtcPair) -> EtcDifferences:
    pair = without_unread(pair)
    before, after = read_accounts_of(pair.tree), read_accounts_of(pair.live)
    strange = {file for file, _ in before.other ^ after.other}
    return EtcDifferences(
        files=tuple(
            EtcDrift(path=path, change=change)
            for path, change in compare(pair.tree, pair.live)
            if not _is_explained(path, change, pair, strange)
        ),
        units=find_unit_drift(pair.tree, pair.live),
        accounts=find_account_drift(before, after),
        unread=pair.unread,
    )


def with_owners(files: Iterable[EtcDrift], owners: Mapping[str, str]) -> tuple[EtcDrift, ...]:
    """``owners`` maps absolute paths to packages."""
    return tuple(
        EtcDrift(path=each.path, change=each.change, owner=owners.get(f"/etc/{each.path}", ""))
        for each in files
    )


def _is_explained(path: str, change: EtcChange, pair: EtcPair, strange: set[str]) -> bool:
    """Whether a changed path is no file that a person changed, or is listed elsewhere."""
    if not path:
        return False
    if is_machine_made(path) or path.split("/")[0] == MACHINE_FILES or is_link_directory(path):
        return True
    before, after = node_at(pair.tree, path), node_at(pair.live, path)
    if path in KEYED:
        # The rows are compared one by one. Comments and lines of NIS are no rows.
        return change is EtcChange.CHANGED and path not in strange and _same_attributes(pair, path)
    for node in filter(None, (before, after)):
        if parse_unit_link(path, node.entry) or is_script_link(path, node.entry):
            return True
    # A new directory is there for what is in it.
    plain = replace(pair.live.entry, mode=0o755, xattrs=())
    return (
        change is EtcChange.ADDED
        and after is not None
        and (bool(after.children) and after.entry == plain)
    )


def _same_attributes(pair: EtcPair, path: str) -> bool:
    before, after = node_at(pair.tree, path), node_at(pair.live, path)
    if before is None or after is None or not (is_file(before) and is_file(after)):
        return False
    return replace(before.entry, content=after.entry.content) == after.entry

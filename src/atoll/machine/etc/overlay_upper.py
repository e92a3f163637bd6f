"""From a merged ``/etc`` to operations: write an upper directory, or change a live ``/etc``.

``upper`` holds only what differs from the tree: whole files and links, directories with their
attributes, and whiteouts for removed names. It never has opaque directories: what a later version
of the tree adds to a directory shows through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.machine.deployments.operations import RemovePath
from atoll.machine.etc.etc_operations import (
    MakeDirectory,
    MakeWhiteout,
    PutInPlace,
    ReplaceLive,
    SetAttributes,
    WriteLeaf,
)
from atoll.machine.etc.etc_tree import DRAFT, Kind, Node, differences, is_directory, node_at

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.operations import Operation


def plan_upper(result: Node, tree: Node, upper: Path) -> tuple[Operation, ...]:
    """Replace ``upper``, with one rename, to show ``result`` over the ``/etc`` of ``tree``."""
    fresh = upper.with_name(f"{upper.name}.new")
    return (
        RemovePath(path=fresh),
        *plan_difference(result, tree, fresh),
        PutInPlace(fresh=fresh, target=upper),
        RemovePath(path=fresh),
    )


def plan_difference(result: Node, tree: Node | None, into: Path) -> tuple[Operation, ...]:
    """Write what differs into the new directory ``into``."""
    operations: list[Operation] = [MakeDirectory(path=into, entry=result.entry)]
    made = {""}
    for path, _, after in differences(tree, result):
        parts = path.split("/")
        # A directory in upper replaces the attributes of the lower one, so each needs its own.
        for count in range(1, len(parts)):
            parent = "/".join(parts[:count])
            node = node_at(result, parent)
            if parent not in made and node is not None:
                made.add(parent)
                operations.append(MakeDirectory(path=into / parent, entry=node.entry))
        if path in made:
            continue
        if after is None:
            operations.append(MakeWhiteout(path=into / path))
        elif is_directory(after):
            made.add(path)
            operations.append(MakeDirectory(path=into / path, entry=after.entry))
        else:
            operations.append(WriteLeaf(path=into / path, entry=after.entry))
    return tuple(operations)


def plan_live(live: Node, wanted: Node, etc: Path) -> tuple[Operation, ...]:
    """Change ``live``, which is in use at ``etc``, to ``wanted``, name by name."""
    operations: list[Operation] = []
    for path, before, after in differences(live, wanted):
        target = etc / path
        if after is None:
            operations.append(RemovePath(path=target))
            continue
        stays = before is not None and is_directory(before) == is_directory(after)
        if before is not None and not stays:
            operations.append(RemovePath(path=target))
        if after.entry.kind is not Kind.DIRECTORY:
            draft = etc / DRAFT
            operations.append(ReplaceLive(path=target, entry=after.entry, draft=draft))
        elif stays:
            operations.append(SetAttributes(path=target, entry=after.entry))
        else:
            operations.append(MakeDirectory(path=target, entry=after.entry))
    return tuple(operations)

"""Conflicts of a deployment's ``/etc``, stored outside of it until a person resolves them::

    atoll/state/conflicts/<n>/        mode 0700: what is kept may be a secret
      list.json                       {"format": 1, "conflicts":
                                       [{"path", "why", "image", "attributes"}, …]}
      image/<path>                    what the image has there, when "image" is true

A list that cannot be read does not block an upgrade: it stays where it is, or is renamed to
``<n>.damaged``, until a person has looked at it.

``attributes`` is true when only mode, owner and extended attributes of a directory are in question.
``<n>`` is the deployment. The directory is replaced as a whole; without conflicts it does not
exist.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.fields import parse_json_fields
from atoll.host.fs import fsync_directory, read_if_there
from atoll.machine.deployments.operations import RemovePath
from atoll.machine.etc.etc_operations import (
    MakeDirectory,
    MoveAside,
    PutInPlace,
    WriteFile,
)
from atoll.machine.etc.etc_tree import Entry, Kind, Node, node_at, replaced
from atoll.machine.etc.merge import Conflict
from atoll.machine.etc.overlay_upper import plan_difference
from atoll.machine.etc.read import read_directory

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.etc.merge import Merge

FORMAT = 1
_LIST = "list.json"
_IMAGE = "image"
_PRIVATE = Entry(kind=Kind.DIRECTORY, mode=0o700)


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeParents:
    path: Path

    def describe(self) -> str:
        return f"make directory {self.path}"

    def execute(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)


def plan_conflicts(conflicts: tuple[Conflict, ...], directory: Path) -> tuple[Operation, ...]:
    """Replace the list at ``directory`` by ``conflicts``, with one rename."""
    fresh = directory.with_name(f"{directory.name}.new")
    gone = RemovePath(path=fresh)
    if not conflicts:
        return (gone, MoveAside(path=directory, aside=fresh), gone)
    kept = Node(_PRIVATE)
    for conflict in sorted(conflicts, key=lambda each: each.path):
        if conflict.image is not None:
            kept = replaced(kept, conflict.path, conflict.image)
    return (
        gone,
        MakeParents(path=directory.parent),
        MakeDirectory(path=fresh, entry=_PRIVATE),
        WriteFile(path=fresh / _LIST, content=format_conflicts(conflicts)),
        *plan_difference(kept, None, fresh / _IMAGE),
        PutInPlace(fresh=fresh, target=directory),
        gone,
    )


def read_conflicts(directory: Path) -> tuple[Conflict, ...]:
    """The open conflicts, by path. Raises Damaged."""
    data = read_if_there(directory / _LIST)
    if data is None:
        return ()
    kept = read_directory(directory / _IMAGE).root
    return parse_conflicts(data, kept, where=str(directory / _LIST))


def find_conflicts(directory: Path) -> tuple[tuple[Conflict, ...], str]:
    """The open conflicts, and why there may be more that cannot be read; empty if all were read."""
    aside = damaged_path(directory)
    unread = f"the conflicts in {aside} cannot be read" if os.path.lexists(aside) else ""
    try:
        return read_conflicts(directory), unread
    except (Damaged, OSError) as error:
        return (), str(error)


def damaged_path(directory: Path) -> Path:
    """The name that a list gets when it cannot be read."""
    return directory.with_name(f"{directory.name}.damaged")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAsideDamaged:
    """Rename a list that cannot be read, so that it is kept and does not block anything."""

    path: Path

    def describe(self) -> str:
        return f"move {self.path} to {damaged_path(self.path)}"

    def execute(self) -> None:
        aside = damaged_path(self.path)
        if os.path.lexists(self.path) and not os.path.lexists(aside):
            self.path.rename(aside)
            fsync_directory(self.path.parent)


def format_conflicts(conflicts: tuple[Conflict, ...]) -> bytes:
    found = [
        {
            "path": each.path,
            "why": each.why,
            "image": each.image is not None,
            "attributes": each.attributes,
        }
        for each in conflicts
    ]
    return json.dumps({"format": FORMAT, "conflicts": found}, indent=1).encode() + b"\n"


def parse_conflicts(data: bytes, kept: Node, *, where: str) -> tuple[Conflict, ...]:
    """The list, with what the images have from ``kept``. Raises Damaged."""
    fields = parse_json_fields(data, file=where, file_names=True)
    fields.require_format(FORMAT)
    conflicts = []
    for each in fields.each("conflicts"):
        path, attributes = each.string("path"), each.boolean("attributes")
        image = node_at(kept, path) if each.boolean("image") else None
        if each.boolean("image") and image is None:
            each.flaw("path", f"the image's version of {path} is missing beside the list")
        if image is not None and attributes:
            image = Node(image.entry)
        why = each.string("why")
        conflicts.append(Conflict(path=path, why=why, image=image, attributes=attributes))
    return tuple(conflicts)


def keep_open_conflicts(
    earlier: tuple[Conflict, ...], merge: Merge, new: Node
) -> tuple[Conflict, ...]:
    """The conflicts of a deployment: those of its merge, and earlier ones that are still open.

    An earlier one is resolved when the path matches the image's earlier or new version.
    """
    merged = {conflict.path for conflict in merge.conflicts}
    standing = []
    for conflict in earlier:
        here, there = node_at(merge.result, conflict.path), node_at(new, conflict.path)
        if conflict.attributes:
            here, there = (None if node is None else Node(node.entry) for node in (here, there))
        if conflict.path not in merged and here not in (conflict.image, there):
            standing.append(replace(conflict, image=conflict.image if there is None else there))
    return tuple(sorted([*merge.conflicts, *standing], key=lambda each: each.path))

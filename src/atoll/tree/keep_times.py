"""Keep the mtimes of files that a rebuild did not change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.tree.gc_pause import gc_paused
from atoll.tree.model import Directory, Metadata, Regular, Symlink

if TYPE_CHECKING:
    from atoll.tree.model import Leaf, Node

_SOURCE = b".py"
"""Compiled Python (.pyc) stores the mtime of its source, so the two must change together."""


def keep_times(before: Directory, after: Directory, *, epoch: int) -> Directory:
    """``after`` with the mtimes of ``before`` for unchanged files.

    Only files that this build wrote are considered, whose mtime is ``epoch`` (seconds since 1970).
    A file is unchanged if content, owner, mode and attributes are the same. Of a hard-linked file
    the first name decides. Directories always have the epoch.
    """
    with gc_paused():
        return _Times(epoch).directory(before, after)


class _Times:
    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._made: dict[int, Leaf] = {}

    def directory(self, before: Directory | None, after: Directory) -> Directory:
        entries: dict[bytes, Node] = {}
        for name, node in after.entries.items():
            old = before.entries.get(name) if before else None
            if isinstance(node, Directory):
                below = old if isinstance(old, Directory) else None
                entries[name] = self.directory(below, node) if below else node
            else:
                entries[name] = self._leaf(name, old, node)
        return Directory(after.metadata, entries, after.links)

    def _leaf(self, name: bytes, old: Node | None, node: Leaf) -> Leaf:
        if node.metadata.mtime != self._epoch:
            return node
        made = self._made.get(id(node))
        if made is None:
            made = node
            if old is not None and _same(old, node) and not name.endswith(_SOURCE):
                made = replace(node, metadata=replace(node.metadata, mtime=old.metadata.mtime))
            self._made[id(node)] = made
        return made


def _same(old: Node, node: Leaf) -> bool:
    if isinstance(node, Regular) and isinstance(old, Regular):
        same = (node.size, node.object, node.inline) == (old.size, old.object, old.inline)
    elif isinstance(node, Symlink) and isinstance(old, Symlink):
        same = node.target == old.target
    else:
        return False
    return same and _timeless(node.metadata) == _timeless(old.metadata)


def _timeless(metadata: Metadata) -> Metadata:
    return replace(metadata, mtime=0, mtime_nsec=0)

"""Files of a new system that say where home directories are, or are home directories. Pure."""

from __future__ import annotations

from dataclasses import replace

from atoll.installer.apply.machine_operations import with_fstab_line
from atoll.machine.etc.etc_tree import Entry, Kind, Node, is_file, node_at, replaced, with_content


def with_home_line(etc: Node, line: str) -> Node:
    """``etc`` with one more line in ``fstab``, in place of another one for the same place."""
    node = node_at(etc, "fstab")
    entry = node.entry if node is not None and is_file(node) else None
    content = with_fstab_line(b"" if entry is None else entry.read(), line)
    entry = entry or Entry(kind=Kind.FILE, mode=0o644)
    return replaced(etc, "fstab", Node(with_content(entry, content)))


def owned(node: Node, uid: int, gid: int, *, mode: int | None = None) -> Node:
    """All of ``node`` as files of one person; ``mode`` is that of the directory itself."""
    entry = replace(node.entry, uid=uid, gid=gid)
    if mode is not None:
        entry = replace(entry, mode=mode)
    return Node(entry, {name: owned(child, uid, gid) for name, child in node.children.items()})

"""Files of a new system that say where home directories are, or are home directories. Pure."""

from __future__ import annotations

from dataclasses import replace

from atoll.machine.etc.etc_tree import Entry, Kind, Node, is_file, node_at, replaced, with_content


def with_fstab_line(etc: Node, line: str) -> Node:
    """``etc`` with one more line in ``fstab``, in place of another one for the same place."""
    place = line.split()[1]
    node = node_at(etc, "fstab")
    entry = Entry(kind=Kind.FILE, mode=0o644)
    old = ""
    if node is not None and is_file(node):
        entry, old = node.entry, node.entry.read().decode(errors="surrogateescape")
    kept = [each for each in old.splitlines() if each.split()[1:2] != [place]]
    text = "".join(f"{each}\n" for each in kept) + line
    return replaced(etc, "fstab", Node(with_content(entry, text.encode(errors="surrogateescape"))))


def owned(node: Node, uid: int, gid: int, *, mode: int | None = None) -> Node:
    """All of ``node`` as files of one person; ``mode`` is that of the directory itself."""
    entry = replace(node.entry, uid=uid, gid=gid)
    if mode is not None:
        entry = replace(entry, mode=mode)
    return Node(entry, {name: owned(child, uid, gid) for name, child in node.children.items()})

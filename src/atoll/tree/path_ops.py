"""Find and replace nodes by path. Trees are immutable: replacing copies the directories above."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.tree.model import Directory

if TYPE_CHECKING:
    from atoll.tree.model import Node


def with_node(root: Directory, path: str, node: Node) -> Directory:
    """``root`` with ``node`` at the relative ``path``; its parent directories must exist."""
    name, _, rest = path.encode().partition(b"/")
    if rest:
        below = root.entries[name]
        assert isinstance(below, Directory)
        node = with_node(below, rest.decode(), node)
    return Directory(root.metadata, {**root.entries, name: node}, root.links)


def find_node(root: Directory, path: str) -> Node | None:
    """The node at the relative ``path``, None if absent; symbolic links are not followed."""
    node: Node | None = root
    for name in path.encode(errors="surrogateescape").split(b"/"):
        node = node.entries.get(name) if isinstance(node, Directory) else None
    return node

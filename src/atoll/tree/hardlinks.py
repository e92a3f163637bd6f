"""Hard links of a tree: which nodes have several names, and which name is the primary one.

The image stores the inode at the primary name, and a dump writes the others as links to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.tree.model import Directory

if TYPE_CHECKING:
    from atoll.tree.model import Node


@dataclass(frozen=True, slots=True)
class HardLink:
    """A node with several names: its primary path, and all paths in the order of ``walk``."""

    primary: bytes
    paths: tuple[bytes, ...]


def walk_order(path: bytes) -> list[bytes]:
    """A sort key for absolute paths: the order in which ``walk`` yields them."""
    return path.split(b"/")


def hard_links(root: Directory) -> dict[int, HardLink]:
    """The hard-linked nodes of a tree by ``id()``. Raises Damaged if a directory has two names."""
    linked = _nodes_with_several_names(root)
    if not linked:
        return {}
    paths: dict[int, list[bytes]] = {node: [] for node in linked}
    candidates: dict[int, list[bytes]] = {node: [] for node in linked}
    directories: list[tuple[bytes, Directory]] = [(b"/", root)]
    for base, directory in directories:
        for name, node in directory.entries.items():
            if isinstance(node, Directory):
                directories.append((base + name + b"/", node))
            elif id(node) in linked:
                paths[id(node)].append(base + name)
                if name not in directory.links:
                    candidates[id(node)].append(base + name)
    return {
        node: HardLink(
            primary=min(candidates[node] or paths[node], key=walk_order),
            paths=tuple(sorted(paths[node], key=walk_order)),
        )
        for node in linked
    }


def _nodes_with_several_names(root: Directory) -> set[int]:
    seen: set[int] = {id(root)}
    linked: set[int] = set()
    directories = [root]
    for directory in directories:
        node: Node
        for node in directory.entries.values():
            if id(node) not in seen:
                seen.add(id(node))
                if isinstance(node, Directory):
                    directories.append(node)
            elif isinstance(node, Directory):
                raise Damaged("a directory has two names in this tree")
            else:
                linked.add(id(node))
    return linked

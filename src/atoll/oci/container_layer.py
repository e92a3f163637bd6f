"""The container layer: makes the package database visible in containers and to scanners.

A tree keeps the package database below /usr/lib/atoll/var, and early boot bind-mounts it where
Debian has it. In a container, or for a scanner that reads layers, nothing does so. An image
therefore has one more layer, which is not part of the tree: it has a symbolic link at the usual
place of each tree-owned directory. dpkg's directory is real there, with links to all it contains
except ``status``: that is a regular file, for scanners that do not follow links. The config names
this layer by its diff_id (label ``dev.atoll.container``), and a pull of the tree leaves it out.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from atoll.image.paths import TREE_OWNED, TREE_VAR
from atoll.image.tree_owned import parse_tree_owned
from atoll.oci.layer_plan import LayerPlan
from atoll.store.objects import read_object
from atoll.tree.model import Directory, Metadata, Regular, Symlink
from atoll.tree.path_ops import find_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.store.layout import Store
    from atoll.tree.model import Node

TITLE = "the package database, for containers"
_DPKG = "/var/lib/dpkg"
_STATUS = b"status"


def plan_container_layer(store: Store, tree: Directory) -> LayerPlan | None:
    """The container layer of a tree.

    None for a tree that has no tree-owned directories or already has entries in ``/var``.
    """
    listed = find_node(tree, TREE_OWNED)
    var = find_node(tree, "var")
    if not isinstance(listed, Regular) or (isinstance(var, Directory) and var.entries):
        return None
    content = read_object(store, listed.object) if listed.object else listed.inline or b""
    paths = [
        path
        for path in parse_tree_owned(content.decode(errors="surrogateescape"))
        if path.startswith("/var/") and posixpath.normpath(path) == path
    ]
    owned = {
        path: node
        for path in paths
        if isinstance(node := find_node(tree, _path_in_tree(path)[1:]), Directory)
    }
    if not owned:
        return None
    entries = dict(_entries(tree, owned, tree.metadata.mtime))
    return LayerPlan(title=TITLE, groups=(tuple(sorted(entries.items())),))


def _entries(
    tree: Directory, owned: dict[str, Directory], time: int
) -> Iterator[tuple[bytes, Node]]:
    """Yield paths with nodes, parent directories included; some come more than once."""
    default, link = Metadata(mode=0o755, mtime=time), Metadata(mode=0o777, mtime=time)
    yield b"/", Directory(tree.metadata, {})
    for path, node in owned.items():
        parent = posixpath.dirname(path)
        while parent != "/":
            existing = find_node(tree, parent[1:])
            metadata = existing.metadata if isinstance(existing, Directory) else default
            yield parent.encode(), Directory(metadata, {})
            parent = posixpath.dirname(parent)
        if path != _DPKG:
            yield path.encode(), Symlink(link, _target(path))
            continue
        yield path.encode(), Directory(node.metadata, {})
        for name, each in node.entries.items():
            full_path = path.encode() + b"/" + name
            is_status = name == _STATUS and isinstance(each, Regular)
            yield full_path, each if is_status else Symlink(link, _target(path, name))


def _path_in_tree(path: str) -> str:
    return f"/{TREE_VAR}{path.removeprefix('/var')}"


def _target(path: str, name: bytes | None = None) -> bytes:
    """A relative link target, which is also right where the image is mounted at another path."""
    start = posixpath.dirname(path) if name is None else path
    target = posixpath.relpath(_path_in_tree(path), start).encode()
    return target if name is None else target + b"/" + name

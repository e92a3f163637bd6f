"""The layer of an image that only containers see: the package database where programs look for it.

A tree has what packages know of themselves in /usr/lib/atoll/var; early boot mounts it where Debian
has it. Nobody does that in a container, nor for a scanner that reads layers. So an image has one
more layer, which is no part of the tree: in it each of these directories is a symbolic link at its
usual place. Of dpkg's the status itself is a file there, for scanners that follow no link; all else
in it is a link. The config names the layer by its diff_id (the label ``dev.atoll.container``), and
whoever takes a tree out of an image leaves it out.
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
    """None for a tree that is not in Atoll's shape, or has something in these places."""
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
    below = {
        path: node
        for path in paths
        if isinstance(node := find_node(tree, _moved(path)[1:]), Directory)
    }
    if not below:
        return None
    entries = dict(_entries(tree, below, tree.metadata.mtime))
    return LayerPlan(title=TITLE, groups=(tuple(sorted(entries.items())),))


def _entries(
    tree: Directory, below: dict[str, Directory], time: int
) -> Iterator[tuple[bytes, Node]]:
    """Paths and nodes; the directories above them too, some of them more than once."""
    folder, link = Metadata(mode=0o755, mtime=time), Metadata(mode=0o777, mtime=time)
    yield b"/", Directory(tree.metadata, {})
    for path, node in below.items():
        above = posixpath.dirname(path)
        while above != "/":
            there = find_node(tree, above[1:])
            metadata = there.metadata if isinstance(there, Directory) else folder
            yield above.encode(), Directory(metadata, {})
            above = posixpath.dirname(above)
        if path != _DPKG:
            yield path.encode(), Symlink(link, _target(path))
            continue
        yield path.encode(), Directory(node.metadata, {})
        for name, each in node.entries.items():
            place = path.encode() + b"/" + name
            is_status = name == _STATUS and isinstance(each, Regular)
            yield place, each if is_status else Symlink(link, _target(path, name))


def _moved(path: str) -> str:
    return f"/{TREE_VAR}{path.removeprefix('/var')}"


def _target(path: str, name: bytes | None = None) -> bytes:
    """Relative, so that it leads there also where the image is mounted somewhere."""
    start = posixpath.dirname(path) if name is None else path
    target = posixpath.relpath(_moved(path), start).encode()
    return target if name is None else target + b"/" + name

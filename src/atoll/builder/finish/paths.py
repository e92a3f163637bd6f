"""Paths of a running system, as paths of a finished tree."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from atoll.builder.finish.factory import FACTORY
from atoll.builder.finish.image_layout import BOUND
from atoll.host.in_root import exists_in_root, in_root, read_text
from atoll.image.paths import ATOLL, TREE_OWNED
from atoll.image.tree_owned import parse_tree_owned

if TYPE_CHECKING:
    from pathlib import Path


def path_in_tree(root: Path, path: str) -> str:
    """The path in ``root`` of what a running system has at ``path``; symbolic links in its parent
    directories are followed.

    In a root in Debian's layout it is the same path.
    """
    folder, name = posixpath.split(posixpath.normpath(path))
    plain = f"/{(in_root(root, folder) / name).relative_to(root)}"
    if not exists_in_root(root, TREE_OWNED):
        return plain
    parent = in_root(root, posixpath.dirname(_moved(root, plain)))
    return f"/{(parent / name).relative_to(root)}"


def _moved(root: Path, path: str) -> str:
    if path.startswith("/opt/"):
        return f"/usr/lib{path}"
    for name, in_var in BOUND.items():
        if path.startswith(f"/{name}/"):
            return f"{FACTORY}/var/{in_var}{path[len(name) + 1 :]}"
    if not path.startswith("/var/"):
        return path
    for each in parse_tree_owned(read_text(root, TREE_OWNED)):
        if path.startswith(f"{each}/"):
            return f"/{ATOLL}{path}"
    return FACTORY + path

"""What is at a path of a system that does not run: its tree, with an ``/etc`` over the tree's.

Only what a live change asks for is read: units, and the programs that they start.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from atoll.image.paths import DPKG
from atoll.image.read_file import read_content
from atoll.machine.etc.etc_tree import Kind, children_of, is_directory, node_at
from atoll.tree.erofs_reader import parse_below
from atoll.tree.model import Directory, Regular, Symlink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.machine.etc.etc_tree import Node as EtcNode
    from atoll.store.layout import Store
    from atoll.tree.model import Node

UNIT_DIRECTORIES = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
_LINKS = 40
_MERGED_USR = re.compile(r"^/(?=(?:bin|sbin|lib|lib32|lib64|libx32)/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """``image`` is the composefs image of the tree, ``etc`` what its ``/etc`` shows."""

    store: Store
    image: bytes
    etc: EtcNode
    _known: dict[str, Node | None] = field(default_factory=dict, compare=False, repr=False)

    def identity(self, path: str) -> str | None:
        """Equal where the content at ``path`` is; links are followed. None if nothing is there."""
        for _ in range(_LINKS):
            path = merged(path)
            found, target = self._look(path)
            if target is None:
                return found
            path = os.path.normpath(PurePosixPath(path).parent / target)
        return None

    def units(self) -> frozenset[str]:
        """The files of units, as paths."""
        return frozenset(
            f"{directory}/{name}"
            for directory in UNIT_DIRECTORIES
            for name in self._names(directory)
            if "." in name and not name.endswith((".wants", ".requires", ".d"))
        )

    def wanted(self) -> frozenset[tuple[str, str]]:
        """Pairs of a unit and one that it wants or requires by a link, as enabling makes them."""
        return frozenset(
            (name.rpartition(".")[0], unit)
            for directory in UNIT_DIRECTORIES
            for name in self._names(directory)
            if name.endswith((".wants", ".requires"))
            for unit in self._names(f"{directory}/{name}")
        )

    def files_of(self, package: str) -> Iterator[str]:
        """The paths of a package by dpkg's list; none if the tree has no such package."""
        path = f"{DPKG}/info/{package}.list"
        node = parse_below(self.image, path.encode())
        if isinstance(node, Regular):
            for line in read_content(self.store, node, path).decode(errors="replace").splitlines():
                yield merged(line)

    def _look(self, path: str) -> tuple[str | None, str | None]:
        """What is at ``path``, and where it leads if it is a link."""
        if path.startswith("/etc/"):
            etc = node_at(self.etc, path.removeprefix("/etc/"))
            if etc is None:
                return None, None
            if etc.entry.kind is Kind.SYMLINK:
                return None, etc.entry.content
            return f"{etc.entry.content} {etc.entry.mode:o}", None
        node = self._node(path)
        if isinstance(node, Symlink):
            return None, os.fsdecode(node.target)
        if isinstance(node, Regular):
            content = node.object or (node.inline or b"").hex()
            return f"{content} {node.metadata.mode:o}", None
        return (None if node is None else type(node).__name__), None

    def _names(self, directory: str) -> tuple[str, ...]:
        if directory.startswith("/etc/"):
            etc = node_at(self.etc, directory.removeprefix("/etc/"))
            return tuple(children_of(etc)) if is_directory(etc) else ()
        node = self._node(directory)
        return tuple(map(os.fsdecode, node.entries)) if isinstance(node, Directory) else ()

    def _node(self, path: str) -> Node | None:
        if path not in self._known:
            self._known[path] = parse_below(self.image, os.fsencode(path.strip("/")))
        return self._known[path]


def merged(path: str) -> str:
    """The path below ``/usr`` for one that a link at the root leads there."""
    return _MERGED_USR.sub("/usr/", path)

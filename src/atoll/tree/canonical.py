"""The canonical form of a tree: everything that may differ between two builds is normalized.

- mtimes are whole seconds, clamped to 0 … ``epoch``; directories have ``epoch``;
- the root is 0755 0:0, symbolic links are 0777;
- only extended attributes of an allow-list are kept, never those of overlayfs;
- sockets and whiteouts are dropped: neither is content;
- small files are inline, all others are objects at their default path;
- hard links are kept; link counts and primary names follow from the names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, Refused
from atoll.tree.gc_pause import gc_paused
from atoll.tree.hardlinks import hard_links
from atoll.tree.model import (
    INLINE_LIMIT,
    Device,
    DeviceKind,
    Directory,
    Metadata,
    Regular,
    Socket,
    Symlink,
)

if TYPE_CHECKING:
    from atoll.tree.model import Leaf, Node, Xattrs

KEPT_XATTRS = frozenset(
    (
        b"security.capability",
        b"security.selinux",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
    )
)
REDIRECTING_XATTRS = (b"trusted.overlay.metacopy", b"trusted.overlay.redirect")


def canonical(tree: Directory, *, epoch: int, user_xattrs: bool = False) -> Directory:
    """The canonical form of a tree; ``epoch`` is in seconds since 1970.

    ``user_xattrs`` keeps ``user.*`` attributes, too. Raises Refused if overlayfs keeps the content
    of a node in another layer, Damaged if the content of a file has no digest or a directory has
    two names.
    """
    hard_links(tree)  # raises for a directory with two names, which would be copied twice
    with gc_paused():
        return _Canonical(epoch, user_xattrs).tree(tree)


class _Canonical:
    def __init__(self, epoch: int, user_xattrs: bool) -> None:
        self._epoch = epoch
        self._user_xattrs = user_xattrs
        self._made: dict[int, Leaf] = {}

    def tree(self, root: Directory) -> Directory:
        metadata = replace(self._directory_metadata(b"/", root), mode=0o755, uid=0, gid=0)
        entries: dict[bytes, Node] = {}
        pending = [(b"/", root, entries)]
        for base, directory, made in pending:
            for name, node in sorted(directory.entries.items()):
                path = base + name
                if isinstance(node, Directory):
                    below: dict[bytes, Node] = {}
                    made[name] = Directory(self._directory_metadata(path, node), below)
                    pending.append((path + b"/", node, below))
                elif not _is_dropped(node):
                    made[name] = self._leaf(path, node)
        return Directory(metadata, entries)

    def _leaf(self, path: bytes, node: Leaf) -> Leaf:
        known = self._made.get(id(node))
        if known is None:
            metadata = self._metadata(path, node.metadata, self._time(node.metadata.mtime))
            if isinstance(node, Regular):
                _check_content(path, node)
                known = replace(node, metadata=metadata, redirect=None)
            elif isinstance(node, Symlink):
                known = replace(node, metadata=replace(metadata, mode=0o777))
            else:
                known = replace(node, metadata=metadata)
            self._made[id(node)] = known
        return known

    def _directory_metadata(self, path: bytes, directory: Directory) -> Metadata:
        return self._metadata(path, directory.metadata, self._epoch)

    def _metadata(self, path: bytes, metadata: Metadata, mtime: int) -> Metadata:
        return Metadata(
            mode=metadata.mode,
            uid=metadata.uid,
            gid=metadata.gid,
            mtime=mtime,
            xattrs=self._xattrs(path, metadata.xattrs) if metadata.xattrs else (),
        )

    def _time(self, mtime: int) -> int:
        return max(0, min(mtime, self._epoch))

    def _xattrs(self, path: bytes, xattrs: Xattrs) -> Xattrs:
        for name, _ in xattrs:
            if name in REDIRECTING_XATTRS:
                raise Refused(
                    f"{_format_path(path)} has {name.decode()}: its content is in another layer"
                    " of an overlay",
                    hint="take the tree from the mounted overlay, not from its upper directory",
                )
        return tuple(sorted(pair for pair in xattrs if self._keeps(pair[0])))

    def _keeps(self, name: bytes) -> bool:
        if name in KEPT_XATTRS:
            return True
        user = self._user_xattrs and name.startswith(b"user.")
        return user and not name.startswith(b"user.overlay.")


def _is_dropped(node: Leaf) -> bool:
    if isinstance(node, Device):
        return node.kind is DeviceKind.CHARACTER and node.number == 0
    return isinstance(node, Socket)


def _check_content(path: bytes, node: Regular) -> None:
    if node.redirect is not None:
        raise Damaged(f"{_format_path(path)}: its content is not at the default path of its object")
    if node.inline is not None:
        if len(node.inline) != node.size or node.size > INLINE_LIMIT or node.object is not None:
            raise Damaged(f"{_format_path(path)}: {node.size} bytes cannot be inline content")
    elif node.size and (node.object is None or node.size <= INLINE_LIMIT):
        raise Damaged(
            f"{_format_path(path)}: the content of {node.size} bytes is not where it belongs"
        )


def _format_path(path: bytes) -> str:
    return path.decode(errors="backslashreplace")

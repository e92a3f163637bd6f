"""The inodes of a composefs image in image order, with the attributes that overlayfs needs.

Regular files in the object store get ``metacopy`` and ``redirect``; whiteouts and overlay
attributes of the tree itself are escaped; the root hides the store's directories.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.tree import erofs_format as fmt
from atoll.tree.hardlinks import hard_links
from atoll.tree.model import (
    Device,
    DeviceKind,
    Directory,
    Fifo,
    Metadata,
    Regular,
    Socket,
    Symlink,
    is_name,
)
from atoll.tree.xattr_space import require_space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.tree.model import Leaf, Node, Xattrs

_TYPES = {Fifo: stat.S_IFIFO, Socket: stat.S_IFSOCK, Symlink: stat.S_IFLNK}


class Inode:
    """An inode; ``erofs_writer`` sets the second group of fields, which are about the layout.

    ``content`` is inline content or the target of a symbolic link, ``chunks`` the result of
    ``erofs_format.chunks`` for a file in the object store, ``entries`` those of a directory.
    ``blocks`` is a number of blocks, ``tail`` the bytes of the inline tail.
    """

    __slots__ = (
        "blocks",
        "chunks",
        "compact",
        "content",
        "device",
        "entries",
        "metadata",
        "mode",
        "nid",
        "nlink",
        "own_xattrs",
        "shared_xattrs",
        "size",
        "tail",
        "xattrs",
    )

    def __init__(self, mode: int, metadata: Metadata, nlink: int) -> None:
        self.mode = mode
        self.metadata = metadata
        self.nlink = nlink
        self.size = 0
        self.device = 0
        self.content = b""
        self.chunks: tuple[int, int] | None = None
        self.entries: list[tuple[bytes, Inode]] = []
        self.xattrs: Xattrs = ()

        self.nid = 0
        self.blocks = 0
        self.tail = 0
        self.compact = False
        self.own_xattrs = b""
        self.shared_xattrs: tuple[int, ...] = ()


def is_whiteout(node: Node) -> bool:
    """Whether overlayfs would take the node for a whiteout: a character device 0:0."""
    return isinstance(node, Device) and node.number == 0 and node.kind is DeviceKind.CHARACTER


def list_inodes(tree: Directory, version: int) -> list[Inode]:
    """The inodes of a tree in image order: breadth first, names in byte order.

    Raises Damaged for names, sizes or attributes that an image cannot hold.
    """
    return _InodeBuilder(tree, version).inodes


class _InodeBuilder:
    def __init__(self, tree: Directory, version: int) -> None:
        self._version = version
        self._links = hard_links(tree)
        self._linked: dict[int, Inode] = {}
        self._deferred: list[tuple[list[tuple[bytes, Inode]], int, int]] = []
        root = Inode(stat.S_IFDIR | tree.metadata.mode, tree.metadata, 2)
        self.inodes = [root]
        self._queue = [(b"/", tree, root, root)]
        for base, directory, inode, parent in self._queue:
            self._add_directory(base, directory, inode, parent)
        for entries, at, node in self._deferred:
            entries[at] = (entries[at][0], self._linked[node])

    def _add_directory(
        self, base: bytes, directory: Directory, inode: Inode, parent: Inode
    ) -> None:
        named: Mapping[bytes, Node] = directory.entries
        if not all(map(is_name, named)):
            raise Damaged(f"{base!r}: a directory has an entry with an impossible name")
        hidden: Mapping[bytes, Node] = {}
        if inode is parent:
            hidden = _store_whiteouts(directory)
            named = {**hidden, **named}
        entries = inode.entries
        marks: list[tuple[bytes, bytes]] = []
        for name in sorted([*named, b".", b".."]):
            if name in _DOTS:
                entries.append((name, inode if name == b"." else parent))
                continue
            node = named[name]
            if isinstance(node, Directory):
                child = Inode(stat.S_IFDIR | node.metadata.mode, node.metadata, 2)
                inode.nlink += 1
                self._queue.append((base + name + b"/", node, child, inode))
            else:
                nlink = node.metadata.nlink
                link = self._links.get(id(node))
                if link and link.primary != base + name:
                    # A secondary name: its inode may come later, so enter a placeholder now.
                    self._deferred.append((entries, len(entries), id(node)))
                    entries.append((name, inode))
                    continue
                names = len(link.paths) if link else 1
                child = _leaf(base + name, node, names if nlink is None else nlink, name in hidden)
                if link:
                    self._linked[id(node)] = child
                if is_whiteout(node) and name not in hidden:
                    marks = _MARKS[self._version]
            entries.append((name, child))
            self.inodes.append(child)
        original = directory.metadata.xattrs
        escaped = _escaped(original)
        if inode is parent:
            marks = [*marks, (fmt.OPAQUE, b"y")]
        require_space(base, original, escaped, tuple(marks))
        inode.xattrs = _merged(escaped, sorted(marks)) if marks else escaped


_DOTS = (b".", b"..")
_WHITEOUTS = [(mark, b"") for mark in fmt.WHITEOUTS_MARKS]
_MARKS = (_WHITEOUTS, _WHITEOUTS + [(mark, b"x") for mark in fmt.OPAQUE_MARKS])
"""The attributes by which overlayfs knows that a directory has escaped whiteouts, by format; in the
order in which mkcomposefs sets them."""


def _store_whiteouts(root: Directory) -> dict[bytes, Node]:
    """Whiteouts in the root for the directories of the object store."""
    metadata = Metadata(
        mode=0o644,
        uid=root.metadata.uid,
        gid=root.metadata.gid,
        mtime=root.metadata.mtime,
        mtime_nsec=root.metadata.mtime_nsec,
        xattrs=tuple(pair for pair in root.metadata.xattrs if pair[0] == fmt.SELINUX),
    )
    whiteout = (metadata, DeviceKind.CHARACTER, 0)
    return {name: Device(*whiteout) for name in fmt.STORE_NAMES if name not in root.entries}


def _leaf(path: bytes, node: Leaf, nlink: int, real_whiteout: bool) -> Inode:
    metadata = node.metadata
    if not isinstance(node, Device):
        require_space(path, metadata.xattrs, metadata.xattrs)
    if isinstance(node, Regular):
        inode = Inode(stat.S_IFREG | metadata.mode, metadata, nlink)
        _fill_regular(path, inode, node)
        return inode
    if isinstance(node, Device):
        if is_whiteout(node) and not real_whiteout:
            inode = Inode(stat.S_IFREG | metadata.mode, metadata, nlink)
            marks = [(mark, b"") for mark in fmt.WHITEOUT_MARKS]
            escaped = _escaped(metadata.xattrs)
            require_space(path, metadata.xattrs, escaped, tuple(marks))
            inode.xattrs = _merged(escaped, marks)
            return inode
        require_space(path, metadata.xattrs, metadata.xattrs)
        character = node.kind is DeviceKind.CHARACTER
        file_type = stat.S_IFCHR if character else stat.S_IFBLK
        inode = Inode(file_type | metadata.mode, metadata, nlink)
        inode.device = node.number
    else:
        inode = Inode(_TYPES[type(node)] | metadata.mode, metadata, nlink)
        if isinstance(node, Symlink):
            inode.content = node.target
            inode.size = len(node.target)
    inode.xattrs = _escaped(metadata.xattrs)
    return inode


def _fill_regular(path: bytes, inode: Inode, node: Regular) -> None:
    inode.size = node.size
    xattrs = _escaped(node.metadata.xattrs)
    if not node.size:
        inode.xattrs = xattrs
    elif node.inline is not None:
        if len(node.inline) != node.size:
            raise Damaged(f"{path!r}: {len(node.inline)} bytes of content, but size {node.size}")
        inode.content = node.inline
        inode.xattrs = xattrs
    else:
        inode.chunks = fmt.chunks(node.size)
        if inode.chunks[1] > fmt.CHUNK_COUNT_LIMIT:
            raise Damaged(f"{path!r}: the size {node.size} is larger than EROFS can store")
        name = node.object
        redirect = node.redirect
        if redirect is None and name is not None:
            redirect = f"{name[:2]}/{name[2:]}".encode()
        digest = fmt.METACOPY_HEAD + bytes.fromhex(name) if name is not None else b""
        if redirect:
            added = [(fmt.METACOPY, digest), (fmt.REDIRECT, b"/" + redirect)]
        else:
            added = [(fmt.METACOPY, digest)]
        require_space(path, node.metadata.xattrs, xattrs, tuple(added))
        inode.xattrs = _merged(xattrs, added)


def _escaped(xattrs: Xattrs) -> Xattrs:
    """Rename attributes of overlayfs, so that a mounted image shows them unchanged."""
    if not xattrs:
        return ()
    for name, _ in xattrs:
        if name.startswith(fmt.OVERLAY):
            break
    else:
        return xattrs
    return tuple(
        sorted(
            (
                fmt.ESCAPED + name[len(fmt.OVERLAY) :] if name.startswith(fmt.OVERLAY) else name,
                value,
            )
            for name, value in xattrs
        )
    )


def _merged(xattrs: Xattrs, added: list[tuple[bytes, bytes]]) -> Xattrs:
    """``xattrs`` with ``added``, which is sorted, set as well; sorted by name."""
    return tuple(sorted({**dict(xattrs), **dict(added)}.items())) if xattrs else tuple(added)

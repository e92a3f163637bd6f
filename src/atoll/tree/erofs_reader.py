"""Parse a composefs image into the tree that it was made from.

Accepts only what mkcomposefs and ``erofs_writer`` write, and raises Damaged for the rest. Writing
the parsed tree gives the same image again, with the same digest.

Hard links need care for that. The image stores an inode at its primary name, but its directory
entries do not say which name that is. Inodes are numbered in image order, so during a walk in that
order, the primary name of an inode lies between its number's neighbours. Mostly any name there
gives the same image; ``_assign_inode`` treats the exception, whiteouts.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from atoll.base.ids import ObjectId
from atoll.tree import erofs_format as fmt
from atoll.tree.erofs_image import ImageParts, RawInode, malformed
from atoll.tree.erofs_inodes import is_whiteout
from atoll.tree.gc_pause import gc_paused
from atoll.tree.model import (
    PATH_LIMIT,
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

if TYPE_CHECKING:
    from atoll.tree.model import Leaf, Node


def parse_image(image: bytes | bytearray | memoryview) -> Directory:
    """Parse a whole image. Raises Damaged."""
    with gc_paused():
        return _Reader(ImageParts(memoryview(image).cast("B"))).read()


def parse_below(image: bytes | bytearray | memoryview, path: bytes) -> Node | None:
    """Parse only the node at ``path`` (relative to the root) with all below it; None if absent.

    Hard links to names outside of ``path`` are not recognized as such. Raises Damaged.
    """
    with gc_paused():
        reader = _Reader(ImageParts(memoryview(image).cast("B")))
        return reader.read_below(path.split(b"/"))


def parse_top(image: bytes | bytearray | memoryview) -> tuple[bytes, ...]:
    """The names in the root directory. Raises Damaged."""
    parts = ImageParts(memoryview(image).cast("B"))
    names = (name for name, _, _ in parts.names(parts.inode(parts.root)))
    return tuple(name for name in names if name not in (b".", b".."))


@dataclass(slots=True, eq=False)
class _Branch:
    """A directory while it is parsed; ``node`` is set when all its entries have theirs.

    ``links`` as in ``model.Directory``. ``has_whiteouts``: an escaped whiteout has its primary name
    here, so the directory must be marked.
    """

    inode: RawInode
    parent: _Branch | None
    path_length: int
    items: list[tuple[bytes, _Branch | _Leaf]] = field(default_factory=list)
    links: set[bytes] = field(default_factory=set)
    has_whiteouts: bool = False
    node: Directory | None = None


@dataclass(slots=True, eq=False)
class _Leaf:
    """A node other than a directory, its names so far, and which of them is the primary one."""

    inode: RawInode
    node: Leaf
    names: list[tuple[_Branch, bytes]] = field(default_factory=list)
    primary: tuple[_Branch, bytes] | None = None


class _Reader:
    def __init__(self, parts: ImageParts) -> None:
        self._parts = parts
        self._leaves: dict[int, _Leaf] = {}
        self._counted = 1
        self._whole = True
        self._deferred: tuple[_Leaf, _Branch, bytes] | None = None
        root = parts.inode(parts.root)
        if not stat.S_ISDIR(root.mode) or root.xattrs.get(fmt.OPAQUE) != b"y":
            raise malformed("its root is not a directory, or not opaque")
        del root.xattrs[fmt.OPAQUE]
        self._branches = [_Branch(root, None, 0)]
        self._directories = {root.nid}

    def read(self) -> Directory:
        for branch in self._branches:
            self._read_directory(branch)
        self._resolve_deferred()
        if self._counted != self._parts.inodes:
            raise malformed(f"it says {self._parts.inodes} inodes, but has {self._counted}")
        self._mark_links()
        for leaf in self._leaves.values():
            if leaf.inode.nlink != len(leaf.names):
                metadata = replace(leaf.node.metadata, nlink=leaf.inode.nlink)
                leaf.node = replace(leaf.node, metadata=metadata)
        return self._nodes()

    def read_below(self, names: list[bytes]) -> Node | None:
        self._whole = False
        branch = self._branches[0]
        for number, name in enumerate(names):
            nid = next(
                (nid for found, nid, _ in self._parts.names(branch.inode) if found == name), None
            )
            if nid is None:
                return None
            inode = self._parts.inode(nid)
            if not stat.S_ISDIR(inode.mode):
                return self._leaf(inode).node if number == len(names) - 1 else None
            branch = _Branch(inode, branch, branch.path_length + 1 + len(name))
        self._branches = [branch]
        for below in self._branches:
            self._read_directory(below)
        return self._nodes()

    def _nodes(self) -> Directory:
        """Create the nodes, children first; returns that of the first branch."""
        for branch in reversed(self._branches):
            entries = {name: item.node for name, item in branch.items if item.node}
            node = Directory(self._metadata_of(branch), entries, frozenset(branch.links))
            branch.node = node
        return node

    def _read_directory(self, branch: _Branch) -> None:
        expected = {b".": branch.inode.nid, b"..": (branch.parent or branch).inode.nid}
        subdirectories = 0
        hidden = set()
        for name, nid, file_type in self._parts.names(branch.inode):
            if name in expected:
                if nid != expected.pop(name) or file_type != fmt.FILE_TYPES[stat.S_IFDIR]:
                    raise malformed(f"{name!r} in a directory is another one")
                continue
            if not is_name(name) or branch.path_length + 1 + len(name) > PATH_LIMIT:
                raise malformed(f"{name!r} is not a valid name, or its path is too long")
            leaf = self._leaves.get(nid)
            inode = leaf.inode if leaf else self._parts.inode(nid)
            if fmt.FILE_TYPES[stat.S_IFMT(inode.mode)] != file_type:
                raise malformed(f"{name!r} has another file type than its inode")
            if stat.S_ISDIR(inode.mode):
                subdirectories += 1
                self._enter(branch, name, inode)
            elif stat.S_ISCHR(inode.mode) and inode.where == 0:
                hidden.add(name)
                self._count()
            else:
                self._add(branch, name, leaf or self._leaf(inode))
        self._check_whiteouts(branch, hidden)
        if expected or branch.inode.nlink != 2 + subdirectories:
            raise malformed("a directory has a wrong link count, or does not name itself")

    def _check_whiteouts(self, branch: _Branch, hidden: set[bytes]) -> None:
        """Only the root may have unescaped whiteouts, and exactly those that hide the store."""
        wanted = set(fmt.STORE_NAMES) if branch.parent is None else set()
        if hidden != wanted - {name for name, _ in branch.items}:
            raise malformed("a directory has whiteouts that it should not have, or lacks some")

    def _enter(self, branch: _Branch, name: bytes, inode: RawInode) -> None:
        if inode.nid in self._directories:
            raise malformed("a directory has two names")
        self._directories.add(inode.nid)
        below = _Branch(inode, branch, branch.path_length + 1 + len(name))
        self._branches.append(below)
        branch.items.append((name, below))
        self._count()

    def _add(self, branch: _Branch, name: bytes, leaf: _Leaf) -> None:
        leaf.names.append((branch, name))
        branch.items.append((name, leaf))
        if not self._whole:
            leaf.primary = leaf.primary or (branch, name)
            branch.has_whiteouts |= is_whiteout(leaf.node)
        elif leaf.primary is None:
            if leaf.inode.number == self._counted + 1:
                self._resolve_deferred()
            if leaf.inode.number == self._counted:
                self._assign_inode(leaf, branch, name)

    def _assign_inode(self, leaf: _Leaf, branch: _Branch, name: bytes) -> None:
        """Take ``name`` as the primary name of ``leaf``, the next inode in number order.

        Several names may lie between two numbers, and for most nodes the first of them will do. For
        a whiteout it matters: the writer marks the directory of its primary name, and no other.
        Skip directories without the mark. Where an earlier whiteout already explains the mark,
        defer: a later directory may have no other explanation for its own.
        """
        if is_whiteout(leaf.node):
            if branch.inode.xattrs.get(fmt.WHITEOUTS_MARKS[0]) != b"":
                return
            if branch.has_whiteouts and self._deferred is None:
                self._deferred = (leaf, branch, name)
            if branch.has_whiteouts:
                return
            branch.has_whiteouts = True
            self._deferred = None
        leaf.primary = (branch, name)
        self._counted += 1

    def _count(self) -> None:
        self._resolve_deferred()
        self._counted += 1

    def _resolve_deferred(self) -> None:
        """No later directory needs the deferred whiteout, so its first candidate is the primary
        name."""
        if self._deferred is None:
            return
        leaf, branch, name = self._deferred
        self._deferred = None
        leaf.primary = (branch, name)
        self._counted += 1

    def _leaf(self, inode: RawInode) -> _Leaf:
        node: Leaf
        xattrs = inode.xattrs
        file_type = stat.S_IFMT(inode.mode)
        if file_type == stat.S_IFREG:
            node = self._regular(inode)
        elif file_type == stat.S_IFLNK:
            target = bytes(self._parts.data(inode))
            if not target or len(target) > PATH_LIMIT or b"\0" in target:
                raise malformed("a symbolic link has an impossible target")
            node = Symlink(_metadata(inode, xattrs), target)
        elif file_type == stat.S_IFCHR:
            node = Device(_metadata(inode, xattrs), DeviceKind.CHARACTER, inode.where)
        elif file_type == stat.S_IFBLK:
            node = Device(_metadata(inode, xattrs), DeviceKind.BLOCK, inode.where)
        elif file_type == stat.S_IFIFO:
            node = Fifo(_metadata(inode, xattrs))
        else:
            node = Socket(_metadata(inode, xattrs))
        leaf = self._leaves[inode.nid] = _Leaf(inode, node)
        return leaf

    def _regular(self, inode: RawInode) -> Regular | Device:
        xattrs = dict(inode.xattrs)
        if inode.layout != fmt.LAYOUT_CHUNKS:
            if not inode.size and all(xattrs.get(mark) == b"" for mark in fmt.WHITEOUT_MARKS):
                for mark in fmt.WHITEOUT_MARKS:
                    del xattrs[mark]
                return Device(_metadata(inode, xattrs), DeviceKind.CHARACTER, 0)
            if inode.size > fmt.CONTENT_LIMIT:
                raise malformed("a small file is too large")
            content = bytes(self._parts.data(inode)) if inode.size else None
            return Regular(_metadata(inode, xattrs), inode.size, inline=content)
        if not inode.size or fmt.chunks(inode.size)[0] != inode.where & fmt.U16_MAX:
            raise malformed("a file has chunks of a wrong size")
        digest = xattrs.pop(fmt.METACOPY, None)
        redirect = xattrs.pop(fmt.REDIRECT, None)
        if redirect is not None and (not redirect.startswith(b"/") or b"\0" in redirect):
            raise malformed("a file has an impossible path to its content")
        metadata = _metadata(inode, xattrs)
        if digest == b"":
            return Regular(metadata, inode.size, redirect=redirect[1:] if redirect else b"")
        head = len(fmt.METACOPY_HEAD)
        if digest is None or len(digest) != head + 32 or digest[:head] != fmt.METACOPY_HEAD:
            raise malformed("a file has an impossible digest")
        name = ObjectId(digest[head:].hex())
        if redirect == f"/{name[:2]}/{name[2:]}".encode():
            return Regular(metadata, inode.size, name)
        return Regular(metadata, inode.size, name, redirect=redirect[1:] if redirect else b"")

    def _metadata_of(self, branch: _Branch) -> Metadata:
        """The metadata of a directory, without the marks for its whiteouts."""
        xattrs = dict(branch.inode.xattrs)
        # A hard-linked whiteout marks one of its directories only, which may be outside of the part
        # that is read. In that case look at the first mark: no directory has it for itself.
        if branch.has_whiteouts and (self._whole or fmt.WHITEOUTS_MARKS[0] in xattrs):
            marks = dict.fromkeys(fmt.WHITEOUTS_MARKS, b"")
            if self._parts.version:
                marks |= dict.fromkeys(fmt.OPAQUE_MARKS, b"x")
            found = {mark: xattrs.pop(mark, None) for mark in marks}
            if found != marks:
                raise malformed("a directory of whiteouts is not marked as one")
        return _metadata(branch.inode, xattrs)

    def _mark_links(self) -> None:
        """Set ``links`` for nodes whose primary name is not their first one in walk order."""
        firsts: dict[int, tuple[_Branch, bytes]] = {}
        stack: list[tuple[_Branch, bytes, _Branch | _Leaf]] = [
            (self._branches[0], b"", self._branches[0])
        ]
        while stack:
            above, name, item = stack.pop()
            if isinstance(item, _Branch):
                stack.extend((item, *below) for below in reversed(item.items))
            elif len(item.names) > 1 and item.inode.nid not in firsts:
                firsts[item.inode.nid] = (above, name)
        for nid, first in firsts.items():
            leaf = self._leaves[nid]
            if leaf.primary is not None and leaf.primary != first:
                for branch, name in leaf.names:
                    if (branch, name) != leaf.primary:
                        branch.links.add(name)


def _metadata(inode: RawInode, xattrs: dict[bytes, bytes]) -> Metadata:
    """The metadata of an inode, overlay attributes unescaped.

    ``xattrs`` are its attributes without those that the image needs itself.
    """
    found = {}
    for name, value in xattrs.items():
        if not name.startswith(fmt.OVERLAY):
            found[name] = value
        elif name.startswith(fmt.ESCAPED):
            found[fmt.OVERLAY + name[len(fmt.ESCAPED) :]] = value
        else:
            raise malformed(f"a file has the attribute {name!r}")
    return Metadata(
        mode=stat.S_IMODE(inode.mode),
        uid=inode.owner[0],
        gid=inode.owner[1],
        mtime=inode.time[0],
        mtime_nsec=inode.time[1],
        xattrs=tuple(sorted(found.items())),
    )

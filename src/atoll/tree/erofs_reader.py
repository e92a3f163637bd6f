"""A composefs image back as the tree it was made from.

Reads what mkcomposefs and ``erofs_writer`` write, and nothing else: an image that could not have
come from them is Damaged.
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
    """The tree in a composefs image. Raises Damaged."""
    with gc_paused():
        return _Reader(ImageParts(memoryview(image).cast("B"))).read()


def parse_below(image: bytes | bytearray | memoryview, path: bytes) -> Node | None:
    """What a composefs image has at ``path`` (relative), None when it has nothing there.

    Only what is on the way and below is read, so hard links from elsewhere are not told from names
    of their own. Raises Damaged.
    """
    with gc_paused():
        reader = _Reader(ImageParts(memoryview(image).cast("B")))
        return reader.read_below(path.split(b"/"))


@dataclass(slots=True, eq=False)
class _Branch:
    """A directory on its way: its ``node`` is made when all that it names is."""

    inode: RawInode
    parent: _Branch | None
    path_length: int
    items: list[tuple[bytes, _Branch | _Leaf]] = field(default_factory=list)
    links: set[bytes] = field(default_factory=set)
    has_whiteouts: bool = False
    node: Directory | None = None


@dataclass(slots=True, eq=False)
class _Leaf:
    """A node that is no directory, its names so far, and which of them has the inode."""

    inode: RawInode
    node: Leaf
    names: list[tuple[_Branch, bytes]] = field(default_factory=list)
    place: tuple[_Branch, bytes] | None = None


class _Reader:
    def __init__(self, parts: ImageParts) -> None:
        self._parts = parts
        self._leaves: dict[int, _Leaf] = {}
        self._counted = 1
        self._whole = True
        self._put_off: tuple[_Leaf, _Branch, bytes] | None = None
        root = parts.inode(parts.root)
        if not stat.S_ISDIR(root.mode) or root.xattrs.get(fmt.OPAQUE) != b"y":
            raise malformed("its root is not a directory, or not opaque")
        del root.xattrs[fmt.OPAQUE]
        self._branches = [_Branch(root, None, 0)]
        self._directories = {root.nid}

    def read(self) -> Directory:
        for branch in self._branches:
            self._read_directory(branch)
        self._settle_put_off()
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
        """The first of the branches with all below it."""
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
        """Only the root may have whiteouts as they are: those that hide the store."""
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
            leaf.place = leaf.place or (branch, name)
            branch.has_whiteouts |= is_whiteout(leaf.node)
        elif leaf.place is None:
            if leaf.inode.number == self._counted + 1:
                self._settle_put_off()
            if leaf.inode.number == self._counted:
                self._place(leaf, branch, name)

    def _place(self, leaf: _Leaf, branch: _Branch, name: bytes) -> None:
        """Inodes are numbered in the order of their places, which leaves open which of the names
        between two numbers is the place. That is the same but for a whiteout: its directory, and
        nobody else's, is marked."""
        if is_whiteout(leaf.node):
            if branch.inode.xattrs.get(fmt.WHITEOUTS_MARKS[0]) != b"":
                return
            if branch.has_whiteouts and self._put_off is None:
                self._put_off = (leaf, branch, name)
            if branch.has_whiteouts:
                return
            branch.has_whiteouts = True
            self._put_off = None
        leaf.place = (branch, name)
        self._counted += 1

    def _count(self) -> None:
        self._settle_put_off()
        self._counted += 1

    def _settle_put_off(self) -> None:
        """No directory that is marked for no other reason came: the first place will do."""
        if self._put_off is None:
            return
        leaf, branch, name = self._put_off
        self._put_off = None
        leaf.place = (branch, name)
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
        place = xattrs.pop(fmt.REDIRECT, None)
        if place is not None and (not place.startswith(b"/") or b"\0" in place):
            raise malformed("a file has an impossible path to its content")
        metadata = _metadata(inode, xattrs)
        if digest == b"":
            return Regular(metadata, inode.size, redirect=place[1:] if place else b"")
        head = len(fmt.METACOPY_HEAD)
        if digest is None or len(digest) != head + 32 or digest[:head] != fmt.METACOPY_HEAD:
            raise malformed("a file has an impossible digest")
        name = ObjectId(digest[head:].hex())
        if place == f"/{name[:2]}/{name[2:]}".encode():
            return Regular(metadata, inode.size, name)
        return Regular(metadata, inode.size, name, redirect=place[1:] if place else b"")

    def _metadata_of(self, branch: _Branch) -> Metadata:
        """The metadata of a directory, without the marks that its whiteouts brought."""
        xattrs = dict(branch.inode.xattrs)
        # A whiteout of several names marks the directory of one only, and of a part of an image
        # nobody can tell whether that is elsewhere. The first mark is never a directory's own.
        if branch.has_whiteouts and (self._whole or fmt.WHITEOUTS_MARKS[0] in xattrs):
            marks = dict.fromkeys(fmt.WHITEOUTS_MARKS, b"")
            if self._parts.version:
                marks |= dict.fromkeys(fmt.OPAQUE_MARKS, b"x")
            found = {mark: xattrs.pop(mark, None) for mark in marks}
            if found != marks:
                raise malformed("a directory of whiteouts is not marked as one")
        return _metadata(branch.inode, xattrs)

    def _mark_links(self) -> None:
        """Note the names of hard-linked nodes whose inode is not at the first in walk order."""
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
            if leaf.place is not None and leaf.place != first:
                for branch, name in leaf.names:
                    if (branch, name) != leaf.place:
                        branch.links.add(name)


def _metadata(inode: RawInode, xattrs: dict[bytes, bytes]) -> Metadata:
    """The metadata of an inode; ``xattrs`` are its attributes without the image's own."""
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

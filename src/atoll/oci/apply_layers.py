"""Apply layers in order to build a tree ("Image Layer Filesystem Changeset" of the OCI image spec).

The tree is a model in memory, so no path of a layer can touch a disk.

Whiteouts: ``.wh.NAME`` removes NAME of lower layers, ``.wh..wh..opq`` removes everything of lower
layers in its directory. Neither affects entries of its own layer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from atoll.base.errors import Damaged
from atoll.oci.layer_plan import WHITEOUT
from atoll.tree.model import (
    INLINE_LIMIT,
    Device,
    DeviceKind,
    Directory,
    Fifo,
    Metadata,
    Regular,
    Symlink,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.oci.tar_reader import TarMember, TarReader
    from atoll.store.objects import ObjectSink
    from atoll.tree.model import Leaf, Node

OPAQUE = b".wh..wh..opq"
WHOLE_LIMIT = 1 << 20
MAX_MEMBERS = 1_000_000
"""Members of all layers of an image. The model needs some 600 bytes of memory for each."""

MAX_IMPLIED = 10_000
"""Parent directories without a tar header: a short path can name many of them."""

MAX_XATTRS = 64 << 20
"""Bytes of memory for the extended attributes of an image."""

_XATTR_COST = 200
"""Bytes of overhead for each extended attribute in memory."""

_IMPLIED = Metadata(mode=0o755)


class Layer(Protocol):
    """Iterate for the members; ``regular`` makes the node of the current member, a regular file."""

    def __iter__(self) -> Iterator[TarMember]: ...

    def regular(self, member: TarMember) -> Regular: ...


class TarLayer:
    """A layer read from a tar; the contents of its files go into ``sink``."""

    def __init__(self, reader: TarReader, sink: ObjectSink) -> None:
        self._reader = reader
        self._sink = sink

    def __iter__(self) -> Iterator[TarMember]:
        return iter(self._reader)

    def regular(self, member: TarMember) -> Regular:
        content = self._reader.content()
        if member.size > WHOLE_LIMIT:
            return Regular(member.metadata, member.size, self._sink.put_chunks(content))
        data = b"".join(content)
        if len(data) > INLINE_LIMIT:
            return Regular(member.metadata, member.size, self._sink.put_bytes(data))
        return Regular(member.metadata, member.size, None, data or None)


class LayeredTree:
    """Applies layers from the lowest to the highest; ``root`` is the result so far."""

    def __init__(self) -> None:
        self._members = 0
        self._implied = 0
        self._xattrs = 0
        self._where = ""
        self.root = Directory(_IMPLIED, {})

    def add_layer(self, layer: Layer, *, where: str) -> None:
        """Apply one layer. Raises Damaged if it is invalid; the tree is unusable afterwards."""
        self._where = where
        new: set[bytes] = set()
        for member in layer:
            self._count(member)
            folder, _, name = member.path.rpartition(b"/")
            if name == OPAQUE:
                self._clear(folder, new)
            elif name.startswith(WHITEOUT):
                self._remove(folder, name.removeprefix(WHITEOUT), new)
            else:
                self._put(member, layer)
                _add_with_parents(member.path, new)

    def _count(self, member: TarMember) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise Damaged(
                f"{self._where}: the image has more than {MAX_MEMBERS} files",
                hint="report it to the publisher of the image",
            )
        xattrs = member.metadata.xattrs
        self._xattrs += sum(_XATTR_COST + len(key) + len(value) for key, value in xattrs)
        if self._xattrs > MAX_XATTRS:
            raise Damaged(
                f"{self._where}: the image has too many extended attributes",
                hint="report it to the publisher of the image",
            )

    def _put(self, member: TarMember, layer: Layer) -> None:
        if member.kind == b"5":
            self._put_directory(member)
            return
        if not member.path:
            raise self._damaged(member.path, "the root is not a directory")
        folder, _, name = member.path.rpartition(b"/")
        node = self._link_target(member) if member.kind == b"1" else self._leaf(member, layer)
        _children(self._directory(folder))[name] = node

    def _put_directory(self, member: TarMember) -> None:
        if not member.path:
            self.root = Directory(member.metadata, self.root.entries)
            return
        folder, _, name = member.path.rpartition(b"/")
        siblings = _children(self._directory(folder))
        existing = siblings.get(name)
        kept = existing.entries if isinstance(existing, Directory) else {}
        siblings[name] = Directory(member.metadata, kept)

    def _directory(self, path: bytes) -> Directory:
        """The directory at ``path``; directories without a tar header are created."""
        found = self.root
        for name in path.split(b"/") if path else ():
            entries = _children(found)
            below = entries.get(name)
            if below is None:
                below = entries[name] = self._implied_directory()
            if not isinstance(below, Directory):
                raise self._damaged(path, "a parent of it is not a directory")
            found = below
        return found

    def _implied_directory(self) -> Directory:
        self._implied += 1
        if self._implied > MAX_IMPLIED:
            raise Damaged(
                f"{self._where}: more than {MAX_IMPLIED} directories have no entry of their own",
                hint="report it to the publisher of the image",
            )
        return Directory(_IMPLIED, {})

    def _link_target(self, member: TarMember) -> Leaf:
        folder, _, name = member.target.rpartition(b"/")
        node = self._directory(folder).entries.get(name)
        if node is None or isinstance(node, Directory):
            raise self._damaged(member.path, "it is a hard link to a missing file")
        return node

    def _leaf(self, member: TarMember, layer: Layer) -> Leaf:
        match member.kind:
            case b"0":
                return layer.regular(member)
            case b"2":
                return Symlink(member.metadata, member.target)
            case b"3":
                return Device(member.metadata, DeviceKind.CHARACTER, member.device)
            case b"4":
                return Device(member.metadata, DeviceKind.BLOCK, member.device)
        return Fifo(member.metadata)

    def _remove(self, folder: bytes, name: bytes, new: set[bytes]) -> None:
        path = folder + b"/" + name if folder else name
        siblings = _children(self._directory(folder))
        # The same layer may bring NAME and a whiteout for it, in any order: then the whiteout only
        # removes what lower layers have below NAME.
        if path not in new:
            siblings.pop(name, None)
        elif isinstance(siblings.get(name), Directory):
            self._clear(path, new)

    def _clear(self, folder: bytes, new: set[bytes]) -> None:
        """Remove from a directory what lower layers put there: everything that is not ``new``."""
        todo = [(folder, self._directory(folder))]
        while todo:
            above, directory = todo.pop()
            entries = _children(directory)
            for name in list(entries):
                path = above + b"/" + name if above else name
                below = entries[name]
                if path not in new:
                    del entries[name]
                elif isinstance(below, Directory):
                    todo.append((path, below))

    def _damaged(self, path: bytes, why: str) -> Damaged:
        return Damaged(
            f"{self._where}: {os.fsdecode(path)}: {why}", hint="pull or copy the image again"
        )


def _children(directory: Directory) -> dict[bytes, Node]:
    """The entries of a directory that is still being built, as a mutable dict."""
    assert isinstance(directory.entries, dict)
    return directory.entries


def _add_with_parents(path: bytes, new: set[bytes]) -> None:
    """Add ``path`` and all its parents to the paths that come from the current layer."""
    while path and path not in new:
        new.add(path)
        path = path.rpartition(b"/")[0]

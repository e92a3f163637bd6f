"""Check a tree out of the store into a directory of ordinary files; the inverse of ``scan``.

Contents are copied, not linked, because an object is read-only, sealed by fs-verity, and has no
owner, mode or time of its own. File systems with reflinks share the blocks. Setting owners, device
nodes and file capabilities needs root.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, Refused
from atoll.host.fs import space_errors
from atoll.store.objects import copy_file, open_object
from atoll.tree.model import Device, DeviceKind, Directory, Fifo, Regular, Socket, Symlink

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.store.layout import Store
    from atoll.tree.model import Leaf, Metadata, Node

_REPORT_EVERY = 0x3FF


def check_out(store: Store, tree: Directory, target: Path, reporter: Reporter) -> None:
    """Write ``tree`` to ``target``, which must not exist yet. Nothing is synced.

    Raises Damaged (an object is missing or has another size), Refused (sockets) or NoSpace.
    """
    with space_errors(target):
        _CheckOut(store, reporter).run(tree, os.fsencode(target))


class _CheckOut:
    def __init__(self, store: Store, reporter: Reporter) -> None:
        self._store = store
        self._reporter = reporter
        self._first_names: dict[int, bytes] = {}
        self._files = 0

    def run(self, tree: Directory, target: bytes) -> None:
        todo = [(target, tree)]
        for path, directory in todo:  # the list grows during the loop: parents come first
            os.mkdir(path, 0o700)
            for name, node in directory.entries.items():
                child = path + b"/" + name
                if isinstance(node, Directory):
                    todo.append((child, node))
                else:
                    self._leaf(child, node)
        # Directories come last, as each new entry changes their time, and from the bottom up, as
        # their mode may deny access to what is below.
        for path, directory in reversed(todo):
            _set_attributes(path, directory)
            _set_time(path, directory.metadata)

    def _leaf(self, path: bytes, node: Leaf) -> None:
        first = self._first_names.setdefault(id(node), path)
        if first is not path:
            os.link(first, path, follow_symlinks=False)
            return
        if isinstance(node, Regular):
            self._regular(path, node)
        elif isinstance(node, Symlink):
            os.symlink(node.target, path)
        else:
            _special(path, node)
        _set_attributes(path, node)
        _set_time(path, node.metadata)
        self._files += 1
        if not self._files & _REPORT_EVERY:
            self._reporter.progress(self._files, None, unit="files")

    def _regular(self, path: bytes, node: Regular) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if node.object is None:
                os.write(handle, node.inline or b"")
                return
            source = open_object(self._store, node.object)
            try:
                copy_file(source, handle)
            finally:
                os.close(source)
            if os.fstat(handle).st_size != node.size:
                raise Damaged(
                    f"object {node.object} does not have the size of {os.fsdecode(path)}",
                    hint="see: atoll store check",
                )
        finally:
            os.close(handle)


def _special(path: bytes, node: Leaf) -> None:
    if isinstance(node, Device):
        kind = stat.S_IFCHR if node.kind is DeviceKind.CHARACTER else stat.S_IFBLK
        os.mknod(path, kind | 0o600, node.number)
    elif isinstance(node, Fifo):
        os.mkfifo(path, 0o600)
    else:
        assert isinstance(node, Socket)
        raise Refused(f"{os.fsdecode(path)} is a socket, which a tree cannot contain")


def _set_attributes(path: bytes, node: Node) -> None:
    """Set owner, then mode (a change of owner clears setuid bits), then extended attributes."""
    metadata = node.metadata
    os.chown(path, metadata.uid, metadata.gid, follow_symlinks=False)
    if not isinstance(node, Symlink):
        os.chmod(path, metadata.mode)
    for name, value in metadata.xattrs:
        os.setxattr(path, name, value, follow_symlinks=False)


def _set_time(path: bytes, metadata: Metadata) -> None:
    time = metadata.mtime * 1_000_000_000 + metadata.mtime_nsec
    os.utime(path, ns=(time, time), follow_symlinks=False)

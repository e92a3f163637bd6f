"""Reading an ``/etc``: a directory, the upper directory of an overlay, or a tree's image.

The upper directory of an overlay says what differs from the lower one: a character device 0:0 is a
whiteout (the name is not there), a directory with ``trusted.overlay.opaque`` = ``y`` hides all that
the lower one has in it. ``/etc`` is mounted without redirects and metacopy, so a file or directory
with their xattrs was written by another mount and is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from atoll.base.errors import Busy, Damaged
from atoll.machine.etc.etc_tree import DRAFT, Entry, Kind, Node, children_of, is_directory, join
from atoll.tree import model
from atoll.tree.verity import VerityHasher, verity_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atoll.base.ids import ObjectId

_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_FOREIGN = tuple(
    f"{space}.overlay.{mark}" for space in ("trusted", "user") for mark in ("redirect", "metacopy")
)
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcReader:
    root: Node
    skipped: tuple[str, ...] = ()
    """Sockets, pipes and devices: they are not merged into another deployment."""
    unread: tuple[str, ...] = ()
    """Files and directories that this user may not read."""


def read_directory(directory: Path, *, tolerant: bool = False) -> EtcReader:
    """The ``/etc`` in ``directory``, as a program sees it. Symbolic links are not followed.

    With ``tolerant``, files and directories that may not be read are listed as ``unread`` instead
    of raising PermissionError. Such a file has its size in place of its digest, and such a
    directory is empty.
    """
    return _read(directory, None, _Scanner(layered=False, tolerant=tolerant))


def read_layered(lower: Node, upper: Path) -> EtcReader:
    """What an overlay of ``upper`` on ``lower`` shows, without mounting it. Raises Damaged."""
    return _read(upper, lower, _Scanner(layered=True))


def etc_of_tree(etc: model.Directory, read_object: Callable[[ObjectId], bytes]) -> Node:
    """The ``/etc`` of a tree, as it is in the tree's image."""
    return _node_of_tree(etc, read_object)


def is_kept_xattr(name: str) -> bool:
    """Whether an xattr belongs to the file itself, rather than to the file system it is on."""
    if name.startswith("security."):
        return name != "security.evm"
    return name in _ACLS or (name.startswith("user.") and not name.startswith("user.overlay."))


def read_xattrs(path: str) -> tuple[tuple[str, bytes], ...]:
    names = _xattr_names(path)
    return tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(names)
        if is_kept_xattr(name)
    )


def _xattr_names(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _read(directory: Path, lower: Node | None, scanner: _Scanner) -> EtcReader:
    if not stat.S_ISDIR(os.lstat(directory).st_mode):
        raise Damaged(f"{directory} is not a directory")
    root = scanner.scan(os.fspath(directory), "", lower)
    if root is None or not is_directory(root):
        raise Damaged(f"{directory} is not a directory")
    return EtcReader(root=root, skipped=tuple(scanner.skipped), unread=tuple(scanner.unread))


@dataclass(slots=True)
class _Scanner:
    layered: bool
    tolerant: bool = False
    skipped: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def scan(self, source: str, path: str, lower: Node | None) -> Node | None:
        """What is at ``source``; None when there is nothing, or nothing that a merge handles."""
        try:
            return self._scan(source, path, lower)
        except FileNotFoundError:
            # Removed while its directory was being read.
            return None

    def _scan(self, source: str, path: str, lower: Node | None) -> Node | None:
        found = os.lstat(source)
        if stat.S_ISDIR(found.st_mode):
            return self._scan_directory(source, path, lower, found)
        if stat.S_ISREG(found.st_mode):
            digest = self._digest(source, path, found)
            read = partial(_read_file, source, digest)
            return Node(self._entry(source, found, Kind.FILE, digest, read))
        if stat.S_ISLNK(found.st_mode):
            return Node(self._entry(source, found, Kind.SYMLINK, os.readlink(source)))  # noqa: PTH115  # Path would tidy it
        if not (self.layered and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0):
            self.skipped.append(path)
        return None

    def _scan_directory(
        self, source: str, path: str, lower: Node | None, found: os.stat_result
    ) -> Node:
        entry = self._entry(source, found, Kind.DIRECTORY)
        below = {} if self.layered and _is_opaque(source) else dict(children_of(lower))
        children = dict(below)
        for name in self._names(source, path):
            if not path and name == DRAFT:
                continue
            child = self.scan(f"{source}/{name}", join(path, name), below.get(name))
            children.pop(name, None)
            if child is not None:
                children[name] = child
        return Node(entry, children)

    def _names(self, source: str, path: str) -> list[str]:
        try:
            with os.scandir(source) as names:
                return sorted(each.name for each in names)
        except PermissionError:
            if not self.tolerant:
                raise
        self.unread.append(path)
        return []

    def _digest(self, source: str, path: str, found: os.stat_result) -> str:
        try:
            return _digest_file(source)
        except PermissionError:
            if not self.tolerant:
                raise
        self.unread.append(path)
        return f"{found.st_size} bytes"

    def _entry(
        self,
        source: str,
        found: os.stat_result,
        kind: Kind,
        content: str = "",
        read: Callable[[], bytes] = bytes,
    ) -> Entry:
        if self.layered:
            marks = [name for name in _xattr_names(source) if name in _FOREIGN]
            if marks:
                raise Damaged(
                    f"{source} has {marks[0]}: it was written by an overlay with other options",
                    hint="mount /etc with redirect_dir=off,metacopy=off",
                )
        return Entry(
            kind=kind,
            mode=0o777 if kind is Kind.SYMLINK else stat.S_IMODE(found.st_mode),
            uid=found.st_uid,
            gid=found.st_gid,
            xattrs=read_xattrs(source),
            content=content,
            mtime_ns=found.st_mtime_ns,
            read=read,
        )


def _is_opaque(source: str) -> bool:
    names = _xattr_names(source)
    return any(name in names and os.getxattr(source, name) == b"y" for name in _OPAQUE)


def _digest_file(source: str) -> str:
    hasher = VerityHasher()
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.digest()


def _read_file(source: str, digest: str) -> bytes:
    changed = Busy(f"{source} changed while it was read", hint="try again")
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise changed from None
    with os.fdopen(handle, "rb") as file:
        content = file.read()
    if verity_digest(content) != digest:
        raise changed
    return content


def _node_of_tree(node: model.Node, read_object: Callable[[ObjectId], bytes]) -> Node:
    """Raises Damaged for what no tree of Atoll's has in its ``/etc``."""
    attributes = node.metadata
    xattrs = [(os.fsdecode(name), value) for name, value in attributes.xattrs]
    make = partial(
        Entry,
        mode=attributes.mode,
        uid=attributes.uid,
        gid=attributes.gid,
        xattrs=tuple(pair for pair in xattrs if is_kept_xattr(pair[0])),
        mtime_ns=attributes.mtime * 10**9 + attributes.mtime_nsec,
    )
    match node:
        case model.Directory():
            children = {
                os.fsdecode(name): _node_of_tree(child, read_object)
                for name, child in node.entries.items()
            }
            return Node(make(kind=Kind.DIRECTORY), children)
        case model.Symlink():
            return Node(make(kind=Kind.SYMLINK, content=os.fsdecode(node.target), mode=0o777))
        case model.Regular(object=None):
            content = node.inline or b""
            read = partial(bytes, content)
            return Node(make(kind=Kind.FILE, content=verity_digest(content), read=read))
        case model.Regular(object=name) if name is not None:
            return Node(make(kind=Kind.FILE, content=name, read=partial(read_object, name)))
    raise Damaged("the tree has a device, a pipe or a socket in /etc")

"""A file tree as immutable values: directories, files, links and devices with their metadata.

Names are bytes, as in the kernel. A hard-linked file is the *same* node object under each of its
names; equal values alone are not a hard link. Content of a regular file is either ``inline`` (in
the composefs image) or in the ``object`` with that id; an empty file has neither.

Three fields exist only so that dumps and images from other tools keep their digest: ``nlink``,
``redirect`` and ``links``. In a canonical tree they have their defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.base.ids import ObjectId

INLINE_LIMIT = 64
"""Files of at most this many bytes are inline in the composefs image (as with mkcomposefs)."""

Xattrs = tuple[tuple[bytes, bytes], ...]
"""Extended attributes as (full name such as ``b"security.capability"``, value), sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The metadata of every node.

    ``mode`` has the permission bits (0o7777) without the file type. ``mtime`` is in seconds since
    1970. ``nlink`` is a stored link count that differs from the number of names.
    """

    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    mtime_nsec: int = 0
    xattrs: Xattrs = ()
    nlink: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Regular:
    """A regular file of ``size`` bytes.

    ``redirect`` is the path of the content in the object store if it is not the object's default
    path (``ab/cdef…``); empty means that the image has no path at all.
    """

    metadata: Metadata
    size: int
    object: ObjectId | None = None
    inline: bytes | None = None
    redirect: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Symlink:
    """A symbolic link. Images hold targets of 1 to ``PATH_LIMIT`` bytes."""

    metadata: Metadata
    target: bytes


class DeviceKind(Enum):
    """Character or block device."""

    CHARACTER = "c"
    BLOCK = "b"


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """``number`` is the device number as in stat(2)'s ``st_rdev``."""

    metadata: Metadata
    kind: DeviceKind
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Fifo:
    """A named pipe."""

    metadata: Metadata


@dataclass(frozen=True, slots=True, eq=False)
class Socket:
    """A Unix socket."""

    metadata: Metadata


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """``links`` are the names of hard-linked nodes whose primary name is another one.

    By default the first name in the order of ``walk`` is primary (see ``hardlinks``).
    """

    metadata: Metadata
    entries: Mapping[bytes, Node]
    links: frozenset[bytes] = frozenset()


Leaf = Regular | Symlink | Device | Fifo | Socket
Node = Leaf | Directory


NAME_LIMIT = 255
PATH_LIMIT = 4095
"""The longest name of an entry, and the longest path or link target, in bytes."""


def is_name(name: bytes) -> bool:
    """Whether ``name`` is valid for a directory entry."""
    return (
        0 < len(name) <= NAME_LIMIT
        and b"/" not in name
        and b"\0" not in name
        and name != b"."
        and name != b".."
    )


def walk(root: Directory) -> Iterator[tuple[bytes, Node]]:
    """Every node with its absolute path, parents first, names in byte order; root is ``b"/"``."""
    yield b"/", root
    stack = [(b"/", name, root.entries[name]) for name in sorted(root.entries, reverse=True)]
    while stack:
        parent, name, node = stack.pop()
        path = parent + name
        yield path, node
        if isinstance(node, Directory):
            below = path + b"/"
            stack.extend(
                (below, child, node.entries[child]) for child in sorted(node.entries, reverse=True)
            )

"""A file hierarchy as values: directories, files, links and devices, each with its metadata.

A name is bytes, as the kernel has it. Two names of one hard-linked file are the *same* node object
under both names; equality of values alone never makes a hard link. Regular content is either
``inline`` (kept in the composefs image) or named by the ``object`` that holds it; an empty file has
neither.

Three fields exist only so that dumps and images written by others keep their digest: ``nlink``,
``redirect`` and ``links``. A canonical tree leaves them at their defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.base.ids import ObjectId

INLINE_LIMIT = 64
"""Files of at most this many bytes are kept inside the composefs image (as mkcomposefs does)."""

Xattrs = tuple[tuple[bytes, bytes], ...]
"""Extended attributes as (full name such as ``b"security.capability"``, value), sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What every node has. ``mode`` is the permission bits (0o7777), without the file type.

    ``nlink`` is a link count that somebody claims and that is not the number of names.
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
    """``redirect`` says where the content is below the objects when that is not the object's own
    place (``ab/cdef…``); empty means that no place is given at all.
    """

    metadata: Metadata
    size: int
    object: ObjectId | None = None
    inline: bytes | None = None
    redirect: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Symlink:
    metadata: Metadata
    target: bytes


class DeviceKind(Enum):
    CHARACTER = "c"
    BLOCK = "b"


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """``number`` is the device number as stat(2) gives it in ``st_rdev``."""

    metadata: Metadata
    kind: DeviceKind
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Fifo:
    metadata: Metadata


@dataclass(frozen=True, slots=True, eq=False)
class Socket:
    metadata: Metadata


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """``links`` are the names of hard-linked nodes that have their inode at another of their names.

    Where none says so, the first name in the order of ``walk`` has the inode.
    """

    metadata: Metadata
    entries: Mapping[bytes, Node]
    links: frozenset[bytes] = frozenset()


Leaf = Regular | Symlink | Device | Fifo | Socket
Node = Leaf | Directory


NAME_LIMIT = 255
PATH_LIMIT = 4095
"""Longest name of an entry, and longest path or target of a symbolic link, in bytes."""


def is_name(name: bytes) -> bool:
    """Whether a directory entry can have this name."""
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

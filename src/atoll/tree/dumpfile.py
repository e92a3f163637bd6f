r"""The composefs dump format (composefs-dump(5)): a tree as text, one line per name.

Fields are separated by single spaces; ``-`` stands for an absent field::

    PATH SIZE MODE NLINK UID GID RDEV MTIME PAYLOAD CONTENT DIGEST [KEY=VALUE]…

    /             0   40755 3 0 0 0 1700000000.0 - - -
    /bin          0   40755 2 0 0 0 1700000000.0 - - - security.selinux=system_u:object_r:bin_t\x00
    /bin/sh  125640  100755 2 0 0 0 1700000000.0 ab/cdef… - abcdef…
    /bin/dash 125640 @100755 2 0 0 0 1700000000.0 /bin/sh - abcdef…
    /motd         6  100644 1 0 0 0 1700000000.5 - hello\n -
    /sh           6  120777 1 0 0 0 1700000000.0 bin/sh - -

Paths are absolute, and a directory's line precedes those of its entries. MODE is octal with the
file type; a preceding ``@`` makes the line a hard link to the path in PAYLOAD, and its other fields
are ignored. MTIME is seconds, a dot, and nanoseconds as an integer. PAYLOAD is the target of a
symbolic link, or the path of a regular file's content in the object store. CONTENT is the content
of a small file, DIGEST the fs-verity digest of a large one. Escapes are ``\\ \n \r \t \xHH``;
every byte that is not printable ASCII is escaped, as is a space, and ``=`` in attributes.

The size of a directory is not stored: it is written as 0, and ignored when parsed.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.ids import ObjectId, is_hex_digest
from atoll.tree.dumpfields import (
    Malformed,
    format_optional,
    format_text,
    format_xattr,
    parse_escapes,
    parse_integer,
    parse_optional,
    parse_text,
    parse_time,
    parse_xattrs,
    quote_field,
)
from atoll.tree.erofs_format import CONTENT_LIMIT
from atoll.tree.gc_pause import gc_paused
from atoll.tree.hardlinks import hard_links, walk_order
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
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.tree.model import Leaf, Node

FIXED_FIELDS = 11
SIZE_LIMIT = 1 << 53
"""The largest regular file in bytes: 1024 chunks of the largest chunk size of EROFS."""

PATH, SIZE, MODE, NLINK, UID, GID, RDEV, MTIME, PAYLOAD, CONTENT, DIGEST = range(FIXED_FIELDS)

_U32 = (1 << 32) - 1
_PLACEHOLDER: Node = Directory(Metadata(mode=0), {})
"""Stands for a directory or hard link that is created after all lines have been parsed."""


def parse_dump(dump: bytes | Iterable[bytes]) -> Directory:
    """Parse a dump, given as bytes or as lines. Raises Damaged with the number of the line."""
    lines: Iterable[bytes] = dump.split(b"\n") if isinstance(dump, bytes) else dump
    with gc_paused():
        return _parse_lines(lines)


def _parse_lines(lines: Iterable[bytes]) -> Directory:
    parser = _Parser()
    number = 0
    ended = False
    try:
        for number, line in enumerate(lines, start=1):
            if ended:
                raise Malformed("an empty line", line=number - 1)
            text = line.removesuffix(b"\n")
            ended = not text
            if not ended:
                parser.add_line(number, text)
        return parser.finish()
    except Malformed as error:
        raise Damaged(f"composefs dump, line {error.line or number}: {error}") from None


class _Parser:
    """Takes the lines in order.

    Nodes are immutable, so directories are created in ``finish``, when their entries are complete;
    hard links, too, as their target may be on a later line.
    """

    def __init__(self) -> None:
        self._directories: dict[bytes, tuple[Metadata, dict[bytes, Node]]] = {}
        self._targets: dict[bytes, tuple[int, bytes]] = {}
        self._link_counts: dict[bytes, int] = {}
        self._metadata: dict[tuple[bytes, ...], Metadata] = {}

    def add_line(self, number: int, line: bytes) -> None:
        fields = line.split(b" ")
        if len(fields) < FIXED_FIELDS:
            raise Malformed(f"{len(fields)} fields; at least {FIXED_FIELDS} are required")
        if b"\0" in line:
            raise Malformed("a NUL character")
        path = parse_escapes(fields[PATH])
        mode = parse_integer(fields[MODE].removeprefix(b"@"), 8, 0o177777, "mode")
        if stat.S_ISDIR(mode):
            self._add_directory(path, mode, fields)
            return
        base, name = _split_path(path)
        _, entries = self._directory_of(base, path, name)
        if fields[MODE].startswith(b"@"):
            _check_type(mode)
            self._targets[path] = (number, parse_text(fields[PAYLOAD]) or b"")
            entries[name] = _PLACEHOLDER
            return
        link_count = parse_integer(fields[NLINK], 10, _U32, "link count")
        if link_count != 1:
            self._link_counts[path] = link_count
        entries[name] = _leaf(mode, self._metadata_of(mode, fields), fields)

    def _add_directory(self, path: bytes, mode: int, fields: list[bytes]) -> None:
        if fields[MODE].startswith(b"@"):
            raise Malformed("a directory cannot be a hard link")
        metadata = self._metadata_of(mode, fields)
        if path == b"/":
            if self._directories:
                raise Malformed("a second root")
        else:
            base, name = _split_path(path)
            self._directory_of(base, path, name)[1][name] = _PLACEHOLDER
        self._directories[path] = (metadata, {})

    def _directory_of(
        self, base: bytes, path: bytes, name: bytes
    ) -> tuple[Metadata, dict[bytes, Node]]:
        found = self._directories.get(base or b"/")
        if found is None:
            raise Malformed(
                f"{quote_field(path)} comes before its directory, or is not below a directory"
            )
        if name in found[1]:
            raise Malformed(f"{quote_field(path)} occurs twice")
        return found

    def _metadata_of(self, mode: int, fields: list[bytes]) -> Metadata:
        key = (fields[MODE], fields[UID], fields[GID], fields[MTIME], *fields[FIXED_FIELDS:])
        known = self._metadata.get(key)
        if known is None:
            seconds, nanoseconds = parse_time(fields[MTIME])
            known = self._metadata[key] = Metadata(
                mode=stat.S_IMODE(mode),
                uid=parse_integer(fields[UID], 10, _U32, "uid"),
                gid=parse_integer(fields[GID], 10, _U32, "gid"),
                mtime=seconds,
                mtime_nsec=nanoseconds,
                xattrs=parse_xattrs(fields[FIXED_FIELDS:]),
            )
        return known

    def finish(self) -> Directory:
        if b"/" not in self._directories:
            raise Malformed("there is no root directory")
        names: dict[bytes, list[bytes]] = {}
        for path in self._targets:
            names.setdefault(self._resolve(path), []).append(path)
        for path in names.keys() | self._link_counts.keys():
            self._add_links(path, names.get(path, []))
        linked: dict[bytes, set[bytes]] = {}
        for target, other_names in names.items():
            if walk_order(target) > min(map(walk_order, other_names)):
                for base, name in map(_split_path, other_names):
                    linked.setdefault(base or b"/", set()).add(name)
        for path, (metadata, entries) in reversed(self._directories.items()):
            directory = Directory(metadata, entries, frozenset(linked.get(path, ())))
            if path != b"/":
                base, name = _split_path(path)
                self._directories[base or b"/"][1][name] = directory
        return directory

    def _add_links(self, path: bytes, other_names: list[bytes]) -> None:
        """Enter the node at ``path`` under its other names, too, and store a wrong link count."""
        base, name = _split_path(path)
        entries = self._directories[base or b"/"][1]
        node = entries[name]
        link_count = self._link_counts.get(path, 1)
        if link_count != len(other_names) + 1:
            node = replace(node, metadata=replace(node.metadata, nlink=link_count))
        entries[name] = node
        for base, name in map(_split_path, other_names):
            self._directories[base or b"/"][1][name] = node

    def _resolve(self, path: bytes) -> bytes:
        """The path of a hard link's node; follows chains of hard links."""
        line = self._targets[path][0]
        passed = set()
        target = path
        while target in self._targets:
            if target in passed:
                raise Malformed("a hard link to itself", line=line)
            passed.add(target)
            target = self._targets[target][1]
        base, _, name = target.rpartition(b"/")
        directory = self._directories.get(base or b"/")
        if directory is None or name not in directory[1] or not target.startswith(b"/"):
            raise Malformed(
                f"a hard link to {quote_field(target)}, which does not exist", line=line
            )
        if target in self._directories:
            raise Malformed(f"a hard link to {quote_field(target)}, a directory", line=line)
        return target


def _leaf(mode: int, metadata: Metadata, fields: list[bytes]) -> Leaf:
    size = parse_integer(fields[SIZE], 10, (1 << 64) - 1, "size")
    payload = parse_text(fields[PAYLOAD])
    content = parse_optional(fields[CONTENT])
    if content is not None and len(content) != size:
        raise Malformed(f"{len(content)} bytes of content, but the size is {size}")
    if stat.S_ISREG(mode):
        return _regular(metadata, size, payload, content, fields[DIGEST])
    if stat.S_ISLNK(mode):
        if not payload or len(payload) > PATH_LIMIT:
            raise Malformed(f"a symbolic link needs a target of 1 to {PATH_LIMIT} bytes")
        return Symlink(metadata, payload)
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        kind = DeviceKind.CHARACTER if stat.S_ISCHR(mode) else DeviceKind.BLOCK
        return Device(metadata, kind, parse_integer(fields[RDEV], 10, _U32, "device number"))
    _check_type(mode)
    return Fifo(metadata) if stat.S_ISFIFO(mode) else Socket(metadata)


def _regular(
    metadata: Metadata, size: int, payload: bytes | None, content: bytes | None, digest: bytes
) -> Regular:
    name = None if digest == b"-" else digest.decode("latin-1")
    if name is not None and not is_hex_digest(name):
        raise Malformed(f"{quote_field(digest)} is not a digest of 64 hex digits")
    if content is not None and size > CONTENT_LIMIT:
        raise Malformed(f"{size} bytes of content; at most {CONTENT_LIMIT} fit in an image")
    if not size or content is not None:
        return Regular(metadata, size, inline=content or None)
    if size > SIZE_LIMIT:
        raise Malformed(f"the size {size} is larger than EROFS can store")
    if payload is not None and len(payload) > PATH_LIMIT:
        raise Malformed(f"a payload of more than {PATH_LIMIT} bytes")
    if payload and digest == payload[:2] + payload[3:] and payload[2:3] == b"/":
        return Regular(metadata, size, ObjectId(name or ""))
    return Regular(metadata, size, ObjectId(name) if name else None, redirect=payload or b"")


def _check_type(mode: int) -> None:
    if stat.S_IFMT(mode) not in _TYPES:
        raise Malformed(f"mode {mode:o} has no known file type")


_TYPES = {stat.S_IFREG, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK}


def _split_path(path: bytes) -> tuple[bytes, bytes]:
    base, slash, name = path.rpartition(b"/")
    if not slash or not is_name(name) or len(path) > PATH_LIMIT:
        raise Malformed(f"{quote_field(path)} is not an absolute path to a name")
    return base, name


def format_dump(tree: Directory) -> bytes:
    """Format a tree as a dump: parents first, names in byte order."""
    links = hard_links(tree)
    lines = []
    for path, node in walk(tree):
        link = links.get(id(node))
        nlink = node.metadata.nlink
        if isinstance(node, Directory):
            below = sum(isinstance(child, Directory) for child in node.entries.values())
            nlink = 2 + below
        elif nlink is None:
            nlink = len(link.paths) if link else 1
        primary = link.primary if link and link.primary != path else None
        lines.append(_line(path, node, nlink, primary))
    return b"".join(lines)


def _line(path: bytes, node: Node, nlink: int, primary: bytes | None) -> bytes:
    metadata = node.metadata
    file_type, size, number, payload, content, digest = _specifics(node)
    fields = [
        format_text(path),
        b"%d" % size,
        b"%s%o" % (b"@" if primary else b"", file_type | metadata.mode),
        b"%d %d %d %d" % (nlink, metadata.uid, metadata.gid, number),
        b"%d.%d" % (metadata.mtime, metadata.mtime_nsec),
        format_optional(primary or payload),
        format_optional(content),
        digest.encode() if digest else b"-",
        *(format_xattr(name, value) for name, value in metadata.xattrs),
    ]
    return b" ".join(fields) + b"\n"


def _specifics(
    node: Node,
) -> tuple[int, int, int, bytes | None, bytes | None, ObjectId | None]:
    """The fields that depend on the type: file type, size, device number, payload, content,
    digest."""
    match node:
        case Directory():
            return stat.S_IFDIR, 0, 0, None, None, None
        case Regular(size=size, object=name, inline=inline, redirect=redirect):
            if redirect is not None:
                payload = redirect or None
            else:
                payload = f"{name[:2]}/{name[2:]}".encode() if name else None
            return stat.S_IFREG, size, 0, payload, inline, name
        case Symlink(target=target):
            return stat.S_IFLNK, len(target), 0, target, None, None
        case Device(kind=kind, number=number):
            file_type = stat.S_IFCHR if kind is DeviceKind.CHARACTER else stat.S_IFBLK
            return file_type, 0, number, None, None, None
        case Fifo():
            return stat.S_IFIFO, 0, 0, None, None, None
        case Socket():
            return stat.S_IFSOCK, 0, 0, None, None, None

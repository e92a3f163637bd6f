"""A deterministic writer for the tar of a layer: equal nodes give equal bytes on any machine.

POSIX ustar headers. A pax header precedes one only for values that ustar cannot store: names over
100 bytes, extended attributes (``SCHILY.xattr.<name>``), ids over 2097151, sizes over 8 GiB, times
before 1970 or after 2242. No user or group names, whole seconds, paths without a leading ``/``::

    [pax header][pax records]? [ustar header][content, padded to 512] … [1024 zero bytes]
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from atoll.base.errors import Damaged, Refused
from atoll.tree.model import Device, DeviceKind, Directory, Fifo, Regular, Socket, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from atoll.tree.model import Metadata, Node, Xattrs

BLOCK = 512
XATTR = b"SCHILY.xattr."
_NAME_SIZE = 100
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
_END = bytes(2 * BLOCK)
_KINDS = {Regular: b"0", Symlink: b"2", Fifo: b"6"}


class Output(Protocol):
    """Where the writer puts its bytes."""

    def write(self, data: bytes, /) -> object: ...


class TarWriter:
    """Writes nodes to ``output``; ``open_content`` yields the content of a regular file."""

    def __init__(self, output: Output, open_content: Callable[[Regular], Iterable[bytes]]) -> None:
        self._output = output
        self._open_content = open_content
        self._first_names: dict[int, bytes] = {}

    def add(self, path: bytes, node: Node) -> None:
        """Add a node at an absolute path. A node that was added before becomes a hard link.

        Raises Refused for a socket, Damaged if the content's size is wrong.
        """
        name = path.removeprefix(b"/") if path != b"/" else b"."
        if isinstance(node, Directory):
            self._header(_node_header(name + b"/", b"5", node.metadata))
            return
        first = self._first_names.setdefault(id(node), name)
        if first != name:
            header = _node_header(name, b"1", node.metadata)
            self._header(replace(header, target=first, xattrs=()))
            return
        header = _node_header(name, _KINDS.get(type(node), b""), node.metadata)
        match node:
            case Regular():
                self._header(replace(header, size=node.size))
                self._content(path, node)
            case Symlink():
                self._header(replace(header, target=node.target))
            case Device():
                kind = b"3" if node.kind is DeviceKind.CHARACTER else b"4"
                self._header(replace(header, kind=kind, device=node.number))
            case Fifo():
                self._header(header)
            case Socket():
                raise Refused(f"{os.fsdecode(path)} is a socket, which a layer cannot contain")

    def finish(self) -> None:
        """Write the end marker: two blocks of zeros."""
        self._output.write(_END)

    def _content(self, path: bytes, node: Regular) -> None:
        written = 0
        for chunk in self._open_content(node):
            written += len(chunk)
            self._output.write(chunk)
        if written != node.size:
            raise Damaged(
                f"the content of {os.fsdecode(path)} has {written} bytes instead of {node.size}",
                hint="see: atoll store check",
            )
        self._output.write(bytes(-node.size % BLOCK))

    def _header(self, header: TarHeader) -> None:
        records = _pax_records(header)
        if records:
            data = b"".join(_format_record(key, records[key]) for key in sorted(records))
            extra = TarHeader(name=b"././@PaxHeader", kind=b"x", mode=0o644, size=len(data))
            self._output.write(_format_ustar(extra, {}) + data + bytes(-len(data) % BLOCK))
        self._output.write(_format_ustar(header, records))


@dataclass(frozen=True, slots=True, kw_only=True)
class TarHeader:
    """The fields of one member's header, before they are split into ustar and pax."""

    name: bytes
    kind: bytes
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    xattrs: Xattrs = ()
    size: int = 0
    target: bytes = b""
    device: int | None = None


def _node_header(name: bytes, kind: bytes, metadata: Metadata) -> TarHeader:
    return TarHeader(
        name=name,
        kind=kind,
        mode=metadata.mode,
        uid=metadata.uid,
        gid=metadata.gid,
        mtime=metadata.mtime,
        xattrs=metadata.xattrs,
    )


def _pax_records(header: TarHeader) -> dict[bytes, bytes]:
    """The values that do not fit into a ustar header."""
    records = {XATTR + key: value for key, value in header.xattrs}
    if any(b"=" in key for key in records):
        raise Refused(
            f"an extended attribute of {os.fsdecode(header.name)} has = in its name, "
            "which a layer cannot contain"
        )
    if len(header.name) > _NAME_SIZE:
        records[b"path"] = header.name
    if len(header.target) > _NAME_SIZE:
        records[b"linkpath"] = header.target
    for key, value, limit in (
        (b"uid", header.uid, _MAX_ID),
        (b"gid", header.gid, _MAX_ID),
        (b"size", header.size, _MAX_NUMBER),
        (b"mtime", header.mtime, _MAX_NUMBER),
    ):
        if not 0 <= value <= limit:
            records[key] = b"%d" % value
    return records


def _format_record(key: bytes, value: bytes) -> bytes:
    """Format ``LENGTH KEY=VALUE\\n``; the length includes its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return b"%d%b" % (length, rest)


def _format_ustar(header: TarHeader, records: Mapping[bytes, bytes]) -> bytes:
    """Format the block of 512 bytes; fields that ``records`` have are zero in it."""
    major = minor = 0
    if header.device is not None:
        major, minor = os.major(header.device), os.minor(header.device)
    block = b"".join(
        (
            header.name[:_NAME_SIZE].ljust(_NAME_SIZE, b"\0"),
            b"%07o\0" % header.mode,
            b"%07o\0" % (0 if b"uid" in records else header.uid),
            b"%07o\0" % (0 if b"gid" in records else header.gid),
            b"%011o\0" % (0 if b"size" in records else header.size),
            b"%011o\0" % (0 if b"mtime" in records else header.mtime),
            b"        ",
            header.kind,
            header.target[:_NAME_SIZE].ljust(_NAME_SIZE, b"\0"),
            b"ustar\00000",
            bytes(64),
            b"%07o\0%07o\0" % (major, minor),
        )
    ).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]

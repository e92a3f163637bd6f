"""A strict reader for the tar of a layer. Whatever is ambiguous is Damaged; nothing is guessed.

Supported: ustar and older headers, pax headers (POSIX.1-2001; global ones are ignored), GNU long
names, and base-256 numbers. Rejected: sparse members, unknown types, names that leave the root,
wrong checksums, lengths that do not fit, and a missing end marker. Nothing is written to a disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from atoll.base.errors import Damaged
from atoll.oci.tar_writer import BLOCK, XATTR
from atoll.tree.model import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 20
_EXTRA_LIMIT = 1 << 20
_MAX_EXTRA = 8
"""Extended headers before one member; valid archives have up to three. Global ones are limited for
the whole archive."""

_MAX_GLOBAL = 64
_XATTRS_LIMIT = 128 << 10
"""Bytes of names and values of one member's extended attributes; Linux allows 64 KiB of each."""

_MAX_DEPTH = 256
"""Components of a path."""

_PATH_LIMIT = 4095
_NAME_LIMIT = 255
_KINDS = {b"\0": b"0", b"7": b"0"}
_LEAF_KINDS = frozenset((b"0", b"1", b"2", b"3", b"4", b"6"))
_MAX_ID = (1 << 32) - 2
_MAX_TIME = 1 << 62


class TarInput(Protocol):
    """A source of bytes that can only be read forward."""

    def read(self, size: int, /) -> bytes:
        """``size`` bytes; fewer only at the end."""


@runtime_checkable
class SeekableInput(TarInput, Protocol):
    """A source that can also skip bytes, such as a file."""

    def skip(self, size: int, /) -> None:
        """Advance by ``size`` bytes without reading them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TarMember:
    """One member of an archive. ``path`` has no ``/`` at its ends; the root is ``b""``.

    ``kind`` is ustar's typeflag: 0 regular, 1 hard link, 2 symlink, 3 character device, 4 block
    device, 5 directory, 6 fifo. ``size`` is in bytes; ``target`` is that of a link.
    """

    path: bytes
    kind: bytes
    metadata: Metadata
    size: int
    target: bytes
    device: int


@dataclass(slots=True)
class _Extra:
    """Values from the extended headers that precede a member; they override its own header."""

    path: bytes | None = None
    target: bytes | None = None
    headers: int = 0
    xattrs_size: int = 0
    numbers: dict[bytes, int] = field(default_factory=dict)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


class TarReader:
    """Iterate for the members; ``content`` yields that of the current one. Raises Damaged."""

    def __init__(self, source: TarInput, *, where: str) -> None:
        self._source = source
        self._where = where
        self._left = 0
        self._padding = 0
        self._globals = 0

    def __iter__(self) -> Iterator[TarMember]:
        extra = _Extra()
        while True:
            self._skip()
            block = self._read(BLOCK)
            if not any(block):
                self._finish()
                return
            kind, size = self._check(block)
            if kind in (b"x", b"g", b"L", b"K"):
                self._read_extra(kind, size, extra)
                continue
            member = self._member(block, kind, extra, size)
            extra = _Extra()
            if kind == b"0":
                self._left, self._padding = member.size, -member.size % BLOCK
            elif member.size:
                raise self._damaged(f"{os.fsdecode(member.path)} has content but is not a file")
            yield member

    def _read_extra(self, kind: bytes, size: int, extra: _Extra) -> None:
        """Read an extended header of the next member; a global one (``g``) is ignored."""
        self._globals += kind == b"g"
        extra.headers += kind != b"g"
        if self._globals > _MAX_GLOBAL or extra.headers > _MAX_EXTRA:
            raise self._damaged("it has too many extended headers")
        if size > _EXTRA_LIMIT:
            raise self._damaged(f"a header of {size} bytes")
        data = self._read(size)
        self._read(-size % BLOCK)
        if kind == b"L":
            extra.path = data.rstrip(b"\0")
        elif kind == b"K":
            extra.target = data.rstrip(b"\0")
        elif kind == b"x":
            self._read_records(data, extra)

    def content(self) -> Iterator[bytes]:
        """The content of the current member; the rest is skipped before the next one."""
        while self._left:
            chunk = self._read(min(self._left, CHUNK))
            self._left -= len(chunk)
            yield chunk

    def _skip(self) -> None:
        if isinstance(self._source, SeekableInput):
            self._source.skip(self._left + self._padding)
        else:
            for _ in self.content():
                pass
            self._read(self._padding)
        self._left = self._padding = 0

    def _finish(self) -> None:
        """After the first block of zeros only zeros may follow.

        Some readers stop at the first zero block, others go on: such an archive has two contents.
        """
        if any(self._read(BLOCK)):
            raise self._damaged("it has data after its end")
        if isinstance(self._source, SeekableInput):
            return  # nothing after the end is used, and a hole in a file may be large
        while rest := self._source.read(CHUNK):
            if rest.count(0) != len(rest):
                raise self._damaged("it has data after its end")

    def _read(self, size: int) -> bytes:
        data = self._source.read(size) if size else b""
        if len(data) != size:
            raise self._damaged("it is truncated")
        return data

    def _check(self, block: bytes) -> tuple[bytes, int]:
        # The checksum is computed with its own field as eight spaces.
        expected = sum(block) - sum(block[148:156]) + 8 * 32
        if self._number(block[148:156]) != expected:
            raise self._damaged("a header has the wrong checksum")
        kind = _KINDS.get(block[156:157], block[156:157])
        size = self._number(block[124:136])
        if size < 0:
            raise self._damaged("a member has a negative size")
        return kind, size

    def _member(self, block: bytes, kind: bytes, extra: _Extra, size: int) -> TarMember:
        name = extra.path
        if name is None:
            name = _text(block[0:100])
            if block[257:263] == b"ustar\0" and block[345]:
                name = _text(block[345:500]) + b"/" + name
        if kind == b"0" and name.endswith(b"/"):  # directories in archives older than POSIX 1988
            kind = b"5"
        if kind != b"5" and kind not in _LEAF_KINDS:
            raise self._damaged(f"{os.fsdecode(name)} has the unknown type {kind!r}")
        target = _text(block[157:257]) if extra.target is None else extra.target
        if kind == b"1":
            target = self._clean(target)
        elif kind == b"2" and (not target or b"\0" in target or len(target) > _PATH_LIMIT):
            raise self._damaged(f"the symbolic link {os.fsdecode(name)} has no valid target")
        numbers = extra.numbers
        is_device = kind in (b"3", b"4")
        return TarMember(
            path=self._clean(name),
            kind=kind,
            metadata=Metadata(
                mode=self._number(block[100:108]) & 0o7777,
                uid=self._id(numbers.get(b"uid", self._number(block[108:116]))),
                gid=self._id(numbers.get(b"gid", self._number(block[116:124]))),
                mtime=self._time(numbers.get(b"mtime", self._number(block[136:148]))),
                xattrs=tuple(sorted(extra.xattrs.items())),
            ),
            size=numbers.get(b"size", size),
            target=target if kind in (b"1", b"2") else b"",
            device=self._device(block) if is_device else 0,
        )

    def _clean(self, name: bytes) -> bytes:
        """Normalize a path; raises Damaged for one that leaves the root or exceeds a limit."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if name.startswith(b"/") or b".." in parts or b"\0" in name:
            raise self._damaged(f"the name {os.fsdecode(name)!r} points outside the image")
        if len(name) > _PATH_LIMIT or any(len(part) > _NAME_LIMIT for part in parts):
            raise self._damaged("a name is too long")
        if len(parts) > _MAX_DEPTH:
            raise self._damaged(f"a name is more than {_MAX_DEPTH} directories deep")
        return b"/".join(parts)

    def _device(self, block: bytes) -> int:
        major, minor = self._number(block[329:337]), self._number(block[337:345])
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise self._damaged("a device has an impossible number")
        return os.makedev(major, minor)

    def _id(self, number: int) -> int:
        if not 0 <= number <= _MAX_ID:
            raise self._damaged(f"{number} is not a valid user or group id")
        return number

    def _time(self, number: int) -> int:
        if abs(number) > _MAX_TIME:
            raise self._damaged(f"{number} is not a valid time")
        return number

    def _number(self, field: bytes) -> int:
        # GNU tar writes numbers too large for octal digits in binary, marked by the first byte.
        if field[0] in (0x80, 0xFF):
            value = int.from_bytes(field[1:], "big")
            return value - (1 << 8 * (len(field) - 1)) if field[0] == 0xFF else value
        digits = field.strip(b" \0")
        if digits.strip(b"01234567"):
            raise self._damaged(f"{digits!r} is not a number")
        return int(digits, 8) if digits else 0

    def _read_records(self, data: bytes, extra: _Extra) -> None:
        position = 0
        while position < len(data):
            space = data.find(b" ", position, position + 8)
            length = data[position:space] if space > position else b""
            end = position + int(length) if length.isdigit() else 0
            record = data[space + 1 : end]
            key, equals, value = record[:-1].partition(b"=")
            if end <= space or end > len(data) or record[-1:] != b"\n" or not equals or not key:
                raise self._damaged("an extended header is malformed")
            self._apply_record(key, value, extra)
            position = end

    def _apply_record(self, key: bytes, value: bytes, extra: _Extra) -> None:
        if key == b"path":
            extra.path = value
        elif key == b"linkpath":
            extra.target = value
        elif key.startswith(XATTR):
            extra.xattrs[key.removeprefix(XATTR)] = value
            extra.xattrs_size += len(key) + len(value)
            if extra.xattrs_size > _XATTRS_LIMIT:
                raise self._damaged("a member has more extended attributes than a file can have")
        elif key in (b"uid", b"gid", b"size", b"mtime"):
            whole = value.partition(b".")[0] if key == b"mtime" else value
            digits = whole.removeprefix(b"-") if key == b"mtime" else whole
            if not digits.isdigit() or len(digits) > 19:
                raise self._damaged(f"{value!r} is not a valid {key.decode()}")
            extra.numbers[key] = int(whole)
        elif key.startswith(b"GNU.sparse"):
            raise self._damaged("it has a sparse member, which Atoll does not support")

    def _damaged(self, why: str) -> Damaged:
        return Damaged(
            f"{self._where} is not a valid tar archive: {why}", hint="pull or copy the image again"
        )


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]

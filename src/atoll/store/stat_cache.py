"""A cache of file contents by inode, ctime and size, so that an import need not read them again.

The cache is one file with a line for each cached file; it may be deleted at any time::

    atoll-known 1 <device> <SHA-256 of the rest>
    <inode> <ctime> <size> o<64 hex>            a regular file, its content an object of the store
    <inode> <ctime> <size> i<hex>               a regular file, its content inline
    <inode> <ctime> <size> l<hex>               a symbolic link, and its target
    …                              <name>=<hex> after each, its extended attributes

Why this is safe: the kernel sets ctime (in nanoseconds, no program can choose it) whenever content,
size, attributes, mode or owner change, and when an inode is reused. So a line matches only an
unchanged file, unless the file changed within the same tick of the kernel's clock after it was
read. To exclude that, only files that last changed well before the import began are cached: the
output of finished build steps. Mode, owner and times are always read from the file's status.
Through an overlay with all layers on one file system, inode and ctime are those of the lower file.
If garbage collection has removed the object, the file is read again.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.ids import ObjectId
from atoll.host.fs import read_regular
from atoll.store.objects import has_object
from atoll.tree.model import Metadata, Regular, Symlink

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from atoll.store.layout import Store
    from atoll.tree.model import Leaf, Xattrs

_FORM = "atoll-known 1"
NOTED_LIMIT = 1 << 30
"""Bytes: a line has some hundred, and a tree some hundred thousand files."""
_SETTLED_NS = 2_000_000_000
"""How long before an import a file must have been left alone: more than any clock's tick."""


class StatCache:
    """The contents of files by inode, ctime and size. Safe for several threads.

    ``device`` is the file system's number, ``begun`` when the last program that could change what
    is imported had ended, in nanoseconds.
    """

    def __init__(self, store: Store, *, device: int, begun: int) -> None:
        self._store = store
        self._device = device
        self._settled = begun - _SETTLED_NS
        self._before: dict[bytes, bytes] = {}
        self._now: dict[bytes, bytes] = {}

    def find(self, status: os.stat_result) -> Regular | Symlink | None:
        """The node of a file that is known; None for one that has to be read."""
        key = _key(status)
        line = self._before.get(key)
        if line is None:
            return None
        word, *pairs = line.decode().split(" ")
        leaf = _parse(word, metadata_of(status, _parse_xattrs(pairs)), status.st_size)
        if isinstance(leaf, Regular) and leaf.object and not has_object(self._store, leaf.object):
            return None
        self._now[key] = line
        return leaf

    def note(self, status: os.stat_result, leaf: Leaf) -> None:
        """Remember what was read of a file, if it has been left alone for long enough."""
        if status.st_ctime_ns < self._settled and isinstance(leaf, Regular | Symlink):
            self._now[_key(status)] = _format(leaf)

    def load(self, path: Path) -> None:
        """Know what an earlier import noted; nothing where that cannot be read or is damaged."""
        with suppress(OSError, Damaged):
            head, _, rest = read_regular(path, limit=NOTED_LIMIT).partition(b"\n")
            if head == _head(self._device, rest):
                self._before = dict(_split(line) for line in rest.splitlines())

    def save(self, path: Path) -> None:
        """Write what this import knew or learned; of other lines stay as many again."""
        spare = len(self._now)
        for key, line in self._before.items():
            if spare and key not in self._now:
                self._now[key] = line
                spare -= 1
        rest = b"".join(b"%s %s\n" % item for item in self._now.items())
        temporary = path.with_name(f".new-{path.name}")
        with temporary.open("wb") as file:
            file.writelines((_head(self._device, rest), b"\n", rest))
        temporary.rename(path)


def metadata_of(status: os.stat_result, xattrs: Xattrs) -> Metadata:
    """What a file's status and its attributes say."""
    seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
    return Metadata(
        mode=status.st_mode & 0o7777,
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=seconds,
        mtime_nsec=nanoseconds,
        xattrs=xattrs,
    )


def _head(device: int, rest: bytes) -> bytes:
    return f"{_FORM} {device} {sha256(rest).hexdigest()}".encode()


def _key(status: os.stat_result) -> bytes:
    return b"%x %x %x" % (status.st_ino, status.st_ctime_ns, status.st_size)


def _split(line: bytes) -> tuple[bytes, bytes]:
    inode, ctime, size, rest = line.split(b" ", 3)
    return b"%s %s %s" % (inode, ctime, size), rest


def _format(leaf: Regular | Symlink) -> bytes:
    if isinstance(leaf, Symlink):
        word = "l" + leaf.target.hex()
    elif leaf.object is not None:
        word = "o" + leaf.object
    else:
        word = "i" + (leaf.inline or b"").hex()
    pairs = [f"{name.hex()}={value.hex()}" for name, value in leaf.metadata.xattrs]
    return " ".join((word, *pairs)).encode()


def _parse(word: str, metadata: Metadata, size: int) -> Regular | Symlink:
    match word[:1]:
        case "l":
            return Symlink(metadata, bytes.fromhex(word[1:]))
        case "i":
            return Regular(metadata, size, None, bytes.fromhex(word[1:]) or None)
    return Regular(metadata, size, ObjectId(word[1:]))


def _parse_xattrs(pairs: list[str]) -> Xattrs:
    halves = (pair.partition("=") for pair in pairs)
    return tuple((bytes.fromhex(name), bytes.fromhex(value)) for name, _, value in halves)

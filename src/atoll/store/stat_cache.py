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
output of finished build steps. Mode, owner and times always come from stat. In an overlay with all
layers on one file system, inode and ctime are those of the lower file.
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

_FORMAT = "atoll-known 1"
CACHE_LIMIT = 1 << 30
"""Bytes of a cache file. A line has some hundred, a tree some hundred thousand files."""
_SETTLED_NS = 2_000_000_000
"""Nanoseconds before an import in which a file must not have changed: more than any clock tick."""


class StatCache:
    """The contents of files by inode, ctime and size. Safe for several threads.

    ``device`` is the file system's device number. ``begun`` is the time in nanoseconds when the
    last program ended that could change the imported files.
    """

    def __init__(self, store: Store, *, device: int, begun: int) -> None:
        self._store = store
        self._device = device
        self._settled = begun - _SETTLED_NS
        self._loaded: dict[bytes, bytes] = {}
        self._current: dict[bytes, bytes] = {}

    def find(self, status: os.stat_result) -> Regular | Symlink | None:
        """The node of a cached file; None if the file must be read."""
        key = _key(status)
        line = self._loaded.get(key)
        if line is None:
            return None
        content, *pairs = line.decode().split(" ")
        leaf = _parse(content, metadata_of(status, _parse_xattrs(pairs)), status.st_size)
        if isinstance(leaf, Regular) and leaf.object and not has_object(self._store, leaf.object):
            return None
        self._current[key] = line
        return leaf

    def add(self, status: os.stat_result, leaf: Leaf) -> None:
        """Cache what was read of a file, unless the file changed only recently."""
        if status.st_ctime_ns < self._settled and isinstance(leaf, Regular | Symlink):
            self._current[_key(status)] = _format(leaf)

    def load(self, path: Path) -> None:
        """Load the cache of an earlier import; ignores a file that is unreadable or damaged."""
        with suppress(OSError, Damaged):
            head, _, rest = read_regular(path, limit=CACHE_LIMIT).partition(b"\n")
            if head == _head(self._device, rest):
                self._loaded = dict(_split(line) for line in rest.splitlines())

    def save(self, path: Path) -> None:
        """Write the entries of this import, and at most as many unused older ones."""
        spare = len(self._current)
        for key, line in self._loaded.items():
            if spare and key not in self._current:
                self._current[key] = line
                spare -= 1
        rest = b"".join(b"%s %s\n" % item for item in self._current.items())
        temporary = path.with_name(f".new-{path.name}")
        with temporary.open("wb") as file:
            file.writelines((_head(self._device, rest), b"\n", rest))
        temporary.rename(path)


def metadata_of(status: os.stat_result, xattrs: Xattrs) -> Metadata:
    """Metadata from a file's stat and extended attributes."""
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
    return f"{_FORMAT} {device} {sha256(rest).hexdigest()}".encode()


def _key(status: os.stat_result) -> bytes:
    return b"%x %x %x" % (status.st_ino, status.st_ctime_ns, status.st_size)


def _split(line: bytes) -> tuple[bytes, bytes]:
    inode, ctime, size, rest = line.split(b" ", 3)
    return b"%s %s %s" % (inode, ctime, size), rest


def _format(leaf: Regular | Symlink) -> bytes:
    if isinstance(leaf, Symlink):
        content = "l" + leaf.target.hex()
    elif leaf.object is not None:
        content = "o" + leaf.object
    else:
        content = "i" + (leaf.inline or b"").hex()
    pairs = [f"{name.hex()}={value.hex()}" for name, value in leaf.metadata.xattrs]
    return " ".join((content, *pairs)).encode()


def _parse(content: str, metadata: Metadata, size: int) -> Regular | Symlink:
    match content[:1]:
        case "l":
            return Symlink(metadata, bytes.fromhex(content[1:]))
        case "i":
            return Regular(metadata, size, None, bytes.fromhex(content[1:]) or None)
    return Regular(metadata, size, ObjectId(content[1:]))


def _parse_xattrs(pairs: list[str]) -> Xattrs:
    halves = (pair.partition("=") for pair in pairs)
    return tuple((bytes.fromhex(name), bytes.fromhex(value)) for name, _, value in halves)

"""Objects, the contents of regular files: write them to a store, compute digests, read and verify.

New objects are written below ``staging/`` first. When a batch is complete, one ``syncfs`` makes it
durable, and only then does each object get its name below ``objects/``. So an existing name always
has complete content, and an import needs no fsync per file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Protocol

from atoll.base.errors import Damaged, Refused
from atoll.host.fs import remove_tree, space_errors
from atoll.host.syscalls import enable_verity, measure_verity, syncfs
from atoll.store.layout import forbidden
from atoll.store.lock import adding
from atoll.tree.verity import VerityHasher, verity_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from atoll.base.errors import AtollError
    from atoll.base.ids import ObjectId
    from atoll.store.layout import Store
    from atoll.tree.model import Regular

WHOLE_LIMIT = 1 << 20
"""Bytes. Smaller contents are read into memory once; larger ones are hashed, then copied."""

OBJECT_MODE = 0o444
_DAMAGE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENXIO,
    errno.EIO,
    errno.EUCLEAN,
    errno.EBADMSG,
}
"""Errors for an object that is missing, is not a regular file, or is damaged on the disk."""
_CANNOT_COPY = {errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class ObjectSink(Protocol):
    """Takes contents and returns their object ids. Safe to use from several threads."""

    def put_bytes(self, data: bytes) -> ObjectId:
        """Add contents that are in memory."""

    def put_file(self, handle: int) -> ObjectId:
        """Add a regular file, open for reading, which must not change meanwhile."""

    def put_chunks(self, chunks: Iterable[bytes]) -> ObjectId:
        """Add contents that come in pieces."""


class DigestSink:
    """An ObjectSink that computes ids and keeps nothing."""

    def put_bytes(self, data: bytes) -> ObjectId:
        return verity_digest(data)

    def put_file(self, handle: int) -> ObjectId:
        return self.put_chunks(read_chunks(handle))

    def put_chunks(self, chunks: Iterable[bytes]) -> ObjectId:
        hasher = VerityHasher()
        for chunk in chunks:
            hasher.update(chunk)
        return hasher.digest()


class ObjectWriter:
    """An ObjectSink that writes to a store; created by ``adding_objects`` only."""

    def __init__(self, store: Store, staging: Path, *, seal: bool) -> None:
        self._store = store
        self._staging = staging
        self._seal = seal
        self._objects = os.fspath(store.objects)
        self._prefix = os.fspath(staging) + "/"
        self._numbers = count()
        self._staged: dict[ObjectId, str] = {}
        self._complete: dict[ObjectId, str] = {}

    def put_bytes(self, data: bytes) -> ObjectId:
        name = verity_digest(data)
        path = self._claim(name)
        if path is not None:
            self._write(path, lambda target: _write_all(target, data))
            self._seal_as(name, path)
        return name

    def put_file(self, handle: int) -> ObjectId:
        name = DigestSink().put_file(handle)
        path = self._claim(name)
        if path is not None:
            self._write(path, lambda target: copy_file(handle, target))
            self._seal_as(name, path)
        return name

    def put_chunks(self, chunks: Iterable[bytes]) -> ObjectId:
        path = self._new_path()
        hasher = VerityHasher()

        def fill(target: int) -> None:
            for chunk in chunks:
                hasher.update(chunk)
                _write_all(target, chunk)

        self._write(path, fill)
        name = hasher.digest()
        if self._exists(name) or self._staged.setdefault(name, path) is not path:
            os.unlink(path)
        else:
            self._seal_as(name, path)
        return name

    def commit(self) -> int:
        """Make everything durable, then name it; returns the number of new objects."""
        if not self._complete:
            return 0
        root = os.open(self._store.objects, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Contents are durable before they get a name, and the names before this returns.
            syncfs(root)
            for name, path in self._complete.items():
                os.rename(path, f"{self._objects}/{name[:2]}/{name[2:]}")
            syncfs(root)
        finally:
            os.close(root)
        return len(self._complete)

    def _exists(self, name: ObjectId) -> bool:
        return os.path.lexists(f"{self._objects}/{name[:2]}/{name[2:]}")

    def _new_path(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"

    def _claim(self, name: ObjectId) -> str | None:
        """A path to write the object to; None if it exists or another thread writes it."""
        if name in self._staged or self._exists(name):
            return None
        path = self._new_path()
        return path if self._staged.setdefault(name, path) is path else None

    def _write(self, path: str, fill: Callable[[int], None]) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fill(handle)
            if not self._seal:
                os.fchmod(handle, OBJECT_MODE)
        finally:
            os.close(handle)

    def _seal_as(self, name: ObjectId, path: str) -> None:
        """Seal the file and compare its digest with ``name``. Raises Damaged."""
        measured = seal_file(path) if self._seal else name
        if measured != name:
            raise Damaged(
                f"object {name} has the fs-verity digest {measured} after writing",
                hint="the file changed while it was read, or memory or disk is failing",
            )
        self._complete[name] = path


@contextmanager
def adding_objects(
    store: Store, *, keep_after: tuple[type[BaseException], ...] = ()
) -> Iterator[ObjectWriter]:
    """A sink into ``store``; when the block ends without an error, all objects are durable.

    After an error nothing is kept. After one of ``keep_after`` complete objects are kept, so that
    the next run can reuse them. Raises Busy or NoSpace.
    """
    with space_errors(store.root), adding(store), staging_directory(store) as staging:
        writer = ObjectWriter(store, staging, seal=can_seal(staging))
        try:
            yield writer
        except keep_after:
            writer.commit()
            raise
        writer.commit()


@contextmanager
def staging_directory(store: Store) -> Iterator[Path]:
    """A new directory below ``staging``, removed afterwards; the caller holds ``adding``."""
    path = store.staging / os.path.basename(tempfile.mkdtemp(dir=store.staging))
    try:
        yield path
    finally:
        remove_tree(path)


def can_seal(directory: Path) -> bool:
    """Whether the file system of ``directory`` supports fs-verity; tries it on a file."""
    path = os.path.join(directory, "probe")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    try:
        return seal_file(path) is not None
    finally:
        os.unlink(path)


def seal_file(path: str) -> str | None:
    """Enable fs-verity for a file that is not open for writing, and make it read-only.

    Returns the digest that the kernel measured; None if fs-verity is not supported.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sealed = enable_verity(handle)
        os.fchmod(handle, OBJECT_MODE)
        return measure_verity(handle) if sealed else None
    finally:
        os.close(handle)


def has_object(store: Store, name: ObjectId) -> bool:
    """Whether the store has an object; its content is not checked."""
    return os.path.lexists(store.object_path(name))


def find_missing(store: Store, names: Sequence[ObjectId]) -> list[int]:
    """Indexes of those ``names`` that are not in ``store``; lists each directory only once."""
    folders: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        folders.setdefault(name[:2], []).append(number)
    missing = []
    for folder, numbers in folders.items():
        here = set(os.listdir(store.objects / folder))
        missing += [number for number in numbers if names[number][2:] not in here]
    return sorted(missing)


def open_object(store: Store, name: ObjectId) -> int:
    """Open an object for reading; returns the file descriptor.

    Raises Damaged if it is missing, MissingPrivilege, Refused (no fs-verity) or OSError.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(store.object_path(name), flags)
    except OSError as error:
        raise _unreadable(store, name, error) from error


def read_object(store: Store, name: ObjectId, *, verify: bool = True) -> bytes:
    """The content of an object. Raises Damaged if its digest is wrong, and as ``open_object``."""
    handle = open_object(store, name)
    try:
        data = b"".join(read_chunks(handle))
    except OSError as error:
        raise _unreadable(store, name, error) from error
    finally:
        os.close(handle)
    if verify and verity_digest(data) != name:
        raise _damaged(store, name, "its content does not match its name")
    return data


def stream_content(store: Store, node: Regular) -> Iterator[bytes]:
    """The content of a file of a tree, in chunks, inline or from an object; not verified."""
    if node.object is None:
        yield node.inline or b""
        return
    handle = open_object(store, node.object)
    try:
        yield from read_chunks(handle)
    finally:
        os.close(handle)


def measure_object(store: Store, name: ObjectId) -> None:
    """Read an object and check its digest, also that of fs-verity. Raises as ``read_object``."""
    handle = open_object(store, name)
    try:
        found = DigestSink().put_file(handle)
        sealed = measure_verity(handle)
    except OSError as error:
        raise _unreadable(store, name, error) from error
    finally:
        os.close(handle)
    if found != name or sealed not in (None, name):
        raise _damaged(store, name, "its content does not match its name")


def read_chunks(handle: int) -> Iterator[bytes]:
    """Yield a file from start to end, without moving its offset."""
    offset = 0
    while chunk := os.pread(handle, WHOLE_LIMIT, offset):
        yield chunk
        offset += len(chunk)


def _damaged(store: Store, name: ObjectId, why: str) -> Damaged:
    return Damaged(
        f"object {name} in {store.root}: {why}",
        hint=f"remove {store.object_path(name)} and build or pull the image again",
    )


def _unreadable(store: Store, name: ObjectId, error: OSError) -> AtollError | OSError:
    """The error to raise. Damaged only for a fault of object or disk: others may be intact."""
    if error.errno in _DAMAGE:
        return _damaged(store, name, error.strerror or str(error))
    what = f"object {name} in {store.root} cannot be read"
    if error.errno in (errno.EACCES, errno.EPERM):
        return forbidden(what, error)
    if error.errno == errno.EOPNOTSUPP:
        hint = "start a kernel with fs-verity, such as Debian's own"
        return Refused(f"{what}: this kernel has no fs-verity", hint=hint)
    return OSError(error.errno, error.strerror, str(store.object_path(name)))


def _write_all(handle: int, data: bytes) -> None:
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def copy_file(source: int, target: int) -> None:
    """Copy a file, in the kernel if possible, which shares blocks where the file system can."""
    offset = 0
    try:
        while done := os.copy_file_range(source, target, 1 << 30, offset_src=offset):
            offset += done
    except OSError as error:
        if error.errno not in _CANNOT_COPY or offset:
            raise
        for chunk in read_chunks(source):
            _write_all(target, chunk)

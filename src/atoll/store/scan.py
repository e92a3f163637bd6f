"""Scan a directory into a tree model; an ObjectSink names, and may keep, the contents.

Two threads take directories from one stack; nearly all of the work is system calls, which run in
parallel. Files are opened relative to their directory and never through a symbolic link. A file
that changes while it is read is an error. No content stays in memory.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from atoll.base.errors import AtollError, Damaged, MissingPrivilege, NotFound, Refused, UsageError
from atoll.store.objects import WHOLE_LIMIT, adding_objects
from atoll.store.stat_cache import metadata_of
from atoll.tree.gc_pause import gc_paused
from atoll.tree.model import (
    INLINE_LIMIT,
    Device,
    DeviceKind,
    Directory,
    Fifo,
    Regular,
    Socket,
    Symlink,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.store.layout import Store
    from atoll.store.objects import ObjectSink
    from atoll.store.stat_cache import StatCache
    from atoll.tree.model import Leaf, Node, Xattrs

THREADS = 2
_REPORT_EVERY = 0x3FF
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_XATTRS = {errno.EOPNOTSUPP, errno.ENOSYS}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_GONE = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO}


def import_directory(
    store: Store, path: Path, reporter: Reporter, cache: StatCache | None = None
) -> Directory:
    """Add all contents below ``path`` to ``store``, durably; returns the tree as it is on disk.

    Raises what ``scan_directory`` raises, Busy or NoSpace.
    """
    with adding_objects(store) as writer:
        return scan_directory(path, writer, reporter, cache)


def scan_directory(
    path: Path, sink: ObjectSink, reporter: Reporter, cache: StatCache | None = None
) -> Directory:
    """The tree below ``path``, with hard links, xattrs, devices and nanosecond times.

    Files that ``cache`` has are not read again. Raises NotFound, UsageError, MissingPrivilege,
    Damaged, or Refused if something changes meanwhile or is a mount point.
    """
    if not os.path.lexists(path):
        raise NotFound(f"there is no directory {path}")
    if not os.path.isdir(path):
        raise UsageError(f"{path} is not a directory")
    top: dict[bytes, Node] = {}
    scan = _Scan(sink=sink, reporter=reporter, cache=cache)
    start = os.fsencode(os.path.realpath(path))
    scan.todo.append(_Job(start, b"/", top, os.stat(start)))
    with gc_paused():
        _run_threads(scan)
    for entries, name, key in scan.other_names:
        entries[name] = scan.linked[key]
    reporter.progress(scan.files, scan.files, unit="files")
    root = top[b"/"]
    assert isinstance(root, Directory)
    return root


class _Job(NamedTuple):
    """One directory to scan, and its parent's entries in the model."""

    path: bytes
    name: bytes
    parent: dict[bytes, Node]
    expected: os.stat_result


class _DirEntry(NamedTuple):
    """A name in an open directory."""

    folder: bytes
    handle: int
    name: bytes

    @property
    def path(self) -> bytes:
        return self.folder + b"/" + self.name


@dataclass(slots=True, kw_only=True)
class _Scan:
    """State shared by the threads. Single operations on lists and dicts are atomic in CPython."""

    sink: ObjectSink
    reporter: Reporter
    cache: StatCache | None
    todo: list[_Job] = field(default_factory=list)
    busy: int = 0
    files: int = 0
    failed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)
    claims: dict[tuple[int, int], _DirEntry] = field(default_factory=dict)
    linked: dict[tuple[int, int], Leaf] = field(default_factory=dict)
    other_names: list[tuple[dict[bytes, Node], bytes, tuple[int, int]]] = field(
        default_factory=list
    )


def _run_threads(scan: _Scan) -> None:
    with ThreadPoolExecutor(THREADS, thread_name_prefix="scan") as pool:
        jobs = [pool.submit(_work, scan) for _ in range(THREADS)]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
        except BaseException:
            _stop(scan)
            raise
    for job in done:
        job.result()


def _stop(scan: _Scan) -> None:
    with scan.changed:
        scan.failed = True
        scan.changed.notify_all()


def _work(scan: _Scan) -> None:
    while True:
        with scan.changed:
            while not scan.todo and scan.busy and not scan.failed:
                scan.changed.wait()
            if scan.failed or not scan.todo:
                return
            job = scan.todo.pop()
            scan.busy += 1
        try:
            found = _scan_one(scan, job)
        except BaseException:
            _stop(scan)
            raise
        with scan.changed:
            scan.todo += found
            scan.busy -= 1
            scan.changed.notify_all()


def _scan_one(scan: _Scan, job: _Job) -> list[_Job]:
    """Add one directory with its entries to the model; returns the subdirectories to scan."""
    subdirectories: list[_Job] = []
    with _opened(job.path) as handle:
        status = os.fstat(handle)
        if not os.path.samestat(job.expected, status):
            raise _changed(job.path)
        entries: dict[bytes, Node] = {}
        job.parent[job.name] = Directory(metadata_of(status, _xattrs(handle)), entries)
        with os.scandir(handle) as listing:
            for entry in listing:
                file = _DirEntry(job.path, handle, os.fsencode(entry.name))
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    if found.st_dev != status.st_dev:
                        raise _mounted(file.path)
                    subdirectories.append(_Job(file.path, file.name, entries, found))
                elif found.st_nlink == 1:
                    entries[file.name] = _leaf(scan, file, found)
                else:
                    _add_linked(scan, file, found, entries)
                if scan.failed:
                    break
    return subdirectories


def _add_linked(
    scan: _Scan, file: _DirEntry, status: os.stat_result, entries: dict[bytes, Node]
) -> None:
    """Only the first thread that finds a hard-linked file reads it; its other names come last."""
    key = (status.st_dev, status.st_ino)
    if scan.claims.setdefault(key, file) is not file:
        scan.other_names.append((entries, file.name, key))
        return
    scan.linked[key] = entries[file.name] = _leaf(scan, file, status)


def _leaf(scan: _Scan, file: _DirEntry, status: os.stat_result) -> Leaf:
    cached = scan.cache.find(status) if scan.cache else None
    if cached is not None:
        _count(scan)
        return cached
    try:
        leaf = _read_leaf(scan, file, status)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise _unreadable(file.path, error) from error
    _count(scan)
    if scan.cache:
        scan.cache.add(status, leaf)
    return leaf


def _count(scan: _Scan) -> None:
    scan.files += 1
    if not scan.files & _REPORT_EVERY:
        scan.reporter.progress(scan.files, None, unit="files")


def _read_leaf(scan: _Scan, file: _DirEntry, status: os.stat_result) -> Leaf:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        return _regular(scan, file, status)
    metadata = metadata_of(status, _xattrs(file.path, follow_symlinks=False))
    if kind == stat.S_IFLNK:
        return Symlink(metadata, os.fsencode(os.readlink(file.name, dir_fd=file.handle)))
    if kind == stat.S_IFCHR:
        return Device(metadata, DeviceKind.CHARACTER, status.st_rdev)
    if kind == stat.S_IFBLK:
        return Device(metadata, DeviceKind.BLOCK, status.st_rdev)
    return Fifo(metadata) if kind == stat.S_IFIFO else Socket(metadata)


def _regular(scan: _Scan, file: _DirEntry, status: os.stat_result) -> Regular:
    handle = _open(file.name, file.handle)
    try:
        metadata = metadata_of(status, _xattrs(handle))
        size = status.st_size
        name = inline = None
        if size > WHOLE_LIMIT:
            name = scan.sink.put_file(handle)
        else:
            data = os.read(handle, size + 1)
            if len(data) != size:
                raise _changed(file.path)
            if size > INLINE_LIMIT:
                name = scan.sink.put_bytes(data)
            elif size:
                inline = data
        _check_unchanged(file, status, os.fstat(handle))
    finally:
        os.close(handle)
    return Regular(metadata, size, name, inline)


def _check_unchanged(file: _DirEntry, before: os.stat_result, after: os.stat_result) -> None:
    if (
        before.st_ctime_ns != after.st_ctime_ns
        or before.st_size != after.st_size
        or before.st_ino != after.st_ino
        or before.st_dev != after.st_dev
        or before.st_mtime_ns != after.st_mtime_ns
    ):
        raise _changed(file.path)


def _xattrs(file: int | bytes, *, follow_symlinks: bool = True) -> Xattrs:
    try:
        names = os.listxattr(file, follow_symlinks=follow_symlinks)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return ()
        raise
    if not names:
        return ()
    return tuple(
        (name, os.getxattr(file, name, follow_symlinks=follow_symlinks))
        for name in sorted(os.fsencode(name) for name in names)
    )


@contextmanager
def _opened(path: bytes) -> Iterator[int]:
    """Open a directory; OSErrors in the block are raised with its path."""
    handle = -1
    try:
        handle = os.open(path, _OPEN | os.O_DIRECTORY)
        yield handle
    except OSError as error:
        if error.errno in _FULL:  # of the store's disk: the caller names it
            raise
        raise _unreadable(path, error) from error
    finally:
        if handle >= 0:
            os.close(handle)


def _open(name: bytes, folder: int) -> int:
    """Open a file without updating its access time, if permitted (O_NOATIME needs the owner)."""
    try:
        return os.open(name, _OPEN | os.O_NOATIME, dir_fd=folder)
    except PermissionError:
        return os.open(name, _OPEN, dir_fd=folder)


def _unreadable(path: bytes, error: OSError) -> AtollError:
    """The error to raise for an OSError at ``path``."""
    where = os.fsdecode(path)
    if error.errno in _GONE:
        return _changed(path)
    if isinstance(error, PermissionError):
        return MissingPrivilege(
            f"cannot read {where}: {error.strerror}", hint="try again with sudo"
        )
    return Damaged(
        f"cannot read {where}: {error.strerror}",
        hint="look for disk errors in the journal (journalctl -k)",
    )


def _changed(path: bytes) -> Refused:
    return Refused(
        f"{os.fsdecode(path)} changed while it was read",
        hint="stop the program that changes it, then try again",
    )


def _mounted(path: bytes) -> Refused:
    return Refused(
        f"another file system is mounted at {os.fsdecode(path)}", hint="unmount it first"
    )

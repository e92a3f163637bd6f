"""A directory on disk → the model of its tree, its contents named (and kept) by an ObjectSink.

Two threads take directories from one stack; nearly all of the work is system calls, which run
beside each other. Files are opened relative to their directory and never through a symbolic link.
What changes while it is read is an error, not a guess. No content stays in memory.
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
    store: Store, path: Path, reporter: Reporter, known: StatCache | None = None
) -> Directory:
    """Put all contents below ``path`` into ``store``, durably; gives the tree as it is on disk."""
    with adding_objects(store) as writer:
        return scan_directory(path, writer, reporter, known)


def scan_directory(
    path: Path, sink: ObjectSink, reporter: Reporter, known: StatCache | None = None
) -> Directory:
    """The tree below ``path``, with hard links, xattrs, devices and nanosecond times.

    Files that are ``known`` are not read. Raises NotFound, MissingPrivilege, or Refused for what
    changes meanwhile or is a mount point.
    """
    if not os.path.lexists(path):
        raise NotFound(f"there is no directory {path}")
    if not os.path.isdir(path):
        raise UsageError(f"{path} is not a directory")
    top: dict[bytes, Node] = {}
    scan = _Scan(sink=sink, reporter=reporter, known=known)
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
    """One directory to scan: where it is, and where in the model it goes."""

    path: bytes
    name: bytes
    parent: dict[bytes, Node]
    expected: os.stat_result


class _Place(NamedTuple):
    """A name in a directory that is open."""

    folder: bytes
    handle: int
    name: bytes

    @property
    def path(self) -> bytes:
        return self.folder + b"/" + self.name


@dataclass(slots=True, kw_only=True)
class _Scan:
    """What the threads share. Single operations on its lists and dicts are atomic."""

    sink: ObjectSink
    reporter: Reporter
    known: StatCache | None
    todo: list[_Job] = field(default_factory=list)
    busy: int = 0
    files: int = 0
    failed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)
    claims: dict[tuple[int, int], _Place] = field(default_factory=dict)
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
    """Put one directory into the model, with all in it but directories: those are the result."""
    below: list[_Job] = []
    with _opened(job.path) as handle:
        status = os.fstat(handle)
        if not os.path.samestat(job.expected, status):
            raise _changed(job.path)
        entries: dict[bytes, Node] = {}
        job.parent[job.name] = Directory(metadata_of(status, _xattrs(handle)), entries)
        with os.scandir(handle) as listing:
            for entry in listing:
                place = _Place(job.path, handle, os.fsencode(entry.name))
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    if found.st_dev != status.st_dev:
                        raise _mounted(place.path)
                    below.append(_Job(place.path, place.name, entries, found))
                elif found.st_nlink == 1:
                    entries[place.name] = _leaf(scan, place, found)
                else:
                    _add_linked(scan, place, found, entries)
                if scan.failed:
                    break
    return below


def _add_linked(
    scan: _Scan, place: _Place, status: os.stat_result, entries: dict[bytes, Node]
) -> None:
    """The thread that meets a file first reads it; its other names wait until all is read."""
    key = (status.st_dev, status.st_ino)
    if scan.claims.setdefault(key, place) is not place:
        scan.other_names.append((entries, place.name, key))
        return
    scan.linked[key] = entries[place.name] = _leaf(scan, place, status)


def _leaf(scan: _Scan, place: _Place, status: os.stat_result) -> Leaf:
    known = scan.known.find(status) if scan.known else None
    if known is not None:
        _count(scan)
        return known
    try:
        leaf = _read_leaf(scan, place, status)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise _unreadable(place.path, error) from error
    _count(scan)
    if scan.known:
        scan.known.note(status, leaf)
    return leaf


def _count(scan: _Scan) -> None:
    scan.files += 1
    if not scan.files & _REPORT_EVERY:
        scan.reporter.progress(scan.files, None, unit="files")


def _read_leaf(scan: _Scan, place: _Place, status: os.stat_result) -> Leaf:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        return _regular(scan, place, status)
    metadata = metadata_of(status, _xattrs(place.path, follow_symlinks=False))
    if kind == stat.S_IFLNK:
        return Symlink(metadata, os.fsencode(os.readlink(place.name, dir_fd=place.handle)))
    if kind == stat.S_IFCHR:
        return Device(metadata, DeviceKind.CHARACTER, status.st_rdev)
    if kind == stat.S_IFBLK:
        return Device(metadata, DeviceKind.BLOCK, status.st_rdev)
    return Fifo(metadata) if kind == stat.S_IFIFO else Socket(metadata)


def _regular(scan: _Scan, place: _Place, status: os.stat_result) -> Regular:
    handle = _open(place.name, place.handle)
    try:
        metadata = metadata_of(status, _xattrs(handle))
        size = status.st_size
        name = inline = None
        if size > WHOLE_LIMIT:
            name = scan.sink.put_file(handle)
        else:
            data = os.read(handle, size + 1)
            if len(data) != size:
                raise _changed(place.path)
            if size > INLINE_LIMIT:
                name = scan.sink.put_bytes(data)
            elif size:
                inline = data
        _check_unchanged(place, status, os.fstat(handle))
    finally:
        os.close(handle)
    return Regular(metadata, size, name, inline)


def _check_unchanged(place: _Place, before: os.stat_result, after: os.stat_result) -> None:
    if (
        before.st_ctime_ns != after.st_ctime_ns
        or before.st_size != after.st_size
        or before.st_ino != after.st_ino
        or before.st_dev != after.st_dev
        or before.st_mtime_ns != after.st_mtime_ns
    ):
        raise _changed(place.path)


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
    """A directory, open; errors of the system inside are told with its path."""
    handle = -1
    try:
        handle = os.open(path, _OPEN | os.O_DIRECTORY)
        yield handle
    except OSError as error:
        if error.errno in _FULL:  # the disk of the store, which the caller names
            raise
        raise _unreadable(path, error) from error
    finally:
        if handle >= 0:
            os.close(handle)


def _open(name: bytes, folder: int) -> int:
    """Open a file without touching its access time where that is allowed."""
    try:
        return os.open(name, _OPEN | os.O_NOATIME, dir_fd=folder)
    except PermissionError:
        return os.open(name, _OPEN, dir_fd=folder)


def _unreadable(path: bytes, error: OSError) -> AtollError:
    """What an error of the system at ``path`` means."""
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

"""System calls that change the mounts of another mount namespace: the one of the running system.

A mount is prepared in a private namespace, cloned to a descriptor that is attached nowhere yet
(open_tree(2)), and attached in the other namespace (move_mount(2)). ``MOVE_MOUNT_BENEATH`` (Linux
6.5) attaches it below the mount that is there, so that nothing changes for anybody until the upper
one is detached. All functions raise OSError. "Handle" means a file descriptor here.
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE = 1
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_FROM_EMPTY_PATH, _BENEATH = 0x4, 0x200
_DETACH, _NO_FOLLOW = 2, 8
_READ_ONLY = 0x1
_CLONE_NEWNS = 0x00020000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@dataclass(frozen=True, slots=True, kw_only=True)
class MountNamespace:
    """The mount namespace ``outer``, seen from a process that has moved into another one."""

    outer: int

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the outer namespace inside the block, then in the own one again.

        Modules that are imported inside the block come from the outer one's files.
        """
        own = open_namespace()
        try:
            _enter(self.outer)
            try:
                yield
            finally:
                _enter(own)
        finally:
            os.close(own)


def open_namespace(process: str = "self") -> int:
    """A handle of the mount namespace of a process."""
    return os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def clone_mounts(path: Path) -> int:
    """Clone the mount at ``path`` with all mounts below it; a handle, which is attached nowhere."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    return _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags, path=path)


def attach_beneath(mount: int, path: Path) -> None:
    """Attach a cloned mount below the mount at ``path``: nothing is seen of it yet.

    EINVAL: nothing is mounted at ``path``, or the kernel is older than 6.5.
    """
    flags = _FROM_EMPTY_PATH | _BENEATH
    _call(_MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(path), flags, path=path)


def attach_on_top(mount: int, path: Path) -> None:
    """Attach a cloned mount at ``path``, on top of what is there."""
    _call(_MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(path), _FROM_EMPTY_PATH, path=path)


def detach_mount(path: Path) -> None:
    """Detach the uppermost mount at ``path``; it stays for those who have files of it open."""
    if _libc.umount2(os.fsencode(path), _DETACH | _NO_FOLLOW) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(path))


def make_read_only(path: Path) -> None:
    """Make one mount read-only, not those below it and not other mounts of the file system."""
    data = struct.pack("=QQQQ", _READ_ONLY, 0, 0, 0)
    _call(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), 0, data, len(data), path=path)


def _enter(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _call(number: int, *values: int | bytes, path: Path) -> int:
    arguments = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fspath(path))
    return result

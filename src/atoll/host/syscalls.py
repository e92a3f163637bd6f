"""System calls and ioctls without a Python function: fs-verity, syncfs, unshare, renameat2.

Sandboxes have theirs in ``sandbox_syscalls.py``, live changes in ``mount_syscalls.py``; no other
module uses ctypes. "Handle" means a file descriptor here.

``struct fsverity_enable_arg`` (128 bytes) and ``struct fsverity_digest`` (4 bytes, then the digest)
are defined in ``linux/fsverity.h``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from uuid import UUID

_ENABLE_VERITY = 0x40806685
_MEASURE_VERITY = 0xC0046686
_GET_FS_UUID = 0x80111500
_GET_FLAGS = 0x80086601
_SET_FLAGS = 0x40086602
_IMMUTABLE = 0x10
_SHA256 = 1
_BLOCK_SIZE = 4096
_ENABLE_ARGUMENT = struct.pack("<IIIIQIIQ88x", 1, _SHA256, _BLOCK_SIZE, 0, 0, 0, 0, 0)
_DIGEST_SIZE = 32
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWUSER = 0x10000000
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_MS_PRIVATE_RECURSIVE = (1 << 18) | 0x4000
_BLKPG = 0x1269
_BLKPG_RESIZE_PARTITION = 3
_EXT4_RESIZE = 0x40086610
_NO_VERITY = {errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL}


def enable_verity(handle: int) -> bool:
    """Enable fs-verity (SHA-256, 4 KiB blocks, no salt) on a file; ``handle`` is read-only.

    Returns False if the file system or kernel does not support it, True also if it was enabled
    before. No process may have the file open for writing. Other errors raise OSError.
    """
    try:
        fcntl.ioctl(handle, _ENABLE_VERITY, _ENABLE_ARGUMENT)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return True
        if error.errno in _NO_VERITY:
            return False
        raise
    return True


def measure_verity(handle: int) -> str | None:
    """The fs-verity SHA-256 digest of an open file in hex; None without fs-verity.

    The kernel stores it: this does not read the file.
    """
    result = bytearray(struct.pack("<HH", 0, _DIGEST_SIZE) + bytes(_DIGEST_SIZE))
    try:
        fcntl.ioctl(handle, _MEASURE_VERITY, result, True)
    except OSError as error:
        if error.errno == errno.ENODATA or error.errno in _NO_VERITY:
            return None
        raise
    algorithm, size = struct.unpack_from("<HH", result)
    if algorithm != _SHA256 or size != _DIGEST_SIZE:
        return None
    return result[4:].hex()


def make_mutable(path: str | os.PathLike[str]) -> None:
    """Clear the immutable flag of a file, as ``chattr -i`` does. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = bytearray(struct.pack("=L", 0))
        fcntl.ioctl(handle, _GET_FLAGS, flags, True)
        (value,) = struct.unpack("=L", flags)
        fcntl.ioctl(handle, _SET_FLAGS, struct.pack("=L", value & ~_IMMUTABLE))
    finally:
        os.close(handle)


def file_system_uuid(handle: int) -> str | None:
    """The UUID of an open file's file system, as text; None if unknown (FS_IOC_GETFSUUID)."""
    result = bytearray(17)  # struct fsuuid2: its length, then up to 16 bytes
    try:
        fcntl.ioctl(handle, _GET_FS_UUID, result, True)
    except OSError:
        return None
    return str(UUID(bytes=bytes(result[1:]))) if result[0] == 16 else None


def resize_partition(handle: int, number: int, *, start: int, size: int) -> None:
    """Tell the kernel the new size of partition ``number``, which may be in use (BLKPG ioctl).

    ``handle`` is the whole disk. ``start`` and ``size`` are in bytes; ``start`` must not change.
    Raises OSError.
    """
    # struct blkpg_partition; create_string_buffer adds a NUL byte, which is not part of it.
    data = ctypes.create_string_buffer(struct.pack("=qqi64s64s4x", start, size, number, b"", b""))
    fcntl.ioctl(
        handle,
        _BLKPG,
        struct.pack("@iiiP", _BLKPG_RESIZE_PARTITION, 0, len(data) - 1, ctypes.addressof(data)),
    )


def grow_ext4(handle: int, blocks: int) -> None:
    """Grow a mounted ext4 to ``blocks`` file system blocks (EXT4_IOC_RESIZE_FS).

    ``handle`` is any open file in it. Safe against a power cut: the journal covers it. Raises
    OSError.
    """
    fcntl.ioctl(handle, _EXT4_RESIZE, struct.pack("=Q", blocks))


def syncfs(handle: int) -> None:
    """Write the whole file system of the open file ``handle`` to disk. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(handle) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare_mounts() -> None:
    """Move this process into a new mount namespace with private propagation. Raises OSError."""
    _unshare(_CLONE_NEWNS)
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = None
    if libc.mount(nothing, b"/", nothing, ctypes.c_ulong(_MS_PRIVATE_RECURSIVE), nothing) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare_users() -> None:
    """Move this process, which must have one thread, into a new user namespace without id maps.

    It gets all capabilities inside, and keeps only its user's rights outside. Raises OSError.
    """
    _unshare(_CLONE_NEWUSER)


def unshare_host_name() -> None:
    """Move this process into a new UTS namespace, so that it can change its host name alone."""
    _unshare(_CLONE_NEWUTS)


def _unshare(flag: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flag) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def exchange_names(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> None:
    """Swap two existing paths of one file system atomically (RENAME_EXCHANGE). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = [os.fsencode(path) for path in (one, other)]
    if libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(one), None, os.fspath(other))

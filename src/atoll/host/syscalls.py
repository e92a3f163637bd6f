"""System calls that Python has no function for: fs-verity, syncfs, unshare.

Those of sandboxes are in ``sandbox_syscalls.py``; no other module has ctypes.

``struct fsverity_enable_arg`` (128 bytes) and ``struct fsverity_digest`` (4 bytes, then the digest)
are the kernel's, from ``linux/fsverity.h``; both requests go through ``fcntl.ioctl``.
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
    """Seal the file that is open read-only under ``handle``; False when it cannot be here.

    SHA-256, blocks of 4 KiB, no salt. Nobody may have the file open for writing. Raises OSError for
    anything but a file system or kernel without fs-verity.
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
    """The fs-verity SHA-256 digest the kernel holds for an open file (hex), None without one."""
    answer = bytearray(struct.pack("<HH", 0, _DIGEST_SIZE) + bytes(_DIGEST_SIZE))
    try:
        fcntl.ioctl(handle, _MEASURE_VERITY, answer, True)
    except OSError as error:
        if error.errno == errno.ENODATA or error.errno in _NO_VERITY:
            return None
        raise
    algorithm, size = struct.unpack_from("<HH", answer)
    if algorithm != _SHA256 or size != _DIGEST_SIZE:
        return None
    return answer[4:].hex()


def make_mutable(path: str | os.PathLike[str]) -> None:
    """Take the immutable flag off a file, as ``chattr -i`` does; raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = bytearray(struct.pack("=L", 0))
        fcntl.ioctl(handle, _GET_FLAGS, flags, True)
        (value,) = struct.unpack("=L", flags)
        fcntl.ioctl(handle, _SET_FLAGS, struct.pack("=L", value & ~_IMMUTABLE))
    finally:
        os.close(handle)


def file_system_uuid(handle: int) -> str | None:
    """The UUID of the file system of an open file, as text; None where it says none."""
    answer = bytearray(17)  # struct fsuuid2: its length, then up to 16 bytes
    try:
        fcntl.ioctl(handle, _GET_FS_UUID, answer, True)
    except OSError:
        return None
    return str(UUID(bytes=bytes(answer[1:]))) if answer[0] == 16 else None


def resize_partition(handle: int, number: int, *, start: int, size: int) -> None:
    """Tell the kernel, of the disk that is open under ``handle``, where a partition in use is now.

    In bytes; it may grow, and starts where it did. Raises OSError.
    """
    told = ctypes.create_string_buffer(struct.pack("=qqi64s64s4x", start, size, number, b"", b""))
    fcntl.ioctl(
        handle,
        _BLKPG,
        struct.pack("@iiiP", _BLKPG_RESIZE_PARTITION, 0, len(told) - 1, ctypes.addressof(told)),
    )


def grow_ext4(handle: int, blocks: int) -> None:
    """Let a mounted ext4 have so many blocks of its own size; any file in it may be open.

    The journal makes it safe to cut. Raises OSError.
    """
    fcntl.ioctl(handle, _EXT4_RESIZE, struct.pack("=Q", blocks))


def syncfs(handle: int) -> None:
    """Make everything on the file system that ``handle`` is on durable; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(handle) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare_mounts() -> None:
    """Give this process a mount namespace of its own that passes nothing back; raises OSError."""
    _unshare(_CLONE_NEWNS)
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = None
    if libc.mount(nothing, b"/", nothing, ctypes.c_ulong(_MS_PRIVATE_RECURSIVE), nothing) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare_users() -> None:
    """Give this process, which has one thread, a user namespace; nobody is mapped in it yet.

    It has every right inside, and none outside but what its user had. Raises OSError.
    """
    _unshare(_CLONE_NEWUSER)


def unshare_host_name() -> None:
    """Let a change of the host's name be seen by this process and its children only."""
    _unshare(_CLONE_NEWUTS)


def _unshare(flag: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flag) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def exchange_names(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> None:
    """Let two names change places at one instant; both are there, on one file system."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = [os.fsencode(path) for path in (one, other)]
    if libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(one), None, os.fspath(other))

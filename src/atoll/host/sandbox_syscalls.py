"""System calls for a sandbox: namespaces, mounts by file descriptor, dropping privileges.

Only ``host/sandbox_init.py`` uses them; it runs in a process of its own, so this module imports
little. Mounts use the descriptor-based calls of Linux 5.12: a mount point is a descriptor that was
opened inside the root, never a path that the root's content could redirect. All functions raise
OSError. "Handle" means a file descriptor here.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x20000000, 0x40000000

READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC = 0x1, 0x2, 0x4, 0x8
NO_SYMLINKS_FOLLOWED = 0x200000
"""Mount attributes, see mount_setattr(2)."""

IN_ROOT, NO_SYMLINKS, NO_MAGIC_LINKS = 0x10, 0x04, 0x02
"""RESOLVE flags of openat2(2)."""

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _MOUNT_SETATTR = 437, 442
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}
"""keyctl(2) by architecture. System calls since Linux 5.1 have the same number everywhere."""

_OPEN_TREE_CLONE, _CLOEXEC = 1, os.O_CLOEXEC
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_FROM_AND_TO_EMPTY_PATH = 0x4 | 0x40
_SET_STRING, _SET_FLAG, _CREATE = 1, 0, 6
_MS_PRIVATE_RECURSIVE = (1 << 18) | 0x4000
_MNT_DETACH = 2
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_SECCOMP = 1, 4, 22
_DROP_BOUNDING, _NO_NEW_PRIVILEGES, _AMBIENT, _AMBIENT_CLEAR = 24, 38, 47, 4
_SECCOMP_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_JOIN_SESSION_KEYRING = 1
_LANDLOCK_VERSION = 1
_SCOPE_ABSTRACT_UNIX_SOCKETS = 1
_SCOPES_SINCE = 6
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP = 0x8913, 0x8914, 1
_AF_INET, _SOCK_DGRAM = 2, 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def _call(number: int, *values: int | bytes | None, path: str | None = None) -> int:
    arguments = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), path)


def unshare(flags: int) -> None:
    """Move this process into new namespaces (unshare(2)); a PID namespace is for its children."""
    _checked(_libc.unshare(flags))


def enter_mount_namespace(handle: int) -> None:
    """Enter a mount namespace at its root, which leaves any chroot (setns(2))."""
    _checked(_libc.setns(handle, CLONE_NEWNS))


def make_mounts_private() -> None:
    """Make all mounts private: no mount event propagates to or from another namespace."""
    _checked(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_PRIVATE_RECURSIVE), None))


def clone_mount(path: str) -> int:
    """Clone the mount at ``path``, not recursively; returns a handle of the detached mount."""
    flags = _OPEN_TREE_CLONE | _CLOEXEC
    return _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags, path=path)


def clone_mount_at(handle: int) -> int:
    """Like ``clone_mount``, of what ``handle`` refers to."""
    return _call(_OPEN_TREE, handle, b"", _OPEN_TREE_CLONE | _CLOEXEC | _AT_EMPTY_PATH)


def new_mount(kind: str, attributes: int, **options: str) -> int:
    """Create a file system of type ``kind``; returns a handle of its detached mount.

    ``attributes`` are mount attributes. An option with an empty value is a flag.
    """
    context = _call(_FSOPEN, kind.encode(), 1)
    try:
        for name, value in options.items():
            how = _SET_STRING if value else _SET_FLAG
            _call(_FSCONFIG, context, how, name.encode(), value.encode() if value else None, 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, 1, attributes, path=kind)
    finally:
        os.close(context)


def attach_mount(mount: int, mount_point: int) -> None:
    """Attach a detached mount to ``mount_point``, a handle."""
    _call(_MOVE_MOUNT, mount, b"", mount_point, b"", _FROM_AND_TO_EMPTY_PATH)


def set_attributes(mount: int, *, add: int = 0, clear: int = 0) -> None:
    """Set and clear attributes of one mount, not of those below it (mount_setattr(2))."""
    data = struct.pack("=QQQQ", add, clear, 0, 0)
    _call(_MOUNT_SETATTR, mount, b"", _AT_EMPTY_PATH, data, len(data))


def open_inside(root: int, path: str, flags: int, *, mode: int = 0, how: int = IN_ROOT) -> int:
    """Open ``path`` relative to the directory handle ``root``, by default chroot-like (openat2)."""
    data = struct.pack("=QQQ", flags | _CLOEXEC, mode, how | NO_MAGIC_LINKS)
    return _call(_OPENAT2, root, os.fsencode(path), data, len(data), path=path)


def change_root(handle: int) -> None:
    """Make the mount of ``handle`` the root, and detach the old root (pivot_root(2)).

    With "." for both arguments the old root is stacked on the new one, and no directory for it is
    needed; unmounting "." removes it.
    """
    os.fchdir(handle)
    _checked(_libc.pivot_root(b".", b"."))
    _checked(_libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def set_host_name(name: bytes, domain: bytes) -> None:
    """Set the host and NIS domain name of this UTS namespace."""
    _checked(_libc.sethostname(name, ctypes.c_size_t(len(name))))
    _checked(_libc.setdomainname(domain, ctypes.c_size_t(len(domain))))


def start_loopback() -> None:
    """Bring up the loopback interface of a new network namespace."""
    handle = _checked(_libc.socket(_AF_INET, _SOCK_DGRAM, 0))
    try:
        request = bytearray(struct.pack("16sH22x", b"lo", 0))
        fcntl.ioctl(handle, _SIOCGIFFLAGS, request, True)
        (flags,) = struct.unpack_from("H", request, 16)
        struct.pack_into("H", request, 16, flags | _UP)
        fcntl.ioctl(handle, _SIOCSIFFLAGS, request, True)
    finally:
        os.close(handle)


def join_new_keyring() -> None:
    """Join a new session keyring; does nothing where the system call number is unknown."""
    number = _KEYCTL.get(os.uname().machine)
    if number is not None:
        _call(number, _JOIN_SESSION_KEYRING, None, 0, 0, 0)


def die_with_parent(number: int) -> None:
    """Receive the signal ``number`` when the parent process ends (PR_SET_PDEATHSIG)."""
    _prctl(_SET_DEATH_SIGNAL, number)


def hide_memory() -> None:
    """Forbid other processes of the same user to trace this one or to follow its links in /proc
    (PR_SET_DUMPABLE)."""
    _prctl(_SET_DUMPABLE, 0)


def give_up_new_privileges() -> None:
    """Disable setuid bits and file capabilities for good (PR_SET_NO_NEW_PRIVS)."""
    _prctl(_NO_NEW_PRIVILEGES, 1)


def keep_capabilities(kept: int, last: int) -> None:
    """Reduce the effective, permitted and bounding sets to the bit mask ``kept``, for good.

    The inheritable and ambient sets are cleared. ``last`` is the kernel's highest capability.
    """
    for number in range(last + 1):
        if not kept >> number & 1:
            _prctl(_DROP_BOUNDING, number)
    _prctl(_AMBIENT, _AMBIENT_CLEAR)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)))


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter: a classic BPF ``program``, 8 bytes per instruction."""
    code = ctypes.create_string_buffer(program, len(program))
    data = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _checked(_libc.prctl(_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_FILTER), data, 0, 0))


def hide_abstract_sockets() -> bool:
    """Forbid connections to abstract Unix sockets from outside, by a Landlock scope.

    Returns False before Linux 6.12, which has no such scope.
    """
    version = _libc.syscall(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET),
        None,
        ctypes.c_long(0),
        ctypes.c_long(_LANDLOCK_VERSION),
    )
    if version < _SCOPES_SINCE:
        return False
    rules = struct.pack("=QQQ", 0, 0, _SCOPE_ABSTRACT_UNIX_SOCKETS)
    handle = _call(_LANDLOCK_CREATE_RULESET, rules, len(rules), 0)
    try:
        _call(_LANDLOCK_RESTRICT_SELF, handle, 0)
    finally:
        os.close(handle)
    return True


def _prctl(option: int, *values: int) -> None:
    arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(option, *arguments))

"""System calls that make a sandbox: namespaces, mounts by file handle, privileges given up.

They serve ``host/sandbox_init.py`` alone, which runs in a process of its own, so little is imported
here. Mounts go by the kernel's newer calls (Linux 5.12): a place is a file handle that was found
inside of a root, never a path that somebody else could bend. All of these raise OSError.
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
"""Attributes of mounts, as mount_setattr(2) has them."""

IN_ROOT, NO_SYMLINKS, NO_MAGIC_LINKS = 0x10, 0x04, 0x02
"""How openat2(2) resolves a path."""

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _MOUNT_SETATTR = 437, 442
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}
"""Calls since Linux 5.0 have one number on every architecture; older ones do not."""

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


def _call(number: int, *words: int | bytes | None, path: str | None = None) -> int:
    arguments = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), path)


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags))


def enter_mount_namespace(handle: int) -> None:
    """Go to the root of a mount namespace, out of every chroot in it."""
    _checked(_libc.setns(handle, CLONE_NEWNS))


def make_mounts_private() -> None:
    """No mount or unmount is passed on to, or comes from, another namespace."""
    _checked(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_PRIVATE_RECURSIVE), None))


def clone_mount(path: str) -> int:
    """A handle of a new mount, attached nowhere yet, that shows what is at ``path``."""
    flags = _OPEN_TREE_CLONE | _CLOEXEC
    return _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags, path=path)


def clone_mount_at(handle: int) -> int:
    """The same for what is open under ``handle``."""
    return _call(_OPEN_TREE, handle, b"", _OPEN_TREE_CLONE | _CLOEXEC | _AT_EMPTY_PATH)


def new_mount(kind: str, attributes: int, **options: str) -> int:
    """A handle of a mount of a new file system, attached nowhere yet. An option without a value
    has the empty one."""
    context = _call(_FSOPEN, kind.encode(), 1)
    try:
        for name, value in options.items():
            how = _SET_STRING if value else _SET_FLAG
            _call(_FSCONFIG, context, how, name.encode(), value.encode() if value else None, 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, 1, attributes, path=kind)
    finally:
        os.close(context)


def attach_mount(mount: int, place: int) -> None:
    """Attach ``mount`` at what is open under ``place``."""
    _call(_MOVE_MOUNT, mount, b"", place, b"", _FROM_AND_TO_EMPTY_PATH)


def set_attributes(mount: int, *, add: int = 0, clear: int = 0) -> None:
    data = struct.pack("=QQQQ", add, clear, 0, 0)
    _call(_MOUNT_SETATTR, mount, b"", _AT_EMPTY_PATH, data, len(data))


def open_inside(root: int, path: str, flags: int, *, mode: int = 0, how: int = IN_ROOT) -> int:
    """Open ``path`` as a process would whose root is the directory ``root``."""
    data = struct.pack("=QQQ", flags | _CLOEXEC, mode, how | NO_MAGIC_LINKS)
    return _call(_OPENAT2, root, os.fsencode(path), data, len(data), path=path)


def change_root(handle: int) -> None:
    """Make the mount that is open under ``handle`` the root, and let go of the one before."""
    os.fchdir(handle)
    _checked(_libc.pivot_root(b".", b"."))
    _checked(_libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def set_host_name(name: bytes, domain: bytes) -> None:
    _checked(_libc.sethostname(name, ctypes.c_size_t(len(name))))
    _checked(_libc.setdomainname(domain, ctypes.c_size_t(len(domain))))


def start_loopback() -> None:
    """Let a new network namespace talk to itself."""
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
    """A session keyring of its own, where the architecture's number for that is known."""
    number = _KEYCTL.get(os.uname().machine)
    if number is not None:
        _call(number, _JOIN_SESSION_KEYRING, None, 0, 0, 0)


def die_with_parent(number: int) -> None:
    """Get the signal ``number`` when the process that started this one ends."""
    _prctl(_SET_DEATH_SIGNAL, number)


def hide_memory() -> None:
    """No other process of the same user may trace this one, nor follow its links in /proc."""
    _prctl(_SET_DUMPABLE, 0)


def give_up_new_privileges() -> None:
    """No setuid bit and no file capability has an effect from here on."""
    _prctl(_NO_NEW_PRIVILEGES, 1)


def keep_capabilities(kept: int, last: int) -> None:
    """Only those in the bit mask ``kept`` can ever be had again; ``last`` is the highest number."""
    for number in range(last + 1):
        if not kept >> number & 1:
            _prctl(_DROP_BOUNDING, number)
    _prctl(_AMBIENT, _AMBIENT_CLEAR)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)))


def filter_calls(program: bytes) -> None:
    """Let the kernel ask a seccomp ``program`` (BPF, 8 bytes an instruction) of every call."""
    code = ctypes.create_string_buffer(program, len(program))
    data = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _checked(_libc.prctl(_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_FILTER), data, 0, 0))


def hide_abstract_sockets() -> bool:
    """Keep away from unix sockets without a file that others made; False before Linux 6.12."""
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


def _prctl(option: int, *words: int) -> None:
    arguments = [ctypes.c_ulong(word) for word in (*words, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(option, *arguments))

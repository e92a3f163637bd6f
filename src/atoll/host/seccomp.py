"""The seccomp filter of a sandbox: a classic BPF program that denies system calls.

Without the capabilities, most of these calls fail anyway. The filter is a second defence against
kernel bugs, and denies what needs no capability: user namespaces, keyrings, the kernel log,
injecting terminal input. Calls that programs can do without fail with ENOSYS, as on a kernel that
lacks them, and programs take their fallback; the others fail with EPERM.

The 32-bit architecture of a 64-bit machine has its own table. On an architecture without a table
there is no filter; the other defences of the sandbox still hold.
"""

from __future__ import annotations

import errno
import struct

_NATIVE = {
    "x86_64": (0xC000003E, 0x40000003),
    "i686": (0x40000003,),
    "aarch64": (0xC00000B7, 0x40000028),
    "armv7l": (0x40000028,),
    "riscv64": (0xC00000F3,),
}
"""The architectures (AUDIT_ARCH_*) that a machine can execute, by ``uname -m``; native first."""

_X86_64, _I386, _ARM = 0xC000003E, 0x40000003, 0x40000028
_OF_ARCHITECTURE = {_X86_64: 0, _I386: 1, 0xC00000B7: 2, 0xC00000F3: 2, _ARM: 3}
"""The column of the tables below, by AUDIT_ARCH_*."""

_NOT_PERMITTED: dict[str, tuple[int | None, int | None, int | None, int | None]] = {
    # call: numbers on x86_64, i386, arm64 and riscv64 (the generic table), arm
    "mount": (165, 21, 40, 21),
    "umount": (None, 22, None, None),
    "umount2": (166, 52, 39, 52),
    "pivot_root": (155, 217, 41, 218),
    "unshare": (272, 310, 97, 337),
    "setns": (308, 346, 268, 375),
    "open_tree": (428,) * 4,
    "move_mount": (429,) * 4,
    "fsopen": (430,) * 4,
    "fsconfig": (431,) * 4,
    "fsmount": (432,) * 4,
    "fspick": (433,) * 4,
    "mount_setattr": (442,) * 4,
    "quotactl_fd": (443,) * 4,
    "open_tree_attr": (467,) * 4,
    "open_by_handle_at": (304, 342, 265, 371),
    "bpf": (321, 357, 280, 386),
    "perf_event_open": (298, 336, 241, 364),
    "kexec_load": (246, 283, 104, 347),
    "kexec_file_load": (320, None, 294, 401),
    "init_module": (175, 128, 105, 128),
    "finit_module": (313, 350, 273, 379),
    "delete_module": (176, 129, 106, 129),
    "reboot": (169, 88, 142, 88),
    "swapon": (167, 87, 224, 87),
    "swapoff": (168, 115, 225, 115),
    "acct": (163, 51, 89, 51),
    "quotactl": (179, 131, 60, 131),
    "syslog": (103, 103, 116, 103),
    "settimeofday": (164, 79, 170, 79),
    "stime": (None, 25, None, None),
    "clock_settime": (227, 264, 112, 262),
    "clock_settime64": (None, 404, None, 404),
    "adjtimex": (159, 124, 171, 124),
    "clock_adjtime": (305, 343, 266, 372),
    "clock_adjtime64": (None, 405, None, 405),
    "iopl": (172, 110, None, None),
    "ioperm": (173, 101, None, None),
    "sethostname": (170, 74, 161, 74),
    "setdomainname": (171, 121, 162, 121),
    "vm86old": (None, 113, None, None),
    "vm86": (None, 166, None, None),
    "vhangup": (153, 111, 58, 111),
    "fanotify_init": (300, 338, 262, 367),
    "lookup_dcookie": (212, 253, 18, 249),
}
_UNKNOWN: dict[str, tuple[int | None, int | None, int | None, int | None]] = {
    "clone3": (435,) * 4,
    "io_uring_setup": (425,) * 4,
    "io_uring_enter": (426,) * 4,
    "io_uring_register": (427,) * 4,
    "userfaultfd": (323, 374, 282, 388),
    "add_key": (248, 286, 217, 309),
    "request_key": (249, 287, 218, 310),
    "keyctl": (250, 288, 219, 311),
}
"""clone3 is here because its flags are in memory, which a filter cannot read; libc falls back to
clone."""

_CLONE = (56, 120, 220, 120)
_NEW_NAMESPACES = 0x7E020000
_IOCTL = (16, 54, 29, 54)
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX insert characters into a terminal's input, as if they had been typed."""

_SOCKET = (41, 359, 198, 281)
_FAMILIES = (1, 2, 10)
"""Allowed socket families: Unix, IPv4, IPv6, and netlink except audit. Others reach the hypervisor
(AF_VSOCK), the kernel's crypto API (AF_ALG), or rarely audited parts of the kernel."""
_SOCKETCALL, _SYS_SOCKET = 102, 1
"""i386's socketcall(2): the family is in memory, which a filter cannot read, so it may not create
sockets on amd64. On a machine that is itself i386 it stays allowed: libc may use nothing else."""
_NETLINK, _AUDIT = 16, 9
"""Denying NETLINK_AUDIT with EAFNOSUPPORT makes PAM believe that the kernel has no audit support,
so it works without CAP_AUDIT_WRITE."""

_X32 = 0x40000000
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP, _JUMP_EQUAL, _JUMP_SET, _JUMP_AT_LEAST, _RETURN = (
    0x20,
    0x05,
    0x15,
    0x45,
    0x35,
    0x06,
)
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST, _AT_SECOND, _AT_THIRD = 0, 4, 16, 24, 32


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """Encode a struct sock_filter. A jump skips ``yes`` or ``no`` instructions."""
    return struct.pack("=HBBI", code, yes, no, value)


def plan_filter(machine: str) -> bytes | None:
    """The filter for a machine (``uname -m``); None if it is not in the tables."""
    if machine not in _NATIVE:
        return None
    steps = [_step(_LOAD, _AT_ARCHITECTURE)]
    for architecture in _NATIVE[machine]:
        body = _body(architecture, foreign=architecture != _NATIVE[machine][0])
        # A conditional jump has an 8-bit offset, too short to skip a body.
        steps += [_step(_JUMP_EQUAL, architecture, 1, 0), _step(_JUMP, len(body)), *body]
    steps.append(_step(_RETURN, _KILL))
    return b"".join(steps)


def _body(architecture: int, *, foreign: bool) -> list[bytes]:
    """The checks for one architecture; every path ends in a return instruction."""
    column = _OF_ARCHITECTURE[architecture]
    steps = [_step(_LOAD, _AT_NUMBER)]
    if architecture == _X86_64:
        steps += [_step(_JUMP_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)]
    for table, number in ((_NOT_PERMITTED, errno.EPERM), (_UNKNOWN, errno.ENOSYS)):
        for numbers in table.values():
            call = numbers[column]
            if call is not None:
                steps += [_step(_JUMP_EQUAL, call, 0, 1), _refuse(number)]
    steps += _when(
        _CLONE[column],
        [_step(_LOAD, _AT_FIRST), _step(_JUMP_SET, _NEW_NAMESPACES, 0, 1), _refuse(errno.EPERM)],
    )
    steps += _when(
        _IOCTL[column],
        [
            _step(_LOAD, _AT_SECOND),
            *_refuse_any(_TERMINAL_INPUT, errno.EPERM),
        ],
    )
    if foreign and architecture == _I386:
        opens = [_step(_LOAD, _AT_FIRST), *_refuse_any((_SYS_SOCKET,), errno.EAFNOSUPPORT)]
        steps += _when(_SOCKETCALL, opens)
    steps += _when(
        _SOCKET[column],
        [
            _step(_LOAD, _AT_FIRST),
            *(
                step
                for family in _FAMILIES
                for step in (_step(_JUMP_EQUAL, family, 0, 1), _step(_RETURN, _ALLOW))
            ),
            _step(_JUMP_EQUAL, _NETLINK, 1, 0),
            _refuse(errno.EAFNOSUPPORT),
            _step(_LOAD, _AT_THIRD),
            _step(_JUMP_EQUAL, _AUDIT, 0, 1),
            _refuse(errno.EAFNOSUPPORT),
        ],
    )
    return [*steps, _step(_RETURN, _ALLOW)]


def _refuse_any(values: tuple[int, ...], number: int) -> list[bytes]:
    """Fail with errno ``number`` if the accumulator is one of ``values``."""
    pairs = ((_step(_JUMP_EQUAL, value, 0, 1), _refuse(number)) for value in values)
    return [step for pair in pairs for step in pair]


def _when(call: int, then: list[bytes]) -> list[bytes]:
    """Run ``then`` if the call number is ``call``; allow the call if ``then`` does not return."""
    then = [*then, _step(_RETURN, _ALLOW)]
    return [_step(_JUMP_EQUAL, call, 0, len(then)), *then]


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)

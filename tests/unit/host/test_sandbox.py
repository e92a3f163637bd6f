"""The arguments of a sandbox, and the verdicts of its seccomp filter."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from atoll.host.mount import Overlay
from atoll.host.sandbox import Bind, Sandbox, format_arguments
from atoll.host.sandbox_init import CAPABILITIES, parse_arguments
from atoll.host.seccomp import plan_filter

X86_64, I386, ARM64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
ALLOWED, ERROR, KILLED = 0x7FFF0000, 0x00050000, 0x80000000


def test_a_sandbox_is_told_all_and_nothing_more() -> None:
    sandbox = Sandbox(
        root=Path("/some/root"),
        binds=(
            Bind(source=Path("/no such/place"), target="/run/there"),
            Bind(source=Path("/other"), target="/made", writable=True),
        ),
        environment={"NAME": "a=b c"},
        network=True,
    )
    spec = parse_arguments(format_arguments(sandbox, ["run", "root", "-x"]))
    assert spec.root == "/some/root"
    assert spec.binds == [("/no such/place", "/run/there", False), ("/other", "/made", True)]
    assert spec.environment["NAME"] == "a=b c"
    assert spec.network
    assert spec.argv == ["run", "root", "-x"]


def test_there_is_no_network_unless_it_is_asked_for() -> None:
    assert not parse_arguments(format_arguments(Sandbox(root=Path("/root")), ["true"])).network


def test_no_capability_reaches_beyond_the_root() -> None:
    beyond = {
        "sys_admin",
        "sys_ptrace",
        "sys_module",
        "sys_rawio",
        "mknod",
        "net_admin",
        "net_raw",
        "dac_read_search",
        "sys_boot",
        "sys_time",
        "syslog",
        "bpf",
        "perfmon",
    }
    assert not beyond & CAPABILITIES.keys()


def answer(machine: str, architecture: int, call: int, *arguments: int) -> int:
    """The filter's verdict on a system call, by an interpreter of classic BPF."""
    program = plan_filter(machine)
    assert program is not None
    steps = list(struct.iter_unpack("=HBBI", program))
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", call, architecture, 0, *padded)
    value, at = 0, 0
    while True:
        code, yes, no, operand = steps[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == 0x05:
            at += operand
        elif code == 0x06:
            return int(operand)
        else:
            test = {0x15: value == operand, 0x35: value >= operand, 0x45: value & operand}[code]
            at += yes if test else no


@pytest.mark.parametrize(
    ("machine", "architecture", "call", "error"),
    [
        ("x86_64", X86_64, 165, errno.EPERM),  # mount
        ("x86_64", X86_64, 272, errno.EPERM),  # unshare
        ("x86_64", X86_64, 435, errno.ENOSYS),  # clone3
        ("x86_64", X86_64, 250, errno.ENOSYS),  # keyctl
        ("x86_64", X86_64, 0x40000000 + 165, errno.ENOSYS),  # x32
        ("x86_64", I386, 21, errno.EPERM),  # mount
        ("x86_64", I386, 310, errno.EPERM),  # unshare
        ("aarch64", ARM64, 40, errno.EPERM),  # mount
        ("aarch64", ARM64, 219, errno.ENOSYS),  # keyctl
        ("aarch64", ARM, 375, errno.EPERM),  # setns
        ("riscv64", 0xC00000F3, 97, errno.EPERM),  # unshare
    ],
)
def test_a_call_that_leads_out_is_refused(
    machine: str, architecture: int, call: int, error: int
) -> None:
    assert answer(machine, architecture, call) == ERROR | error


@pytest.mark.parametrize(
    ("architecture", "call", "arguments", "result"),
    [
        (X86_64, 0, (), ALLOWED),  # read
        (X86_64, 56, (0x01200011,), ALLOWED),  # fork
        (X86_64, 56, (0x3D0F00,), ALLOWED),  # a thread
        (X86_64, 56, (0x10000011,), ERROR | errno.EPERM),  # a user namespace
        (X86_64, 56, (0x00020011,), ERROR | errno.EPERM),  # a mount namespace
        (X86_64, 16, (0, 0x5401), ALLOWED),  # TCGETS
        (X86_64, 16, (0, 0x5412), ERROR | errno.EPERM),  # TIOCSTI
        (X86_64, 16, (0, 0x5412 | 1 << 40), ERROR | errno.EPERM),  # the same to the kernel
        (X86_64, 41, (1, 1, 0), ALLOWED),  # a unix socket
        (X86_64, 41, (16, 3, 0), ALLOWED),  # netlink, routes
        (X86_64, 41, (16, 3, 9), ERROR | errno.EAFNOSUPPORT),  # netlink, audit
        (X86_64, 41, (40, 1, 0), ERROR | errno.EAFNOSUPPORT),  # vsock
        (I386, 120, (0x10000011,), ERROR | errno.EPERM),
        (0xC00000B7, 0, (), KILLED),  # what this machine does not run
    ],
)
def test_a_call_is_judged_by_its_arguments(
    architecture: int, call: int, arguments: tuple[int, ...], result: int
) -> None:
    assert answer("x86_64", architecture, call, *arguments) == result


def test_a_machine_without_a_table_has_no_filter() -> None:
    assert plan_filter("s390x") is None


def test_an_overlay_follows_no_redirect_and_marks_as_it_may() -> None:
    overlay = Overlay(base=Path("/cache"), lowers=("b", "a"), upper="u", work="w")
    trusted = "lowerdir=b:a,upperdir=u,workdir=w,redirect_dir=nofollow,metacopy=off,index=off"
    assert overlay.options() == trusted
    assert overlay.options(namespace="user") == f"{trusted},userxattr"

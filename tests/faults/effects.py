"""Which audit events are effects on the machine: where fault tests stop a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

IsEffect: TypeAlias = Callable[[str, tuple[object, ...]], bool]

EFFECTS = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.symlink",
    "os.utime",
    "os.setxattr",
    "os.truncate",
    "fcntl.ioctl",
    "ctypes.dlopen",  # how syncfs and the exchange of names begin
}


def is_effect(event: str, arguments: tuple[object, ...]) -> bool:
    """An event of ``EFFECTS``, or opening a file to write."""
    if event != "open":
        return event in EFFECTS
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR))


def makes_something(event: str, arguments: tuple[object, ...]) -> bool:
    """An effect but for removals: removing needs no space, and what it leaves it cannot remove."""
    return event not in ("os.remove", "os.rmdir") and is_effect(event, arguments)

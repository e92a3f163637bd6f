"""Which audit events are effects on the machine: where fault tests stop a process."""

from __future__ import annotations

import os

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

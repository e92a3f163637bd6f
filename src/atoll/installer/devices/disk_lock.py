"""Locking a disk against other programs while it is written, and checking that it is the same."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atoll.base.errors import Busy, NotFound, Refused
from atoll.host.fs import take_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 10
"""Seconds; udev holds the lock while it reads a disk."""


@contextmanager
def locked_disk(disk: Path, number: str) -> Iterator[None]:
    """Hold the lock of a whole disk that udev and systemd respect (systemd's BLOCK_DEVICE_LOCKING).

    While it is open its name and number stay its own, also when it is unplugged. ``number`` is the
    one that it had, as ``8:0``. Raises Busy, NotFound or Refused.
    """
    try:
        handle = os.open(disk, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"{disk} is no longer there", hint="lsblk lists disks") from error
    except OSError as error:
        raise Refused(
            f"{disk} cannot be written to: {error.strerror}", hint="choose another disk"
        ) from error
    try:
        device = os.fstat(handle).st_rdev
        if f"{os.major(device)}:{os.minor(device)}" != number:
            raise Refused(f"{disk} is another disk now", hint="start again")
        if not take_lock(handle, fcntl.LOCK_EX, seconds=PATIENCE):
            raise Busy(f"another program works on {disk}", hint=f"see who it is: lsof {disk}")
        yield
    finally:
        os.close(handle)


def is_in_use(device: Path) -> bool:
    """Whether somebody has a device for themselves: a file system mounted elsewhere, ZFS …"""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False

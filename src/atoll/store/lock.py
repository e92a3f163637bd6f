"""The lock of a store: any number of operations add at the same time, or one removes.

Additions cannot conflict: content is named by its digest and appears by rename. So they hold the
lock shared and may nest. Only removal (garbage collection, leftovers) needs it exclusively.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atoll.base.errors import Busy
from atoll.host.fs import remove_tree, take_lock
from atoll.store.layout import forbidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.store.layout import Store

PATIENCE = 10.0
"""Seconds that an addition waits for an operation that removes."""


@contextmanager
def adding(store: Store, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock shared, to add to ``store``. Raises Busy while another operation removes.

    If no other operation runs, this first removes leftovers of interrupted ones in ``staging``.
    """
    handle = _open_lock(store)
    try:
        if take_lock(handle, fcntl.LOCK_EX, seconds=0):
            _clear_staging(store)  # else another operation is adding: staging may be its own
        # This also converts an exclusive lock into a shared one.
        _wait_for_lock(handle, fcntl.LOCK_SH, store, patience)
        yield
    finally:
        os.close(handle)


@contextmanager
def reading(store: Store, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock shared, to read ``store``, which may be on a read-only mount. Raises Busy.

    A store in which nothing was ever changed has no lock, and on a read-only mount none can be
    made: it is then read without, as nobody holds it.
    """
    handle = _open_for_reading(store)
    if handle is None:
        yield
        return
    try:
        _wait_for_lock(handle, fcntl.LOCK_SH, store, patience)
        yield
    finally:
        os.close(handle)


@contextmanager
def removing(store: Store) -> Iterator[None]:
    """Hold the lock exclusively. Raises Busy if any other operation holds it."""
    handle = _open_lock(store)
    try:
        _wait_for_lock(handle, fcntl.LOCK_EX, store, 0)
        _clear_staging(store)
        yield
    finally:
        os.close(handle)


def _open_for_reading(store: Store) -> int | None:
    """None where no lock is and none can be made, on a read-only mount."""
    try:
        return os.open(store.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if os.statvfs(store.root).f_flag & os.ST_RDONLY:
            return None
        return _open_lock(store)


def _open_lock(store: Store) -> int:
    try:
        return os.open(store.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise forbidden(f"cannot change the store in {store.root}", error) from error


def _wait_for_lock(handle: int, kind: int, store: Store, patience: float) -> None:
    if not take_lock(handle, kind, seconds=patience):
        raise Busy(
            f"another operation is running on the store in {store.root}",
            hint="wait until it ends, then try again",
        )


def _clear_staging(store: Store) -> None:
    for path in store.staging.iterdir():
        remove_tree(path)

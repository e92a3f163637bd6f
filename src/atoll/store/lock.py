"""Who may work on a store at the same time: any number that add, or one that removes.

Adding never collides: contents are named by digest and appear by rename. So additions hold the
lock shared and may be nested, and only removing (collection, clearing leftovers) needs it alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from atoll.base.errors import Busy
from atoll.host.fs import remove_tree
from atoll.store.layout import forbidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.store.layout import Store

PATIENCE = 10.0
"""Seconds that an addition waits for another operation that clears leftovers or removes."""


@contextmanager
def adding(store: Store, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold ``store`` for additions; raises Busy while something is being removed from it.

    When no other operation is at work, what an interrupted one left in ``staging`` goes first.
    """
    handle = _open_lock(store)
    try:
        with suppress(BlockingIOError):  # somebody adds: what is in staging may be theirs
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear_staging(store)
        _take(handle, fcntl.LOCK_SH, store, patience)
        yield
    finally:
        os.close(handle)


@contextmanager
def reading(store: Store, *, patience: float = PATIENCE) -> Iterator[None]:
    """Keep others from removing anything while the store is read, also one that is read-only."""
    try:
        handle = os.open(store.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        handle = _open_lock(store)
    try:
        _take(handle, fcntl.LOCK_SH, store, patience)
        yield
    finally:
        os.close(handle)


@contextmanager
def removing(store: Store) -> Iterator[None]:
    """Hold ``store`` alone; raises Busy when anything else is at work on it."""
    handle = _open_lock(store)
    try:
        _take(handle, fcntl.LOCK_EX, store, 0)
        _clear_staging(store)
        yield
    finally:
        os.close(handle)


def _open_lock(store: Store) -> int:
    try:
        return os.open(store.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise forbidden(f"cannot change the store in {store.root}", error) from error


def _take(handle: int, kind: int, store: Store, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Busy(
                    f"another operation is running on the store in {store.root}",
                    hint="wait until it ends, then try again",
                ) from None
            time.sleep(0.05)
        else:
            return


def _clear_staging(store: Store) -> None:
    for path in store.staging.iterdir():
        remove_tree(path)

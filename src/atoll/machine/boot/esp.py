"""Writing to the EFI system partition, which is FAT: it has no journal and no atomic rename.

So every file and its directory are flushed one by one, what was written is read back past the page
cache, and an entry is committed by writing one sector of it (``commit_draft``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.host.fs import fsync_directory, open_regular, space_errors
from atoll.machine.boot.boot_entry import SECTOR, BootEntry, format_draft, format_entry
from atoll.store.objects import DigestSink, measure_object, open_object, read_chunks

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import ObjectId
    from atoll.store.layout import Store


def write_checked(path: Path, content: bytes) -> None:
    """Write a file durably and read it back from the disk; raises Damaged when it differs."""
    with space_errors(path):
        ensure_directory(path.parent)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fsync_directory(path.parent)
    if _read_from_disk(path) != content:
        raise _read_back_error(path)


def has_content(path: Path, content: bytes) -> bool:
    """Whether the disk has this file; raises OSError when it cannot be read."""
    try:
        return path.stat().st_size == len(content) and _read_from_disk(path) == content
    except FileNotFoundError:
        return False


def copy_checked(path: Path, store: Store, name: ObjectId) -> None:
    """Write an object's content durably to ``path``, and read it back from the disk.

    Raises Damaged when the object or what was read back is not what its name says.
    """
    source = open_object(store, name)
    try:
        with space_errors(path):
            ensure_directory(path.parent)
            with path.open("wb") as file:
                for chunk in read_chunks(source):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            fsync_directory(path.parent)
    finally:
        os.close(source)
    check_copy(path, store, name)


def check_copy(path: Path, store: Store, name: ObjectId) -> None:
    """Read a file from the disk; raises Damaged when it is not the object ``name``."""
    if _measure_on_disk(path) != name:
        measure_object(store, name)
        raise _read_back_error(path)


def matches_object(path: Path, store: Store, name: ObjectId) -> bool:
    """Whether ``path`` is the object ``name`` already.

    Raises OSError when the file cannot be read: it may be intact. Raises Damaged when the object
    itself does not match its name.
    """
    try:
        same_size = path.stat().st_size == store.object_path(name).stat().st_size
        if same_size and _measure_on_disk(path) == name:
            return True
    except FileNotFoundError:
        return False
    measure_object(store, name)
    return False


def _measure_on_disk(path: Path) -> ObjectId:
    with open_regular(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return DigestSink().put_file(file.fileno())


def ensure_directory(path: Path) -> None:
    """Make a directory and its parents durably."""
    if path.is_dir():
        return
    ensure_directory(path.parent)
    path.mkdir()
    fsync_directory(path.parent)


def write_draft(path: Path, entry: BootEntry) -> None:
    """Write an entry that the loader skips, with its name and all its clusters."""
    write_checked(path, format_draft(entry))


def commit_draft(path: Path, entry: BootEntry) -> None:
    """Make a draft valid by overwriting its first sector: the commit of every verb.

    The draft differs from the entry in its first byte only, so name, size and clusters stay as they
    are and no other sector of the file system changes. A disk writes a sector completely or not at
    all: after a power cut the loader sees the draft, which it skips, or the whole entry.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(handle, format_entry(entry)[:SECTOR], 0)
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_back_error(path: Path) -> Damaged:
    return Damaged(
        f"{path} does not read back as it was written",
        hint="the disk may be failing; see: journalctl -k",
    )


def _read_from_disk(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read()
    finally:
        os.close(handle)

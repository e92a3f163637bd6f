"""Blobs on their way into a store: kept when the network breaks off, so that a rerun goes on there.

::

    ROOT/downloads/<64 hex of the blob's SHA-256>    the bytes that have come so far, from the start

One pull at a time works here. When it succeeds, or refuses what it got, all of it goes; what is no
part of the image that is pulled goes at the start.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.errors import Busy, Damaged, Interrupted, NetworkError
from atoll.host.fs import make_directory, space_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from atoll.base.ids import BlobDigest
    from atoll.oci.manifest import Descriptor
    from atoll.store.layout import Store

CHUNK = 1 << 20


class Downloads:
    """Made by ``opened_downloads`` only. ``told`` is called with the number of bytes that came."""

    def __init__(self, folder: Path, told: Callable[[int], None]) -> None:
        self._folder = folder
        self._told = told

    def bring(self, blob: Descriptor, read: Callable[[int], Iterator[bytes]]) -> Path:
        """The path of ``blob``, whole and checked; ``read`` gives its bytes from an offset on.

        Raises Damaged when what came is not what its digest says.
        """
        path = self._folder / blob.digest.removeprefix("sha256:")
        resumed = path.exists()
        if not self._fill(path, blob, read):
            path.unlink()
            # What an earlier run left may be what is wrong, after a power cut for one.
            if not resumed or not self._fill(path, blob, read):
                path.unlink(missing_ok=True)
                raise Damaged(
                    f"the download of blob {blob.digest} has another digest",
                    hint="the registry is damaged or malicious: report it to its administrator",
                )
        return path

    def _fill(self, path: Path, blob: Descriptor, read: Callable[[int], Iterator[bytes]]) -> bool:
        """Get what is missing of ``blob``; whether it is what its digest says."""
        hasher = sha256()
        with space_errors(path), path.open("ab+", buffering=0) as file:
            if os.fstat(file.fileno()).st_size > blob.size:
                file.truncate(0)
            file.seek(0)
            offset = 0
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
                offset += len(chunk)
            self._told(offset)
            if offset < blob.size:
                for chunk in read(offset):
                    file.write(chunk)
                    hasher.update(chunk)
                    self._told(len(chunk))
        return hasher.hexdigest() == blob.digest.removeprefix("sha256:")


@contextmanager
def opened_downloads(
    store: Store, wanted: frozenset[BlobDigest], told: Callable[[int], None]
) -> Iterator[Downloads]:
    """The place for downloads, held alone; raises Busy. ``wanted`` are the blobs of this pull."""
    folder = _folder(store)
    make_directory(folder, mode=0o700)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another pull into the store in {store.root} is running",
                hint="wait until it ends, then try again",
            ) from None
        _clear(folder, keep=frozenset(digest.removeprefix("sha256:") for digest in wanted))
        try:
            yield Downloads(folder, told)
        except (NetworkError, Interrupted, KeyboardInterrupt):
            raise
        except BaseException:
            _clear(folder, keep=frozenset())
            raise
        _clear(folder, keep=frozenset())
    finally:
        os.close(handle)


def clear_downloads(store: Store) -> None:
    """Remove what interrupted pulls have left, unless a pull is at work."""
    if any(_folder(store).glob("*")):
        with suppress(Busy), opened_downloads(store, frozenset(), lambda _: None):
            pass  # opening has cleared


def downloaded_size(store: Store, blob: Descriptor) -> int:
    """How many bytes of ``blob`` an interrupted pull has left."""
    try:
        found = (_folder(store) / blob.digest.removeprefix("sha256:")).stat().st_size
    except FileNotFoundError:
        return 0
    return found if found <= blob.size else 0


def _clear(folder: Path, *, keep: frozenset[str]) -> None:
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink()


def _folder(store: Store) -> Path:
    return store.root / "downloads"

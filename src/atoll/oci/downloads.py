"""Downloaded blobs on their way into a store, kept after a network error so that a rerun resumes.

::

    ROOT/downloads/<64 hex of the blob's SHA-256>    the bytes received so far, from the start

Only one pull at a time works here. It first removes blobs that are not part of its image. When it
succeeds, or rejects what it received, it removes everything.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.errors import Busy, Damaged, Interrupted, NetworkError
from atoll.host.fs import make_directory, space_errors, take_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from atoll.base.ids import BlobDigest
    from atoll.oci.manifest import Descriptor
    from atoll.store.layout import Store

CHUNK = 1 << 20


class Downloads:
    """Created by ``opened_downloads`` only. ``on_bytes`` gets the number of bytes received."""

    def __init__(self, folder: Path, on_bytes: Callable[[int], None]) -> None:
        self._folder = folder
        self._on_bytes = on_bytes

    def complete(self, blob: Descriptor, read: Callable[[int], Iterator[bytes]]) -> Path:
        """Complete the file of ``blob``, check it and return its path.

        ``read`` yields the blob's bytes from an offset. Raises Damaged if the digest is wrong.
        """
        path = self._folder / blob.digest.removeprefix("sha256:")
        resumed = path.exists()
        if not self._fill(path, blob, read):
            path.unlink()
            # The part from an earlier run may be wrong, for example after a power failure.
            if not resumed or not self._fill(path, blob, read):
                path.unlink(missing_ok=True)
                raise Damaged(
                    f"the download of blob {blob.digest} has another digest",
                    hint="the registry is damaged or malicious: report it to its administrator",
                )
        return path

    def _fill(self, path: Path, blob: Descriptor, read: Callable[[int], Iterator[bytes]]) -> bool:
        """Append what is missing of ``blob``; whether its digest is right."""
        hasher = sha256()
        with space_errors(path), path.open("ab+", buffering=0) as file:
            if os.fstat(file.fileno()).st_size > blob.size:
                file.truncate(0)
            file.seek(0)
            offset = 0
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
                offset += len(chunk)
            self._on_bytes(offset)
            if offset < blob.size:
                for chunk in read(offset):
                    file.write(chunk)
                    hasher.update(chunk)
                    self._on_bytes(len(chunk))
        return hasher.hexdigest() == blob.digest.removeprefix("sha256:")


@contextmanager
def opened_downloads(
    store: Store, wanted: frozenset[BlobDigest], on_bytes: Callable[[int], None]
) -> Iterator[Downloads]:
    """Lock the downloads directory for one pull; ``wanted`` are its blobs. Raises Busy."""
    folder = _folder(store)
    make_directory(folder, mode=0o700)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not take_lock(handle, fcntl.LOCK_EX, seconds=0):
            raise Busy(
                f"another pull into the store in {store.root} is running",
                hint="wait until it ends, then try again",
            )
        _remove_others(folder, keep=frozenset(digest.removeprefix("sha256:") for digest in wanted))
        try:
            yield Downloads(folder, on_bytes)
        except (NetworkError, Interrupted, KeyboardInterrupt):
            raise
        except BaseException:
            _remove_others(folder, keep=frozenset())
            raise
        _remove_others(folder, keep=frozenset())
    finally:
        os.close(handle)


def clear_downloads(store: Store) -> None:
    """Remove what interrupted pulls left, unless a pull is running."""
    if any(_folder(store).glob("*")):
        with suppress(Busy), opened_downloads(store, frozenset(), lambda _: None):
            pass  # opening removes everything that is not wanted


def downloaded_size(store: Store, blob: Descriptor) -> int:
    """The number of bytes of ``blob`` that an interrupted pull left."""
    try:
        found = (_folder(store) / blob.digest.removeprefix("sha256:")).stat().st_size
    except FileNotFoundError:
        return 0
    return found if found <= blob.size else 0


def _remove_others(folder: Path, *, keep: frozenset[str]) -> None:
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink()


def _folder(store: Store) -> Path:
    return store.root / "downloads"

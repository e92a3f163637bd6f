"""The blobs of an OCI image layout: hashed while written under a temporary name, checked when read.

::

    DIR/oci-layout              {"imageLayoutVersion": "1.0.0"}
    DIR/index.json              the index of manifests, with tags; replaced last
    DIR/blobs/sha256/<64 hex>   manifests, configs, layers
    DIR/blobs/sha256/.atoll-*   a blob that is being written
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from hashlib import sha256
from typing import IO, TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.ids import BlobDigest
from atoll.host.fs import open_regular
from atoll.oci.documents import MAX_DOCUMENT
from atoll.oci.manifest import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1 << 20
_PARTIAL = ".atoll-"


class BlobStore:
    """The blobs of the layout in ``directory``; remembers new ones, so that they can be removed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "blobs" / "sha256"
        self._new: list[Path] = []

    def prepare(self) -> None:
        """Create the directory and remove partial blobs of an interrupted run."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in self._directory.glob(_PARTIAL + "*"):
            path.unlink()

    def path(self, digest: BlobDigest) -> Path:
        """The file of a blob."""
        return self._directory / digest.removeprefix("sha256:")

    def remove_new(self) -> None:
        """Remove the blobs that were added; for a run that failed."""
        for path in self._new:
            path.unlink(missing_ok=True)

    def put(self, data: bytes, *, media_type: str) -> Descriptor:
        """Write a small blob; returns its descriptor."""
        with self.writing(media_type) as blob:
            blob.write(data)
        return blob.descriptor

    @contextmanager
    def writing(self, media_type: str) -> Iterator[BlobWriter]:
        """Write a blob; it gets its name if the block ends without an error, else it is removed."""
        handle, name = tempfile.mkstemp(prefix=_PARTIAL, dir=self._directory)
        path = self._directory / os.path.basename(name)  # noqa: PTH119
        try:
            with os.fdopen(handle, "wb") as file:
                blob = BlobWriter(file, media_type)
                yield blob
                os.fchmod(file.fileno(), 0o644)
            target = self.path(blob.descriptor.digest)
            if not target.exists():
                self._new.append(target)
            path.rename(target)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def read_document(self, descriptor: Descriptor) -> bytes:
        """Read a manifest or config and check it. Raises Damaged."""
        if descriptor.size > MAX_DOCUMENT:
            raise Damaged(f"{descriptor.digest} has {descriptor.size} bytes: too large for JSON")
        with self.open(descriptor) as file:
            return file.read()

    def read_checked(self, digest: BlobDigest, limit: int) -> bytes:
        """Read a blob of at most ``limit`` bytes and check its digest. Raises Damaged."""
        with self._open(digest) as file:
            size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise _damaged(self.path(digest), f"it has {size} bytes; at most {limit} are allowed")
        with self.open(Descriptor(media_type="", digest=digest, size=size)) as file:
            return file.read()

    def read_part(self, descriptor: Descriptor, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``end``, not checked. Raises Damaged if truncated."""
        with self._open(descriptor.digest) as file:
            file.seek(start)
            path = self.path(descriptor.digest)
            while start < end and (chunk := _read(file, path, min(CHUNK, end - start))):
                start += len(chunk)
                yield chunk
        if start < end:
            raise _damaged(self.path(descriptor.digest), "it is truncated")

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[IO[bytes]]:
        """Open a blob after its size and digest are checked; at its start. Raises Damaged."""
        path = self.path(descriptor.digest)
        with self._open(descriptor.digest) as file:
            size = os.fstat(file.fileno()).st_size
            if size != descriptor.size:
                raise _damaged(path, f"it has {size} bytes instead of {descriptor.size}")
            hasher = sha256()
            while chunk := _read(file, path, CHUNK):
                hasher.update(chunk)
            if hasher.hexdigest() != descriptor.digest.removeprefix("sha256:"):
                raise _damaged(path, "its content does not match its name")
            file.seek(0)
            yield file

    def _open(self, digest: BlobDigest) -> IO[bytes]:
        path = self.path(digest)
        try:
            return open_regular(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _damaged(path, "it is missing") from error
        except OSError as error:
            raise _damaged(path, f"it: {error.strerror}") from error


def _read(file: IO[bytes], path: Path, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from error


class BlobWriter:
    """Writes and hashes one blob."""

    def __init__(self, file: IO[bytes], media_type: str) -> None:
        self._file = file
        self._media_type = media_type
        self._hasher = sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._hasher.update(data)
        self._size += len(data)
        self._file.write(data)

    @property
    def descriptor(self) -> Descriptor:
        """Describes what has been written so far."""
        return Descriptor(
            media_type=self._media_type,
            digest=BlobDigest(f"sha256:{self._hasher.hexdigest()}"),
            size=self._size,
        )


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(f"blob {path}: {why}", hint="pull or copy the image again")

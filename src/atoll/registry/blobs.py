"""The blobs of an OCI layout: written under a temporary name and hashed on the way, read checked.

::

    DIR/oci-layout              {"imageLayoutVersion": "1.0.0"}
    DIR/index.json              which manifests there are, by tag; replaced last
    DIR/blobs/sha256/<64 hex>   manifests, configs, layers
    DIR/blobs/sha256/.atoll-*   a blob that is being written
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from contextlib import contextmanager
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Protocol

from atoll.base.errors import Damaged
from atoll.base.ids import BlobDigest
from atoll.registry.manifest import LAYER_GZIP, LAYER_ZSTD, Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1 << 20
MAX_DOCUMENT = 8 << 20
_MAX_WINDOW = 1 << 27
_PARTIAL = ".atoll-"


class BlobStore:
    """The blobs of the layout in ``directory``; what is new since it was made can be taken back."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "blobs" / "sha256"
        self._new: list[Path] = []

    def prepare(self) -> None:
        """Make the place, and clear what an interrupted run left."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in self._directory.glob(_PARTIAL + "*"):
            path.unlink()

    def path(self, digest: BlobDigest) -> Path:
        return self._directory / digest.removeprefix("sha256:")

    def take_back(self) -> None:
        """Remove what was added; for a run that failed."""
        for path in self._new:
            path.unlink(missing_ok=True)

    def put(self, data: bytes, *, media_type: str) -> Descriptor:
        with self.writing(media_type) as blob:
            blob.write(data)
        return blob.descriptor

    @contextmanager
    def writing(self, media_type: str) -> Iterator[BlobWriter]:
        """A blob that has its name when the block ends without an error; else it is gone."""
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
        """A manifest or config, checked; raises Damaged."""
        if descriptor.size > MAX_DOCUMENT:
            raise Damaged(f"{descriptor.digest} has {descriptor.size} bytes: too many to be JSON")
        with self.open(descriptor) as file:
            return file.read()

    def read_part(self, descriptor: Descriptor, start: int, end: int) -> Iterator[bytes]:
        """Bytes of a blob, not checked; raises Damaged when there are fewer."""
        path = self.path(descriptor.digest)
        try:
            with path.open("rb") as file:
                file.seek(start)
                while start < end and (chunk := file.read(min(CHUNK, end - start))):
                    start += len(chunk)
                    yield chunk
        except FileNotFoundError as error:
            raise _damaged(path, "it is missing") from error
        if start < end:
            raise _damaged(path, "it is too short")

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[IO[bytes]]:
        """A blob, at its start, its size and digest checked; raises Damaged."""
        path = self.path(descriptor.digest)
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise _damaged(path, "it is missing") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            if size != descriptor.size:
                raise _damaged(path, f"it has {size} bytes instead of {descriptor.size}")
            hasher = sha256()
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
            if hasher.hexdigest() != descriptor.digest.removeprefix("sha256:"):
                raise _damaged(path, "its content is not what its name says")
            file.seek(0)
            yield file


class BlobWriter:
    """Where the bytes of one blob go."""

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
        return Descriptor(
            media_type=self._media_type,
            digest=BlobDigest(f"sha256:{self._hasher.hexdigest()}"),
            size=self._size,
        )


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class LayerInput:
    """A layer as it was before compression: at most ``limit`` bytes, hashed on the way."""

    def __init__(self, file: IO[bytes], media_type: str, *, limit: int, where: str) -> None:
        self._source = _decompressed(file, media_type)
        self._hasher = sha256()
        self._limit = limit
        self._where = where
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """``size`` bytes, fewer only at the end; raises Damaged."""
        pieces = []
        while size:
            try:
                piece = self._source.read(size)
            except (OSError, EOFError, zlib.error, _zstd_error()) as error:
                raise Damaged(f"{self._where} cannot be decompressed: {error}",
                              hint="pull or copy the image again") from error  # fmt: skip
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
            self.size += len(piece)
            if self.size > self._limit:
                raise Damaged(f"{self._where} holds more than the image says it does")
        data = b"".join(pieces)
        self._hasher.update(data)
        return data

    @property
    def diff_id(self) -> BlobDigest:
        """Of what has been read so far."""
        return BlobDigest(f"sha256:{self._hasher.hexdigest()}")


def _decompressed(file: IO[bytes], media_type: str) -> _Readable:
    if media_type == LAYER_GZIP:
        return gzip.GzipFile(fileobj=file)
    if media_type == LAYER_ZSTD:
        import zstandard

        expander = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        reader: _Readable = expander.stream_reader(file, read_across_frames=True, closefd=False)
        return reader
    return file


def _zstd_error() -> type[Exception]:
    import zstandard

    error: type[Exception] = zstandard.ZstdError
    return error


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(f"blob {path}: {why}", hint="pull or copy the image again")

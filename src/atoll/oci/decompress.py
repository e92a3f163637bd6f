"""Decompress a layer, with limits on its size, its memory and its number of frames."""

from __future__ import annotations

import zlib
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Protocol

from atoll.base.errors import Damaged
from atoll.base.ids import BlobDigest
from atoll.oci.manifest import LAYER_GZIP, LAYER_ZSTD

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WINDOW = 128 << 20
"""Largest window of a zstd frame, in bytes of memory: the default limit of zstd itself."""

MAX_MEMBERS = 1_000_000
MAX_EMPTY_MEMBERS = 1000
"""Members of a gzip file (RFC 1952). Some tools write one for each file; empty ones only cost time.
"""

_CHUNK = 16 << 10
_GZIP = 31
"""``wbits`` for a gzip header and the largest window."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; an empty result only at the end."""


class LayerInput:
    """A decompressed layer: at most ``limit`` bytes, hashed while it is read."""

    def __init__(self, file: IO[bytes], media_type: str, *, limit: int, where: str) -> None:
        self._source = _decompressed(file, media_type)
        self._hasher = sha256()
        self._limit = limit
        self._where = where
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """``size`` bytes; fewer only at the end. Raises Damaged."""
        pieces = []
        while size:
            try:
                piece = self._source.read(size)
            except (OSError, EOFError, ValueError, MemoryError, zlib.error, _zstd_error()) as error:
                raise Damaged(
                    f"{self._where} cannot be decompressed: {error}",
                    hint="pull or copy the image again",
                ) from error
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
            self.size += len(piece)
            if self.size > self._limit:
                raise Damaged(f"{self._where} is larger than the image declares")
        data = b"".join(pieces)
        self._hasher.update(data)
        return data

    @property
    def diff_id(self) -> BlobDigest:
        """The digest of what has been read so far."""
        return BlobDigest(f"sha256:{self._hasher.hexdigest()}")


class _Gzip:
    """A file of several gzip members.

    Python's own reader accepts any number of empty members and takes 0.2 ms for each: a small file
    could keep it busy for hours.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._buffer = b""
        self._decompressor: zlib._Decompress | None = None
        self._members = 0
        self._empty = 0
        self._is_empty = True

    def read(self, size: int, /) -> bytes:
        while True:
            self._buffer = self._buffer or self._read(_CHUNK)
            is_last = not self._buffer
            if self._decompressor is None and (is_last or not self._begin()):
                if is_last:
                    return b""
                continue
            assert self._decompressor is not None
            data = self._decompressor.decompress(self._buffer, size)
            self._buffer = self._decompressor.unconsumed_tail
            self._is_empty = self._is_empty and not data
            if self._decompressor.eof:
                self._buffer = self._decompressor.unused_data
                self._end()
            elif is_last and not data:
                raise EOFError("it is truncated")
            if data:
                return data

    def _begin(self) -> bool:
        """Start the next member if there is one; zero padding between members is skipped."""
        if self._members:
            self._buffer = self._buffer.lstrip(b"\0")
        if not self._buffer:
            return False
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise ValueError(f"it has more than {MAX_MEMBERS} frames")
        self._is_empty = True
        self._decompressor = zlib.decompressobj(_GZIP)
        return True

    def _end(self) -> None:
        self._decompressor = None
        self._empty += self._is_empty
        if self._empty > MAX_EMPTY_MEMBERS:
            raise ValueError(f"more than {MAX_EMPTY_MEMBERS} of its frames are empty")


def _decompressed(file: IO[bytes], media_type: str) -> _Readable:
    if media_type == LAYER_GZIP:
        return _Gzip(file.read)
    if media_type == LAYER_ZSTD:
        import zstandard

        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        reader: _Readable = decompressor.stream_reader(file, read_across_frames=True, closefd=False)
        return reader
    return file


def _zstd_error() -> type[Exception]:
    import zstandard

    error: type[Exception] = zstandard.ZstdError
    return error

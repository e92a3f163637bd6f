"""Compress a layer as independent zstd frames, so that parts of it can be fetched alone.

A zstd file may have several frames (RFC 8878), so other tools see an ordinary compressed layer. A
frame ends at the end of a package, at the end of a file once the frame has ENOUGH bytes, and every
FRAME_LIMIT bytes within a large file. An update fetches only the frames with files that it lacks.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.ids import BlobDigest
from atoll.oci.toc import FRAME_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from atoll.oci.blobs import BlobWriter

LEVEL = 6
"""Compression level. This, the sizes below and the version of zstd determine a layer's bytes."""

ENOUGH = 256 << 10
"""Bytes after which a frame takes no further small files. Shorter frames compress badly."""

_THREADS = 2
_WAITING = 8


class FrameWriter:
    """Compresses a layer into frames, writes them to a blob, and computes the diff_id."""

    def __init__(self, blob: BlobWriter, pool: ThreadPoolExecutor) -> None:
        self._blob = blob
        self._pool = pool
        self._hasher = sha256()
        self._pending = bytearray()
        self._packing: deque[tuple[int, Future[bytes]]] = deque()
        self.size = 0
        self.frames: list[tuple[int, int]] = []
        """Compressed and decompressed size of each frame; complete after ``finish``."""

    def write(self, data: bytes) -> None:
        """Add bytes of the layer's tar."""
        self.size += len(data)
        self._pending += data
        while len(self._pending) >= FRAME_LIMIT:
            self._pack(FRAME_LIMIT)

    def before_file(self, size: int) -> None:
        """Announce a file of ``size`` bytes: small ones share a frame, a large one starts one."""
        if len(self._pending) + size > ENOUGH:
            self.end_frame()

    def end_frame(self) -> None:
        """End the current frame, if it has any bytes."""
        if self._pending:
            self._pack(len(self._pending))

    def finish(self) -> None:
        """End the last frame and write all that wait."""
        self.end_frame()
        while self._packing:
            self._take()

    @property
    def diff_id(self) -> BlobDigest:
        """The digest of all bytes whose frames have ended."""
        return BlobDigest(f"sha256:{self._hasher.hexdigest()}")

    def _pack(self, size: int) -> None:
        data = bytes(self._pending[:size])
        del self._pending[:size]
        self._hasher.update(data)
        self._packing.append((size, self._pool.submit(_compress, data)))
        # Frames are written in order; a limit on those that wait bounds memory.
        if len(self._packing) > _WAITING:
            self._take()

    def _take(self) -> None:
        size, packing = self._packing.popleft()
        packed = packing.result()
        self._blob.write(packed)
        self.frames.append((len(packed), size))


@contextmanager
def packing_threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for FrameWriter; queued frames are cancelled if the block ends with an error."""
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pack")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _compress(data: bytes) -> bytes:
    import zstandard

    compressed: bytes = zstandard.ZstdCompressor(level=LEVEL).compress(data)
    return compressed

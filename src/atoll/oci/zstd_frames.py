"""A layer as zstd frames, each of which can be decompressed alone.

zstd allows several frames in one file, so for other tools this is an ordinary compressed layer. A
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
"""The compression level. It, the sizes below and the release of zstd determine a layer's bytes."""

ENOUGH = 256 << 10
"""Bytes after which no more small files join a frame: shorter frames compress badly."""

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
        """The sizes of each frame, packed and unpacked; all of them after ``finish``."""

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._pending += data
        while len(self._pending) >= FRAME_LIMIT:
            self._pack(FRAME_LIMIT)

    def before_file(self, size: int) -> None:
        """A file of ``size`` bytes comes next: small ones share a frame, a large one begins one."""
        if len(self._pending) + size > ENOUGH:
            self.end_frame()

    def end_frame(self) -> None:
        if self._pending:
            self._pack(len(self._pending))

    def finish(self) -> None:
        self.end_frame()
        while self._packing:
            self._take()

    @property
    def diff_id(self) -> BlobDigest:
        return BlobDigest(f"sha256:{self._hasher.hexdigest()}")

    def _pack(self, size: int) -> None:
        data = bytes(self._pending[:size])
        del self._pending[:size]
        self._hasher.update(data)
        self._packing.append((size, self._pool.submit(_packed, data)))
        # Frames are written in order, and only so many wait: this bounds memory.
        if len(self._packing) > _WAITING:
            self._take()

    def _take(self) -> None:
        size, packing = self._packing.popleft()
        packed = packing.result()
        self._blob.write(packed)
        self.frames.append((len(packed), size))


@contextmanager
def packing_threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for FrameWriter; queued frames are cancelled when the block ends with an error."""
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pack")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _packed(data: bytes) -> bytes:
    import zstandard

    packed: bytes = zstandard.ZstdCompressor(level=LEVEL).compress(data)
    return packed

"""Partial pull: find and download the byte ranges of layers that contain missing objects.

::

    objects of the tree ─→ those missing from the store, sorted by layer and offset
                        ─→ the frames that contain them ─→ ranges of adjacent frames
    each range          ─→ downloaded, decompressed frame by frame, split into objects   (THREADS)
                        ─→ objects in staging; each digest is compared with the tree's

Small gaps are downloaded as well, as another request costs more. Long ranges are split, so that
threads can share them.
"""

from __future__ import annotations

from bisect import bisect_right
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, Interrupted
from atoll.host.http import ByteRange
from atoll.oci.toc import unpack_frame
from atoll.store.objects import WHOLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from atoll.base.ids import ObjectId
    from atoll.oci.manifest import Descriptor
    from atoll.oci.source import ImageSource
    from atoll.oci.toc import FrameOffsets, TableOfContents
    from atoll.store.objects import ObjectSink

THREADS = 3
GAP = 32 << 10
"""Bytes between two ranges that are rather downloaded than skipped by another request."""

LONG = 16 << 20
"""Bytes after which a range ends, so that threads can share the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRange:
    """Frames ``first`` to ``last`` (exclusive) of a layer; ``objects`` are rows of the contents."""

    layer: int
    first: int
    last: int
    objects: tuple[int, ...]


def plan_parts(contents: TableOfContents, missing: Sequence[int]) -> tuple[LayerRange, ...]:
    """The ranges to fetch for the objects in the rows ``missing``, sorted by layer and offset."""
    rows = sorted(missing, key=lambda row: (contents.layers[row], contents.offsets[row]))
    parts: list[LayerRange] = []
    layer, first, last = -1, 0, 0
    objects: list[int] = []
    for row in rows:
        frames = contents.frames[contents.layers[row]]
        begin, end = _frames_of(frames, contents.offsets[row], contents.sizes[row])
        # A gap costs its bytes, a new range one more request. A range that is long enough is only
        # split where a frame begins, as frames cannot be decompressed in parts.
        apart = frames.packed[begin] - frames.packed[min(last, len(frames.packed) - 1)] > GAP
        long = begin >= last and frames.packed[begin] - frames.packed[first] >= LONG
        if contents.layers[row] != layer or apart or long:
            if objects:
                parts.append(
                    LayerRange(layer=layer, first=first, last=last, objects=tuple(objects))
                )
            layer, first, last, objects = contents.layers[row], begin, end, []
        last = max(last, end)
        objects.append(row)
    if objects:
        parts.append(LayerRange(layer=layer, first=first, last=last, objects=tuple(objects)))
    return tuple(parts)


def part_span(contents: TableOfContents, part: LayerRange) -> ByteRange:
    """The bytes of a range in its layer's blob."""
    packed = contents.frames[part.layer].packed
    start, end = packed[part.first], packed[part.last]
    return ByteRange(start=start, end=end, is_part=start > 0 or end < packed[-1])


class RangeFetcher:
    """Fetches ranges into ``sink``; ``on_bytes`` gets the number of bytes received."""

    def __init__(
        self,
        *,
        contents: TableOfContents,
        blobs: Sequence[Descriptor],
        source: ImageSource,
        sink: ObjectSink,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._contents = contents
        self._blobs = blobs
        self._source = source
        self._sink = sink
        self._on_bytes = on_bytes
        self._stop = Event()

    def fetch(self, parts: Sequence[LayerRange]) -> None:
        """Fetch all ranges. Raises Damaged if an object has another digest, or NetworkError."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="fetch") as pool:
            jobs = [pool.submit(self._fetch, part) for part in parts]
            try:
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            except BaseException:
                self._cancel(pool)
                raise
            if len(done) < len(jobs) or any(job.exception() for job in done):
                self._cancel(pool)
        for job in done:
            job.result()

    def _cancel(self, pool: ThreadPoolExecutor) -> None:
        self._stop.set()
        pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, part: LayerRange) -> None:
        contents = self._contents
        blob = self._blobs[part.layer]
        where = f"{self._source.name}: layer {blob.digest}"
        frames = contents.frames[part.layer]
        chunks = self._count_bytes(self._source.part(blob, part_span(contents, part)))
        reader = _RangeReader(chunks, frames, part, where)
        for row in part.objects:
            size = contents.sizes[row]
            pieces = reader.content(contents.offsets[row], size)
            expected = contents.objects[row]
            if self._store(pieces, size) != expected:
                raise Damaged(
                    f"{where}: the download of object {expected} has another digest",
                    hint="the registry is damaged or malicious: report it to its administrator",
                )

    def _store(self, pieces: Iterator[bytes], size: int) -> ObjectId:
        if size > WHOLE_LIMIT:
            return self._sink.put_chunks(pieces)
        return self._sink.put_bytes(b"".join(pieces))

    def _count_bytes(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stop.is_set():
                raise Interrupted("stopped")
            self._on_bytes(len(chunk))
            yield chunk


class _RangeReader:
    """The decompressed bytes of a range; one frame at a time is in memory."""

    def __init__(
        self, chunks: Iterator[bytes], frames: FrameOffsets, part: LayerRange, where: str
    ) -> None:
        import zstandard

        self._chunks = chunks
        self._frames = frames
        self._where = where
        self._buffer = bytearray()
        self._next = part.first
        self._data = b""
        self._start = 0
        self._decompressor = zstandard.ZstdDecompressor()

    def content(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield ``size`` bytes at ``offset`` of the layer's tar; offsets must not decrease."""
        end = offset + size
        if offset < self._start:
            raise Damaged(f"{self._where}: files overlap")
        while offset < end:
            while offset >= self._start + len(self._data):
                self._read_frame()
            start = offset - self._start
            piece = self._data[start : start + end - offset]
            offset += len(piece)
            yield piece

    def _read_frame(self) -> None:
        frames, number = self._frames, self._next
        packed = frames.packed[number + 1] - frames.packed[number]
        while len(self._buffer) < packed:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise Damaged(f"{self._where} is truncated")
            self._buffer += chunk
        unpacked = frames.unpacked[number + 1] - frames.unpacked[number]
        view = memoryview(self._buffer)[:packed]
        self._data = unpack_frame(view, unpacked, self._decompressor, self._where)
        view.release()
        del self._buffer[:packed]
        self._start = frames.unpacked[number]
        self._next = number + 1


def _frames_of(frames: FrameOffsets, offset: int, size: int) -> tuple[int, int]:
    """The frames that contain a content: the first, and the one after the last."""
    first = bisect_right(frames.unpacked, offset) - 1
    last = bisect_right(frames.unpacked, offset + size - 1)
    return first, last

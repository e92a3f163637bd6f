"""Partial pull: finds and downloads the byte ranges of layers that hold missing objects.

::

    objects of the tree ─→ those missing from the store, in the order of the layers
                        ─→ frames that hold them ─→ parts: frames that follow each other
    each part           ─→ fetched, unpacked frame by frame, cut into contents       (THREADS)
                        ─→ objects in staging, each of which has the name that the tree says

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
LONG = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRange:
    """Frames of a layer, from ``first`` up to ``last``; ``objects`` are rows of the contents."""

    layer: int
    first: int
    last: int
    objects: tuple[int, ...]


def plan_parts(contents: TableOfContents, missing: Sequence[int]) -> tuple[LayerRange, ...]:
    """What to fetch for the objects in the rows ``missing``, in the order of the layers."""
    rows = sorted(missing, key=lambda row: (contents.layers[row], contents.offsets[row]))
    parts: list[LayerRange] = []
    layer, first, last = -1, 0, 0
    objects: list[int] = []
    for row in rows:
        frames = contents.frames[contents.layers[row]]
        begin, end = _frames_of(frames, contents.offsets[row], contents.sizes[row])
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
    """Where a part is in its layer's blob."""
    packed = contents.frames[part.layer].packed
    start, end = packed[part.first], packed[part.last]
    return ByteRange(start=start, end=end, is_part=start > 0 or end < packed[-1])


class RangeFetcher:
    """Fetches parts into ``sink``; ``told`` is called with the number of bytes that came."""

    def __init__(
        self,
        *,
        contents: TableOfContents,
        blobs: Sequence[Descriptor],
        source: ImageSource,
        sink: ObjectSink,
        told: Callable[[int], None],
    ) -> None:
        self._contents = contents
        self._blobs = blobs
        self._source = source
        self._sink = sink
        self._told = told
        self._stop = Event()

    def fetch(self, parts: Sequence[LayerRange]) -> None:
        """Raises Damaged when what comes is not what the tree names, or NetworkError."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="fetch") as pool:
            jobs = [pool.submit(self._fetch, part) for part in parts]
            try:
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            except BaseException:
                self._give_up(pool)
                raise
            if len(done) < len(jobs) or any(job.exception() for job in done):
                self._give_up(pool)
        for job in done:
            job.result()

    def _give_up(self, pool: ThreadPoolExecutor) -> None:
        self._stop.set()
        pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, part: LayerRange) -> None:
        contents = self._contents
        blob = self._blobs[part.layer]
        where = f"{self._source.name}: layer {blob.digest}"
        frames = contents.frames[part.layer]
        chunks = self._watched(self._source.part(blob, part_span(contents, part)))
        reader = _PartReader(chunks, frames, part, where)
        for row in part.objects:
            size = contents.sizes[row]
            pieces = reader.content(contents.offsets[row], size)
            expected = contents.objects[row]
            if self._put(pieces, size) != expected:
                raise Damaged(
                    f"{where}: the download of object {expected} has another digest",
                    hint="the registry is damaged or malicious: report it to its administrator",
                )

    def _put(self, pieces: Iterator[bytes], size: int) -> ObjectId:
        if size > WHOLE_LIMIT:
            return self._sink.put_chunks(pieces)
        return self._sink.put_bytes(b"".join(pieces))

    def _watched(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stop.is_set():
                raise Interrupted("stopped")
            self._told(len(chunk))
            yield chunk


class _PartReader:
    """The unpacked bytes of a part, of which one frame at a time is in memory."""

    def __init__(
        self, chunks: Iterator[bytes], frames: FrameOffsets, part: LayerRange, where: str
    ) -> None:
        import zstandard

        self._chunks = chunks
        self._frames = frames
        self._where = where
        self._waiting = bytearray()
        self._next = part.first
        self._data = b""
        self._start = 0
        self._expander = zstandard.ZstdDecompressor()

    def content(self, offset: int, size: int) -> Iterator[bytes]:
        """The bytes at ``offset`` of the layer; not before those that were asked for last."""
        end = offset + size
        if offset < self._start:
            raise Damaged(f"{self._where}: files overlap")
        while offset < end:
            while offset >= self._start + len(self._data):
                self._read_frame()
            at = offset - self._start
            piece = self._data[at : at + end - offset]
            offset += len(piece)
            yield piece

    def _read_frame(self) -> None:
        frames, number = self._frames, self._next
        packed = frames.packed[number + 1] - frames.packed[number]
        while len(self._waiting) < packed:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise Damaged(f"{self._where} is truncated")
            self._waiting += chunk
        unpacked = frames.unpacked[number + 1] - frames.unpacked[number]
        view = memoryview(self._waiting)[:packed]
        self._data = unpack_frame(view, unpacked, self._expander, self._where)
        view.release()
        del self._waiting[:packed]
        self._start = frames.unpacked[number]
        self._next = number + 1


def _frames_of(frames: FrameOffsets, offset: int, size: int) -> tuple[int, int]:
    """The first frame that has bytes of a content, and the one after the last."""
    first = bisect_right(frames.unpacked, offset) - 1
    last = bisect_right(frames.unpacked, offset + size - 1)
    return first, last

"""The table of contents of an image: its tree, and where each object is in the layers.

With it a client fetches, by HTTP ranges, only the parts of layers with objects that it lacks, and
need not build the tree from layers. eStargz and zstd:chunked do the same with other formats. It is
the last layer, marked by an annotation of its descriptor; other tools see an empty tar in it::

    dev.atoll.contents: 1                                        annotation of the descriptor

    28 b5 2f fd 60 00 03 03 20 00 00                             zstd frame: 1024 zeros, the tar
    5a 2a 4d 18 | length:4 | a zstd frame                        skippable frame; decompressed:

    "atoll contents 1" | layers:4 objects:4 | for each layer its number of frames:4 …
    compressed size:4 …  decompressed size:4 …                   of each frame of all layers
    layer:2 …  offset in its tar:8 …  size:8 …                   of each object, in the tree's order
    the tree's composefs image without object ids (``blank_object_ids``)

Integers are little-endian and unsigned, sizes are in bytes. Nothing here has to be trusted: the
image is compared with the tree's digest, and everything fetched from a layer with its object id.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.ids import BlobDigest, TreeId
from atoll.tree.erofs_objects import blank_object_ids, fill_object_ids, find_objects
from atoll.tree.verity import verity_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atoll.base.ids import ObjectId
    from atoll.oci.manifest import Descriptor

ANNOTATION = "dev.atoll.contents"
VERSION = "1"
TITLE = "the table of contents"
EMPTY_TAR = bytes(1024)
EMPTY_DIFF_ID = BlobDigest(
    "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
)
FRAME_LIMIT = 2 << 20
"""Most bytes of a layer in one frame. The window of zstd at LEVEL is no larger, so longer frames
would not compress better."""

LIMIT = 32 << 20
UNPACKED_LIMIT = 128 << 20
"""Most bytes of a table of contents, compressed and decompressed."""

MAX_OBJECTS = 1_000_000
MAX_FRAMES = 1_000_000
PACKED_FRAME_LIMIT = FRAME_LIMIT + (64 << 10)
"""Most bytes of a compressed frame, which is held in memory as a whole. Incompressible data grows
by less than this margin."""

LEVEL = 12
# EMPTY_TAR as a zstd frame: one RLE block of 1024 zeros.
_TAR_FRAME = bytes.fromhex("28b52ffd60000303200000")
_SKIPPABLE = 0x184D2A5A
_SKIPPABLE_HEAD = struct.Struct("<II")
_MAGIC = b"atoll contents 1"
_HEAD = struct.Struct("<16sII")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOffsets:
    """Where each frame of a layer starts, in the blob and in the tar; the last item is the end."""

    packed: Sequence[int]
    unpacked: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLocation:
    """Where an object's content is: index of the layer, offset and size in its tar, in bytes."""

    layer: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOfContents:
    """``image`` is the tree's composefs image; columns have one row for each of ``objects``.

    Row i: ``objects[i]`` is in layer ``layers[i]``, at ``offsets[i]`` of its tar, of ``sizes[i]``
    bytes.
    """

    image: bytearray
    frames: tuple[FrameOffsets, ...]
    objects: tuple[ObjectId, ...]
    layers: array[int]
    offsets: array[int]
    sizes: array[int]


def is_contents(layer: Descriptor) -> bool:
    """Whether a layer is a table of contents of this version."""
    return layer.annotations.get(ANNOTATION) == VERSION


def format_contents(
    image: bytes,
    frames: Sequence[Sequence[tuple[int, int]]],
    locations: Mapping[ObjectId, ObjectLocation],
) -> bytes | None:
    """The blob of the layer.

    ``frames`` has a list for each layer: the compressed and decompressed size of each frame.
    Returns None for a tree with bytes that only look like an object id, as ``blank_object_ids``
    would not be reversible.
    """
    import zstandard

    objects = find_objects(image)
    blank = blank_object_ids(image)
    if set(objects) != set(locations) or not _is_reversible(blank, image):
        return None
    all_frames = [sizes for layer in frames for sizes in layer]
    columns = (
        array("I", map(len, frames)),
        array("I", (packed for packed, _ in all_frames)),
        array("I", (unpacked for _, unpacked in all_frames)),
        array("H", (locations[name].layer for name in objects)),
        array("Q", (locations[name].offset for name in objects)),
        array("Q", (locations[name].size for name in objects)),
    )
    data = b"".join((_HEAD.pack(_MAGIC, len(frames), len(objects)), *map(_bytes, columns), blank))
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(data)
    return _TAR_FRAME + _SKIPPABLE_HEAD.pack(_SKIPPABLE, len(packed)) + packed


def parse_contents(
    data: bytes, *, tree: TreeId, layers: Sequence[int], where: str
) -> TableOfContents:
    """Parse the blob; ``layers`` are the sizes of the blobs of the other layers. Raises Damaged."""
    view = memoryview(_unpack(data, where))
    if len(view) < _HEAD.size:
        raise Damaged(f"{where}: it is truncated")
    magic, layer_count, object_count = _HEAD.unpack_from(view)
    if magic != _MAGIC or layer_count != len(layers):
        raise Damaged(f"{where}: it belongs to another image, or has an unknown format")
    if object_count > MAX_OBJECTS:
        raise Damaged(f"{where}: {object_count} objects are more than {MAX_OBJECTS}")
    reader = _Columns(view, _HEAD.size, where)
    counts = reader.take("I", layer_count)
    frame_count = sum(counts)
    if frame_count > MAX_FRAMES:
        raise Damaged(f"{where}: {frame_count} frames are more than {MAX_FRAMES}")
    packed, unpacked = reader.take("I", frame_count), reader.take("I", frame_count)
    columns = [reader.take(code, object_count) for code in "HQQ"]
    image = bytearray(view[reader.at :])
    view.release()
    fill_object_ids(image)
    if TreeId(verity_digest(image)) != tree:
        raise Damaged(f"{where}: its tree is not {tree}")
    ends = [0, *accumulate(counts)]
    frames = tuple(
        _frames(packed[start:end], unpacked[start:end], size, where)
        for start, end, size in zip(ends, ends[1:], layers, strict=False)
    )
    found = TableOfContents(
        image=image,
        frames=frames,
        objects=find_objects(image),
        layers=columns[0],
        offsets=columns[1],
        sizes=columns[2],
    )
    _check_locations(found, where)
    return found


def _is_reversible(blank: bytearray, image: bytes) -> bool:
    restored = bytearray(blank)
    fill_object_ids(restored)
    return restored == image


def _unpack(data: bytes, where: str) -> bytes:
    import zstandard

    start = len(_TAR_FRAME) + _SKIPPABLE_HEAD.size
    if len(data) < start or not data.startswith(_TAR_FRAME):
        raise Damaged(f"{where}: it has a wrong header")
    magic, size = _SKIPPABLE_HEAD.unpack_from(data, len(_TAR_FRAME))
    if magic != _SKIPPABLE or size != len(data) - start:
        raise Damaged(f"{where}: it has a wrong size")
    return unpack_frame(memoryview(data)[start:], None, zstandard.ZstdDecompressor(), where)


def unpack_frame(
    data: bytes | bytearray | memoryview,
    size: int | None,
    decompressor: object,
    where: str,
) -> bytes:
    """Decompress one zstd frame; ``size`` is the expected length or None. Raises Damaged."""
    import zstandard

    assert isinstance(decompressor, zstandard.ZstdDecompressor)
    try:
        announced = zstandard.frame_content_size(data)
        if announced < 0 or announced > UNPACKED_LIMIT or size not in (None, announced):
            raise Damaged(f"{where}: a section decompresses to {announced} bytes, not {size}")
        found: bytes = decompressor.decompress(data)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Damaged(f"{where} cannot be decompressed: {error}") from error
    return found


class _Columns:
    """Reads arrays of integers from ``view``, one after the other. Raises Damaged at the end."""

    def __init__(self, view: memoryview, at: int, where: str) -> None:
        self._view = view
        self._where = where
        self.at = at

    def take(self, code: str, count: int) -> array[int]:
        found = array(code)
        end = self.at + count * found.itemsize
        if end > len(self._view):
            raise Damaged(f"{self._where}: it is truncated")
        found.frombytes(self._view[self.at : end])
        if sys.byteorder == "big":
            found.byteswap()
        self.at = end
        return found


def _bytes(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _frames(packed: array[int], unpacked: array[int], size: int, where: str) -> FrameOffsets:
    found = FrameOffsets(
        packed=array("Q", (0, *accumulate(packed))), unpacked=array("Q", (0, *accumulate(unpacked)))
    )
    too_long = any(each > FRAME_LIMIT for each in unpacked) or any(
        each > PACKED_FRAME_LIMIT for each in packed
    )
    if found.packed[-1] != size or too_long:
        raise Damaged(f"{where}: the frames of a layer do not add up to the layer")
    return found


def _check_locations(found: TableOfContents, where: str) -> None:
    """Raise Damaged if an object would be outside its layer."""
    ends = [frames.unpacked[-1] for frames in found.frames]
    if len(found.objects) != len(found.layers):
        raise Damaged(
            f"{where}: it has {len(found.layers)} positions for {len(found.objects)} objects"
        )
    for layer, offset, size in zip(found.layers, found.offsets, found.sizes, strict=True):
        if layer >= len(ends) or offset + size > ends[layer] or not size:
            raise Damaged(f"{where}: an object is in no layer")

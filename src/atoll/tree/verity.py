"""fs-verity digests in user space: SHA-256, 4 KiB blocks, no salt, as composefs uses them.

Implements Documentation/filesystems/fsverity.rst of the kernel. Content is split into blocks, the
last one padded with zeros, and each block is hashed. The hashes of one level, padded to whole
blocks, are the blocks of the level above, until one hash is left::

    content   [block 0][block 1] … [block n-1]
    level 0   [hash 0 … hash 127][hash 128 … ] …       128 hashes fill a block of 4096 bytes
    level 1   [hash of a level 0 block, … ]
    root      one hash; content of one block has no levels, empty content has a root of zeros

The digest of a file is the SHA-256 of its descriptor, 256 bytes little-endian::

    0  version = 1 | hash algorithm = 1 (SHA-256) | log2 of the block size = 12 | salt size = 0
    4  reserved (4)
    8  content size (8)
    16 root hash (32, in a field of 64)
    80 salt (32), reserved (144): zeros

File systems store the Merkle tree root level first, level 0 last; so does ``merkle_tree``.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.ids import ObjectId

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_SIZE = 4096
HASH_SIZE = 32

_DESCRIPTOR = struct.Struct("<BBBB4xQ64s32s144x")
_VERSION = 1
_SHA256 = 1
_LOG_BLOCK_SIZE = 12


class VerityHasher:
    """Incremental hashing. Needs memory for one block, and 32 bytes for each 4 KiB of content."""

    __slots__ = ("_hashes", "_rest", "_size")

    def __init__(self) -> None:
        self._hashes = bytearray()
        self._rest = bytearray()
        self._size = 0

    @property
    def size(self) -> int:
        """The number of bytes of content so far."""
        return self._size

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Append content."""
        view = memoryview(data).cast("B")
        self._size += len(view)
        start = 0
        if self._rest:
            start = min(BLOCK_SIZE - len(self._rest), len(view))
            self._rest += view[:start]
            if len(self._rest) < BLOCK_SIZE:
                return
            self._hashes += sha256(self._rest).digest()
            self._rest.clear()
        end = start + (len(view) - start) // BLOCK_SIZE * BLOCK_SIZE
        self._hashes += _block_hashes(view[start:end])
        self._rest += view[end:]

    def digest(self) -> ObjectId:
        """The fs-verity digest of the content so far."""
        return ObjectId(sha256(self.merkle_tree()[1]).hexdigest())

    def merkle_tree(self) -> tuple[bytes, bytes]:
        """(Merkle tree, root level first; descriptor of 256 bytes) of the content so far."""
        hashes = bytes(self._hashes)
        if self._rest:
            # Not added to self._hashes: more content may follow, and would change the last block.
            hashes += sha256(_padded(bytes(self._rest))).digest()
        levels = []
        # Content of one block has one hash, which is the root; empty content has none: zeros.
        while len(hashes) > HASH_SIZE:
            levels.append(_padded(hashes))
            hashes = _block_hashes(memoryview(levels[-1]))
        descriptor = _DESCRIPTOR.pack(
            _VERSION, _SHA256, _LOG_BLOCK_SIZE, 0, self._size, hashes, b""
        )
        return b"".join(reversed(levels)), descriptor


def verity_digest(data: bytes | bytearray | memoryview) -> ObjectId:
    """The fs-verity digest of a file with this content, which is its object id."""
    hasher = VerityHasher()
    hasher.update(data)
    return hasher.digest()


def merkle_tree(data: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
    """(Merkle tree, root level first; descriptor of 256 bytes) of a file with this content."""
    hasher = VerityHasher()
    hasher.update(data)
    return hasher.merkle_tree()


def _block_hashes(blocks: memoryview) -> bytes:
    return b"".join([sha256(block).digest() for block in _split_blocks(blocks)])


def _split_blocks(blocks: memoryview) -> Iterator[memoryview]:
    return (blocks[at : at + BLOCK_SIZE] for at in range(0, len(blocks), BLOCK_SIZE))


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // BLOCK_SIZE) * BLOCK_SIZE, b"\0")


def stored_size(size: int) -> int:
    """Bytes on disk of a file of ``size`` bytes with fs-verity: its blocks, those of its Merkle
    tree, and one for the descriptor."""
    blocks = -(-size // BLOCK_SIZE)
    total, level = blocks + 1, blocks
    while level > 1:
        level = -(-level // (BLOCK_SIZE // HASH_SIZE))
        total += level
    return total * BLOCK_SIZE

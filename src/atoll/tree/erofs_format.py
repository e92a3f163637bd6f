"""The on-disk format of composefs images: EROFS with metadata only, as mkcomposefs 1.0.8 writes it.

See the kernel's ``fs/erofs/erofs_fs.h`` and Documentation/filesystems/erofs.rst. All numbers are
little-endian; sizes are in bytes; a block has 4096 bytes, a slot 32::

    0      composefs header (32)       magic, 1, flags, format (0 or 1)
    1024   EROFS superblock (128)
    1152   inodes, aligned to slots    inode | attributes | inline tail of its data
           shared attributes           attributes of several inodes, stored once
           data blocks                 directories, symbolic links and inline files too large
                                       for a tail

An inode is compact (32) or extended (64: own mtime, 32-bit ids). Its nid is its slot number. Inodes
are in breadth-first order, the names of a directory in byte order; a hard-linked inode is at its
primary name::

    compact   format:2 attributes:2 mode:2 nlink:2 size:4 0:4 u:4 ino:4 uid:2 gid:2 0:4
    extended  format:2 attributes:2 mode:2 0:2 size:8 u:4 ino:4 uid:4 gid:4
              mtime:8 nsec:4 nlink:4 0:16
    format    bit 0: extended; bits 1-3: layout (0 blocks, 2 blocks and tail, 4 chunks)
    u         first data block, or device number, or log2 of the chunk size in blocks
    ino       the position in the inode order, from 0

A compact inode has the mtime of the superblock, which is the earliest of the tree. A regular file
whose content is in the object store has chunks that are holes, and two attributes for overlayfs:
``metacopy`` (its fs-verity digest) and ``redirect`` (its path in the store)::

    attributes   filter:4 shared count:1 0:7 | index of each shared attribute:4 | own attributes
    attribute    name length:1 prefix:1 value length:2 | name without prefix | value | to 4 bytes

The filter is an inverted Bloom filter: for each attribute, the bit of its name's hash is cleared.
The data of a directory are blocks, each with all its entries and then their names; the last block
is an inline tail if it fills no more than half a block::

    entry     nid:8 name offset:2 type:1 0:1

overlayfs mounts the image over the object store. So that the store's own directories do not show,
the root is opaque and has a whiteout for each of their names, ``00`` to ``ff``. Whiteouts and
overlay attributes that belong to the tree itself are escaped: overlayfs shows
``overlay.overlay.*`` as ``overlay.*``. In format 1, a directory with escaped whiteouts is also
marked with opaque=``x``.
"""

from __future__ import annotations

import stat
from functools import lru_cache
from struct import Struct

BLOCK_SIZE = 4096
BLOCK_BITS = 12
SLOT_SIZE = 32
VERSIONS = (0, 1)

HEADER = Struct("<IIII16x")
HEADER_MAGIC = 0xD078629A
HEADER_VERSION = 1
FLAG_HAS_ACL = 1

SUPERBLOCK_OFFSET = 1024
# magic checksum compat blkszbits extslots root_nid inos time nsec blocks meta xattr … incompat …
SUPERBLOCK = Struct("<IIIBBHQqIIII32xI44x")
SUPERBLOCK_MAGIC = 0xE0F5E1E2
FEATURE_MTIME = 2
FEATURE_XATTR_FILTER = 4
INODES_OFFSET = SUPERBLOCK_OFFSET + SUPERBLOCK.size

COMPACT = Struct("<HHHHI4xIIHH4x")
EXTENDED = Struct("<HHH2xQIIIIqII16x")
LAYOUT_PLAIN, LAYOUT_INLINE, LAYOUT_CHUNKS = 0, 2, 4
U16_MAX, U32_MAX = 0xFFFF, 0xFFFFFFFF
BILLION = 1_000_000_000
CONTENT_LIMIT = 5000
"""The most bytes of a file's content inside an image; mkcomposefs refuses more."""

NO_BLOCK = b"\xff\xff\xff\xff"
"""The address of a chunk that is a hole."""
CHUNK_BITS_LIMIT = 31
CHUNK_COUNT_LIMIT = 1024

ENTRY = Struct("<QHBx")
FILE_TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}

XATTR_HEADER = Struct("<IB7x")
XATTR = Struct("<BBH")
XATTR_INDEX = Struct("<I")
XATTR_PREFIXES = (
    b"",
    b"user.",
    b"system.posix_acl_access",
    b"system.posix_acl_default",
    b"trusted.",
    b"lustre.",
    b"security.",
)
WRITTEN_PREFIXES = (1, 2, 3, 4, 6)
SHARED_XATTRS_LIMIT = 128
XATTR_NAME_LIMIT = 255
XATTRS_LIMIT = XATTR_HEADER.size + 4 * (U16_MAX - 1)
_FILTER_SEED = 0x25BBE08F
ACL_NAMES = frozenset((b"system.posix_acl_access", b"system.posix_acl_default"))
SELINUX = b"security.selinux"

OVERLAY = b"trusted.overlay."
ESCAPED = b"trusted.overlay.overlay."
METACOPY = b"trusted.overlay.metacopy"
METACOPY_HEAD = bytes((0, 36, 0, 1))
"""struct ovl_metacopy: version, length of the value, flags, digest algorithm (1: SHA-256); the
digest follows."""
REDIRECT = b"trusted.overlay.redirect"
OPAQUE = b"trusted.overlay.opaque"
WHITEOUT_MARKS = (b"trusted.overlay.overlay.whiteout", b"user.overlay.whiteout")
WHITEOUTS_MARKS = (b"trusted.overlay.overlay.whiteouts", b"user.overlay.whiteouts")
OPAQUE_MARKS = (b"trusted.overlay.overlay.opaque", b"user.overlay.opaque")
STORE_NAMES = tuple(f"{number:02x}".encode() for number in range(256))


def round_up(number: int, unit: int) -> int:
    """The smallest multiple of ``unit`` that is at least ``number``."""
    return -(-number // unit) * unit


def chunks(size: int) -> tuple[int, int]:
    """(log2 of the chunk size in blocks, number of chunks) of a file of ``size`` bytes in the
    object store. mkcomposefs takes the smallest chunk size with one chunk, if there is one."""
    bits = (size - 1).bit_length()
    if bits <= BLOCK_BITS:
        return 0, 1
    if bits <= BLOCK_BITS + CHUNK_BITS_LIMIT:
        return bits - BLOCK_BITS, 1
    return CHUNK_BITS_LIMIT, -(-size >> (BLOCK_BITS + CHUNK_BITS_LIMIT))


@lru_cache(maxsize=1024)
def split_xattr_name(name: bytes) -> tuple[int, bytes]:
    """(prefix index, rest) of an attribute's name; index 0 is no prefix."""
    for index in WRITTEN_PREFIXES:
        if name.startswith(XATTR_PREFIXES[index]):
            return index, name[len(XATTR_PREFIXES[index]) :]
    return 0, name


@lru_cache(maxsize=1024)
def filter_bit(name: bytes) -> int:
    """The bit of an inode's filter that is cleared if it has an attribute of this name."""
    index, rest = split_xattr_name(name)
    return int(1 << (xxh32(rest, _FILTER_SEED + index) & 31))


_PRIME1, _PRIME2, _PRIME3, _PRIME4, _PRIME5 = (
    2654435761,
    2246822519,
    3266489917,
    668265263,
    374761393,
)


def xxh32(data: bytes, seed: int) -> int:
    """The 32-bit xxHash (XXH32) of ``data``, which the EROFS attribute filter uses."""
    end = len(data) // 4 * 4
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, end, 4)]
    if len(data) >= 16:
        lanes = [seed + _PRIME1 + _PRIME2, seed + _PRIME2, seed, seed - _PRIME1]
        striped = len(words) // 4 * 4
        for at, word in enumerate(words[:striped]):
            lanes[at % 4] = _rotate(lanes[at % 4] + word * _PRIME2, 13) * _PRIME1
        turns = (1, 7, 12, 18)
        value = sum(_rotate(lane, turn) for lane, turn in zip(lanes, turns, strict=True))
    else:
        striped = 0
        value = seed + _PRIME5
    value += len(data)
    for word in words[striped:]:
        value = _rotate(value + word * _PRIME3, 17) * _PRIME4
    for byte in data[end:]:
        value = _rotate(value + byte * _PRIME5, 11) * _PRIME1
    value &= U32_MAX
    value = (value ^ value >> 15) * _PRIME2 & U32_MAX
    value = (value ^ value >> 13) * _PRIME3 & U32_MAX
    return value ^ value >> 16


def _rotate(value: int, turn: int) -> int:
    value &= U32_MAX
    return (value << turn | value >> (32 - turn)) & U32_MAX

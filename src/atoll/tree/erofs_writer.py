"""Write a tree as a composefs image, byte for byte as mkcomposefs 1.0.8 does from the tree's dump.

The first pass assigns an offset to every inode, the second pass writes the inodes and checks that
each starts at its offset. ``erofs_format`` describes the layout.

Other layouts would be valid EROFS, too. This one must match mkcomposefs in every byte, as the
digest of the image is the identity of a tree.
"""

from __future__ import annotations

import stat
import struct
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.ids import TreeId
from atoll.tree import erofs_format as fmt
from atoll.tree.erofs_format import BLOCK_SIZE, SLOT_SIZE, round_up
from atoll.tree.erofs_inodes import Inode, list_inodes
from atoll.tree.gc_pause import gc_paused
from atoll.tree.verity import verity_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.tree.model import Directory


def format_image(tree: Directory, *, version: int = 1) -> bytes:
    """The composefs image of a tree in format 0 or 1.

    Raises Damaged if an image cannot hold the tree: names, sizes or attributes beyond the limits,
    or a directory with two names.
    """
    if version not in fmt.VERSIONS:
        raise ValueError(f"composefs has no format {version}")
    try:
        with gc_paused():
            return bytes(_Image(list_inodes(tree, version)).write(version))
    except struct.error as error:
        raise Damaged(f"a number in this tree does not fit in an image: {error}") from None


def tree_digest(tree: Directory, version: int = 1) -> TreeId:
    """The identity of a tree: the fs-verity digest of its composefs image."""
    return TreeId(verity_digest(format_image(tree, version=version)))


class _Image:
    def __init__(self, inodes: list[Inode]) -> None:
        self.inodes = inodes
        self.earliest = min((i.metadata.mtime, i.metadata.mtime_nsec) for i in inodes)
        self.shared = _shared_xattrs(inodes)
        self.shared_end = sum(map(_xattr_size, self.shared))
        for inode in inodes:
            _split_xattrs(inode, self.shared)
        self.inodes_end = self._assign_offsets()
        self.blocks_start = round_up(self.inodes_end + self.shared_end, BLOCK_SIZE)
        self.blocks_end = self.blocks_start + BLOCK_SIZE * sum(i.blocks for i in inodes)

    def _assign_offsets(self) -> int:
        position = fmt.INODES_OFFSET
        for inode in self.inodes:
            _measure_data(inode)
            metadata = inode.metadata
            # A compact inode has 16-bit ids and link count, a 32-bit size, and no time of its own.
            inode.compact = (
                (metadata.mtime, metadata.mtime_nsec) == self.earliest
                and inode.nlink <= fmt.U16_MAX
                and metadata.uid <= fmt.U16_MAX
                and metadata.gid <= fmt.U16_MAX
                and inode.size <= fmt.U32_MAX
            )
            head = fmt.COMPACT.size if inode.compact else fmt.EXTENDED.size
            head += _xattrs_size(inode)
            position = round_up(position, SLOT_SIZE)
            position += _padding(inode, position, head)
            inode.nid = position // SLOT_SIZE
            position += head + inode.tail
        return round_up(position, SLOT_SIZE)

    def write(self, version: int) -> bytearray:
        has_acl = any(not fmt.ACL_NAMES.isdisjoint(dict(i.xattrs)) for i in self.inodes if i.xattrs)
        out = bytearray(
            fmt.HEADER.pack(
                fmt.HEADER_MAGIC, fmt.HEADER_VERSION, fmt.FLAG_HAS_ACL if has_acl else 0, version
            )
        )
        _pad_to(out, fmt.SUPERBLOCK_OFFSET)
        out += self._superblock()
        self._write_inodes(out)
        for pair in self.shared:
            out += _xattr(pair)
        _pad_to(out, self.blocks_start)
        for inode in self.inodes:
            if inode.blocks:
                _write_blocks(out, inode)
        assert len(out) == self.blocks_end
        return out

    def _superblock(self) -> bytes:
        return fmt.SUPERBLOCK.pack(
            fmt.SUPERBLOCK_MAGIC,
            0,
            fmt.FEATURE_MTIME | fmt.FEATURE_XATTR_FILTER,
            fmt.BLOCK_BITS,
            0,
            self.inodes[0].nid,
            len(self.inodes),
            *self.earliest,
            self.blocks_end // BLOCK_SIZE,
            0,
            self.inodes_end // BLOCK_SIZE,
            0,
        )

    def _write_inodes(self, out: bytearray) -> None:
        shared_base = self.inodes_end % BLOCK_SIZE
        next_block = self.blocks_start // BLOCK_SIZE
        for number, inode in enumerate(self.inodes):
            _pad_to(out, inode.nid * SLOT_SIZE)
            out += _inode(inode, number, next_block)
            next_block += inode.blocks
            if inode.xattrs:
                out += _xattr_head(inode, shared_base)
                out += inode.own_xattrs
            if inode.tail:
                out += _tail(inode)
        _pad_to(out, self.inodes_end)


def _pad_to(out: bytearray, position: int) -> None:
    missing = position - len(out)
    if missing:
        assert missing > 0
        out.extend(bytes(missing))


# ---------------------------------------------------------------- attributes


def _shared_xattrs(inodes: list[Inode]) -> dict[tuple[bytes, bytes], int]:
    """The attributes that several inodes have, with their offsets, in the order of the image."""
    counts = Counter(chain.from_iterable(inode.xattrs for inode in inodes))
    repeated = [pair for pair, count in counts.items() if count > 1]
    # Descending by name, then length, then value: the order in which mkcomposefs writes them.
    repeated.sort(key=lambda pair: (pair[0], len(pair[1]), pair[1]), reverse=True)
    offset = 0
    shared = {}
    for pair in repeated:
        shared[pair] = offset
        offset += _xattr_size(pair)
    return shared


def _split_xattrs(inode: Inode, shared: dict[tuple[bytes, bytes], int]) -> None:
    """Split the attributes of an inode into shared ones, by offset, and its own, as bytes.

    Shared ones beyond the limit of one inode are stored as its own.
    """
    if not inode.xattrs:
        return
    offsets = [shared[pair] for pair in inode.xattrs if pair in shared]
    inode.shared_xattrs = tuple(offsets[: fmt.SHARED_XATTRS_LIMIT])
    left = len(inode.shared_xattrs)
    own = []
    for pair in inode.xattrs:
        if left and pair in shared:
            left -= 1
        else:
            own.append(_xattr(pair))
    inode.own_xattrs = b"".join(own)
    if _xattrs_size(inode) > fmt.XATTRS_LIMIT:
        raise Damaged("a file has more extended attributes than an image can hold")


def _xattrs_size(inode: Inode) -> int:
    if not inode.xattrs:
        return 0
    return fmt.XATTR_HEADER.size + 4 * len(inode.shared_xattrs) + len(inode.own_xattrs)


def _xattr_size(pair: tuple[bytes, bytes]) -> int:
    rest = fmt.split_xattr_name(pair[0])[1]
    return round_up(fmt.XATTR.size + len(rest) + len(pair[1]), 4)


def _xattr(pair: tuple[bytes, bytes]) -> bytes:
    name, value = pair
    index, rest = fmt.split_xattr_name(name)
    if len(rest) > fmt.XATTR_NAME_LIMIT or len(value) > fmt.U16_MAX:
        raise Damaged(f"the extended attribute {name!r} is larger than an image can hold")
    entry = fmt.XATTR.pack(len(rest), index, len(value)) + rest + value
    return entry + bytes(-len(entry) % 4)


def _xattr_head(inode: Inode, shared_base: int) -> bytes:
    # A Bloom filter with inverted bits: a set bit means that no attribute has this hash.
    filtered = fmt.U32_MAX
    for name, _ in inode.xattrs:
        filtered &= ~fmt.filter_bit(name)
    head = fmt.XATTR_HEADER.pack(filtered, len(inode.shared_xattrs))
    if not inode.shared_xattrs:
        return head
    return head + b"".join(
        [fmt.XATTR_INDEX.pack((shared_base + offset) // 4) for offset in inode.shared_xattrs]
    )


# ---------------------------------------------------------------- inodes and their data


def _measure_data(inode: Inode) -> None:
    """Divide the data into whole blocks and an inline tail of at most half a block."""
    file_type = stat.S_IFMT(inode.mode)
    if file_type == stat.S_IFDIR:
        lengths = [length for _, length in _directory_blocks(inode.entries)]
        tail = lengths.pop() if lengths[-1] <= BLOCK_SIZE // 2 else 0
        inode.blocks = len(lengths)
        inode.tail = tail
        inode.size = inode.blocks * BLOCK_SIZE + tail
    elif inode.chunks:
        inode.tail = inode.chunks[1] * len(fmt.NO_BLOCK)
    elif file_type == stat.S_IFLNK:
        inode.tail = inode.size
    elif inode.content:
        inode.blocks, inode.tail = divmod(inode.size, BLOCK_SIZE)
        if inode.tail > BLOCK_SIZE // 2:
            inode.blocks += 1
            inode.tail = 0


def _padding(inode: Inode, position: int, head: int) -> int:
    """Bytes to leave free before an inode so that its tail does not cross a block boundary.

    The kernel reads an inline tail from the block in which it starts, so a tail that crosses into
    the next one would be unreadable. If no padding helps, the tail becomes a block of its own.
    """
    if stat.S_ISLNK(inode.mode):
        end = position + head + inode.tail
        if head + inode.tail >= BLOCK_SIZE:
            inode.blocks, inode.tail = 1, 0
        crosses = position // BLOCK_SIZE != (end - 1) // BLOCK_SIZE
        return -position % BLOCK_SIZE if crosses else 0
    left = BLOCK_SIZE - (position + head) % BLOCK_SIZE
    if left >= inode.tail:
        return 0
    # Move the end of the head past the block boundary: the tail then starts in the next block.
    padding = round_up(left, SLOT_SIZE)
    if BLOCK_SIZE - (position + head + padding) % BLOCK_SIZE >= inode.tail:
        return padding
    inode.blocks += 1
    inode.tail = 0
    return -position % BLOCK_SIZE


def _inode(inode: Inode, number: int, next_block: int) -> bytes:
    where = inode.device or (next_block if inode.blocks else 0)
    layout = fmt.LAYOUT_INLINE if inode.tail else fmt.LAYOUT_PLAIN
    if inode.chunks:
        layout = fmt.LAYOUT_CHUNKS
        where = where & ~fmt.U16_MAX | inode.chunks[0]
    metadata = inode.metadata
    xattrs = (_xattrs_size(inode) - fmt.XATTR_HEADER.size) // 4 + 1 if inode.xattrs else 0
    if inode.compact:
        return fmt.COMPACT.pack(
            layout << 1,
            xattrs,
            inode.mode,
            inode.nlink,
            inode.size,
            where,
            number,
            metadata.uid,
            metadata.gid,
        )
    return fmt.EXTENDED.pack(
        layout << 1 | 1,
        xattrs,
        inode.mode,
        inode.size,
        where,
        number,
        metadata.uid,
        metadata.gid,
        metadata.mtime,
        metadata.mtime_nsec,
        inode.nlink,
    )


def _tail(inode: Inode) -> bytes:
    if inode.entries:
        return list(_directory_data(inode))[-1]
    if inode.chunks:
        return fmt.NO_BLOCK * inode.chunks[1]
    return inode.content[inode.size - inode.tail :]


def _write_blocks(out: bytearray, inode: Inode) -> None:
    end = len(out) + inode.blocks * BLOCK_SIZE
    if inode.entries:
        for _, block in zip(range(inode.blocks), _directory_data(inode), strict=False):
            out += block
            _pad_to(out, round_up(len(out), BLOCK_SIZE))
    elif inode.chunks:
        out += fmt.NO_BLOCK * fmt.CHUNK_COUNT_LIMIT
    else:
        out += inode.content[: inode.blocks * BLOCK_SIZE]
    _pad_to(out, end)


def _directory_blocks(entries: list[tuple[bytes, Inode]]) -> Iterator[tuple[int, int]]:
    """(number of entries, size in bytes without padding) of each block of a directory."""
    count = filled = 0
    for name, _ in entries:
        length = fmt.ENTRY.size + len(name)
        if filled + length > BLOCK_SIZE:
            yield count, filled
            count = filled = 0
        count += 1
        filled += length
    yield count, filled


def _directory_data(inode: Inode) -> Iterator[bytes]:
    """The content of each block of a directory, without padding."""
    start = 0
    for count, _ in _directory_blocks(inode.entries):
        entries = inode.entries[start : start + count]
        start += count
        offset = count * fmt.ENTRY.size
        parts = []
        for name, child in entries:
            parts.append(fmt.ENTRY.pack(child.nid, offset, _FILE_TYPE[child.mode >> 12]))
            offset += len(name)
        parts += [name for name, _ in entries]
        yield b"".join(parts)


_FILE_TYPE = {file_type >> 12: number for file_type, number in fmt.FILE_TYPES.items()}

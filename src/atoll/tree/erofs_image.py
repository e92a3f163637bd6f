"""Access to the parts of an untrusted composefs image: inodes, attributes, data, directory entries.

Every offset is checked. The total of all bytes that are read as directories, content and attributes
may not exceed the size of the image: its parts do not overlap, so more means that it is damaged,
and time and memory stay bounded. ``erofs_format`` describes the layout.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.tree import erofs_format as fmt
from atoll.tree.erofs_format import BLOCK_SIZE, SLOT_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator


def malformed(what: str) -> Damaged:
    """The error for an image that mkcomposefs would not write."""
    return Damaged(f"this composefs image is damaged: {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawInode:
    """An inode as stored in the image.

    ``mode`` includes the file type. ``where`` is the field ``u``: first data block, device number,
    or chunk format. ``number`` is ``ino``. ``end`` is the offset of its inline tail in the image.
    """

    nid: int
    layout: int
    mode: int
    nlink: int
    size: int
    where: int
    number: int
    owner: tuple[int, int]
    time: tuple[int, int]
    xattrs: dict[bytes, bytes]
    end: int


class ImageParts:
    """Reads parts of an image; raises Damaged for anything that mkcomposefs does not write."""

    def __init__(self, image: memoryview) -> None:
        self._image = image
        self._budget = len(image)
        self._shared: dict[int, tuple[bytes, bytes]] = {}
        if len(image) < BLOCK_SIZE or len(image) % BLOCK_SIZE:
            raise malformed("its size is not a multiple of the block size")
        magic, version, _, self.version = fmt.HEADER.unpack_from(image)
        if (magic, version) != (fmt.HEADER_MAGIC, fmt.HEADER_VERSION):
            raise malformed("it has no composefs header")
        if self.version not in fmt.VERSIONS:
            raise malformed(f"format {self.version} is not supported")
        fields = fmt.SUPERBLOCK.unpack_from(image, fmt.SUPERBLOCK_OFFSET)
        (
            magic,
            _,
            features,
            bits,
            _,
            self.root,
            self.inodes,
            seconds,
            nanoseconds,
            blocks,
            meta,
            shared,
            incompatible,
        ) = fields
        self._time = (seconds, nanoseconds)
        self._shared_start = shared * BLOCK_SIZE
        expected = (fmt.SUPERBLOCK_MAGIC, fmt.FEATURE_MTIME | fmt.FEATURE_XATTR_FILTER)
        if (magic, features) != expected or bits != fmt.BLOCK_BITS or meta or incompatible:
            raise malformed("its EROFS superblock is not one that composefs writes")
        if blocks * BLOCK_SIZE != len(image):
            raise malformed(f"its superblock says {blocks} blocks, but it has {len(image)} bytes")

    def inode(self, nid: int) -> RawInode:
        """The inode in slot ``nid``, with its attributes."""
        position = nid * SLOT_SIZE
        if position < fmt.INODES_OFFSET or position + fmt.COMPACT.size > len(self._image):
            raise malformed(f"there is no inode {nid}")
        if self._image[position] & 1:
            if position + fmt.EXTENDED.size > len(self._image):
                raise malformed(f"there is no inode {nid}")
            (form, xattrs, mode, size, where, number, uid, gid, seconds, nanoseconds, nlink) = (
                fmt.EXTENDED.unpack_from(self._image, position)
            )
            time, end = (seconds, nanoseconds), position + fmt.EXTENDED.size
        else:
            form, xattrs, mode, nlink, size, where, number, uid, gid = fmt.COMPACT.unpack_from(
                self._image, position
            )
            time, end = self._time, position + fmt.COMPACT.size
        if stat.S_IFMT(mode) not in fmt.FILE_TYPES or time[1] >= fmt.BILLION:
            raise malformed(f"inode {nid} has an impossible mode or time")
        length = fmt.XATTR_HEADER.size + 4 * (xattrs - 1) if xattrs else 0
        return RawInode(
            nid=nid,
            layout=form >> 1,
            mode=mode,
            nlink=nlink,
            size=size,
            where=where,
            number=number,
            owner=(uid, gid),
            time=time,
            end=end + length,
            xattrs=self._xattrs(end, length) if length else {},
        )

    def data(self, inode: RawInode) -> memoryview:
        """The data of an inode that has it in the image: whole blocks, then the inline tail."""
        whole, tail = divmod(inode.size, BLOCK_SIZE)
        start = inode.where * BLOCK_SIZE
        if inode.layout == fmt.LAYOUT_PLAIN:
            return self._take(start, inode.size)
        if inode.layout != fmt.LAYOUT_INLINE or not tail:
            raise malformed(f"inode {inode.nid} has an impossible layout")
        if inode.end // BLOCK_SIZE != (inode.end + tail - 1) // BLOCK_SIZE:
            raise malformed(f"the tail of inode {inode.nid} is in two blocks")
        if not whole:
            return self._take(inode.end, tail)
        blocks = self._take(start, whole * BLOCK_SIZE)
        return memoryview(b"".join((blocks, self._take(inode.end, tail))))

    def names(self, inode: RawInode) -> Iterator[tuple[bytes, int, int]]:
        """(name, inode number, file type) of each entry of a directory, in byte order."""
        data = self.data(inode)
        last = b""
        for start in range(0, len(data), BLOCK_SIZE):
            for entry in _block_names(data[start : start + BLOCK_SIZE], inode.nid):
                if entry[0] <= last:
                    raise malformed(f"the names of directory {inode.nid} are not in order")
                last = entry[0]
                yield entry

    def _take(self, start: int, length: int) -> memoryview:
        """Read bytes, and subtract them from the budget."""
        if length > len(self._image) - start:
            raise malformed("it refers to bytes beyond its end")
        self._budget -= length
        if self._budget < 0:
            raise malformed("its parts overlap")
        return self._image[start : start + length]

    def _xattrs(self, start: int, length: int) -> dict[bytes, bytes]:
        area = self._take(start, length)
        cleared, shared = fmt.XATTR_HEADER.unpack_from(area)
        at = fmt.XATTR_HEADER.size + 4 * shared
        if at > length:
            raise malformed("its extended attributes do not fit")
        pairs = [
            self._shared_xattr(fmt.XATTR_INDEX.unpack_from(area, offset)[0])
            for offset in range(fmt.XATTR_HEADER.size, at, 4)
        ]
        while at < length:
            name, value, size = _xattr(area[at:])
            pairs.append((name, value))
            at += size
        found = dict(pairs)
        # The filter must have exactly the bits of these names cleared.
        for name in found:
            cleared |= fmt.filter_bit(name)
        if len(found) != len(pairs) or cleared != fmt.U32_MAX:
            raise malformed("the extended attributes of an inode are inconsistent")
        return found

    def _shared_xattr(self, index: int) -> tuple[bytes, bytes]:
        known = self._shared.get(index)
        if known is None:
            name, value, size = _xattr(self._image[self._shared_start + 4 * index :])
            self._take(self._shared_start, size)
            known = self._shared[index] = (name, value)
        return known


def _xattr(area: memoryview) -> tuple[bytes, bytes, int]:
    """(name, value, size with padding) of the attribute at the start of ``area``."""
    if len(area) < fmt.XATTR.size:
        raise malformed("an attribute lies beyond its end")
    length, index, value_length = fmt.XATTR.unpack_from(area)
    middle = fmt.XATTR.size + length
    end = middle + value_length
    rest = bytes(area[fmt.XATTR.size : middle])
    if end > len(area) or (index and index not in fmt.WRITTEN_PREFIXES) or b"\0" in rest:
        raise malformed("an attribute has an impossible name or length")
    name = fmt.XATTR_PREFIXES[index] + rest
    if not name or fmt.split_xattr_name(name) != (index, rest):
        raise malformed("an attribute has an impossible name")
    return name, bytes(area[middle:end]), fmt.round_up(end, 4)


def _block_names(block: memoryview, nid: int) -> list[tuple[bytes, int, int]]:
    """(name, nid, file type) of the entries in one block of directory ``nid``."""
    # The first entry's name offset is the size of all entries. Names have no length: each ends
    # where the next begins, and the last one at the zero padding of the block.
    size = fmt.ENTRY.unpack_from(block)[1] if len(block) >= fmt.ENTRY.size else 0
    if size == 0 or size % fmt.ENTRY.size or size > len(block):
        raise malformed(f"a block of directory {nid} has an impossible number of names")
    entries = list(fmt.ENTRY.iter_unpack(block[:size]))
    text = bytes(block)
    starts = [start for _, start, _ in entries]
    ends = [*starts[1:], len(text.rstrip(b"\0"))]
    if any(start >= end for start, end in zip(starts, ends, strict=True)):
        raise malformed(f"the names of directory {nid} overlap")
    return [
        (text[start:end], child, file_type)
        for (child, start, file_type), end in zip(entries, ends, strict=True)
    ]

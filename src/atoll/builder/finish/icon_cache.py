"""GTK's icon cache (``icon-theme.cache``), rewritten so that two builds give the same bytes.

gtk-update-icon-cache writes icons in the order in which the file system lists them. It also follows
symbolic link loops until the kernel stops it (ELOOP), so even the set of icons depends on that
order. The cache is parsed and written again, sorted, with only those directories that the theme's
``index.theme`` names: GTK looks into no others. The format is that of GTK's
``gtkiconcachevalidator.c``::

    u16 1, u16 0, u32 hash, u32 directories                  all big-endian, offsets from the start
    hash          u32 n, n offsets of icons (none: 0xffffffff)
    icon          u32 next in the same bucket, u32 name, u32 images
    images        u32 n, n of (u16 directory, u16 flags, u32 data or 0)
    data          u32 pixels or 0, u32 metadata or 0
    pixels        u32 0, u32 size, that many bytes
    directories   u32 n, n offsets of names
    names         end with a zero byte; everything starts at a multiple of 4
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_HEAD = struct.Struct(">HHII")
_NONE = 0xFFFFFFFF
_NAME_LIMIT = 1024


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Icon:
    """An icon in one directory of the theme; ``pixels`` is empty if GTK has to read the file."""

    directory: bytes
    flags: int
    pixels: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class IconCache:
    """A parsed cache: ``icons`` by name; ``buckets`` is the size of the hash table."""

    directories: tuple[bytes, ...]
    icons: dict[bytes, tuple[Icon, ...]]
    buckets: int


def parse_icon_cache(data: bytes) -> IconCache | None:
    """Parse a cache; None if it is damaged, or uses parts of the format that are not handled here
    (icon metadata, other pixel formats)."""
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError):
        return None


def parse_theme_directories(theme: bytes) -> frozenset[bytes]:
    """The directories that a theme's ``index.theme`` names."""
    found: set[bytes] = set()
    for line in theme.splitlines():
        key, _, value = line.partition(b"=")
        if key.strip() in (b"Directories", b"ScaledDirectories"):
            found.update(name.strip().rstrip(b"/") for name in value.split(b","))
    return frozenset(found - {b""})


def limit_icons(cache: IconCache, directories: Collection[bytes]) -> IconCache:
    """``cache`` with only the icons in ``directories``."""
    icons = {
        name: kept
        for name, images in cache.icons.items()
        if (kept := tuple(image for image in images if image.directory in directories))
    }
    names = tuple(name for name in cache.directories if name in directories)
    return replace(cache, directories=names, icons=icons)


def format_icon_cache(cache: IconCache) -> bytes:
    """The bytes of a cache: the same content always gives the same bytes. Raises struct.error when
    a number does not fit its field."""
    directories = sorted(cache.directories)
    numbers = {name: number for number, name in enumerate(directories)}
    writer = _Writer(_HEAD.size + 4 + 4 * cache.buckets)
    chains = [_NONE] * cache.buckets
    # each icon points to the one written before it, so the last one written starts its bucket
    for name, images in sorted(cache.icons.items(), reverse=True):
        bucket = hash_name(name) % cache.buckets
        rows = [
            struct.pack(">HHI", numbers[image.directory], image.flags, writer.data(image))
            for image in sorted(images)
        ]
        offset = writer.put(struct.pack(">I", len(rows)) + b"".join(rows))
        chains[bucket] = writer.put(struct.pack(">III", chains[bucket], writer.name(name), offset))
    names = [writer.name(name) for name in directories]
    offset = writer.put(struct.pack(f">I{len(names)}I", len(names), *names))
    head = _HEAD.pack(1, 0, _HEAD.size, offset)
    return head + struct.pack(f">I{len(chains)}I", len(chains), *chains) + writer.content


def hash_name(name: bytes) -> int:
    """GTK's hash of an icon name (``icon_name_hash``): 31 times the hash so far, plus the next
    byte, which is signed."""
    total = 0
    for byte in name:
        total = (total * 31 + (byte - 256 if byte > 127 else byte)) & 0xFFFFFFFF
    return total


class _Writer:
    """Appends parts of the cache and returns their offsets; equal names and pixels are written
    once. ``start`` is the offset of the first part."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._content = bytearray()
        self._known: dict[bytes, int] = {}

    @property
    def content(self) -> bytes:
        return bytes(self._content)

    def put(self, data: bytes) -> int:
        offset = self._start + len(self._content)
        self._content += data + bytes(-len(data) % 4)
        return offset

    def name(self, name: bytes) -> int:
        return self._once(name + b"\0")

    def data(self, image: Icon) -> int:
        if not image.pixels:
            return 0
        pixels = self._once(struct.pack(">II", 0, len(image.pixels)) + image.pixels)
        return self._once(struct.pack(">II", pixels, 0))

    def _once(self, data: bytes) -> int:
        if data not in self._known:
            self._known[data] = self.put(data)
        return self._known[data]


def _parse(data: bytes) -> IconCache:
    major, minor, table, listing = _HEAD.unpack_from(data)
    if (major, minor) != (1, 0):
        raise ValueError("of another version")
    (count,) = struct.unpack_from(">I", data, listing)
    offsets = struct.unpack_from(f">{count}I", data, listing + 4)
    directories = tuple(_name(data, offset) for offset in offsets)
    (buckets,) = struct.unpack_from(">I", data, table)
    icons: dict[bytes, tuple[Icon, ...]] = {}
    limit = len(data) // 12
    for bucket in struct.unpack_from(f">{buckets}I", data, table + 4):
        offset = bucket
        while offset != _NONE:
            offset, name, images = struct.unpack_from(">III", data, offset)
            found = _name(data, name)
            # a loop of "next" offsets would never end
            if found in icons or len(icons) > limit:
                raise ValueError("an icon twice")
            icons[found] = tuple(_images(data, images, directories))
    return IconCache(directories=directories, icons=icons, buckets=buckets)


def _images(data: bytes, offset: int, directories: tuple[bytes, ...]) -> list[Icon]:
    (count,) = struct.unpack_from(">I", data, offset)
    rows = data[offset + 4 : offset + 4 + 8 * count]
    found = []
    for directory, flags, more in struct.iter_unpack(">HHI", rows):
        pixels = _pixels(data, more) if more else b""
        found.append(Icon(directory=directories[directory], flags=flags, pixels=pixels))
    if len(found) != count:
        raise ValueError("cut off")
    return found


def _pixels(data: bytes, offset: int) -> bytes:
    pixels, metadata = struct.unpack_from(">II", data, offset)
    if metadata or not pixels:
        raise ValueError("metadata of icons")
    kind, size = struct.unpack_from(">II", data, pixels)
    content = data[pixels + 8 : pixels + 8 + size]
    if kind != 0 or len(content) != size:
        raise ValueError("pixels of another kind")
    return content


def _name(data: bytes, offset: int) -> bytes:
    end = data.index(b"\0", offset, offset + _NAME_LIMIT)
    return data[offset:end]

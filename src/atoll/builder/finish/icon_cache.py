"""GTK's index of an icon theme (``icon-theme.cache``) in an order of its own.

gtk-update-icon-cache writes what it finds in the order in which the file system lists it, and
follows links in circles until the kernel stops it, so even what it finds depends on that order. The
index is read and written again, sorted, with those directories only that the theme itself names:
GTK never looks into others. ::

    u16 1, u16 0, u32 hash, u32 directories                  all big-endian, offsets from the start
    hash          u32 n, n offsets of icons (none: 0xffffffff)
    icon          u32 next of the same bucket, u32 name, u32 images
    images        u32 n, n of (u16 directory, u16 flags, u32 data or 0)
    data          u32 pixels or 0, u32 metadata or 0
    pixels        u32 0, u32 size, that many bytes
    directories   u32 n, n offsets of names
    names         end with a zero byte; all things begin at a multiple of 4
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
    """An icon in one directory of the theme; ``pixels`` is empty where the file has to be read."""

    directory: bytes
    flags: int
    pixels: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class IconCache:
    """``icons`` by name; ``buckets`` is the size of the hash table."""

    directories: tuple[bytes, ...]
    icons: dict[bytes, tuple[Icon, ...]]
    buckets: int


def parse_icon_cache(data: bytes) -> IconCache | None:
    """What an index says; None for one that is damaged, or says more than is known here."""
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
    """What an index says of ``directories``; icons that are in none of them are left out."""
    icons = {
        name: kept
        for name, images in cache.icons.items()
        if (kept := tuple(image for image in images if image.directory in directories))
    }
    names = tuple(name for name in cache.directories if name in directories)
    return replace(cache, directories=names, icons=icons)


def format_icon_cache(cache: IconCache) -> bytes:
    """The one form of what an index says; raises struct.error for more than it can say."""
    directories = sorted(cache.directories)
    numbers = {name: number for number, name in enumerate(directories)}
    writer = _Writer(_HEAD.size + 4 + 4 * cache.buckets)
    chains = [_NONE] * cache.buckets
    # each icon leads to the one before it, so the last one written is the first of its bucket
    for name, images in sorted(cache.icons.items(), reverse=True):
        bucket = hash_name(name) % cache.buckets
        rows = [
            struct.pack(">HHI", numbers[image.directory], image.flags, writer.data(image))
            for image in sorted(images)
        ]
        place = writer.put(struct.pack(">I", len(rows)) + b"".join(rows))
        chains[bucket] = writer.put(struct.pack(">III", chains[bucket], writer.name(name), place))
    names = [writer.name(name) for name in directories]
    place = writer.put(struct.pack(f">I{len(names)}I", len(names), *names))
    head = _HEAD.pack(1, 0, _HEAD.size, place)
    return head + struct.pack(f">I{len(chains)}I", len(chains), *chains) + writer.content


def hash_name(name: bytes) -> int:
    """GTK's hash of an icon's name: 31 times what was before, plus the next, signed byte."""
    total = 0
    for byte in name:
        total = (total * 31 + (byte - 256 if byte > 127 else byte)) & 0xFFFFFFFF
    return total


class _Writer:
    """Things one after the other, each content once; ``start`` is the offset of the first one."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._content = bytearray()
        self._known: dict[bytes, int] = {}

    @property
    def content(self) -> bytes:
        return bytes(self._content)

    def put(self, data: bytes) -> int:
        place = self._start + len(self._content)
        self._content += data + bytes(-len(data) % 4)
        return place

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
    places = struct.unpack_from(f">{count}I", data, listing + 4)
    directories = tuple(_name(data, place) for place in places)
    (buckets,) = struct.unpack_from(">I", data, table)
    icons: dict[bytes, tuple[Icon, ...]] = {}
    limit = len(data) // 12
    for bucket in struct.unpack_from(f">{buckets}I", data, table + 4):
        place = bucket
        while place != _NONE:
            place, name, images = struct.unpack_from(">III", data, place)
            found = _name(data, name)
            if found in icons or len(icons) > limit:
                raise ValueError("an icon twice")
            icons[found] = tuple(_images(data, images, directories))
    return IconCache(directories=directories, icons=icons, buckets=buckets)


def _images(data: bytes, place: int, directories: tuple[bytes, ...]) -> list[Icon]:
    (count,) = struct.unpack_from(">I", data, place)
    rows = data[place + 4 : place + 4 + 8 * count]
    found = []
    for directory, flags, more in struct.iter_unpack(">HHI", rows):
        pixels = _pixels(data, more) if more else b""
        found.append(Icon(directory=directories[directory], flags=flags, pixels=pixels))
    if len(found) != count:
        raise ValueError("cut off")
    return found


def _pixels(data: bytes, place: int) -> bytes:
    pixels, metadata = struct.unpack_from(">II", data, place)
    if metadata or not pixels:
        raise ValueError("metadata of icons")
    kind, size = struct.unpack_from(">II", data, pixels)
    content = data[pixels + 8 : pixels + 8 + size]
    if kind != 0 or len(content) != size:
        raise ValueError("pixels of another kind")
    return content


def _name(data: bytes, place: int) -> bytes:
    end = data.index(b"\0", place, place + _NAME_LIMIT)
    return data[place:end]

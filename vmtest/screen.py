"""Pictures of a machine's screen: measured pixel by pixel, and written as PNG."""

from __future__ import annotations

import re
import struct
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmtest.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vmtest.clock import Deadline

HEADER = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
NOISE = 0.002
"""A share of bytes that a blinking cursor may change."""
PAUSE_SECONDS = 0.5
EIGHT_BITS, TRUE_COLOUR = 8, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A screen at one moment: rows of red, green, blue bytes."""

    width: int
    height: int
    pixels: bytes

    def colours(self) -> int:
        """How many different colours it shows: 1 when blank, a few for a text console."""
        return len(set(zip(self.pixels[0::3], self.pixels[1::3], self.pixels[2::3], strict=True)))

    def difference(self, other: Picture) -> float:
        """The share of bytes that differ, from 0 to 1; 1 when the sizes do."""
        if (self.width, self.height) != (other.width, other.height):
            return 1.0
        if self.pixels == other.pixels:
            return 0.0
        unequal = sum(a != b for a, b in zip(self.pixels, other.pixels, strict=True))
        return unequal / len(self.pixels)


def wait_for_picture(
    take: Callable[[], Picture], colours: int, steady: float, deadline: Deadline
) -> Picture | None:
    """A picture of enough colours that stayed the same for ``steady`` seconds; None when late."""
    begin, before = time.monotonic(), take()
    while not deadline.is_over():
        time.sleep(PAUSE_SECONDS)
        now = take()
        if now.difference(before) > NOISE:
            begin, before = time.monotonic(), now
        if time.monotonic() - begin >= steady and now.colours() >= colours:
            return now
    return None


def parse_ppm(data: bytes) -> Picture:
    """The picture in a binary PPM file, which every QEMU can write."""
    found = HEADER.match(data)
    if found is None:
        raise MachineError(f"the picture of the screen is no PPM: {data[:20]!r}")
    width, height = int(found[1]), int(found[2])
    pixels = data[found.end() :]
    if len(pixels) != width * height * 3:
        raise MachineError(f"the picture of the screen is cut off: {len(pixels)} bytes of pixels")
    return Picture(width=width, height=height, pixels=pixels)


def format_png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    row = picture.width * 3
    lines = b"".join(
        b"\0" + picture.pixels[start : start + row] for start in range(0, len(picture.pixels), row)
    )
    header = struct.pack(
        ">IIBBBBB", picture.width, picture.height, EIGHT_BITS, TRUE_COLOUR, 0, 0, 0
    )
    return PNG_MAGIC + b"".join(
        _chunk(kind, body)
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def write_png(path: Path, picture: Picture) -> None:
    path.write_bytes(format_png(picture))

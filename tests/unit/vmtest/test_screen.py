"""Pictures, text to keys, and console bytes to text."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtest import MachineError
from vmtest.console import Console, clean
from vmtest.keyboard import keys_of, parse_keys
from vmtest.screen import Picture, format_png, parse_ppm

if TYPE_CHECKING:
    from pathlib import Path


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    size = width * height * 3
    pixels = draw(st.binary(min_size=size, max_size=size))
    return Picture(width=width, height=height, pixels=pixels)


def ppm(picture: Picture) -> bytes:
    return b"P6\n%d %d\n255\n" % (picture.width, picture.height) + picture.pixels


def png_pixels(data: bytes) -> Picture:
    """A reader of its own for what ``format_png`` writes."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, chunks = 8, {}
    while place < len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + size]
        assert struct.unpack_from(">I", data, place + 8 + size)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        place += size + 12
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert rest == [8, 2, 0, 0, 0]
    raw, row = zlib.decompress(chunks[b"IDAT"]), width * 3 + 1
    lines = [raw[start : start + row] for start in range(0, len(raw), row)]
    assert all(line[0] == 0 for line in lines)
    return Picture(width=width, height=height, pixels=b"".join(line[1:] for line in lines))


@given(pictures())
def test_png_holds_the_pixels_of_the_ppm(picture: Picture) -> None:
    assert png_pixels(format_png(parse_ppm(ppm(picture)))) == picture


@pytest.mark.parametrize("data", [b"", b"P5\n1 1\n255\n0", b"P6\n2 2\n255\nxx"])
def test_bad_pictures_are_refused(data: bytes) -> None:
    with pytest.raises(MachineError, match="the picture of the screen is"):
        parse_ppm(data)


def test_measures() -> None:
    blank = Picture(width=10, height=10, pixels=bytes(300))
    dotted = Picture(width=10, height=10, pixels=b"\xff\xff\xff" + bytes(297))
    assert (blank.colours(), dotted.colours()) == (1, 2)
    assert blank.difference(blank) == 0
    assert blank.difference(dotted) == 0.01
    assert blank.difference(Picture(width=20, height=5, pixels=bytes(300))) == 1


def test_text_becomes_keys() -> None:
    assert [keys_of(c) for c in "aA1!-_\n"] == [
        ("a",),
        ("shift", "a"),
        ("1",),
        ("shift", "1"),
        ("minus",),
        ("shift", "minus"),
        ("ret",),
    ]
    assert parse_keys("ctrl-alt-f2") == ("ctrl", "alt", "f2")


@pytest.mark.parametrize("character", list(map(chr, range(32, 127))))
def test_every_printable_character_has_keys(character: str) -> None:
    assert all(keys_of(character))


def test_what_cannot_be_typed_is_refused() -> None:
    with pytest.raises(MachineError, match="no key for 'ü'"):
        keys_of("ü")
    with pytest.raises(MachineError, match="names no keys"):
        parse_keys("ctrl--")


def test_console_bytes_become_lines() -> None:
    raw = (
        b"\x1b[2J\x1b[01;01H\x1b[=3h[ \x1b[32m OK \x1b[0m] up\r\n\x1b]0;title\x07\x1b[6nlogin: \xff"
    )
    assert clean(raw) == "[  OK ] up\nlogin: \ufffd"


def test_a_start_hides_earlier_boots(tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    assert console.text() == ""
    console.path.write_bytes(b"first\n")
    console.mark_start()
    with console.path.open("ab") as log:
        log.write(b"\n".join(b"line %d" % n for n in range(100)))
    assert "first" not in console.text()
    assert console.tail(2) == "line 98\nline 99"

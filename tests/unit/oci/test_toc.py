"""The table of contents: the reader accepts what the writer writes; all else is Damaged."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.base.ids import ObjectId, TreeId
from atoll.oci.ranges import GAP, LONG, part_span, plan_parts
from atoll.oci.toc import (
    EMPTY_DIFF_ID,
    EMPTY_TAR,
    FRAME_LIMIT,
    ObjectLocation,
    TableOfContents,
    format_contents,
    parse_contents,
)
from atoll.tree.erofs_writer import format_image, tree_digest
from atoll.tree.model import Directory, Metadata, Regular

if TYPE_CHECKING:
    import random

START = 19
"""Bytes of a blob before the packed contents."""

NAMES = [ObjectId(sha256(bytes([number])).hexdigest()) for number in range(30)]
TREE = Directory(
    Metadata(mode=0o755),
    {
        f"file-{number:02}".encode(): Regular(Metadata(mode=0o644), 100 + number, name)
        for number, name in enumerate(NAMES)
    },
)
IMAGE, DIGEST = format_image(TREE), tree_digest(TREE)
FRAMES = [[(40, 2000), (50, 3000)], [(60, FRAME_LIMIT), (70, FRAME_LIMIT), (80, 9)]]
SIZES = [90, 210]
PLACES = {
    name: ObjectLocation(layer=number % 2, offset=512 + 150 * number, size=100 + number)
    for number, name in enumerate(NAMES)
}


def blob() -> bytes:
    data = format_contents(IMAGE, FRAMES, PLACES)
    assert data is not None
    return data


def parse(data: bytes, tree: TreeId = DIGEST, layers: list[int] = SIZES) -> TableOfContents:
    return parse_contents(data, tree=tree, layers=layers, where="it")


def repacked(data: bytes) -> bytes:
    """A blob with the contents ``data``."""
    packed = zstandard.ZstdCompressor().compress(data)
    return blob()[: START - 4] + struct.pack("<I", len(packed)) + packed


def unpacked() -> bytes:
    found: bytes = zstandard.ZstdDecompressor().decompress(blob()[START:])
    return found


def test_what_is_written_is_read_again() -> None:
    found = parse(blob())
    assert found.image == IMAGE
    assert found.objects == tuple(NAMES)
    for row, name in enumerate(found.objects):
        place = ObjectLocation(
            layer=found.layers[row], offset=found.offsets[row], size=found.sizes[row]
        )
        assert place == PLACES[name]
    assert [list(frames.packed) for frames in found.frames] == [[0, 40, 90], [0, 60, 130, 210]]
    assert list(found.frames[0].unpacked) == [0, 2000, 5000]
    assert blob() == blob()


def test_for_others_it_is_an_empty_tar() -> None:
    reader = zstandard.ZstdDecompressor().stream_reader(blob(), read_across_frames=True)
    assert reader.read(5000) == EMPTY_TAR
    assert "sha256:" + sha256(EMPTY_TAR).hexdigest() == EMPTY_DIFF_ID


def test_the_first_bytes_never_change() -> None:
    assert blob()[: START - 4].hex() == "28b52ffd60000303200000" + "5a2a4d18"
    assert unpacked()[:24] == b"atoll contents 1" + struct.pack("<II", 2, 30)


def test_a_tree_that_names_what_no_layer_has_gets_none() -> None:
    assert format_contents(IMAGE, FRAMES, {**PLACES, ObjectId("0" * 64): PLACES[NAMES[0]]}) is None
    assert format_contents(IMAGE, FRAMES, dict(list(PLACES.items())[1:])) is None


def change(offset: int, form: str, value: int) -> bytes:
    data = bytearray(unpacked())
    struct.pack_into(form, data, offset, value)
    return repacked(bytes(data))


COLUMNS = 24 + 2 * 4 + 5 * 8
LIES = {
    "nothing": b"",
    "no contents": blob()[:START],
    "cut": blob()[:-1],
    "more": blob() + b"x",
    "another magic": change(0, "<B", 66),
    "another number of layers": change(16, "<I", 3),
    "more objects than bytes": change(20, "<I", 0xFFFFFFFF),
    "more frames than bytes": change(24, "<I", 0xFFFFFFFF),
    "a layer of another size": change(32, "<I", 41),
    "a large frame": change(32 + 20, "<I", FRAME_LIMIT + 1),
    "a layer that is not there": change(COLUMNS, "<H", 2),
    "an object behind its layer": change(COLUMNS + 30 * 2, "<Q", 4999),
    "an object far away": change(COLUMNS + 30 * 2, "<Q", (1 << 64) - 1),
    "an object without size": change(COLUMNS + 30 * 10, "<Q", 0),
    "fewer objects": change(20, "<I", 29),
    "another tree": change(len(unpacked()) - 1, "<B", 1),
    "a frame of unknown size": blob()[: START - 4]
    + struct.pack("<I", 13)
    + bytes.fromhex("28b52ffd000001000061626364"),
    "a bomb": blob()[: START - 4]
    + struct.pack("<I", 17)
    + bytes.fromhex("28b52ffde0ffffffffffffff0003200000"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_damage(name: str) -> None:
    with pytest.raises(Damaged, match="it"):
        parse(LIES[name])


def test_contents_of_another_image_are_damage() -> None:
    with pytest.raises(Damaged, match="its tree is not"):
        parse(blob(), tree=TreeId("0" * 64))
    with pytest.raises(Damaged, match="another image"):
        parse(blob(), layers=[90])
    with pytest.raises(Damaged, match="frames of a layer"):
        parse(blob(), layers=[90, 211])


@given(st.data())
def test_any_damage_is_noticed_or_makes_no_difference_to_the_tree(data: st.DataObject) -> None:
    raw = bytearray(unpacked())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse(repacked(bytes(raw)))
    except Damaged:
        return
    assert found.image == IMAGE
    parts = plan_parts(found, range(len(found.objects)))
    assert all(part_span(found, part).end <= SIZES[part.layer] for part in parts)


# ---------------------------------------------------------------- which parts are fetched


def contents_of(sizes: list[int], gaps: list[int]) -> TableOfContents:
    """One layer; each object fills its own frame, not compressed, after a gap."""
    frames: list[tuple[int, int]] = []
    places = {}
    offset = 0
    entries = {}
    for number, (size, gap) in enumerate(zip(sizes, gaps, strict=True)):
        name = ObjectId(f"{number:064x}")
        frames += [(gap, 1), (size, size)]
        places[name] = ObjectLocation(layer=0, offset=offset + 1, size=size)
        offset += 1 + size
        entries[f"{number:04}".encode()] = Regular(Metadata(mode=0o644), size, name)
    tree = Directory(Metadata(mode=0o755), entries)
    data = format_contents(format_image(tree), [frames], places)
    assert data is not None
    total = sum(packed for packed, _ in frames)
    return parse(data, tree=tree_digest(tree), layers=[total])


def test_neighbours_are_one_part_and_gaps_divide_them() -> None:
    contents = contents_of([100] * 4, [5, 5, GAP + 1, GAP])
    assert [part.objects for part in plan_parts(contents, range(4))] == [(0, 1), (2, 3)]
    assert [part.objects for part in plan_parts(contents, [3, 0])] == [(0,), (3,)]
    assert plan_parts(contents, []) == ()
    (part,) = plan_parts(contents, [1])
    span = part_span(contents, part)
    assert (span.start, span.end, span.header) == (110, 210, "bytes=110-209")


def test_long_parts_are_cut() -> None:
    contents = contents_of([FRAME_LIMIT] * 20, [1] * 20)
    parts = plan_parts(contents, range(20))
    assert [len(part.objects) for part in parts] == [8, 8, 4]
    assert all(
        part_span(contents, part).end - part_span(contents, part).start <= LONG + 20
        for part in parts
    )
    assert [row for part in parts for row in part.objects] == list(range(20))


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_the_parts_hold_all_that_is_missing(chance: random.Random, count: int) -> None:
    contents = contents_of(
        [chance.randint(65, 1 << chance.randint(7, 20)) for _ in range(count)],
        [chance.randint(1, 2 * GAP) for _ in range(count)],
    )
    missing = [row for row in range(count) if chance.random() < 0.5]
    parts = plan_parts(contents, missing)
    assert sorted(row for part in parts for row in part.objects) == missing
    before = 0
    for part in parts:
        unpacked = contents.frames[0].unpacked
        assert before <= part.first < part.last
        before = part.last
        for row in part.objects:
            assert unpacked[part.first] <= contents.offsets[row]
            assert contents.offsets[row] + contents.sizes[row] <= unpacked[part.last]

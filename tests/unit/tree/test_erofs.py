"""Images: the bytes of mkcomposefs in its seven test cases, round trips, damage is detected."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.tree.dumpfile import format_dump, parse_dump
from atoll.tree.erofs_format import BLOCK_SIZE, xxh32
from atoll.tree.erofs_reader import parse_below, parse_image
from atoll.tree.erofs_writer import format_image, tree_digest
from atoll.tree.model import Device, DeviceKind, Directory, Fifo, Metadata, Node, Regular, walk
from tests.unit.tree.trees import default_version, linked_whiteouts, trees

GOLDEN = Path(__file__).parents[2] / "golden" / "composefs"
_NAMES = sorted(path.name.removesuffix(".dump.gz") for path in GOLDEN.glob("*.dump.gz"))
CASES = [
    # It has 30,000 names, and takes seconds.
    pytest.param(name, marks=pytest.mark.long) if name == "06-bigdir" else name
    for name in _NAMES
]
IMAGES = sorted(path.name for path in GOLDEN.glob("*.cfs.gz"))
META = Metadata(mode=0o755)


def image_of(tree: Directory, version: int = 1) -> bytes:
    """The image of a generated tree; trees that mkcomposefs refuses are skipped."""
    try:
        return format_image(tree, version=version)
    except Damaged as error:
        assume("more extended attributes than composefs can hold" not in error.message)
        raise


def golden(name: str) -> bytes:
    return gzip.decompress((GOLDEN / name).read_bytes())


@pytest.mark.parametrize("case", CASES)
def test_digests_are_those_of_mkcomposefs(case: str) -> None:
    tree = parse_dump(golden(f"{case}.dump.gz"))
    expected = (GOLDEN / f"{case}.expected").read_text()
    wanted = {
        (int(low), int(high)): digest
        for low, high, digest in re.findall(r"from-dump min=(\d) max=(\d) ([0-9a-f]{64})", expected)
    }
    assert tree_digest(tree, 0) == wanted[0, 0]
    assert tree_digest(tree, default_version(tree)) == wanted[0, 1]
    assert tree_digest(tree, 1) == tree_digest(tree) == wanted[1, 1]


@pytest.mark.parametrize("name", IMAGES)
def test_images_have_the_bytes_of_mkcomposefs(name: str) -> None:
    case, version, _ = name.split(".", 2)
    tree = parse_dump(golden(f"{case}.dump.gz"))
    assert format_image(tree, version=int(version[-1])) == golden(name)


@pytest.mark.parametrize("name", IMAGES)
def test_their_images_are_read_and_written_again(name: str) -> None:
    image = golden(name)
    assert format_image(parse_image(image), version=int(name.split(".")[1][-1])) == image


@given(tree=trees(), version=st.sampled_from([0, 1]))
def test_a_part_is_read_as_it_is_in_the_whole(tree: Directory, version: int) -> None:
    image = image_of(tree, version)
    whole = parse_image(image)
    assert parse_below(image, b"not there") is None
    for name, node in whole.entries.items():
        found = parse_below(image, name)
        assert type(found) is type(node)
        if isinstance(node, Directory) and isinstance(found, Directory):
            assert [path for path, _ in walk(found)] == [path for path, _ in walk(node)]
            for inner, below in node.entries.items():
                if not isinstance(below, Directory):
                    part = parse_below(image, name + b"/" + inner)
                    assert part is not None
                    assert part.metadata == replace(below.metadata, nlink=None)
                    if isinstance(below, Regular) and isinstance(part, Regular):
                        assert (part.size, part.object) == (below.size, below.object)
                        assert part.inline == below.inline


@pytest.mark.parametrize("has_own", [False, True])
@pytest.mark.parametrize("version", [0, 1])
def test_a_part_with_a_whiteout_whose_first_name_is_elsewhere(version: int, has_own: bool) -> None:
    whiteout = Device(Metadata(mode=0o644), DeviceKind.CHARACTER, 0)
    own = ((b"user.overlay.whiteouts", b""),) if has_own else ()
    inner: dict[bytes, Node] = {b"-": whiteout, b"x": Fifo(Metadata(mode=0o644))}
    below = Directory(Metadata(mode=0o755, xattrs=own), inner)
    tree = Directory(Metadata(mode=0o755), {b"a": whiteout, b"b": below})
    image = format_image(tree, version=version)
    assert format_image(parse_image(image), version=version) == image
    part = parse_below(image, b"b")
    assert isinstance(part, Directory)
    assert sorted(part.entries) == [b"-", b"x"]
    assert part.metadata.xattrs == own


@given(tree=trees(), version=st.sampled_from([0, 1]))
def test_trees_survive_their_image(tree: Directory, version: int) -> None:
    image = image_of(tree, version)
    back = parse_image(image)
    assert [path for path, _ in walk(back)] == [path for path, _ in walk(tree)]
    assert format_image(back, version=version) == image
    assert format_image(parse_dump(format_dump(tree)), version=version) == image


@given(tree=linked_whiteouts(), version=st.sampled_from([0, 1]))
def test_the_marks_of_whiteouts_with_many_names_survive(tree: Directory, version: int) -> None:
    image = image_of(tree, version)
    assert format_image(parse_image(image), version=version) == image
    assert format_image(parse_dump(format_dump(tree)), version=version) == image


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("others", [b"", b"b", b"h", b"bh"])
def test_a_whiteout_is_where_the_mark_is(version: int, others: bytes) -> None:
    """The name in the root comes first and would be the primary one, but for the marks."""
    whiteout = Device(META, DeviceKind.CHARACTER, 0)
    below = Directory(META, {b"x": whiteout})
    more = {bytes([name]): Device(META, DeviceKind.CHARACTER, 0) for name in others}
    tree = Directory(META, {b"a": below, b"g": whiteout, **more})
    image = format_image(tree, version=version)
    assert format_image(parse_image(image), version=version) == image


def test_names_of_a_hard_link_share_an_inode() -> None:
    linked = Regular(META, 0)
    tree = parse_image(format_image(Directory(META, {b"a": linked, b"b": linked})))
    assert tree.entries[b"a"] is tree.entries[b"b"]
    assert tree.entries[b"a"].metadata.nlink is None


def test_xxh32_has_its_known_answers() -> None:
    assert xxh32(b"", 0) == 0x02CC5D05
    assert xxh32(b"abcdefghijklmnopqrstuvwxyz0", 5) == 0xA042AC64


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"n" * 256])
def test_impossible_names_are_refused(name: bytes) -> None:
    with pytest.raises(Damaged):
        format_image(Directory(META, {name: Regular(META, 0)}))


@pytest.mark.parametrize(
    "node",
    [
        Regular(META, (1 << 53) + 1, redirect=b"x"),
        Regular(META, 5, inline=b"four"),
        Regular(Metadata(mode=0, xattrs=((b"user.a", b"v" * 65536),)), 0),
        Regular(Metadata(mode=0, xattrs=((b"user." + b"a" * 256, b""),)), 0),
        Regular(Metadata(mode=0, uid=1 << 32), 0),
        Regular(Metadata(mode=0, mtime=1 << 63), 0),
    ],
)
def test_what_an_image_cannot_hold_is_refused(node: Node) -> None:
    with pytest.raises(Damaged):
        format_image(Directory(META, {b"x": node}))


def test_a_directory_that_holds_itself_is_refused() -> None:
    entries: dict[bytes, Node] = {}
    entries[b"again"] = Directory(META, entries)
    with pytest.raises(Damaged):
        format_image(Directory(META, entries))


@pytest.mark.parametrize("image", [b"", b"x" * BLOCK_SIZE, bytes(BLOCK_SIZE), bytes(1000)])
def test_what_is_no_image_is_damage(image: bytes) -> None:
    with pytest.raises(Damaged):
        parse_image(image)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_cut_is_damage(name: str) -> None:
    image = golden(name)
    for length in (len(image) - 1, len(image) - BLOCK_SIZE, len(image) // 2, 1100):
        with pytest.raises(Damaged):
            parse_image(image[:length])


@given(st.data())
def test_flipped_bits_are_damage_or_another_tree(data: st.DataObject) -> None:
    image = bytearray(golden(data.draw(st.sampled_from(IMAGES))))
    used = [at for at in range(0, len(image), 16) if any(image[at : at + 16])]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(used)) + data.draw(st.integers(0, 15))
        image[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        tree = parse_image(bytes(image))
    except Damaged:
        return
    assert format_dump(tree)


@given(tree=trees(), data=st.data())
def test_changed_words_are_damage_or_another_tree(tree: Directory, data: st.DataObject) -> None:
    image = bytearray(image_of(tree))
    words = st.sampled_from([0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]) | st.integers(0, 1 << 31)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(256, len(image) // 4 - 1)) * 4
        image[at : at + 4] = data.draw(words).to_bytes(4, "little")
    try:
        changed = parse_image(bytes(image))
    except Damaged:
        return
    assert format_dump(changed)

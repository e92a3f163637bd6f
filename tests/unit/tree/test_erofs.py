"""Images: the bytes of mkcomposefs in its seven cases, trees survive them, damage is noticed."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.tree.dumpfile import format_dump, parse_dump
from atoll.tree.erofs_format import BLOCK_SIZE, xxh32
from atoll.tree.erofs_reader import parse_image
from atoll.tree.erofs_writer import default_version, format_image, tree_digest
from atoll.tree.model import Directory, Metadata, Node, Regular, walk
from tests.unit.tree.trees import trees

GOLDEN = Path(__file__).parents[2] / "golden" / "composefs"
CASES = sorted(path.name.removesuffix(".dump.gz") for path in GOLDEN.glob("*.dump.gz"))
IMAGES = sorted(path.name for path in GOLDEN.glob("*.cfs.gz"))
META = Metadata(mode=0o755)


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


@settings(deadline=None, max_examples=100)
@given(tree=trees(), version=st.sampled_from([0, 1]))
def test_trees_survive_their_image(tree: Directory, version: int) -> None:
    image = format_image(tree, version=version)
    back = parse_image(image)
    assert [path for path, _ in walk(back)] == [path for path, _ in walk(tree)]
    assert format_image(back, version=version) == image
    assert format_image(parse_dump(format_dump(tree)), version=version) == image


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


@settings(deadline=None, max_examples=200)
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


@settings(deadline=None, max_examples=200)
@given(tree=trees(), data=st.data())
def test_changed_words_are_damage_or_another_tree(tree: Directory, data: st.DataObject) -> None:
    image = bytearray(format_image(tree))
    words = st.sampled_from([0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]) | st.integers(0, 1 << 31)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(256, len(image) // 4 - 1)) * 4
        image[at : at + 4] = data.draw(words).to_bytes(4, "little")
    try:
        changed = parse_image(bytes(image))
    except Damaged:
        return
    assert format_dump(changed)

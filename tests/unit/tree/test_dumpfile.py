"""Dumps: round trips, hard links are one node, errors have the number of the line."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.tree.dumpfile import format_dump, parse_dump
from atoll.tree.model import Directory, Metadata, Regular, Symlink, walk
from tests.unit.tree.trees import trees

GOLDEN = Path(__file__).parents[2] / "golden" / "composefs"
_NAMES = sorted(path.name.removesuffix(".dump.gz") for path in GOLDEN.glob("*.dump.gz"))
CASES = [
    # It has 30,000 names, and takes seconds.
    pytest.param(name, marks=pytest.mark.long) if name == "06-bigdir" else name
    for name in _NAMES
]
DIGEST = "ab" * 32
ROOT = b"/ 0 40755 2 0 0 0 5.0 - - -\n"
FILE = f"/f 100 100644 1 0 0 0 5.0 ab/{'ab' * 31} - {DIGEST}\n".encode()


def comparable(dump: bytes) -> bytes:
    """A dump without what is not preserved: sizes of directories, the order of attributes."""
    lines = []
    for line in re.sub(rb"(?m)^(\S+) \d+ (4\d{4} )", rb"\1 0 \2", dump).splitlines():
        fields = line.split(b" ")
        lines.append(b" ".join(fields[:11] + sorted(fields[11:])))
    return b"\n".join(lines)


@pytest.mark.parametrize("case", CASES)
def test_dumps_of_composefs_info_are_written_as_they_were(case: str) -> None:
    dump = gzip.decompress((GOLDEN / f"{case}.dump.gz").read_bytes())
    assert comparable(format_dump(parse_dump(dump))) == comparable(dump)


@given(trees())
def test_trees_survive_their_dump(tree: Directory) -> None:
    dump = format_dump(tree)
    again = parse_dump(dump)
    assert format_dump(again) == dump
    assert [path for path, _ in walk(again)] == [path for path, _ in walk(tree)]


def test_lines_may_come_one_by_one_and_the_last_may_lack_its_end() -> None:
    lines = (ROOT + FILE).splitlines(keepends=True)
    expected = format_dump(parse_dump(ROOT + FILE))
    assert format_dump(parse_dump(iter(lines))) == expected
    assert format_dump(parse_dump((ROOT + FILE).rstrip())) == expected


def test_hard_links_are_one_node_wherever_their_line_stands() -> None:
    link = b"/%s 0 @100644 1 0 0 0 0.0 %s - -\n"
    tree = parse_dump(ROOT + link % (b"a", b"/f") + FILE + link % (b"z", b"/a"))
    assert tree.entries[b"a"] is tree.entries[b"f"] is tree.entries[b"z"]
    assert tree.links == {b"a", b"z"}
    assert tree.entries[b"f"].metadata.nlink == 1


def test_link_counts_that_are_right_are_not_kept() -> None:
    link = b"/g 0 @100644 2 0 0 0 0.0 /f - -\n"
    tree = parse_dump(ROOT + FILE.replace(b"100644 1", b"100644 2") + link)
    assert tree.entries[b"f"].metadata.nlink is None
    assert tree.links == frozenset()


def test_special_characters_are_escaped() -> None:
    target = b"-"
    metadata = Metadata(mode=0o777, xattrs=((b"user.a=b", b"=\0\n"),))
    tree = Directory(Metadata(mode=0o755), {b"a b\xff": Symlink(metadata, target)})
    line = format_dump(tree).splitlines()[1]
    assert line == rb"/a\x20b\xff 1 120777 1 0 0 0 0.0 \x2d - - user.a\x3db=\x3d\x00\n"
    assert format_dump(parse_dump(format_dump(tree))) == format_dump(tree)


def test_content_and_places_are_kept_apart() -> None:
    dump = ROOT + b"/i 6 100644 1 0 0 0 5.0 - hello\\n -\n/p 9 100644 1 0 0 0 5.0 at/here - -\n"
    entries = parse_dump(dump).entries
    small, placed = entries[b"i"], entries[b"p"]
    assert isinstance(small, Regular) and isinstance(placed, Regular)
    assert (small.inline, small.object, small.redirect) == (b"hello\n", None, None)
    assert (placed.inline, placed.object, placed.redirect) == (None, None, b"at/here")


BAD = {
    "no fields": b"/x",
    "too few fields": b"/x 0 100644 1 0 0 0 5.0 - -",
    "empty line": b"\n/x 0 100644 1 0 0 0 5.0 - - -",
    "no path": b" 0 100644 1 0 0 0 5.0 - - -",
    "relative": b"x 0 100644 1 0 0 0 5.0 - - -",
    "trailing slash": b"/x/ 0 100644 1 0 0 0 5.0 - - -",
    "dot": b"/. 0 40755 2 0 0 0 5.0 - - -",
    "dot dot": b"/.. 0 40755 2 0 0 0 5.0 - - -",
    "long name": b"/" + b"n" * 256 + b" 0 100644 1 0 0 0 5.0 - - -",
    "NUL": b"/x\0 0 100644 1 0 0 0 5.0 - - -",
    "escaped NUL": b"/x\\x00 0 100644 1 0 0 0 5.0 - - -",
    "no parent": b"/d/x 0 100644 1 0 0 0 5.0 - - -",
    "twice": FILE + FILE,
    "below a file": FILE + b"/f/x 0 100644 1 0 0 0 5.0 - - -",
    "second root": ROOT,
    "bad escape": rb"/\q 0 100644 1 0 0 0 5.0 - - -",
    "short escape": rb"/\x4 0 100644 1 0 0 0 5.0 - - -",
    "escape at the end": b"/x\\ 0 100644 1 0 0 0 5.0 - - -",
    "size": b"/x -1 100644 1 0 0 0 5.0 - - -",
    "huge size": b"/x 9007199254740993 100644 1 0 0 0 5.0 a - -",
    "mode": b"/x 0 9 1 0 0 0 5.0 - - -",
    "no type": b"/x 0 644 1 0 0 0 5.0 - - -",
    "unknown type": b"/x 0 150644 1 0 0 0 5.0 - - -",
    "large mode": b"/x 0 1100644 1 0 0 0 5.0 - - -",
    "link count": b"/x 0 100644 x 0 0 0 5.0 - - -",
    "uid": b"/x 0 100644 1 4294967296 0 0 5.0 - - -",
    "gid": b"/x 0 100644 1 0 +1 0 5.0 - - -",
    "device": b"/x 0 20644 1 0 0 4294967296 5.0 - - -",
    "time": b"/x 0 100644 1 0 0 0 5 - - -",
    "nanoseconds": b"/x 0 100644 1 0 0 0 5.1000000000 - - -",
    "wrong content": b"/x 5 100644 1 0 0 0 5.0 - four -",
    "large content": b"/x 5001 100644 1 0 0 0 5.0 - " + b"c" * 5001 + b" -",
    "digest": b"/x 5 100644 1 0 0 0 5.0 - - abc",
    "no target": b"/x 0 120777 1 0 0 0 5.0 - - -",
    "long target": b"/x 0 120777 1 0 0 0 5.0 " + b"t" * 4096 + b" - -",
    "linked directory": b"/x 0 @40755 1 0 0 0 5.0 / - -",
    "link to itself": b"/x 0 @100644 1 0 0 0 5.0 /x - -",
    "link to nothing": b"/x 0 @100644 1 0 0 0 5.0 /y - -",
    "link to no path": b"/x 0 @100644 1 0 0 0 5.0 - - -",
    "link to a directory": b"/x 0 @100644 1 0 0 0 5.0 / - -",
    "attribute": b"/x 0 100644 1 0 0 0 5.0 - - - user.a",
    "nameless attribute": b"/x 0 100644 1 0 0 0 5.0 - - - =v",
    "long attribute name": b"/x 0 100644 1 0 0 0 5.0 - - - " + b"a" * 256 + b"=v",
    "large attribute": b"/x 0 100644 1 0 0 0 5.0 - - - user.a=" + b"v" * 32768,
    "large number": b"/x " + b"9" * 5000 + b" 100644 1 0 0 0 5.0 - - -",
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD.keys())
def test_a_malformed_line_is_damage_with_its_number(line: bytes) -> None:
    first = 3 if line == FILE + FILE or line.startswith(FILE) else 2
    with pytest.raises(Damaged, match=f"composefs dump, line {first}: "):
        parse_dump(ROOT + line + b"\n")


@pytest.mark.parametrize("dump", [b"", b"\n", FILE])
def test_a_dump_needs_a_root(dump: bytes) -> None:
    with pytest.raises(Damaged):
        parse_dump(dump)


@given(st.data())
def test_changed_bytes_never_make_a_traceback(data: st.DataObject) -> None:
    dump = bytearray(format_dump(data.draw(trees())))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(dump) - 1))
        dump[at] = data.draw(st.integers(0, 255))
    try:
        tree = parse_dump(bytes(dump))
    except Damaged:
        return
    assert parse_dump(format_dump(tree))

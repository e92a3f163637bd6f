"""Comparison of trees: each aspect alone, whole directories, and no change for equal trees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from atoll.base.ids import ObjectId
from atoll.tree.compare import Aspect, ChangeKind, PathChange, compare
from atoll.tree.dumpfile import format_dump, parse_dump
from atoll.tree.model import Device, DeviceKind, Directory, Fifo, Metadata, Node, Regular, Symlink
from tests.unit.tree.trees import trees

META = Metadata(mode=0o644, mtime=5)
FILE = Regular(META, 100, ObjectId("ab" * 32))


def root_of(**entries: Node) -> Directory:
    return Directory(META, {name.encode(): node for name, node in entries.items()})


@pytest.mark.parametrize(
    ("node", "aspect"),
    [
        (Fifo(META), Aspect.TYPE),
        (Regular(META, 100, ObjectId("cd" * 32)), Aspect.CONTENT),
        (Regular(replace(META, mode=0o600), 100, FILE.object), Aspect.MODE),
        (Regular(replace(META, uid=1), 100, FILE.object), Aspect.OWNER),
        (Regular(replace(META, gid=1), 100, FILE.object), Aspect.OWNER),
        (Regular(replace(META, mtime_nsec=1), 100, FILE.object), Aspect.MTIME),
        (Regular(replace(META, xattrs=((b"user.a", b""),)), 100, FILE.object), Aspect.XATTRS),
    ],
)
def test_each_aspect_is_told_alone(node: Node, aspect: Aspect) -> None:
    expected = PathChange(path=b"/x", kind=ChangeKind.CHANGED, aspects=(aspect,))
    assert compare(root_of(x=FILE), root_of(x=node)) == (expected,)


def test_targets_and_device_numbers_are_content() -> None:
    before = root_of(a=Symlink(META, b"1"), b=Device(META, DeviceKind.BLOCK, 1))
    after = root_of(a=Symlink(META, b"2"), b=Device(META, DeviceKind.BLOCK, 2))
    assert [change.aspects for change in compare(before, after)] == [(Aspect.CONTENT,)] * 2


def test_hard_links_are_compared_by_their_names() -> None:
    other = Regular(META, 100, FILE.object)
    changes = compare(root_of(a=FILE, b=FILE), root_of(a=FILE, b=other))
    assert [(c.path, c.aspects) for c in changes] == [
        (b"/a", (Aspect.HARD_LINK,)),
        (b"/b", (Aspect.HARD_LINK,)),
    ]


def test_directories_come_with_all_that_is_below() -> None:
    full = Directory(META, {b"y": FILE, b"z": Directory(META, {b"f": FILE})})
    added = compare(root_of(), root_of(x=full))
    assert [c.path for c in added] == [b"/x", b"/x/y", b"/x/z", b"/x/z/f"]
    assert {c.kind for c in added} == {ChangeKind.ADDED}
    assert {c.kind for c in compare(root_of(x=full), root_of())} == {ChangeKind.REMOVED}
    replaced = compare(root_of(x=full), root_of(x=Symlink(META, b"y")))
    assert replaced[0] == PathChange(path=b"/x", kind=ChangeKind.CHANGED, aspects=(Aspect.TYPE,))
    assert {c.kind for c in replaced[1:]} == {ChangeKind.REMOVED}


@given(trees())
def test_a_tree_is_like_itself(tree: Directory) -> None:
    assert compare(tree, parse_dump(format_dump(tree))) == ()

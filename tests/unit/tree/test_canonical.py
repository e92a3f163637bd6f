"""Canonical form: each rule, and idempotence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from atoll.base.errors import AtollError, Damaged, Refused
from atoll.base.ids import ObjectId
from atoll.tree.canonical import canonical
from atoll.tree.dumpfile import format_dump
from atoll.tree.model import (
    Device,
    DeviceKind,
    Directory,
    Metadata,
    Node,
    Regular,
    Socket,
    Symlink,
    Xattrs,
)
from tests.unit.tree.trees import trees

EPOCH = 1000
OBJECT = ObjectId("ab" * 32)
META = Metadata(mode=0o644)


def root_of(**entries: Node) -> Directory:
    named = {name.encode(): node for name, node in entries.items()}
    return Directory(Metadata(mode=0o700, uid=7, gid=8, mtime=5), named)


def made(node: Node) -> Node:
    return canonical(root_of(x=node), epoch=EPOCH).entries[b"x"]


def with_xattrs(*names: bytes) -> Regular:
    xattrs: Xattrs = tuple((name, b"value") for name in names)
    return Regular(replace(META, xattrs=xattrs), 0)


def test_root_is_root_s_and_directories_have_the_epoch() -> None:
    root = canonical(root_of(d=Directory(Metadata(mode=0o2755, uid=3, mtime=5), {})), epoch=EPOCH)
    assert root.metadata == Metadata(mode=0o755, mtime=EPOCH)
    assert root.entries[b"d"].metadata == Metadata(mode=0o2755, uid=3, mtime=EPOCH)


@pytest.mark.parametrize(("before", "after"), [(5, 5), (EPOCH, EPOCH), (EPOCH + 1, EPOCH), (-1, 0)])
def test_times_are_whole_seconds_up_to_the_epoch(before: int, after: int) -> None:
    metadata = replace(META, mtime=before, mtime_nsec=9, nlink=4)
    assert made(Regular(metadata, 0)).metadata == replace(META, mtime=after)


def test_sockets_and_whiteouts_are_left_out() -> None:
    device = Device(META, DeviceKind.CHARACTER, 259)
    tree = root_of(s=Socket(META), w=Device(META, DeviceKind.CHARACTER, 0), null=device)
    assert list(canonical(tree, epoch=EPOCH).entries) == [b"null"]


def test_attributes_are_those_of_the_list() -> None:
    kept = (b"security.capability", b"security.selinux", b"system.posix_acl_access")
    node = with_xattrs(
        *kept, b"security.ima", b"trusted.overlay.opaque", b"user.a", b"user.overlay.x"
    )
    assert [name for name, _ in made(node).metadata.xattrs] == list(kept)
    asked = canonical(root_of(x=node), epoch=EPOCH, user_xattrs=True).entries[b"x"]
    assert [name for name, _ in asked.metadata.xattrs] == [*kept, b"user.a"]


@pytest.mark.parametrize("name", [b"trusted.overlay.metacopy", b"trusted.overlay.redirect"])
def test_content_that_an_overlay_has_elsewhere_is_refused(name: bytes) -> None:
    with pytest.raises(Refused, match="/x"):
        made(with_xattrs(name))


@pytest.mark.parametrize(
    "node",
    [
        Regular(META, 100),
        Regular(META, 10, OBJECT),
        Regular(META, 65, inline=b"x" * 65),
        Regular(META, 3, inline=b"x"),
        Regular(META, 100, OBJECT, redirect=b"else/where"),
    ],
)
def test_content_must_be_where_it_belongs(node: Regular) -> None:
    with pytest.raises(Damaged, match="/x"):
        made(node)


def test_hard_links_stay_and_equal_files_do_not_become_one() -> None:
    linked = Regular(META, 100, OBJECT)
    tree = root_of(a=linked, b=linked, c=Regular(META, 100, OBJECT))
    entries = canonical(tree, epoch=EPOCH).entries
    assert entries[b"a"] is entries[b"b"]
    assert entries[b"a"] is not entries[b"c"]


def test_symbolic_links_have_one_mode() -> None:
    assert made(Symlink(META, b"target")).metadata.mode == 0o777


def test_a_directory_under_two_names_is_damage() -> None:
    twice = Directory(META, {})
    with pytest.raises(Damaged):
        canonical(root_of(a=twice, b=twice), epoch=EPOCH)


@given(trees())
def test_twice_is_once(tree: Directory) -> None:
    try:
        once = canonical(tree, epoch=EPOCH, user_xattrs=True)
    except AtollError:
        return
    again = canonical(once, epoch=EPOCH, user_xattrs=True)
    assert format_dump(once) == format_dump(again)

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import MissingPrivilege, NotFound, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.store.layout import open_store
from atoll.store.objects import DigestSink, read_object
from atoll.store.scan import import_directory, scan_directory
from atoll.tree.model import Directory, Fifo, Regular, Socket, Symlink, walk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.base.ids import ObjectId


def scan(path: Path) -> Directory:
    return scan_directory(path, DigestSink(), NullReporter())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "inline").write_bytes(b"i" * 64)
    (root / "object").write_bytes(b"o" * 65)
    (root / "sub" / "large").write_bytes(b"l" * 2_000_000)
    (root / "link").symlink_to("/does/not/exist")
    os.link(root / "object", root / "sub" / "deep" / "same")
    os.link(root / "link", root / "sub" / "same-link", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o600)
    os.utime(root / "inline", ns=(0, 1_600_000_000_123_456_789))
    (root / "inline").chmod(0o4751)
    (root / os.fsdecode(b"\xff\n")).mkdir()
    return root


def test_every_kind_is_kept(root: Path) -> None:
    nodes = dict(walk(scan(root)))
    assert sorted(nodes) == [
        b"/",
        b"/empty",
        b"/fifo",
        b"/inline",
        b"/link",
        b"/object",
        b"/sub",
        b"/sub/deep",
        b"/sub/deep/same",
        b"/sub/large",
        b"/sub/same-link",
        b"/\xff\n",
    ]
    inline = nodes[b"/inline"]
    assert isinstance(inline, Regular)
    assert (inline.inline, inline.object, inline.size) == (b"i" * 64, None, 64)
    assert inline.metadata.mode == 0o4751
    assert (inline.metadata.mtime, inline.metadata.mtime_nsec) == (1_600_000_000, 123_456_789)
    empty = nodes[b"/empty"]
    assert isinstance(empty, Regular)
    assert (empty.inline, empty.object) == (None, None)
    assert isinstance(nodes[b"/fifo"], Fifo)
    link = nodes[b"/link"]
    assert isinstance(link, Symlink)
    assert link.target == b"/does/not/exist"


def test_hard_links_are_one_node(root: Path) -> None:
    nodes = dict(walk(scan(root)))
    assert nodes[b"/object"] is nodes[b"/sub/deep/same"]
    assert nodes[b"/link"] is nodes[b"/sub/same-link"]


def test_sockets_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("s")
        assert isinstance(scan(tmp_path).entries[b"s"], Socket)


def test_extended_attributes_are_kept(root: Path) -> None:
    try:
        os.setxattr(root / "object", "user.b", b"2")
    except OSError:
        pytest.skip("this file system has no user.* attributes")
    os.setxattr(root / "object", "user.a", b"\0\xff")
    os.setxattr(root / "sub", "user.d", b"")
    nodes = dict(walk(scan(root)))
    assert nodes[b"/object"].metadata.xattrs == ((b"user.a", b"\0\xff"), (b"user.b", b"2"))
    assert nodes[b"/sub"].metadata.xattrs == ((b"user.d", b""),)


def test_importing_keeps_what_scanning_names(root: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    imported = dict(walk(import_directory(store, root, NullReporter())))
    scanned = dict(walk(scan(root)))
    assert list(imported) == list(scanned)
    for path, node in imported.items():
        other = scanned[path]
        assert node.metadata == other.metadata
        if isinstance(node, Regular) and isinstance(other, Regular):
            assert node.object == other.object
            if node.object:
                assert (
                    read_object(store, node.object) == (root / os.fsdecode(path[1:])).read_bytes()
                )


def test_the_directory_may_be_given_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert list(dict(walk(scan(tmp_path / "link")))) == list(dict(walk(scan(root))))


def test_what_is_no_directory_is_told(root: Path) -> None:
    with pytest.raises(NotFound):
        scan(root / "nothing")
    with pytest.raises(UsageError):
        scan(root / "inline")


class Meddler:
    """A sink that changes the file while it is read."""

    def __init__(self, path: Path, change: str) -> None:
        self.path = path
        self.change = change

    def put_bytes(self, data: bytes) -> ObjectId:
        if self.change == "content":
            self.path.write_bytes(b"p" * 65)
        else:
            self.path.chmod(0o600 if self.path.stat().st_mode & 0o77 else 0o644)
        return DigestSink().put_bytes(data)

    def put_file(self, handle: int) -> ObjectId:
        return DigestSink().put_file(handle)

    def put_chunks(self, chunks: Iterable[bytes]) -> ObjectId:
        return DigestSink().put_chunks(chunks)


@pytest.mark.parametrize("change", ["content", "mode"])
def test_a_file_that_changes_while_it_is_read_is_refused(root: Path, change: str) -> None:
    with pytest.raises(Refused, match="changed while it was read"):
        scan_directory(root, Meddler(root / "object", change), NullReporter())


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_file_that_cannot_be_read_is_named(root: Path) -> None:
    (root / "object").chmod(0)
    with pytest.raises(MissingPrivilege, match="object"):
        scan(root)


def test_a_very_deep_directory_has_a_clear_error_or_works(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(200):
        os.mkdir("d" * 10, dir_fd=handle)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    assert len(list(walk(scan(tmp_path)))) == 201

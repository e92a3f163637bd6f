"""The cache of file contents: when an import uses an entry, and when it does not."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.store.stat_cache import StatCache
from atoll.tree.dumpfile import format_dump
from atoll.tree.model import Directory, Regular, walk

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.store.layout import Store
    from atoll.tree.model import Leaf

LATER = 10_000_000_000


class Counting(StatCache):
    """Counts files that had to be read."""

    read: int

    def add(  # type: ignore[explicit-override]
        self, status: os.stat_result, leaf: Leaf
    ) -> None:
        self.read += 1
        super().add(status, leaf)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "inline").write_bytes(b"i" * 64)
    (root / "object").write_bytes(b"o" * 65)
    (root / "sub" / "link").symlink_to("../object")
    os.link(root / "object", root / "sub" / "same")
    os.mkfifo(root / "fifo")
    return root


def do(store: Store, root: Path, *, begun: int | None = None) -> tuple[Directory, int]:
    """The tree, and the number of files that were read."""
    begun = time.time_ns() + LATER if begun is None else begun
    known = Counting(store, device=root.stat().st_dev, begun=begun)
    known.read = 0
    kept = root.parent / "known"
    known.load(kept)
    tree = import_directory(store, root, NullReporter(), known)
    known.save(kept)
    return tree, known.read


def test_what_did_not_change_is_not_read_again(store: Store, root: Path) -> None:
    first, read = do(store, root)
    assert read == 5
    second, read = do(store, root)
    assert read == 1  # the fifo, which is never cached
    assert format_dump(second) == format_dump(first)
    nodes = dict(walk(second))
    assert nodes[b"/object"] is nodes[b"/sub/same"]


@pytest.mark.parametrize("change", ["content", "attributes", "another file"])
def test_what_changed_is_read_whatever_its_time_says(store: Store, root: Path, change: str) -> None:
    do(store, root)
    path = root / "object"
    old = path.stat()
    if change == "content":
        path.write_bytes(b"O" * 65)
    elif change == "attributes":
        try:
            os.setxattr(path, "user.test", b"1")
        except OSError:
            pytest.skip("no user attributes here")
    else:
        path.unlink()
        path.write_bytes(b"O" * 65)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    tree, _ = do(store, root)
    fresh = import_directory(store, root, NullReporter())
    assert format_dump(tree) == format_dump(fresh)


def test_only_what_was_settled_is_noted(store: Store, root: Path) -> None:
    do(store, root, begun=time.time_ns())
    _, read = do(store, root)
    assert read == 5


def test_an_object_that_was_collected_is_read_again(store: Store, root: Path) -> None:
    tree, _ = do(store, root)
    node = dict(walk(tree))[b"/object"]
    assert isinstance(node, Regular)
    assert node.object
    store.object_path(node.object).unlink()
    do(store, root)
    assert store.object_path(node.object).exists()


@pytest.mark.parametrize("damage", [b"", b"atoll-known 1\n", b"\0" * 100])
def test_damage_is_forgotten(store: Store, root: Path, damage: bytes) -> None:
    do(store, root)
    kept = root.parent / "known"
    kept.write_bytes(damage or kept.read_bytes()[:-20])
    _, read = do(store, root)
    assert read == 5


def test_it_does_not_grow_without_end(store: Store, root: Path) -> None:
    for number in range(20):
        for path in (root / "inline", root / "object"):
            path.write_bytes(b"%d" % number * 70)
        do(store, root)
    assert len((root.parent / "known").read_bytes().splitlines()) <= 1 + 2 * 4

"""A tree that is checked out and scanned again is the same tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged
from atoll.base.report import NullReporter
from atoll.store.checkout import check_out
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.tree.dumpfile import format_dump
from atoll.tree.model import Regular, walk

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_lost(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "inline").write_bytes(b"i" * 64)
    (root / "large").write_bytes(bytes(range(256)) * 8000)
    (root / "link").symlink_to("/does/not/exist")
    os.link(root / "large", root / "sub" / "deep" / "same")
    os.link(root / "link", root / "sub" / "same-link", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o600)
    (root / "large").chmod(0o4750)
    (root / "sub" / "deep").chmod(0o555)
    for number, path in enumerate(sorted(root.rglob("*"))):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number), follow_symlinks=False)
    store = open_store(tmp_path / "store", create=True)
    tree = import_directory(store, root, NullReporter())
    check_out(store, tree, tmp_path / "again", NullReporter())
    again = import_directory(store, tmp_path / "again", NullReporter())
    assert format_dump(again) == format_dump(tree)


def test_a_missing_object_is_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"x" * 100)
    store = open_store(tmp_path / "store", create=True)
    tree = import_directory(store, root, NullReporter())
    for _, node in walk(tree):
        if isinstance(node, Regular) and node.object:
            store.object_path(node.object).unlink()
    with pytest.raises(Damaged, match="object"):
        check_out(store, tree, tmp_path / "again", NullReporter())

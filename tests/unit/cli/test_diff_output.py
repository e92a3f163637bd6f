"""Two trees that should be one: what is said of each kind of difference."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.builder.explain_diff import (
    PathDifference,
    explain_content,
    explain_differences,
    find_kind,
)
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store

EPOCH = 1_700_000_000


def content(first: bytes, second: bytes) -> list[str]:
    return list(explain_content(iter([first]), iter([second])))


def test_lines_of_a_text_are_shown() -> None:
    assert content(b"one\ntwo\n", b"one\nthree\n") == ["@@ -1,2 +1,2 @@", " one", "-two", "+three"]


def test_of_a_long_difference_the_beginning_is_shown() -> None:
    shown = content(b"".join(b"%d\n" % n for n in range(100)), b"")
    assert len(shown) == 13
    assert shown[-1] == "…"


def test_of_other_data_the_first_byte_that_differs_is_shown() -> None:
    first, second = b"\x1f\x8b\x08\x00same", b"\x1f\x8b\x08\x00sand"
    assert content(first, second) == ["gzip, at byte 6: 6d 65, then 6e 64"]
    assert content(b"\0ab", b"\0abc") == ["data, at byte 3: its end, then 63"]


def test_large_data_is_compared_piece_by_piece() -> None:
    same = b"\0" * (1 << 20)
    shown = list(explain_content(iter([same, b"xy"]), iter([same, b"xz"])))
    assert shown == ["data, at byte 1048577: 79, then 7a"]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x7fELF\x02\x01", "ELF"),
        (b"070701000000", "cpio"),
        (b"\xf3\x0d\r\n\0\0\0\0", "Python bytecode"),
        (b"nothing known", "data"),
    ],
)
def test_kinds_are_known_by_their_first_bytes(head: bytes, kind: str) -> None:
    assert find_kind(head) == kind


def build(store: Store, folder: Path, **files: str) -> TreeId:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
        os.utime(folder / name, (EPOCH - 10, EPOCH - 10))
    return write_image(
        store, canonical(import_directory(store, folder, NullReporter()), epoch=EPOCH)
    )


def test_each_path_says_in_what_way_it_differs(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    other = open_store(tmp_path / "other", create=True)
    long = "the same\n" * 100
    first = build(store, tmp_path / "a", same=long, text=f"{long}1\n", mode="m", gone="g")
    folder = tmp_path / "b"
    build(other, folder, same=long, text=f"{long}2\n", mode="m", link="l")
    (folder / "mode").chmod(0o600)
    os.utime(folder / "mode", (EPOCH - 20, EPOCH - 20))
    (folder / "link").unlink()
    (folder / "link").symlink_to("same")
    tree = canonical(import_directory(other, folder, NullReporter()), epoch=EPOCH)
    second = write_image(other, tree)
    assert explain_differences((store, first), (other, second)) == (
        PathDifference(
            path="/gone", kind="removed", aspects=(), details=("only the first build has it",)
        ),
        PathDifference(
            path="/link", kind="added", aspects=(), details=("only the second build has it",)
        ),
        PathDifference(
            path="/mode",
            kind="changed",
            aspects=("mode", "mtime"),
            details=("mode: 0644, then 0600", "mtime: 1699999990, then 1699999980"),
        ),
        PathDifference(
            path="/text",
            kind="changed",
            aspects=("content",),
            details=("@@ -100,2 +100,2 @@", " the same", "-1", "+2"),
        ),
    )
    assert explain_differences((store, first), (other, first)) == ()

"""The differences between two builds that should be equal, described so that the cause is found."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from atoll.store.objects import stream_content
from atoll.store.tree_images import read_image
from atoll.tree.compare import Aspect, ChangeKind, compare
from atoll.tree.model import Device, Directory, Regular, Symlink
from atoll.tree.path_ops import find_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store
    from atoll.tree.compare import PathChange
    from atoll.tree.model import Node

LINES = 12
"""How many lines of a text diff are shown."""

_TEXT_LIMIT = 1 << 20
_AROUND = 16
_KINDS = (
    (b"\x7fELF", "ELF"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"070701", "cpio"),
    (b"!<arch>\n", "ar"),
    (b"PK\x03\x04", "zip"),
    (b"SQLite format 3", "SQLite"),
    (b"GVariant", "GVariant database"),
    (b"\x89PNG", "PNG"),
    (b"\xde\x12\x04\x95", "message catalogue"),
    (b"KSLPHHRH", "hardware database"),
    (b"RHHHKSLP", "journal catalogue"),
    (b"ld.so-", "ld.so cache"),
    (b"glibc-ld.so.cache", "ld.so cache"),
    (b"\x04\xfc\x02\xfc", "fontconfig cache"),
    (b"\xcf\x9a\x57\x13", "GDBM"),
    (b"\x1a\x01", "terminal description"),
)
_BYTECODE = b"\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathDifference:
    """A path that differs. ``kind`` is added, removed or changed; ``aspects`` name what differs of
    a changed path, such as mode or content; ``details`` are lines for a person."""

    path: str
    kind: str
    aspects: tuple[str, ...]
    details: tuple[str, ...]


def explain_differences(
    first: tuple[Store, TreeId], second: tuple[Store, TreeId]
) -> tuple[PathDifference, ...]:
    """The differences between two trees, each in its own store; empty when they are equal."""
    (store, tree), (other_store, other_tree) = first, second
    if tree == other_tree:
        return ()
    before, after = read_image(store, tree), read_image(other_store, other_tree)
    found = []
    for change in compare(before, after):
        was, now = _find(before, change.path), _find(after, change.path)
        details = tuple(_details(change, (store, was), (other_store, now)))
        found.append(
            PathDifference(
                path=os.fsdecode(change.path),
                kind=change.kind.value,
                aspects=tuple(aspect.value for aspect in change.aspects),
                details=details,
            )
        )
    return tuple(found)


def _details(
    change: PathChange, first: tuple[Store, Node | None], second: tuple[Store, Node | None]
) -> Iterator[str]:
    (store, was), (other_store, now) = first, second
    if change.kind is not ChangeKind.CHANGED or was is None or now is None:
        yield f"only the {'second' if was is None else 'first'} build has it"
        return
    for aspect in change.aspects:
        if aspect is not Aspect.CONTENT:
            yield f"{aspect.value}: {_show(aspect, was)}, then {_show(aspect, now)}"
        elif isinstance(was, Regular) and isinstance(now, Regular):
            yield from explain_content(stream_content(store, was), stream_content(other_store, now))
        else:
            yield f"content: {_show(aspect, was)}, then {_show(aspect, now)}"


def explain_content(first: Iterator[bytes], second: Iterator[bytes]) -> Iterator[str]:
    """For short texts the lines that differ; otherwise the file type and the first byte that
    differs."""
    head, other_head = next(first, b""), next(second, b"")
    texts = _as_text(head), _as_text(other_head)
    if texts[0] is not None and texts[1] is not None:
        lines = difflib.unified_diff(texts[0], texts[1], "first", "second", lineterm="", n=1)
        shown = list(islice(lines, 2, LINES + 3))
        yield from shown[:LINES]
        if len(shown) > LINES:
            yield "…"
        return
    offset = 0
    kind = find_kind(head)
    while head == other_head and head:
        offset += len(head)
        head, other_head = next(first, b""), next(second, b"")
    pairs = zip(head, other_head, strict=False)
    near = next((n for n, (one, two) in enumerate(pairs) if one != two), None)
    if near is None:
        near = min(len(head), len(other_head))
    yield f"{kind}, at byte {offset + near}: {_hex(head, near)}, then {_hex(other_head, near)}"


def find_kind(head: bytes) -> str:
    """The type of a file, by its first bytes."""
    if head[2:4] == _BYTECODE:
        return "Python bytecode"
    return next((name for magic, name in _KINDS if head.startswith(magic)), "data")


def _as_text(head: bytes) -> list[str] | None:
    """The lines of a text; None for binary data, and for a text that is too long to show."""
    if len(head) >= _TEXT_LIMIT or b"\0" in head:
        return None
    try:
        return head.decode().splitlines()
    except UnicodeDecodeError:
        return None


def _hex(data: bytes, near: int) -> str:
    return data[near : near + _AROUND].hex(" ") or "its end"


def _show(aspect: Aspect, node: Node) -> str:
    meta = node.metadata
    match aspect:
        case Aspect.MODE:
            return f"{meta.mode:04o}"
        case Aspect.OWNER:
            return f"{meta.uid}:{meta.gid}"
        case Aspect.MTIME:
            return str(meta.mtime)
        case Aspect.XATTRS:
            pairs = [f"{os.fsdecode(name)}={value.hex()}" for name, value in meta.xattrs]
            return " ".join(pairs) or "none"
        case Aspect.TYPE | Aspect.HARD_LINK:
            return type(node).__name__.lower() if aspect is Aspect.TYPE else "its other names"
        case Aspect.CONTENT:
            return _value(node)


def _value(node: Node) -> str:
    match node:
        case Symlink():
            return os.fsdecode(node.target)
        case Device():
            return str(node.number)
        case _:
            return type(node).__name__.lower()


def _find(tree: Directory, path: bytes) -> Node | None:
    return tree if path == b"/" else find_node(tree, os.fsdecode(path.strip(b"/")))

"""The content of an ``/etc`` as values: the three inputs of a merge, and its result.

A path is relative to ``/etc`` (``ssh/sshd_config``; the directory itself is ``""``) and a ``str``
as ``os.fsdecode`` makes it. A file has the digest of its content and a function that reads it, so
that a whole ``/etc`` takes little memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from atoll.tree.verity import verity_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


DRAFT = ".atoll-draft"
"""In ``/etc`` itself: the draft of a file that is written to a mounted ``/etc``. Readers skip it; a
power cut may leave it, and the next change removes it."""


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


def _nothing() -> bytes:
    return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The properties of one name. Modification times, and where the content is read from, do not
    count when two entries are compared."""

    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()
    content: str = ""
    """The fs-verity digest of a file, the target of a symlink, nothing of a directory."""
    mtime_ns: int | None = field(default=None, compare=False)
    read: Callable[[], bytes] = field(default=_nothing, compare=False, repr=False)
    """The content of a file. Raises Busy when it is no longer what ``content`` says."""


_NO_CHILDREN: Mapping[str, Node] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Node:
    """An entry with everything below it."""

    entry: Entry
    children: Mapping[str, Node] = field(default_factory=lambda: _NO_CHILDREN)


class EtcChange(StrEnum):
    """How a path differs from what it was."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    KIND = "another kind"
    ATTRIBUTES = "attributes"
    """Mode, owner or extended attributes, with the content as it was."""


def is_directory(node: Node | None) -> bool:
    return node is not None and node.entry.kind is Kind.DIRECTORY


def is_file(node: Node | None) -> bool:
    return node is not None and node.entry.kind is Kind.FILE


def children_of(node: Node | None) -> Mapping[str, Node]:
    return _NO_CHILDREN if node is None else node.children


def join(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def with_content(entry: Entry, content: bytes) -> Entry:
    """``entry`` with another content, which is held in memory and has no mtime."""
    digest = verity_digest(content)
    return replace(entry, content=digest, mtime_ns=None, read=partial(bytes, content))


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Entry]]:
    """Every path below and including ``node``, parents first, names in order."""
    yield path, node.entry
    for name in sorted(node.children):
        yield from walk(node.children[name], join(path, name))


def node_at(root: Node | None, path: str) -> Node | None:
    """The node at ``path`` below ``root``, if any."""
    node = root
    for name in path.split("/") if path else ():
        node = children_of(node).get(name)
    return node


def replaced(root: Node, path: str, node: Node | None, *, parents: Node | None = None) -> Node:
    """``root`` with ``node`` at ``path``, or with nothing there.

    Parents that are missing, or are not directories, are taken from ``parents``; nothing is changed
    above a path that is removed.
    """
    if not path:
        assert node is not None, "an /etc is always there"
        return node
    name, _, rest = path.partition("/")
    below = root.children.get(name)
    if rest:
        model = children_of(parents).get(name)
        if not is_directory(below):
            if node is None:
                return root
            mode = Entry(kind=Kind.DIRECTORY, mode=0o755)
            below = Node(model.entry if model is not None and is_directory(model) else mode)
        assert below is not None
        node = replaced(below, rest, node, parents=model)
    children = {key: child for key, child in root.children.items() if key != name}
    return Node(root.entry, children if node is None else {**children, name: node})


def differences(
    before: Node | None, after: Node | None, path: str = ""
) -> Iterator[tuple[str, Node | None, Node | None]]:
    """The steps from ``before`` to ``after``: each path with its old and new node, parents first.
    What is below a removed path is removed with it and not listed."""
    if after is None:
        if before is not None:
            yield path, before, None
        return
    if before is None or before.entry != after.entry:
        yield path, before, after
    if is_directory(after):
        names = after.children.keys() | children_of(before).keys()
        for name in sorted(names):
            pair = children_of(before).get(name), after.children.get(name)
            yield from differences(*pair, join(path, name))


def compare(before: Node | None, after: Node | None) -> tuple[tuple[str, EtcChange], ...]:
    """Every path that differs, in order; all of an added or removed directory is named."""
    return tuple(_compare(before, after, ""))


def _compare(before: Node | None, after: Node | None, path: str) -> Iterator[tuple[str, EtcChange]]:
    change = _change(before, after)
    if change is not None:
        yield path, change
    names = children_of(before).keys() | children_of(after).keys()
    for name in sorted(names):
        old, new = children_of(before).get(name), children_of(after).get(name)
        yield from _compare(old, new, join(path, name))


def _change(before: Node | None, after: Node | None) -> EtcChange | None:
    if before is None or after is None:
        return None if before is after else EtcChange.REMOVED if after is None else EtcChange.ADDED
    if before.entry == after.entry:
        return None
    if before.entry.kind is not after.entry.kind:
        return EtcChange.KIND
    same = before.entry.content == after.entry.content
    return EtcChange.ATTRIBUTES if same else EtcChange.CHANGED

"""Compare two trees: one change per path, in the order of ``walk``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from atoll.tree.hardlinks import hard_links, walk_order
from atoll.tree.model import Device, Directory, Metadata, Regular, Symlink

if TYPE_CHECKING:
    from atoll.tree.hardlinks import HardLink
    from atoll.tree.model import Node


class ChangeKind(Enum):
    """What happened to a path."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Aspect(Enum):
    """What differs about a path."""

    TYPE = "type"
    CONTENT = "content"
    MODE = "mode"
    OWNER = "owner"
    MTIME = "mtime"
    XATTRS = "xattrs"
    HARD_LINK = "hard link"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChange:
    """A changed path; ``aspects`` is empty unless ``kind`` is CHANGED."""

    path: bytes
    kind: ChangeKind
    aspects: tuple[Aspect, ...] = ()


def compare(before: Directory, after: Directory) -> tuple[PathChange, ...]:
    """The changes from ``before`` to ``after``.

    For an added or removed directory, everything below it is listed, too.
    """
    comparison = _Comparison(hard_links(before), hard_links(after))
    comparison.node(b"/", before, after)
    pairs = [(b"/", before, after)]
    for base, old, new in pairs:
        for name in old.entries.keys() | new.entries.keys():
            path = base + name
            was, now = old.entries.get(name), new.entries.get(name)
            comparison.node(path, was, now)
            if isinstance(was, Directory) or isinstance(now, Directory):
                pairs.append((path + b"/", _directory(was), _directory(now)))
    return tuple(sorted(comparison.changes, key=lambda change: walk_order(change.path)))


_NOTHING: dict[bytes, Node] = {}


def _directory(node: Node | None) -> Directory:
    """``node`` if it is a directory, else an empty directory."""
    if isinstance(node, Directory):
        return node
    return Directory(Metadata(mode=0), _NOTHING)


class _Comparison:
    def __init__(self, before: dict[int, HardLink], after: dict[int, HardLink]) -> None:
        self._before = before
        self._after = after
        self.changes: list[PathChange] = []

    def node(self, path: bytes, was: Node | None, now: Node | None) -> None:
        if was is None:
            self.changes.append(PathChange(path=path, kind=ChangeKind.ADDED))
        elif now is None:
            self.changes.append(PathChange(path=path, kind=ChangeKind.REMOVED))
        else:
            aspects = tuple(aspect for aspect in Aspect if self._differs(aspect, was, now))
            if aspects:
                self.changes.append(PathChange(path=path, kind=ChangeKind.CHANGED, aspects=aspects))

    def _differs(self, aspect: Aspect, was: Node, now: Node) -> bool:
        old, new = was.metadata, now.metadata
        match aspect:
            case Aspect.TYPE:
                return _type(was) != _type(now)
            case Aspect.CONTENT:
                return _type(was) == _type(now) and _content(was) != _content(now)
            case Aspect.MODE:
                return old.mode != new.mode
            case Aspect.OWNER:
                return (old.uid, old.gid) != (new.uid, new.gid)
            case Aspect.MTIME:
                return (old.mtime, old.mtime_nsec) != (new.mtime, new.mtime_nsec)
            case Aspect.XATTRS:
                return sorted(old.xattrs) != sorted(new.xattrs)
            case Aspect.HARD_LINK:
                return _names(self._before, was) != _names(self._after, now)


def _type(node: Node) -> object:
    return (type(node), node.kind) if isinstance(node, Device) else type(node)


def _content(node: Node) -> object:
    match node:
        case Regular():
            return node.size, node.object, node.inline, node.redirect
        case Symlink():
            return node.target
        case Device():
            return node.number
        case _:
            return None


def _names(links: dict[int, HardLink], node: Node) -> tuple[bytes, ...]:
    link = links.get(id(node))
    return link.paths if link else ()

"""Small ``/etc`` trees for tests, written as dictionaries and read back as such."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from atoll.machine.etc.etc_tree import Entry, Kind, Node, join, walk, with_content

if TYPE_CHECKING:
    from collections.abc import Mapping


class Link(NamedTuple):
    target: str


class Dir(NamedTuple):
    mode: int = 0o755


class File(NamedTuple):
    text: str
    mode: int = 0o644
    uid: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()


What = str | Link | Dir | File


def etc(names: Mapping[str, What] | None = None, **more: What) -> Node:
    """``etc({"a/b": "text"})``: missing parents are directories with mode 0755."""
    nested: dict[str, object] = {}
    flat = {**(names or {}), **more}
    for path in flat:
        here = nested
        for part in path.split("/"):
            here = here.setdefault(part, {})  # type: ignore[assignment]
    return _node("", nested, flat)


def _node(path: str, nested: Mapping[str, object], flat: Mapping[str, What]) -> Node:
    what = flat.get(path, Dir())
    if not isinstance(what, Dir):
        return Node(entry_of(what))
    children = {
        name: _node(join(path, name), below, flat)  # type: ignore[arg-type]
        for name, below in nested.items()
    }
    return Node(entry_of(what), children)


def entry_of(what: What) -> Entry:
    match what:
        case Dir():
            return Entry(kind=Kind.DIRECTORY, mode=what.mode)
        case Link():
            return Entry(kind=Kind.SYMLINK, mode=0o777, content=what.target)
        case File():
            empty = Entry(kind=Kind.FILE, mode=what.mode, uid=what.uid, xattrs=what.xattrs)
            return with_content(empty, what.text.encode())
        case str():
            return entry_of(File(what))


def shown(root: Node | None) -> dict[str, What]:
    """The leaves of a view and its empty directories, in the words that ``etc`` takes."""
    found: dict[str, What] = {}
    for path, entry in walk(root) if root else ():
        if entry.kind is Kind.DIRECTORY:
            found[path] = Dir(entry.mode)
        elif entry.kind is Kind.SYMLINK:
            found[path] = Link(entry.content)
        else:
            text = entry.read().decode()
            plain = entry == entry_of(text)
            found[path] = text if plain else File(text, entry.mode, entry.uid, entry.xattrs)
    parents = {path.rpartition("/")[0] for path in found} | {""}
    return {path: what for path, what in found.items() if not (what == Dir() and path in parents)}


def mode_changed(node: Node, mode: int) -> Node:
    return Node(replace(node.entry, mode=mode), node.children)

"""The three-way merge of ``/etc``: what a new deployment starts with.

*old* (the merge base) is the ``/etc`` of the booted tree, *live* the machine's, *new* that of the
new tree. For each path, where equal means the same kind, content and attributes (links to
``/lib/X`` and ``/usr/lib/X`` are equal):

====================  =====================================================================
live = new            nothing to decide
live = old            the image's version; a removal counts as a version
new = old             the machine's version; a removal counts as a version
files that differ     attribute by attribute, and the content: lines, or records of keyed files
anything else         a conflict: the machine's version stays, the image's is kept beside it
====================  =====================================================================

A directory is merged name by name. The result has it when both sides have it, or when a name is
left in it: a directory that was removed here returns only for names that the image adds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from atoll.machine.etc.certificates import BUNDLE, merge_certificates
from atoll.machine.etc.etc_tree import (
    Entry,
    Kind,
    Node,
    children_of,
    is_directory,
    is_file,
    join,
    node_at,
    with_content,
)
from atoll.machine.etc.keyed_files import KEYED, IdConflict, find_id_conflicts, merge_keyed
from atoll.machine.etc.text_merge import merge_text
from atoll.tree.etc_rules import Rules, Winner, winner, with_defaults

Value = TypeVar("Value")
_MERGED_USR = re.compile(r"^/(?=(?:bin|sbin|lib|lib32|lib64|libx32)/)")


class MergeOutcome(StrEnum):
    """What a merge does with a path that is not the same everywhere."""

    IMAGE = "image"
    REMOVED_IN_IMAGE = "removed in the image"
    LOCAL = "local"
    REMOVED_HERE = "removed here"
    MERGED = "merged"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A path that both sides changed differently. The machine's version stays."""

    path: str
    why: str
    image: Node | None
    """What the image has there; None when it has nothing."""
    attributes: bool = False
    """Only mode, owner and xattrs of a directory conflict; ``image`` is without its names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    path: str
    outcome: MergeOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """``result`` is what the new deployment's ``/etc`` is to show."""

    result: Node
    decisions: tuple[Decision, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    id_conflicts: tuple[IdConflict, ...] = ()
    """Ids of the image that are taken on this machine; with any of them the upgrade is refused."""


def plan_merge(old: Node, live: Node, new: Node, rules: Rules = ()) -> Merge:
    """Decide every path. ``rules`` are the machine's own; what always holds is added to them."""
    id_conflicts = _find_id_conflicts(live, new)
    merger = _Merger(
        rules=with_defaults(rules), id_files=frozenset(each.file for each in id_conflicts)
    )
    result = merger.merge("", old, live, new)
    assert result is not None, "every view has an /etc"
    return Merge(
        result=result,
        decisions=tuple(merger.decisions),
        conflicts=tuple(merger.conflicts),
        id_conflicts=id_conflicts,
    )


def _find_id_conflicts(live: Node, new: Node) -> tuple[IdConflict, ...]:
    found: list[IdConflict] = []
    for file in ("passwd", "group"):
        mine, theirs = node_at(live, file), node_at(new, file)
        if mine is not None and theirs is not None and is_file(mine) and is_file(theirs):
            found += find_id_conflicts(file, mine.entry.read(), theirs.entry.read())
    return tuple(found)


@dataclass(slots=True, kw_only=True)
class _Merger:
    rules: Rules
    id_files: frozenset[str]
    decisions: list[Decision] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)

    def merge(
        self, path: str, old: Node | None, live: Node | None, new: Node | None
    ) -> Node | None:
        if live is None and new is None:
            return None
        if all(node is None or is_directory(node) for node in (live, new)):
            # A directory against nothing, where the base was a file, is a change of kind and not
            # a removal: it is decided as one path.
            one_is_gone = live is None or new is None
            if old is None or is_directory(old) or not one_is_gone:
                return self._merge_directory(path, old, live, new)
        elif is_directory(live) and winner(self.rules, path) is Winner.MERGE:
            return self._merge_under_leaf(path, old, live, new)
        return self._merge_leaf(path, old, live, new)

    def _merge_directory(
        self, path: str, old: Node | None, live: Node | None, new: Node | None
    ) -> Node | None:
        children = self._merge_children(path, old, live, new)
        base = old if is_directory(old) else None
        if live is not None and new is not None:
            return Node(self._directory_entry(path, base, live, new), children)
        wins = winner(self.rules, path)
        if wins is Winner.MERGE:
            # Removed on one side. Without a base it is new, so it stays; so it does when its own
            # attributes were changed here. Otherwise only names that are left keep it.
            stays = base is None or (live is not None and live.entry != base.entry)
        elif wins is Winner.IMAGE:
            stays = new is not None
        else:
            stays = live is not None or base is None
        present = live or new
        assert present is not None
        if stays or children:
            self._decide(path, MergeOutcome.IMAGE if live is None else MergeOutcome.LOCAL)
            return Node(present.entry, children)
        self._decide(
            path, MergeOutcome.REMOVED_HERE if live is None else MergeOutcome.REMOVED_IN_IMAGE
        )
        return None

    def _merge_children(
        self, path: str, old: Node | None, live: Node | None, new: Node | None
    ) -> dict[str, Node]:
        views = children_of(old), children_of(live), children_of(new)
        merged = {}
        for name in sorted(views[1].keys() | views[2].keys() | views[0].keys()):
            child = self.merge(join(path, name), *(view.get(name) for view in views))
            if child is not None:
                merged[name] = child
        return merged

    def _directory_entry(self, path: str, old: Node | None, live: Node, new: Node) -> Entry:
        wins = winner(self.rules, path)
        if live.entry == new.entry or wins is Winner.IMAGE:
            return new.entry
        if wins is Winner.LOCAL:
            return live.entry
        entry, clashes = _merge_attributes(
            None if old is None else old.entry, live.entry, new.entry
        )
        if clashes:
            alone = Node(new.entry)
            self._conflict(path, _both_changed(clashes), alone, attributes=True)
        else:
            self._decide_entry(path, entry, live.entry, new.entry)
        return entry

    def _merge_under_leaf(
        self, path: str, old: Node | None, live: Node | None, new: Node | None
    ) -> Node | None:
        """A directory here, where the image has another kind: the image's wins when nothing in the
        directory is the machine's own."""
        assert live is not None
        assert new is not None
        # Merging against an empty image shows whether anything of the machine would be left. The
        # trial's decisions are dropped: they would name paths that cannot exist.
        trial = _Merger(rules=self.rules, id_files=self.id_files)
        base = old if is_directory(old) else None
        left = base is None or live.entry != base.entry
        if not left and not trial._merge_children(path, base, live, None):
            self._decide(path, MergeOutcome.IMAGE)
            return new
        return self._merge_leaf(path, old, live, new)

    def _merge_leaf(
        self, path: str, old: Node | None, live: Node | None, new: Node | None
    ) -> Node | None:
        """One path as a whole: at least one side has no directory there."""
        if live == new:
            return live
        wins = winner(self.rules, path)
        # passwd or group with conflicting ids is merged by records even when it was not edited: the
        # image's file would change ids, and with them the owners of files in /var and /home.
        keyed = path in self.id_files and is_file(live) and is_file(new)
        alike = new != old and (_equivalent(live, old) or _equivalent(live, new))
        unchanged = (live == old or alike) and not keyed
        if wins is Winner.IMAGE or (wins is Winner.MERGE and unchanged):
            self._decide(
                path, MergeOutcome.IMAGE if new is not None else MergeOutcome.REMOVED_IN_IMAGE
            )
            return new
        # A path without a base is new in the image, not removed here. machine-id is absent until
        # the first boot writes it, which is not a removal either.
        never_here = live is None and (old is None or path == "machine-id")
        if wins is Winner.LOCAL and never_here:
            self._decide(path, MergeOutcome.IMAGE)
            return new
        if wins is Winner.LOCAL or _equivalent(new, old):
            self._decide(
                path, MergeOutcome.LOCAL if live is not None else MergeOutcome.REMOVED_HERE
            )
            return live
        if live is not None and new is not None and is_file(live) and is_file(new):
            return self._merge_file(path, old if is_file(old) else None, live, new)
        self._conflict(path, _explain(live, new), new)
        return live

    def _merge_file(self, path: str, old: Node | None, live: Node, new: Node) -> Node:
        base = None if old is None else old.entry
        entry, clashes = _merge_attributes(base, live.entry, new.entry)
        content = _merge_content(path, base, live.entry, new.entry)
        # A keyed file is merged despite conflicts: without the accounts that the image adds, its
        # services could not start. Of other files the machine's version stays as a whole.
        if content is None:
            clashes.append("content")
        if content is None or (clashes and path not in KEYED):
            self._conflict(path, _both_changed(clashes), new)
            return live
        notes = [*([_both_changed(clashes)] if clashes else []), *content.conflicts]
        if notes:
            self._conflict(path, "; ".join(notes), new)
        source = content.source
        entry = replace(entry, content=source.content, mtime_ns=source.mtime_ns, read=source.read)
        if not notes:
            self._decide_entry(path, entry, live.entry, new.entry)
        return Node(entry)

    def _decide_entry(self, path: str, entry: Entry, live: Entry, new: Entry) -> None:
        alike = MergeOutcome.IMAGE if entry == new else MergeOutcome.LOCAL
        self._decide(path, alike if entry in (live, new) else MergeOutcome.MERGED)

    def _decide(self, path: str, outcome: MergeOutcome) -> None:
        self.decisions.append(Decision(path=path, outcome=outcome))

    def _conflict(
        self, path: str, why: str, image: Node | None, *, attributes: bool = False
    ) -> None:
        conflict = Conflict(path=path, why=why, image=image, attributes=attributes)
        self.conflicts.append(conflict)
        self._decide(path, MergeOutcome.CONFLICT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    source: Entry
    """Has the merged content."""
    conflicts: tuple[str, ...] = ()


def _merge_content(path: str, old: Entry | None, live: Entry, new: Entry) -> _Content | None:
    """None when the contents cannot be merged."""
    if live.content == new.content:
        return _Content(source=live)
    base = None if old is None else old.content
    # Keyed files first, even when one side did not change: records must never change their ids.
    if path in KEYED:
        before = b"" if old is None else old.read()
        merge = merge_keyed(path, before, live.read(), new.read())
        source = with_content(live, merge.content)
        return _Content(source=_prefer_side(source, live, new), conflicts=merge.conflicts)
    if live.content == base:
        return _Content(source=new)
    if new.content == base:
        return _Content(source=live)
    if path == BUNDLE:
        before = b"" if old is None else old.read()
        certificates = merge_certificates(before, live.read(), new.read())
        return _Content(source=_prefer_side(with_content(live, certificates), live, new))
    if old is None:
        return None
    text = merge_text(old.read(), live.read(), new.read())
    return (
        None if text is None else _Content(source=_prefer_side(with_content(live, text), live, new))
    )


def _equivalent(one: Node | None, other: Node | None) -> bool:
    """Equal, or links to the same file under merged /usr: packages change such targets between
    releases, which is no change of the machine's."""
    if one is None or other is None or one == other:
        return one == other
    targets = [_MERGED_USR.sub("/usr/", node.entry.content) for node in (one, other)]
    kinds = {one.entry.kind, other.entry.kind}
    return kinds == {Kind.SYMLINK} and targets[0] == targets[1]


def _prefer_side(entry: Entry, live: Entry, new: Entry) -> Entry:
    """The side that already has this content, if any, so that its mtime is kept too."""
    return next((side for side in (new, live) if side.content == entry.content), entry)


def _merge_attributes(old: Entry | None, live: Entry, new: Entry) -> tuple[Entry, list[str]]:
    """``live`` with the attributes that the image changed, and those that both sides changed."""
    clashes: list[str] = []

    def pick(name: str, before: Value | None, here: Value, there: Value) -> Value:
        if here == there or there == before:
            return here
        if here == before:
            return there
        clashes.append(name)
        return here

    mode = pick("mode", old.mode if old else None, live.mode, new.mode)
    uid = pick("owner", old.uid if old else None, live.uid, new.uid)
    gid = pick("group", old.gid if old else None, live.gid, new.gid)
    before, here, there = (dict(entry.xattrs) if entry else {} for entry in (old, live, new))
    xattrs = {}
    for name in sorted(here.keys() | there.keys()):
        value = pick(name, before.get(name), here.get(name), there.get(name))
        if value is not None:
            xattrs[name] = value
    entry = replace(live, mode=mode, uid=uid, gid=gid, xattrs=tuple(xattrs.items()))
    return entry, clashes


def _both_changed(what: list[str]) -> str:
    return f"{', '.join(what)} changed here and in the image"


def _explain(live: Node | None, new: Node | None) -> str:
    if live is None:
        return "removed here, changed in the image"
    if new is None:
        return "changed here, removed in the image"
    if live.entry.kind is not new.entry.kind:
        return f"a {live.entry.kind} here, a {new.entry.kind} in the image"
    return "changed here and in the image"

"""Compare two described systems. Pure and symmetric: ``compare_systems(b, a)`` equals
``compare_systems(a, b).mirrored()``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.tree.compare import Aspect, ChangeKind, compare
from atoll.tree.model import Directory, Regular, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.base.ids import TreeId
    from atoll.inspect.attributes import Facet
    from atoll.tree.compare import PathChange
    from atoll.tree.model import Node

FACETS = (
    "privileged",
    "packages",
    "package_files",
    "wishes",
    "kernel",
    "arguments",
    "units",
    "users",
    "groups",
    "recipe_files",
    "settings",
)
"""The compared facets in the order of output; those that matter most for security come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A described system. ``what`` is ``tree``, ``image``, ``recipe`` or ``lock``.

    ``unknown`` has the reason for each facet, and for ``files``, that is unknown; a facet that is
    in neither does not apply to this kind of system. ``sizes`` are bytes by package; ``sizes_of``
    says whether they are ``installed`` sizes or those of ``package files``.
    """

    title: str
    what: str
    name: str = ""
    version: str = ""
    tree: TreeId | None = None
    facets: Mapping[str, Facet] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    sizes_of: str = "installed"
    files: Directory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """A changed name of a facet. ``before`` or ``after`` is None if the name is absent there.

    Sizes are of packages in bytes, None if unknown.
    """

    name: str
    before: str | None
    after: str | None
    size_before: int | None = None
    size_after: int | None = None

    @property
    def kind(self) -> ChangeKind:
        """Whether the name was added, removed or changed."""
        if self.before is None:
            return ChangeKind.ADDED
        return ChangeKind.REMOVED if self.after is None else ChangeKind.CHANGED

    @property
    def growth(self) -> int | None:
        """By how many bytes a package grew; None if unknown."""
        before = 0 if self.before is None else self.size_before
        after = 0 if self.after is None else self.size_after
        return None if before is None or after is None else after - before

    def mirrored(self) -> ItemChange:
        """The change in the opposite direction."""
        return ItemChange(
            name=self.name,
            before=self.after,
            after=self.before,
            size_before=self.size_after,
            size_after=self.size_before,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One path; sizes are 0 for what has no content.

    Directories are among them when they changed themselves (mode, owner), or are empty.
    """

    path: bytes
    kind: ChangeKind
    aspects: tuple[Aspect, ...]
    size_before: int
    size_after: int

    @property
    def is_time_only(self) -> bool:
        """Whether only the mtime changed."""
        return self.aspects == (Aspect.MTIME,)

    def mirrored(self) -> FileChange:
        """The change in the opposite direction."""
        kinds = {ChangeKind.ADDED: ChangeKind.REMOVED, ChangeKind.REMOVED: ChangeKind.ADDED}
        return FileChange(
            path=self.path,
            kind=kinds.get(self.kind, self.kind),
            aspects=self.aspects,
            size_before=self.size_after,
            size_after=self.size_before,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemDiff:
    """The difference of two systems: the changes of each facet that is known of both, and of files.

    ``files`` is None if unknown. ``unknown`` has the reasons for the other facets: of the first and
    of the second system, None for a system whose facet is known.
    """

    before: Description
    after: Description
    facets: Mapping[str, tuple[ItemChange, ...]]
    files: tuple[FileChange, ...] | None
    unknown: Mapping[str, tuple[str | None, str | None]]

    @property
    def is_equal(self) -> bool:
        """Whether the systems are equal: for two trees their digests decide, else the facets."""
        if self.before.tree is not None and self.after.tree is not None:
            return self.before.tree == self.after.tree
        return not any(self.facets.values())

    def mirrored(self) -> SystemDiff:
        """The difference in the opposite direction."""
        return SystemDiff(
            before=self.after,
            after=self.before,
            facets={
                name: tuple(change.mirrored() for change in changes)
                for name, changes in self.facets.items()
            },
            files=None if self.files is None else tuple(one.mirrored() for one in self.files),
            unknown={name: (after, before) for name, (before, after) in self.unknown.items()},
        )


def compare_systems(before: Description, after: Description) -> SystemDiff:
    """The difference from ``before`` to ``after``, in all facets that both have."""
    return SystemDiff(
        before=before,
        after=after,
        facets={
            name: tuple(_changes(name, before, after))
            for name in FACETS
            if name in before.facets and name in after.facets
        },
        files=_compare_files(before, after),
        unknown=dict(_unknown(before, after)),
    )


def _changes(facet: str, before: Description, after: Description) -> Iterator[ItemChange]:
    old, new = before.facets[facet], after.facets[facet]
    has_sizes = facet == "packages" and before.sizes_of == after.sizes_of
    # Of package files, show only a different file of the same version: others are in "packages".
    names = old.keys() & new.keys() if facet == "package_files" else old.keys() | new.keys()
    for name in sorted(names):
        if old.get(name) != new.get(name):
            yield ItemChange(
                name=name,
                before=old.get(name),
                after=new.get(name),
                size_before=before.sizes.get(name) if has_sizes and name in old else None,
                size_after=after.sizes.get(name) if has_sizes and name in new else None,
            )


def _unknown(
    before: Description, after: Description
) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
    for name in (*FACETS, "files"):
        if name == "package_files":  # details of packages that only locks have
            continue
        reasons = tuple(_why_unknown(name, side) for side in (before, after))
        applies = any(name in side.facets or name in side.unknown for side in (before, after))
        if name == "files":
            applies = applies or before.files is not None or after.files is not None
        if applies and any(reasons):
            yield name, (reasons[0], reasons[1])


def _why_unknown(name: str, side: Description) -> str | None:
    known = side.files is not None if name == "files" else name in side.facets
    return None if known else side.unknown.get(name, f"a {side.what} does not say")


def _compare_files(before: Description, after: Description) -> tuple[FileChange, ...] | None:
    if before.files is None or after.files is None:
        return None
    if before.tree is not None and before.tree == after.tree:
        return ()
    changes = compare(before.files, after.files)
    paths = {change.path for change in changes}
    old, new = _nodes(before.files, paths), _nodes(after.files, paths)
    return tuple(
        FileChange(
            path=change.path,
            kind=change.kind,
            aspects=change.aspects,
            size_before=_size(old.get(change.path)),
            size_after=_size(new.get(change.path)),
        )
        for change in changes
        if not _is_noise(change, old.get(change.path), new.get(change.path))
    )


def _is_noise(change: PathChange, was: Node | None, now: Node | None) -> bool:
    """Whether to hide a change: the mtime of a directory, or a directory that was added or removed
    together with its contents."""
    if change.kind is ChangeKind.CHANGED:
        both = isinstance(was, Directory) and isinstance(now, Directory)
        return both and change.aspects == (Aspect.MTIME,)
    node = now if was is None else was
    return isinstance(node, Directory) and bool(node.entries)


def _nodes(tree: Directory, paths: set[bytes]) -> dict[bytes, Node]:
    return {path: node for path, node in walk(tree) if path in paths}


def _size(node: Node | None) -> int:
    return node.size if isinstance(node, Regular) else 0

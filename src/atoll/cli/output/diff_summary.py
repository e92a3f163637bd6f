"""Shared by the text and the JSON of ``atoll diff``: titles, kinds of changes, sums of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.cli.output.progress import format_amount
from atoll.debian.version import compare_versions
from atoll.tree.compare import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.inspect.diff import FileChange, ItemChange

TITLES = {
    "privileged": "setuid, setgid and capabilities",
    "packages": "packages",
    "package_files": "other files of the same version",
    "wishes": "requested packages",
    "kernel": "kernel",
    "arguments": "kernel arguments",
    "units": "units",
    "users": "users",
    "groups": "groups",
    "recipe_files": "files of the recipe",
    "settings": "settings",
    "files": "files",
}


@dataclass(slots=True, kw_only=True)
class FileTotals:
    """The number of files, and their bytes ``before`` and ``after``."""

    count: int = 0
    before: int = 0
    after: int = 0

    def add(self, change: FileChange) -> None:
        self.count += 1
        self.before += change.size_before
        self.after += change.size_after

    @property
    def words(self) -> str:
        if not self.count:
            return ""
        if self.before and self.after:
            return f"{self.count} ({format_growth(self.after - self.before)})"
        return f"{self.count} ({format_amount(self.before + self.after, 'B')})"


PACKAGE_KINDS = ("added", "removed", "upgraded", "downgraded", "changed")


def kind_of_package_change(change: ItemChange) -> str:
    if change.kind is not ChangeKind.CHANGED:
        return str(change.kind.value)
    order = compare_versions(change.before or "", change.after or "")
    return "changed" if not order else "upgraded" if order < 0 else "downgraded"


def sum_files(
    changes: Iterable[FileChange],
) -> tuple[dict[ChangeKind, FileTotals], dict[str, dict[ChangeKind, FileTotals]]]:
    """Sums over all files, and by top directory. Files that differ only in time are left out."""
    total = {kind: FileTotals() for kind in ChangeKind}
    directories: dict[str, dict[ChangeKind, FileTotals]] = {}
    for change in changes:
        if not change.is_time_only:
            name = top_directory(path_text(change))
            kinds = directories.setdefault(name, {kind: FileTotals() for kind in ChangeKind})
            total[change.kind].add(change)
            kinds[change.kind].add(change)
    return total, directories


def top_directory(path: str) -> str:
    """The first directory of a path, such as ``/etc``; below /usr the first two: ``/usr/lib``."""
    parts = path.split("/")[1:-1]
    return "/" + "/".join(parts[: 2 if parts[:1] == ["usr"] else 1])


def path_text(change: FileChange) -> str:
    return change.path.decode(errors="surrogateescape")


def format_growth(size: int) -> str:
    return f"{'-' if size < 0 else '+'}{format_amount(abs(size), 'B')}"

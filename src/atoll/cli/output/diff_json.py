"""The difference between two systems as JSON; docs/reference/diff.md describes the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atoll.cli.output.diff_summary import (
    TITLES,
    FileTotals,
    kind_of_package_change,
    path_text,
    sum_files,
)
from atoll.tree.compare import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.inspect.diff import Description, FileChange, ItemChange, SystemDiff


def difference_as_json(found: SystemDiff, *, files: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "equal": found.is_equal,
        "from": _side_as_json(found.before),
        "to": _side_as_json(found.after),
    }
    for name in TITLES:
        if name != "files":
            changes = found.facets.get(name)
            make = _packages_as_json if name == "packages" else _facet_as_json
            document[name] = None if changes is None else make(changes)
    document["files"] = None if found.files is None else _files_as_json(found.files)
    if files and found.files is not None:
        document["files"]["list"] = [_file_as_json(each) for each in found.files]
    document["unknown"] = {
        name: {"from": before, "to": after} for name, (before, after) in found.unknown.items()
    }
    return document


def _side_as_json(side: Description) -> dict[str, Any]:
    return {
        "title": side.title,
        "kind": side.what,
        "name": side.name,
        "version": side.version,
        "tree": side.tree,
    }


def _facet_as_json(changes: Sequence[ItemChange]) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {kind.value: [] for kind in ChangeKind}
    for change in changes:
        one: dict[str, Any] = {"name": change.name}
        if change.kind is ChangeKind.CHANGED:
            one |= {"from": change.before, "to": change.after}
        else:
            one["value"] = change.after if change.before is None else change.before
        found[change.kind.value].append(one)
    return found


def _packages_as_json(changes: Sequence[ItemChange]) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {kind.value: [] for kind in ChangeKind}
    for change in changes:
        if change.kind is ChangeKind.CHANGED:
            one: dict[str, Any] = {
                "name": change.name,
                "from": change.before,
                "to": change.after,
                "kind": kind_of_package_change(change),
                "size_from": change.size_before,
                "size_to": change.size_after,
            }
        else:
            added = change.kind is ChangeKind.ADDED
            one = {
                "name": change.name,
                "version": change.after if added else change.before,
                "size": change.size_after if added else change.size_before,
            }
        found[change.kind.value].append(one)
    return found


def _files_as_json(changes: Sequence[FileChange]) -> dict[str, Any]:
    total, directories = sum_files(changes)
    return {
        **_totals_as_json(total),
        "time_only": sum(change.is_time_only for change in changes),
        "directories": [
            {"path": path, **_totals_as_json(kinds)} for path, kinds in sorted(directories.items())
        ],
    }


def _totals_as_json(kinds: dict[ChangeKind, FileTotals]) -> dict[str, Any]:
    return {
        kind.value: {"count": one.count, "bytes_from": one.before, "bytes_to": one.after}
        for kind, one in kinds.items()
    }


def _file_as_json(change: FileChange) -> dict[str, Any]:
    return {
        "path": path_text(change),
        "change": change.kind.value,
        "aspects": [aspect.value for aspect in change.aspects],
        "size_from": None if change.kind is ChangeKind.ADDED else change.size_before,
        "size_to": None if change.kind is ChangeKind.REMOVED else change.size_after,
    }

"""What changed between two systems, for people at 80 columns and as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atoll.base.text import one_line
from atoll.cli.output.progress import WIDTH, format_amount
from atoll.debian.version import compare_versions
from atoll.tree.compare import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from atoll.inspect.diff import Description, FileChange, ItemChange, SystemDiff

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
_MARKS = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.CHANGED: "~"}
_COLUMN = 18
_LONGEST = 4000
"""Characters of a line before it is wrapped; paths are not longer."""


@dataclass(slots=True, kw_only=True)
class _Total:
    """How many files, and their bytes; of changed ones before and after."""

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


def format_difference(found: SystemDiff, *, files: bool) -> str:
    lines = [*_title_lines("-", found.before), *_title_lines("+", found.after)]
    if found.is_equal:
        return "\n".join([*lines, "identical", *_unknown_lines(found)])
    for name, changes in found.facets.items():
        if changes:
            lines += ["", *_facet_lines(name, changes, found.before.sizes_of)]
    if found.files:
        lines += ["", *_file_lines(found.files)]
        lines += [line for each in found.files if files for line in _file_line(each)]
    same = [TITLES[name] for name, changes in found.facets.items() if not changes]
    if same:
        lines += ["", *_wrapped(f"unchanged: {', '.join(same)}", "  ")]
    return "\n".join([*lines, *_unknown_lines(found)])


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


def format_growth(size: int) -> str:
    return f"{'-' if size < 0 else '+'}{format_amount(abs(size), 'B')}"


def shown(text: str) -> str:
    """``text`` in one line, with all that could steer a terminal spelled out."""
    return one_line(text)


def _title_lines(mark: str, side: Description) -> list[str]:
    named = f"{side.name} {side.version}".strip()
    words = [named, f"({side.title})"] if named and named != side.title else [side.title]
    if side.tree:
        words.append(f"tree {side.tree[:16]}…")
    return _wrapped(f"{mark} {' '.join(words)}", "    ")


def _facet_lines(name: str, changes: Sequence[ItemChange], sizes_of: str) -> list[str]:
    if name == "packages":
        return _package_lines(changes, sizes_of)
    counts = [
        f"{number} {kind.value}"
        for kind in ChangeKind
        if (number := sum(change.kind is kind for change in changes))
    ]
    lines = [f"{TITLES[name]}: {', '.join(counts)}"]
    for change in changes:
        before, after = change.before, change.after
        if before is not None and after is not None:
            before, after = _narrowed(before, after)
            value = f"{before or '(nothing)'} → {after or '(nothing)'}"
        else:
            value = (after if before is None else before) or ""
        shows_name = name not in ("arguments", "kernel") or change.name not in value
        lines += _row(_MARKS[change.kind], change.name if shows_name else "", value)
    return lines


def _package_lines(changes: Sequence[ItemChange], sizes_of: str) -> list[str]:
    kinds: dict[str, list[ItemChange]] = {}
    for change in sorted(changes, key=lambda each: (_ORDER.index(_package_kind(each)), each.name)):
        kinds.setdefault(_package_kind(change), []).append(change)
    growths = [change.growth for change in changes]
    known = [growth for growth in growths if growth is not None]
    summary = ", ".join(f"{len(group)} {kind}" for kind, group in kinds.items())
    if known:
        but = "" if len(known) == len(growths) else " (some sizes are unknown)"
        summary += f"; {format_growth(sum(known))} {sizes_of}{but}"
    lines = [f"packages: {summary}"]
    for kind, group in kinds.items():
        for change in group:
            versions = [each for each in (change.before, change.after) if each is not None]
            growth = "" if change.growth is None else f"  {format_growth(change.growth)}"
            lines += _row(f"{kind:<10}", change.name, f"{' → '.join(versions)}{growth}")
    return lines


_ORDER = ("added", "removed", "upgraded", "downgraded", "changed")


def _package_kind(change: ItemChange) -> str:
    if change.kind is not ChangeKind.CHANGED:
        return str(change.kind.value)
    order = compare_versions(change.before or "", change.after or "")
    return "changed" if not order else "upgraded" if order < 0 else "downgraded"


def _file_lines(changes: Sequence[FileChange]) -> list[str]:
    total, directories = _totals(changes)
    times = sum(change.is_time_only for change in changes)
    counts = [f"{each.words} {kind.value}" for kind, each in total.items() if each.count]
    counts += [f"{times} with only a new time"] if times else []
    lines = _wrapped(f"files: {', '.join(counts)}", "  ")
    if directories:
        heads = "".join(f"{kind.value:>{_COLUMN}}" for kind in ChangeKind)
        lines.append(f"  {'':<{_COLUMN}}{heads}")
    for name, kinds in sorted(directories.items()):
        cells = "".join(f"{kinds[kind].words:>{_COLUMN}}" for kind in ChangeKind)
        label = shown(name)
        label = label if len(label) < _COLUMN else f"{label[: _COLUMN - 2]}…"
        lines.append(f"  {label:<{_COLUMN}}{cells}".rstrip())
    return lines


def _file_line(change: FileChange) -> list[str]:
    amounts = {
        ChangeKind.ADDED: format_amount(change.size_after, "B"),
        ChangeKind.REMOVED: format_amount(change.size_before, "B"),
        ChangeKind.CHANGED: ", ".join(aspect.value for aspect in change.aspects),
    }
    value = amounts[change.kind]
    if change.size_before != change.size_after and change.kind is ChangeKind.CHANGED:
        value += f"  {format_growth(change.size_after - change.size_before)}"
    return _row(_MARKS[change.kind], _path(change), value)


def _totals(
    changes: Iterable[FileChange],
) -> tuple[dict[ChangeKind, _Total], dict[str, dict[ChangeKind, _Total]]]:
    """Of all files, and of those in each top directory; those only in their time left out."""
    total = {kind: _Total() for kind in ChangeKind}
    directories: dict[str, dict[ChangeKind, _Total]] = {}
    for change in changes:
        if not change.is_time_only:
            name = top_directory(_path(change))
            kinds = directories.setdefault(name, {kind: _Total() for kind in ChangeKind})
            total[change.kind].add(change)
            kinds[change.kind].add(change)
    return total, directories


def top_directory(path: str) -> str:
    """``/etc``, and of what is in /usr its directory there: ``/usr/lib``."""
    parts = path.split("/")[1:-1]
    return "/" + "/".join(parts[: 2 if parts[:1] == ["usr"] else 1])


def _unknown_lines(found: SystemDiff) -> list[str]:
    """What is not known of either, by the reason, so that each is told once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, whys in found.unknown.items():
        for side, why in zip((found.before, found.after), whys, strict=True):
            if why:
                reasons.setdefault((side.title, why), []).append(TITLES[name])
    lines = [
        line
        for (title, why), names in reasons.items()
        for line in _wrapped(f"unknown for {title}: {', '.join(names)} ({why})", "  ")
    ]
    return ["", *lines] if lines else []


def _narrowed(before: str, after: str) -> tuple[str, str]:
    """Only the words that the other one does not have, when there are several."""
    old, new = before.split(" "), after.split(" ")
    if len(old) < 2 or len(new) < 2:
        return before, after
    return (
        " ".join(word for word in old if word not in new),
        " ".join(word for word in new if word not in old),
    )


def _row(mark: str, name: str, value: str) -> list[str]:
    return _wrapped(f"  {mark} {name}  {value}" if name else f"  {mark} {value}", "      ")


def _wrapped(text: str, indent: str) -> list[str]:
    line = shown(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…").rstrip()
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


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
                "kind": _package_kind(change),
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
    total, directories = _totals(changes)
    return {
        **_totals_as_json(total),
        "time_only": sum(change.is_time_only for change in changes),
        "directories": [
            {"path": path, **_totals_as_json(kinds)} for path, kinds in sorted(directories.items())
        ],
    }


def _totals_as_json(kinds: dict[ChangeKind, _Total]) -> dict[str, Any]:
    return {
        kind.value: {"count": one.count, "bytes_from": one.before, "bytes_to": one.after}
        for kind, one in kinds.items()
    }


def _file_as_json(change: FileChange) -> dict[str, Any]:
    return {
        "path": _path(change),
        "change": change.kind.value,
        "aspects": [aspect.value for aspect in change.aspects],
        "size_from": None if change.kind is ChangeKind.ADDED else change.size_before,
        "size_to": None if change.kind is ChangeKind.REMOVED else change.size_after,
    }


def _path(change: FileChange) -> str:
    return change.path.decode(errors="surrogateescape")

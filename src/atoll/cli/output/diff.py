"""The difference between two systems as text, 80 columns wide."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.cli.output.diff_summary import (
    PACKAGE_KINDS,
    TITLES,
    format_growth,
    kind_of_package_change,
    path_text,
    sum_files,
)
from atoll.cli.output.progress import WIDTH, format_amount
from atoll.tree.compare import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.inspect.diff import Description, FileChange, ItemChange, SystemDiff

_MARKS = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.CHANGED: "~"}
_COLUMN = 18
_LONGEST = 4000
"""Characters of a line before it is wrapped; paths are not longer."""


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
    for change in sorted(
        changes, key=lambda each: (PACKAGE_KINDS.index(kind_of_package_change(each)), each.name)
    ):
        kinds.setdefault(kind_of_package_change(change), []).append(change)
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


def _file_lines(changes: Sequence[FileChange]) -> list[str]:
    total, directories = sum_files(changes)
    times = sum(change.is_time_only for change in changes)
    counts = [f"{each.words} {kind.value}" for kind, each in total.items() if each.count]
    counts += [f"{times} with only a new time"] if times else []
    lines = _wrapped(f"files: {', '.join(counts)}", "  ")
    if directories:
        heads = "".join(f"{kind.value:>{_COLUMN}}" for kind in ChangeKind)
        lines.append(f"  {'':<{_COLUMN}}{heads}")
    for name, kinds in sorted(directories.items()):
        cells = "".join(f"{kinds[kind].words:>{_COLUMN}}" for kind in ChangeKind)
        label = one_line(name)
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
    return _row(_MARKS[change.kind], path_text(change), value)


def _unknown_lines(found: SystemDiff) -> list[str]:
    """What is unknown of either system, grouped by reason, so that each reason is printed once."""
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
    """``before`` and ``after`` without the words that both have, if both have several words."""
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
    line = one_line(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…").rstrip()
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)

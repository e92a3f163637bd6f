"""What a captured program did, as text of at most 80 columns and as JSON."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atoll.base.text import one_line, width
from atoll.cli.output.progress import format_amount
from atoll.layering.capture.keep import find_obstacles
from atoll.layering.capture.layer import LOCAL_IN_TREE, is_in_local
from atoll.layering.capture.model import Happened, PathKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.layering.capture.model import CapturedPath, NotKept
    from atoll.layering.capture.run_captured import CapturedChanges

WIDTH = 80
_WORD = 12
"""Columns of the first word of a line."""
_MOST = 40
"""Lines of a group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line: a path with all that was added below it. ``size`` is in bytes."""

    path: str
    happened: Happened
    files: int
    size: int
    note: str = ""


def summarize(changes: Iterable[CapturedPath]) -> tuple[Summary, ...]:
    """A directory that was added stands for what is in it."""
    found: dict[str, list[CapturedPath]] = defaultdict(list)
    new: set[str] = set()
    for each in changes:
        top = next((path for path in _parents(each.path) if path in new), each.path)
        found[top].append(each)
        if top == each.path and each.kind is PathKind.DIRECTORY and each.happened is Happened.ADDED:
            new.add(each.path)
    return tuple(_summary(path, below) for path, below in found.items())


def _summary(path: str, below: list[CapturedPath]) -> Summary:
    first = below[0]
    files = [each for each in below if each.kind is not PathKind.DIRECTORY]
    note = f"of {first.package}" if first.package else ""
    return Summary(
        path=path,
        happened=first.happened,
        files=len(files),
        size=sum(each.size for each in files if not each.link_of),
        note=note,
    )


def _parents(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def format_captured(found: CapturedChanges, name: str) -> Iterator[str]:
    """``name`` is that of the layer which it would be."""
    run = found.run
    yield f"What {_cut(run.command)} did to {found.over}; it ended with status {run.status}"
    for heading, rows in _groups(found, name):
        lines = list(rows)
        if lines:
            yield ""
            yield heading
            yield from lines[:_MOST]
            if len(lines) > _MOST:
                yield f"  … and {len(lines) - _MOST} more lines; all of it: --json"


def _cut(command: str) -> str:
    text = one_line(command)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _groups(found: CapturedChanges, name: str) -> Iterator[tuple[str, Iterable[str]]]:
    paths = found.sorted
    yield (
        "RUNS WITH MORE RIGHTS than those of who starts it",
        (_row("", each.path, each.privileges) for each in paths.image if each.privileges),
    )
    yield "part of the image", _image_rows(paths.image, name)
    yield "units", (_row(each.change.value, each.unit) for each in found.units)
    yield (
        "users and groups",
        (_row(each.change.value, f"{each.kind.value} {each.name}") for each in found.accounts),
    )
    yield (
        "first content of /var: copied once, then the machine's, and it stays after removal",
        map(_summary_row, summarize(paths.state)),
    )
    yield (
        "packages: not kept, they have a verb of their own",
        (_row("", each) for each in found.packages),
    )
    yield "yours, and not kept: install it as yourself", map(_not_kept_row, paths.person)
    yield (
        "cannot be part of an image, and is left out",
        [
            *map(_not_kept_row, paths.left_out),
            *(_row("", each.name, each.why) for each in found.account_left),
        ],
    )
    yield "temporary, and not kept", map(_not_kept_row, paths.dropped)


def _image_rows(changes: tuple[CapturedPath, ...], name: str) -> Iterator[str]:
    yield from map(_summary_row, summarize(changes))
    if any(is_in_local(each.path) for each in changes):
        yield f"  what is in /usr/local gets into {LOCAL_IN_TREE}/{name}, with links to it"


def _summary_row(row: Summary) -> str:
    amount = ""
    if row.happened is not Happened.REMOVED:
        count = "1 file" if row.files == 1 else f"{row.files} files"
        amount = f"{count}, {format_amount(row.size, 'B')}"
    return _row(row.happened.value, row.path, " ".join(filter(None, [row.note, amount])))


def _not_kept_row(each: NotKept) -> str:
    count = f"{each.count} paths, " if each.count > 1 else ""
    return _row("", each.path, f"{count}{each.why}")


def _row(word: str, text: str, note: str = "") -> str:
    head = f"  {word:<{_WORD}}{one_line(text)}" if word else f"  {one_line(text)}"
    note = one_line(note)
    gap = max(WIDTH - width(head) - width(note), 2)
    return f"{head}{' ' * gap}{note}" if note else head


def captured_as_json(found: CapturedChanges, name: str, kept: str) -> dict[str, Any]:
    """``kept`` is ``layer``, ``script`` or ``nothing``."""
    paths = found.sorted
    return {
        "command": list(found.run.words),
        "status": found.run.status,
        "over": found.over,
        "name": name,
        "kept": kept,
        "obstacles": {kind: text or None for kind, text in find_obstacles(found).items()},
        "image": [_path_as_json(each) for each in paths.image],
        "state": [_path_as_json(each) for each in paths.state],
        "units": [
            {"unit": each.unit, "manager": each.manager, "change": each.change.value}
            for each in found.units
        ],
        "accounts": [
            {"kind": each.kind.value, "name": each.name, "change": each.change.value}
            for each in found.accounts
        ],
        "packages": list(found.packages),
        **{
            key: [{"path": each.path, "why": each.why, "count": each.count} for each in group]
            for key, group in (
                ("personal", paths.person),
                ("left_out", paths.left_out),
                ("temporary", paths.dropped),
            )
        },
        "accounts_left_out": [{"name": each.name, "why": each.why} for each in found.account_left],
    }


def _path_as_json(each: CapturedPath) -> dict[str, Any]:
    return {
        "path": each.path,
        "change": each.happened.value,
        "kind": each.kind.value,
        "mode": f"{each.mode:04o}",
        "owner": each.owner,
        "group": each.group,
        "size": each.size,
        "privileges": each.privileges or None,
        "package": each.package or None,
    }

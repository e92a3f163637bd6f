"""What differs on a machine, as text of at most 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.text import one_line, width
from atoll.cli.output.progress import format_amount
from atoll.machine.drift.model import UnitChange
from atoll.machine.etc.etc_tree import EtcChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.machine.drift.model import AccountDrift, Drift, EtcDrift, FieldChange, UnitDrift

WIDTH = 80
_WORD = 12
"""Columns of the first word of a line, which says what happened."""


def format_drift(drift: Drift, explained: frozenset[str] = frozenset()) -> str:
    """``explained`` are names of what the machine file has already."""
    lines = [_title(drift)]
    for heading, rows in _groups(drift):
        found = list(rows)
        if found:
            lines += ["", heading]
            for word, text, note in found:
                lines += _row(word, text, note)
    if explained:
        lines += ["", "in the machine file already, but not applied"]
        lines += [f"  {one_line(name)}" for name in sorted(explained)]
    return "\n".join(lines)


def _title(drift: Drift) -> str:
    name = drift.deployment.title if drift.deployment else f"deployment {drift.number}"
    if not drift.is_empty:
        return f"What differs from {one_line(name)}"
    return f"nothing differs from {one_line(name)}"


def _row(word: str, text: str, note: str = "") -> Iterator[str]:
    """A line, with ``note`` at its right end, or on a line of its own where it does not fit."""
    head = f"  {word:<{_WORD}}{one_line(text)}"
    note = one_line(note)
    if not note:
        yield head
    elif width(head) + width(note) + 2 <= WIDTH:
        yield f"{head}{' ' * (WIDTH - width(head) - width(note))}{note}"
    else:
        yield head
        yield f"  {'':<{_WORD}}  {note}"


def _groups(drift: Drift) -> Iterator[tuple[str, Iterable[tuple[str, str, str]]]]:
    yield "files in /etc", _etc_rows(drift.etc)
    yield "units", map(_unit_row, drift.units)
    yield (
        "users and groups",
        (row for each in drift.accounts for row in _account_rows(each)),
    )
    yield (
        "in /usr/local and /opt",
        (
            ("added", each.path, _amount(each.files, each.size, more=each.more))
            for each in drift.local
        ),
    )
    for each in drift.kernel:
        yield (
            f"kernel arguments, {one_line(each.where)}",
            (
                *(("added", word, "") for word in each.added),
                *(("removed", word, "") for word in each.removed),
                *((("reordered", "all", ""),) if each.reordered else ()),
            ),
        )
    if drift.scratch:
        yield "in /usr, until the next boot", [("scratch", drift.scratch, "")]
    yield (
        "damaged files of the image",
        ((each.why.split(" ")[0], each.path, "") for each in drift.damaged or ()),
    )
    yield "not compared", (("", each.what, each.why) for each in drift.unread)


def _etc_rows(etc: tuple[EtcDrift, ...]) -> Iterator[tuple[str, str, str]]:
    """A removed directory stands for all that was in it."""
    gone: list[str] = []
    for each in etc:
        if each.change is EtcChange.REMOVED:
            if any(each.path.startswith(f"{path}/") for path in gone):
                continue
            gone.append(each.path)
        yield each.change.value, f"/etc/{each.path}".rstrip("/"), each.owner


def _unit_row(unit: UnitDrift) -> tuple[str, str, str]:
    notes = ["of users"] if unit.manager == "user" else []
    if unit.change is UnitChange.LINKS:
        notes += [f"+{path.split('/')[-2]}" for path in unit.added]
        notes += [f"-{path.split('/')[-2]}" for path in unit.removed]
    return unit.change.value, unit.unit, ", ".join(notes)


def _account_rows(account: AccountDrift) -> Iterator[tuple[str, str, str]]:
    yield account.change.value, f"{account.kind.value} {account.name}", ""
    for each in account.fields:
        yield "", f"  {_describe_field(each)}", ""


def _describe_field(change: FieldChange) -> str:
    if change.field == "password":
        return "password set, changed or locked"
    if change.field in ("groups", "members"):
        before, after = (
            set(filter(None, text.split(","))) for text in (change.before, change.after)
        )
        words = [f"+{name}" for name in sorted(after - before)]
        words += [f"-{name}" for name in sorted(before - after)]
        return f"{change.field} {' '.join(words)}"
    if not change.before:
        return f"{change.field} {change.after}"
    return f"{change.field} {change.before} → {change.after or 'none'}"


def _amount(files: int, size: int, *, more: bool) -> str:
    least = "more than " if more else ""
    count = "1 file" if files == 1 else f"{files} files"
    return f"{least}{count}, {format_amount(size, 'B')}"

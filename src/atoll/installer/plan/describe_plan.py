"""The plan of an installation as text of 80 columns, for a person to confirm. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from atoll.base.text import cut, width
from atoll.installer.devices.describe_devices import (
    describe_identity,
    describe_partition,
    format_bytes,
)
from atoll.installer.plan.partitioning import Fate, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.installer.plan.partitioning import InstallationPlan, PlannedPartition

COLUMNS = 80
_NAME, _SIZE, _FATE = 12, 8, 10
_ROLES = {
    Role.ESP: "EFI system partition",
    Role.BOOT: "kernels (FAT)",
    Role.STATE: "the new system (ext4)",
    Role.HOME: "/home",
}


def format_plan(plan: InstallationPlan) -> str:
    """Both tables, what is erased, what is written and how long it takes; lines of at most 80
    columns."""
    identity = plan.expected[0].identity
    sections = [
        [f"{plan.device}: {describe_identity(identity)}"],
        ["Now", *_table(plan.before)] if plan.before else ["Now: no partitions"],
        ["Afterwards", *_table(plan.after, encrypted=plan.encrypted)],
        ["Erased", *_items(plan.erased)] if plan.erased else ["Nothing is erased."],
        _rest(plan),
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in sections)


def _table(partitions: Iterable[PlannedPartition], *, encrypted: bool = False) -> Iterator[str]:
    for part in partitions:
        what = _describe(part, encrypted=encrypted)
        fate = "" if part.fate is Fate.KEPT else str(part.fate)
        line = "  ".join(
            (
                _column(part.path.name, _NAME),
                _column(format_bytes(part.size), _SIZE),
                _column(fate, _FATE),
                what,
            )
        )
        yield cut(f"  {line}".rstrip(), COLUMNS)


def _describe(part: PlannedPartition, *, encrypted: bool) -> str:
    """What a partition is; of a new one, what it will be."""
    if part.fate is Fate.CREATED or (part.fate is Fate.FORMATTED and part.role is Role.STATE):
        return _ROLES[part.role] + (", encrypted" if encrypted and part.role is Role.STATE else "")
    content = describe_partition(part.kind, part.name, part.signature)
    return f"{content}: {_ROLES[part.role]}" if part.role is Role.HOME else content


def _rest(plan: InstallationPlan) -> list[str]:
    minutes = -(-plan.seconds // 60)
    time = f"about {minutes} minute{'s' if minutes > 1 else ''}"
    lines = [f"About {format_bytes(plan.to_write)} are written; that takes {time}."]
    lines += list(plan.notes)
    return [line for text in lines for line in textwrap.wrap(text, COLUMNS)]


def _items(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from textwrap.wrap(text, COLUMNS, initial_indent="  ", subsequent_indent="    ")


def _column(text: str, columns: int) -> str:
    return text + " " * max(0, columns - width(text))

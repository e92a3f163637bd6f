"""What ``atoll lock`` prints: a summary a person reads, and all of it when asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atoll.builder.lock_command import LockResult
from atoll.cli.run.lock import _lines
from atoll.lock.resolve import compare_locks
from tests.unit.lock.test_serialize import LOCK


def relocked(before: int, after: int) -> LockResult:
    pins = [replace(LOCK.packages[0], name=f"package-{n}") for n in range(max(before, after))]
    old = replace(LOCK, packages=tuple(pins[:before])) if before else None
    new = replace(LOCK, packages=tuple(pins[:after]))
    difference = compare_locks(old, new)
    return LockResult(path=Path("atoll.lock"), lock=new, difference=difference, written=True)


def test_a_new_lock_is_one_line() -> None:
    (line,) = _lines(relocked(0, 174), most=20)
    assert line.startswith("atoll.lock: new; 174 packages, ")
    assert len([*_lines(relocked(0, 174), most=None)]) == 175


def test_long_differences_are_cut_and_counted() -> None:
    lines = [*_lines(relocked(3, 60), most=20)]
    assert len(lines) == 22
    assert lines[20] == "  … and 37 more"
    assert lines[21].startswith("atoll.lock: 57 added; 60 packages, ")

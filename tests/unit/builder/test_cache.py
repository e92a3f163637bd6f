"""What stays in the cache of builds, and what goes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from atoll.builder.cache import (
    KEPT,
    KEPT_ON_MACHINE,
    CacheEntry,
    Limits,
    opened_cache,
    plan_trim,
)

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400
NOW = 1_000 * DAY


def use(name: str, *, size: int = 1, days: float = 0.5) -> CacheEntry:
    return CacheEntry(kind="steps", name=name, size=size, used=NOW - days * DAY)


def gone(*uses: CacheEntry, days: int = 60, size: int = 100, started: float = NOW) -> list[str]:
    limits = Limits(days=days, size=size)
    return [each.name for each in plan_trim(uses, limits, now=NOW, started=started)]


def test_many_small_entries_stay() -> None:
    assert gone(*(use(str(number)) for number in range(100))) == []


def test_the_oldest_go_when_it_is_too_much() -> None:
    uses = (use("new", size=60), use("old", size=30, days=3), use("older", size=30, days=4))
    assert gone(*uses) == ["older"]


def test_what_nobody_used_for_long_goes() -> None:
    assert gone(use("new"), use("old", days=61)) == ["old"]


def test_what_this_build_used_stays_whatever_its_size() -> None:
    assert gone(use("huge", size=1000), use("old", days=3), started=NOW - DAY) == ["old"]


def test_entries_are_kept_found_and_trimmed(tmp_path: Path) -> None:
    with opened_cache(tmp_path) as cache:
        for name in ("one", "two"):
            made = tmp_path / ".new-step"
            made.mkdir()
            (made / "file").write_bytes(b"x" * 10_000)
            cache.keep(made, "steps", name)
        assert {each.name: each.size >= 10_000 for each in cache.uses()} == {
            "one": True,
            "two": True,
        }
    os.utime(tmp_path / "uses/steps/one", (0, 0))
    with opened_cache(tmp_path) as cache:
        assert cache.find("steps", "two")
    assert not (tmp_path / "steps/one").exists()
    assert not (tmp_path / "uses/steps/one").exists()
    assert (tmp_path / "steps/two/file").exists()


def test_on_a_machine_only_the_last_unpacked_image_stays() -> None:
    entries = (
        CacheEntry(kind="roots", name="before", size=4 << 30, used=100.0),
        CacheEntry(kind="roots", name="now", size=4 << 30, used=200.0),
    )
    assert plan_trim(entries, KEPT_ON_MACHINE, now=201.0, started=150.0) == entries[:1]
    assert plan_trim(entries, KEPT, now=201.0, started=150.0) == ()

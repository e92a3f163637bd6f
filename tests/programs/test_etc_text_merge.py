"""Line merges judged by git and diff3: where they are clean, ours is the same."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from atoll.host.run import find_program
from atoll.machine.etc.text_merge import merge_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JUDGES = {
    "git": ["git", "merge-file", "-p", "live", "old", "new"],
    "diff3": ["diff3", "-m", "live", "old", "new"],
}


def judged(judge: str, place: Path, old: bytes, live: bytes, new: bytes) -> bytes | None:
    for name, text in (("old", old), ("live", live), ("new", new)):
        (place / name).write_bytes(text)
    done = subprocess.run(JUDGES[judge], cwd=place, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def edited(lines: list[str], fresh: Callable[[], str], chance: random.Random) -> list[str]:
    result = list(lines)
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, len(result))
        change = chance.choice(["add", "remove", "change"])
        if change == "add" or at == len(result):
            result.insert(at, fresh())
        else:
            result[at : at + 1] = [fresh()] if change == "change" else []
    return result


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("seed", range(60))
def test_distinct_lines(judge: str, seed: int, tmp_path: Path) -> None:
    if find_program(judge) is None:
        pytest.skip(f"{judge} is not here")
    chance = random.Random(seed)
    numbers = iter(range(1000))
    old = [f"key{next(numbers)}=1\n" for _ in range(chance.randint(0, 15))]
    live = edited(old, lambda: f"live{next(numbers)}\n", chance)
    new = edited(old, lambda: f"new{next(numbers)}\n", chance)
    texts = ["".join(text).encode() for text in (old, live, new)]
    theirs = judged(judge, tmp_path, *texts)
    ours = merge_text(*texts)
    if theirs is not None:
        assert ours == theirs
    elif judge == "git":
        assert ours is None


@pytest.mark.parametrize("seed", range(60))
def test_lines_that_repeat(seed: int, tmp_path: Path) -> None:
    """Blank lines and braces can be matched in several ways; a clean result is the same one."""
    if find_program("git") is None:
        pytest.skip("git is not here")
    chance = random.Random(seed)

    def fresh() -> str:
        return chance.choice(["\n", "}\n", "# note\n", "[part]\n", f"k{chance.randint(0, 30)}=1\n"])

    old = [fresh() for _ in range(chance.randint(0, 15))]
    texts = [
        "".join(text).encode()
        for text in (old, edited(old, fresh, chance), edited(old, fresh, chance))
    ]
    theirs, ours = judged("git", tmp_path, *texts), merge_text(*texts)
    if theirs is not None and ours is not None:
        assert ours == theirs

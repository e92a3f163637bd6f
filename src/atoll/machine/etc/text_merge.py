"""A three-way merge of text by lines, for changes that do not touch each other.

The longest common lines of the old text with each side are found with Myers' greedy algorithm.
Lines that all three share divide the text into chunks; in each at most one side may differ from
the old, or both alike. Two changes without a shared line between them are not merged, because
their order is unknown.
"""

from __future__ import annotations

import re

MAX_SIZE = 1 << 20
"""Bytes. Longer texts are not merged by lines: they are generated, not edited."""
MAX_CHANGES = 1000
"""More added and removed lines make it another text. Time and memory grow with the square of it."""

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")


def is_text(content: bytes) -> bool:
    if b"\0" in content or len(content) > MAX_SIZE:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def merge_text(old: bytes, live: bytes, new: bytes) -> bytes | None:
    """The clean merge; None when there is none, or one of the three is not text."""
    if not (is_text(old) and is_text(live) and is_text(new)):
        return None
    base, mine, theirs = (_LINE.findall(text) for text in (old, live, new))
    to_mine, to_theirs = find_common(base, mine), find_common(base, theirs)
    if to_mine is None or to_theirs is None:
        return None
    merged: list[bytes] = []
    at, at_mine, at_theirs = 0, 0, 0
    shared = [line for line in range(len(base)) if line in to_mine and line in to_theirs]
    for line in [*shared, len(base)]:
        end_mine, end_theirs = to_mine.get(line, len(mine)), to_theirs.get(line, len(theirs))
        chunk = _merge_chunk(base[at:line], mine[at_mine:end_mine], theirs[at_theirs:end_theirs])
        if chunk is None:
            return None
        merged += chunk
        merged += base[line : line + 1]
        at, at_mine, at_theirs = line + 1, end_mine + 1, end_theirs + 1
    return b"".join(merged)


def _merge_chunk(old: list[bytes], mine: list[bytes], theirs: list[bytes]) -> list[bytes] | None:
    if mine in (old, theirs):
        return theirs
    return mine if theirs == old else None


def find_common(before: list[bytes], after: list[bytes]) -> dict[int, int] | None:
    """Lines of ``before`` that stay, and where they are in ``after``; None past MAX_CHANGES."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    tail = 0
    longest = min(len(before), len(after)) - start
    while tail < longest and before[len(before) - 1 - tail] == after[len(after) - 1 - tail]:
        tail += 1
    middle = _find_common_middle(
        before[start : len(before) - tail], after[start : len(after) - tail]
    )
    if middle is None:
        return None
    common = {line: line for line in range(start)}
    common |= {line + start: other + start for line, other in middle.items()}
    shift = len(after) - len(before)
    common |= {line: line + shift for line in range(len(before) - tail, len(before))}
    return _align_early(common, before, after)


def _align_early(common: dict[int, int], before: list[bytes], after: list[bytes]) -> dict[int, int]:
    """``common`` with each line moved as early as possible.

    Adding one of several equal lines can be seen as a change at any of them. Moved to the first
    possible place on both sides, the same change is recognized as the same.
    """
    aligned: dict[int, int] = {}
    last, last_other = -1, -1
    for line, other in sorted(common.items()):
        if line == last + 1 and after[last_other + 1] == before[line]:
            last_other += 1
        elif other == last_other + 1 and before[last + 1] == after[other]:
            line, last_other = last + 1, other
        else:
            last_other = other
        aligned[line] = last_other
        last = line
    return aligned


def _find_common_middle(before: list[bytes], after: list[bytes]) -> dict[int, int] | None:
    """Myers' greedy algorithm: the furthest point on each diagonal x - y after 0, 1, 2 … changes.

    ``rounds`` keeps the points of every count of changes, so that the path can be read backwards
    from the end, which is reached with the fewest changes.
    """
    rounds: list[dict[int, int]] = [{1: 0}]
    for changes in range(min(MAX_CHANGES, len(before) + len(after)) + 1):
        reached: dict[int, int] = {}
        for diagonal in range(-changes, changes + 1, 2):
            x, _ = _step(rounds[-1], diagonal)
            y = x - diagonal
            while x < len(before) and y < len(after) and before[x] == after[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            if x >= len(before) and y >= len(after):
                return _backtrack(rounds, len(before), len(after))
        rounds.append(reached)
    return None


def _step(reached: dict[int, int], diagonal: int) -> tuple[int, bool]:
    """Where one more change leads on this diagonal, and whether it is an added line.

    Down from the diagonal above is an added line, right from the one below a removed one.
    """
    above, below = reached.get(diagonal + 1), reached.get(diagonal - 1)
    if below is None or (above is not None and below < above):
        assert above is not None, "one of the neighbours was reached in the round before"
        return above, True
    return below + 1, False


def _backtrack(rounds: list[dict[int, int]], x: int, y: int) -> dict[int, int]:
    common: dict[int, int] = {}
    for reached in reversed(rounds):
        begin, added = _step(reached, x - y)
        while x > begin:
            x, y = x - 1, y - 1
            common[x] = y
        x, y = (x, y - 1) if added else (x - 1, y)
    return common

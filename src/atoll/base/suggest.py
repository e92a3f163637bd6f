"""Suggest the known name that a mistyped word probably means: a few edits away, or a prefix.

A wrong suggestion is worse than none, so names that only share letters are not suggested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORT = 4
"""Words up to this length may differ by one edit, longer ones by two."""
_MIN_PREFIX = 3


def find_nearest(word: str, known: Iterable[str], *, most: int = 1) -> tuple[str, ...]:
    """Up to ``most`` names from ``known``, nearest first; empty when none is similar enough."""
    found = []
    for name in known:
        edits = _count_edits(word, name)
        if edits is not None:
            found.append((edits, name[:1] != word[:1], name))
    # The sort is stable: equally near names keep the order of ``known``.
    found.sort(key=lambda each: each[:2])
    return tuple(dict.fromkeys(name for _, _, name in found))[:most]


def _count_edits(word: str, name: str) -> int | None:
    """The number of edits; None when ``word`` and ``name`` are not similar enough.

    A prefix counts as one edit more than the limit, so likely typos come first.
    """
    limit = 1 if min(len(word), len(name)) <= _SHORT else 2
    if abs(len(word) - len(name)) <= limit and _shares_start(word, name):
        edits = edit_distance(word, name)
        if edits <= limit:
            return edits
    if len(word) >= _MIN_PREFIX and name.startswith(word):
        return limit + 1
    if len(name) > _SHORT and word.startswith(name) and len(word) <= len(name) + _MIN_PREFIX:
        return limit + 1
    return None


def _shares_start(word: str, name: str) -> bool:
    """Whether the words begin alike: same first letter, or it is missing, doubled or swapped.

    People seldom mistype the first letter of a word.
    """
    return word[:1] in (name[:1], name[1:2]) or word[1:2] == name[:1]


def edit_distance(one: str, other: str) -> int:
    """The optimal string alignment distance: how many letters to insert, remove, replace, or swap
    with their neighbour.
    """
    before: list[int] = []
    above = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, target in enumerate(other, 1):
            edits = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != target))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == target:
                edits = min(edits, before[j - 2] + 1)
            row.append(edits)
        before, above = above, row
    return above[-1]

"""Compare Debian versions, as defined in deb-version(7): ``[EPOCH:]UPSTREAM[-REVISION]``.

Upstream version and revision are split into text, number, text, number and so on. Numbers are
compared by value. In texts ``~`` sorts before everything, even the end, and letters sort before all
other characters. Text that is not a valid version is ordered by the same rules.
"""

from __future__ import annotations

import re
from itertools import zip_longest

_TEXT_AND_NUMBER = re.compile(r"([^0-9]*)([0-9]*)")


def compare_versions(one: str, other: str) -> int:
    """Negative if ``one`` is older than ``other``, 0 if they are equal, positive if it is newer."""
    epoch, upstream, revision = _split(one)
    other_epoch, other_upstream, other_revision = _split(other)
    return (
        _compare_numbers(epoch, other_epoch)
        or _compare_parts(upstream, other_upstream)
        or _compare_parts(revision, other_revision)
    )


def _split(version: str) -> tuple[str, str, str]:
    """Split into epoch, upstream version and revision; a missing epoch or revision is 0."""
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isascii() and epoch.isdigit()):
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, rest, "0")


def _compare_parts(one: str, other: str) -> int:
    pairs = zip_longest(
        _TEXT_AND_NUMBER.findall(one), _TEXT_AND_NUMBER.findall(other), fillvalue=("", "")
    )
    for (text, number), (other_text, other_number) in pairs:
        found = _compare_texts(text, other_text) or _compare_numbers(number, other_number)
        if found:
            return found
    return 0


def _compare_texts(one: str, other: str) -> int:
    for left, right in zip_longest(one, other, fillvalue=""):
        if left != right:
            return -1 if _sort_key(left) < _sort_key(right) else 1
    return 0


def _sort_key(letter: str) -> tuple[int, str]:
    """The sort key of a character; the empty one is the end of a text."""
    if letter == "~":
        return 0, ""
    if not letter:
        return 1, ""
    return (2 if letter.isascii() and letter.isalpha() else 3), letter


def _compare_numbers(one: str, other: str) -> int:
    """Compare digits of any length, as Python refuses to convert very long numbers."""
    one, other = one.lstrip("0"), other.lstrip("0")
    left, right = (len(one), one), (len(other), other)
    return (left > right) - (left < right)

"""The order of Debian's versions, as deb-version(7) draws it: ``[EPOCH:]UPSTREAM[-REVISION]``.

Upstream version and revision are read as text, number, text, number and so on. Numbers are compared
by their value; in texts ``~`` comes before everything, even before the end, and letters come before
all other characters. What is no version by Debian's rules has its place in the order, too.
"""

from __future__ import annotations

import re
from itertools import zip_longest

_TEXT_AND_NUMBER = re.compile(r"([^0-9]*)([0-9]*)")


def compare_versions(one: str, other: str) -> int:
    """Less than 0 when ``one`` is older than ``other``, 0 when they are equal, else more than 0."""
    epoch, upstream, revision = _divide(one)
    other_epoch, other_upstream, other_revision = _divide(other)
    return (
        _compare_numbers(epoch, other_epoch)
        or _compare_parts(upstream, other_upstream)
        or _compare_parts(revision, other_revision)
    )


def _divide(version: str) -> tuple[str, str, str]:
    """Epoch, upstream version, revision; what is missing counts as 0."""
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
            return -1 if _place(left) < _place(right) else 1
    return 0


def _place(letter: str) -> tuple[int, str]:
    """Where a character stands; the empty one is the end of a text."""
    if letter == "~":
        return 0, ""
    if not letter:
        return 1, ""
    return (2 if letter.isascii() and letter.isalpha() else 3), letter


def _compare_numbers(one: str, other: str) -> int:
    """Of any length: Python refuses to read very long numbers."""
    one, other = one.lstrip("0"), other.lstrip("0")
    left, right = (len(one), one), (len(other), other)
    return (left > right) - (left < right)

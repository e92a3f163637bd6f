"""Find the file and line of a value of a ``Recipe``, by its key and the value itself.

A ``Recipe`` is merged from files and a variant, so a value may be in any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.toml import parse_toml
from atoll.recipe.language.line_numbers import find_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.base.fields import Key


def find_value_location(
    sources: Iterable[tuple[str, str]], key: str, value: object = None
) -> tuple[str, int] | None:
    """The first (file, line) where ``key`` has ``value``, else where the key or its table is.

    ``sources`` are files with their texts; lines count from 1. None if nothing matches.
    """
    nearest: tuple[int, str, int] | None = None
    wanted = tuple(key.split("."))
    for file, text in sources:
        try:
            table = parse_toml(text)
        except ValueError:
            continue
        lines = find_lines(text)
        for path, leaf in _leaves(table, ()):
            depth = _depth(path, wanted)
            if depth == len(wanted) and leaf == value and value is not None:
                return file, _line(path, lines)
            if depth and (nearest is None or depth > nearest[0]):
                nearest = depth, file, _line(path[: _length(path, depth)], lines)
    return nearest[1:] if nearest else None


def _leaves(value: object, path: Key) -> Iterator[tuple[Key, object]]:
    """Yield every value with its path; a key's name counts as a value of its table."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield path, name
            yield from _leaves(each, (*path, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _leaves(each, (*path, number))
    else:
        yield path, value


def _depth(path: Key, wanted: tuple[str, ...]) -> int:
    """How many of ``names`` the path begins with, without the names of variants and conditions."""
    names = _names(path)
    count = 0
    for name, word in zip(names, wanted, strict=False):
        if name != word:
            break
        count += 1
    return count


def _names(path: Key) -> list[str]:
    names = [part for part in path if isinstance(part, str)]
    return names[2:] if names[:1] in (["variant"], ["when"]) else names


def _length(path: Key, depth: int) -> int:
    """The length of the part of ``path`` that contains its first ``depth`` names."""
    skipped = len([part for part in path if isinstance(part, str)]) - len(_names(path))
    wanted, length = depth + skipped, 0
    for part in path:
        if wanted == 0:
            break
        length += 1
        wanted -= isinstance(part, str)
    return length


def _line(path: Key, lines: dict[Key, int]) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)

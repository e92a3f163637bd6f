"""Symbolic links of a root, followed within it: an absolute one begins at the root, and no ``..``
leads out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LINKS = 40


def follow(root: Path, path: str) -> Path:
    """Where ``path`` (from the root) is in the end; the file need not be there.

    A chain of links without an end gives the link where it was left.
    """
    rest = [part for part in path.split("/") if part][::-1]
    place: list[str] = []
    links = 0
    while rest:
        part = rest.pop()
        if part in (".", ".."):
            place = place[:-1] if part == ".." else place
            continue
        here = root.joinpath(*place, part)
        if here.is_symlink() and links < _MOST_LINKS:
            links += 1
            target = str(here.readlink())
            place = [] if target.startswith("/") else place
            rest += [each for each in target.split("/") if each][::-1]
        else:
            place.append(part)
    return root.joinpath(*place)

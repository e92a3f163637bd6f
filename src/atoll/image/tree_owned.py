"""Directories below ``/var`` whose content belongs to the tree: ``/usr/lib/atoll/tree-owned``.

One absolute path per line, sorted, each terminated by a line feed. Early boot's shell reads the
list line by line and mounts ``/usr/lib/atoll/var/…`` at each path (docs/reference/contracts.md), so
a line feed is the only separator: ``str.splitlines`` would also split at U+2028 and others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def format_tree_owned(paths: Iterable[str]) -> str:
    """The text of the list. Raises ValueError for a path that the list cannot contain."""
    listed = sorted(paths)
    for path in listed:
        if not path.startswith("/var/") or {"\n", "\r", "\0"} & set(path):
            raise ValueError(f"{path!r} cannot be tree-owned")
    return "".join(f"{path}\n" for path in listed)


def parse_tree_owned(text: str) -> tuple[str, ...]:
    """The paths of the list."""
    return tuple(line for line in text.split("\n") if line)

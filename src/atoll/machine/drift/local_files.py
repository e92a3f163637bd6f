"""Content in ``/usr/local`` and ``/opt`` that the tree does not ship."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from atoll.image.paths import ATOLL, CAPTURED
from atoll.machine.drift.model import LocalDrift, Unread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

MOST_COUNTED = 100_000
"""Files of one item that are counted."""
_FRAME = re.compile(
    r"(?:bin|etc|games|include|lib|sbin|share|src|man"
    r"|share/(?:man|man/man[1-9]|applications|fonts|icons)|share/ca-certificates"
    r"|lib/python3(?:\.[0-9]+)?|lib/python3(?:\.[0-9]+)?/dist-packages|lib/systemd"
    r"|lib/systemd/(?:system|user)|etc/[^/]+\.d)"
)
"""Directories of /usr/local that hold content of many origins: each entry is listed by itself."""


def find_local_drift(
    directory: Path, shown_as: str, shipped: Collection[str], unread: list[Unread]
) -> Iterator[LocalDrift]:
    """``directory`` is where ``shown_as`` (``/opt``, ``/usr/local``) is. ``shipped`` are paths
    relative to it that come with the tree. Empty directories are no content. What may not be read
    is added to ``unread``."""
    todo = [""]
    while todo:
        below = todo.pop(0)
        for entry in _listed(f"{directory}/{below}", f"{shown_as}/{below}".rstrip("/"), unread):
            path = f"{below}/{entry.name}" if below else entry.name
            if path in shipped or _is_atolls(entry):
                continue
            is_frame = shown_as == "/usr/local" and _FRAME.fullmatch(path) is not None
            if is_frame and entry.is_dir(follow_symlinks=False):
                todo.append(path)
                continue
            found = _count(entry, f"{shown_as}/{path}", unread)
            if found.files:
                yield found


def _is_atolls(entry: os.DirEntry[str]) -> bool:
    """Whether it is one of the links that each boot makes: to Atoll's own wrapper, or to a file of
    a captured layer."""
    if not entry.is_symlink():
        return False
    try:
        target = os.readlink(entry.path)  # noqa: PTH115  # Path would tidy it
    except OSError:
        return False
    return target.startswith((f"/{ATOLL}/", f"/{CAPTURED}/"))


def _count(top: os.DirEntry[str], shown_as: str, unread: list[Unread]) -> LocalDrift:
    files = size = 0
    todo: list[tuple[os.DirEntry[str], str]] = [(top, shown_as)]
    while todo and files < MOST_COUNTED:
        entry, path = todo.pop()
        if entry.is_dir(follow_symlinks=False):
            todo += [(each, f"{path}/{each.name}") for each in _listed(entry.path, path, unread)]
            continue
        files += 1
        try:
            size += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            files -= 1
    return LocalDrift(path=shown_as, files=files, size=size, more=bool(todo))


def _listed(directory: str, path: str, unread: list[Unread]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda each: each.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        unread.append(Unread(what=path, why=error.strerror or str(error)))
        return []

"""Paths inside of a root that others made, for programs that run outside of it.

A symbolic link in such a root leads where it would lead a process whose root it is: an absolute one
begins at the root, and ``..`` goes no higher than it. Python's own calls would follow it to
wherever it points on this machine, so each path below such a root is asked for here first. While
that path is used no program of the root runs, so nothing can change on the way.

A build mounts its roots so that the kernel follows no link in them at all (``nosymfollow``): what
forgets to ask here meets an error, not a file of the machine.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LINKS = 40
"""As many as the kernel follows."""


def in_root(root: Path, path: str | os.PathLike[str], *, follow: bool = True) -> Path:
    """Where ``path`` is that programs in ``root`` call so; it need not be there.

    No part of the result is a link, but for the last one without ``follow``: then that is the link
    itself. Raises OSError (ELOOP) where links lead round in a circle.
    """
    here = root
    depth = 0
    todo = deque(_parts(os.fspath(path)))
    links = 0
    while todo:
        part = todo.popleft()
        if part == "..":
            if depth:
                here, depth = here.parent, depth - 1
            continue
        place = here / part
        if (todo or follow) and place.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(root / path))
            target = os.fspath(place.readlink())
            if target.startswith("/"):
                here, depth = root, 0
            todo.extendleft(reversed(_parts(target)))
            continue
        here, depth = place, depth + 1
    return here


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def exists_in_root(root: Path, path: str | os.PathLike[str]) -> bool:
    """Whether programs in ``root`` find something there; a link that leads nowhere is nothing."""
    try:
        return os.path.lexists(in_root(root, path))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return False
        raise


def make_folders(root: Path, path: str | os.PathLike[str]) -> Path:
    """The directory ``path`` of ``root``, made with those above it where they are missing."""
    folder = in_root(root, path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_bytes(root: Path, path: str) -> bytes:
    """What a regular file of ``root`` holds; raises FileNotFoundError where there is none, also for
    a pipe or a device, which could be read for ever."""
    file = in_root(root, path)
    if not file.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such file", os.fspath(root / path))
    return file.read_bytes()


def read_text(root: Path, path: str, *, missing: str | None = None) -> str:
    """The same as text, bytes that are no UTF-8 kept; ``missing`` where there is no such file."""
    try:
        return read_bytes(root, path).decode(errors="surrogateescape")
    except FileNotFoundError:
        if missing is None:
            raise
        return missing


def write_text(root: Path, path: str, text: str | bytes, *, mode: int | None = None) -> Path:
    """Write a file of ``root`` anew; a link of that name goes. Folders above it are made."""
    file = in_root(root, path, follow=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink():
        file.unlink()
    file.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogateescape"))
    if mode is not None:
        file.chmod(mode)
    return file


def glob_in_root(root: Path, folder: str, pattern: str) -> list[Path]:
    """What in the directory ``folder`` of ``root`` has such a name, in order; no link is followed.

    ``pattern`` is for one level, as in ``*.conf``.
    """
    place = in_root(root, folder)
    return sorted(place.glob(pattern)) if place.is_dir() else []

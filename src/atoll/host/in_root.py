"""Resolve paths inside an untrusted root directory from outside of it.

Symbolic links are resolved as for a process chrooted into the root: absolute links start at the
root, and ``..`` stops there. Python's own calls would follow them to files of the host, so every
path below such a root is resolved here first. No program of the root runs in the meantime, so the
result cannot change before it is used.

Builds mount their roots with ``nosymfollow``: code that forgets to resolve a path here gets an
error from the kernel, never a file of the host.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LINKS = 40
"""The limit of the kernel (path_resolution(7))."""


def in_root(root: Path, path: str | os.PathLike[str], *, follow: bool = True) -> Path:
    """The host's path of what programs in ``root`` know as ``path``; it need not exist.

    The result contains no symbolic links below ``root``; without ``follow`` its last part may be
    one. Raises OSError (ELOOP) for more than 40 links.
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
        entry = here / part
        if (todo or follow) and entry.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(root / path))
            target = os.fspath(entry.readlink())
            if target.startswith("/"):
                here, depth = root, 0
            todo.extendleft(reversed(_parts(target)))
            continue
        here, depth = entry, depth + 1
    return here


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def exists_in_root(root: Path, path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` exists for programs in ``root``; a dangling link does not."""
    try:
        return os.path.lexists(in_root(root, path))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return False
        raise


def make_directories(root: Path, path: str | os.PathLike[str]) -> Path:
    """Create the directory ``path`` in ``root`` with its parents, where missing; its host path."""
    folder = in_root(root, path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_bytes(root: Path, path: str) -> bytes:
    """Read a regular file of ``root``.

    Raises FileNotFoundError if it is missing, and for a pipe or device, whose read may never end.
    """
    file = in_root(root, path)
    if not file.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such file", os.fspath(root / path))
    return file.read_bytes()


def read_text(root: Path, path: str, *, missing: str | None = None) -> str:
    """Read a text file of ``root``; returns ``missing``, if given, when there is no such file.

    Bytes that are not UTF-8 are decoded with ``surrogateescape``.
    """
    try:
        return read_bytes(root, path).decode(errors="surrogateescape")
    except FileNotFoundError:
        if missing is None:
            raise
        return missing


def write_text(root: Path, path: str, text: str | bytes, *, mode: int | None = None) -> Path:
    """Write a file of ``root``; replaces a symbolic link, and creates missing parents."""
    file = in_root(root, path, follow=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink():
        file.unlink()
    file.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogateescape"))
    if mode is not None:
        file.chmod(mode)
    return file


def glob_in_root(root: Path, folder: str, pattern: str) -> list[Path]:
    """The entries of the directory ``folder`` of ``root`` that match ``pattern``, sorted.

    ``pattern`` has one level, as in ``*.conf``. The entries may be links, which are not followed.
    """
    directory = in_root(root, folder)
    return sorted(directory.glob(pattern)) if directory.is_dir() else []

"""Local files and downloads that a recipe names: digests, copies, and the download cache.

Of local files only the content and the executable bit count, not times or owners, so a copy of the
recipe's folder gives the same tree.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NetworkError, RecipeError
from atoll.host.fs import space_errors, temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.recipe.model import Recipe

_TIME = 0
"""The modification time of copied inputs, in seconds. Scripts that need a date use
SOURCE_DATE_EPOCH."""


def digest_input(path: Path) -> str:
    """The SHA-256 (64 hex digits) of a file, or of the names, types, executable bits and contents
    of a directory. An executable file has another digest than the same file without that bit.
    Raises OSError, also for a device, a socket or a pipe in a directory."""
    if not path.is_dir():
        content = _digest_file(path)
        # The plain digest of other files stays what sha256sum prints.
        return (
            hashlib.sha256(f"executable {content}".encode()).hexdigest()
            if _is_program(path)
            else content
        )
    total = hashlib.sha256()
    for name, entry in _walk(path):
        kind = "link" if entry.is_symlink() else "directory" if entry.is_dir() else "file"
        if kind == "file" and not entry.is_file():
            raise OSError(f"{entry} is not a regular file")
        content = str(entry.readlink()) if kind == "link" else ""
        if kind == "file":
            content = f"{_is_program(entry)} {_digest_file(entry)}"
        line = f"{len(os.fsencode(name))} {name} {kind} {len(os.fsencode(content))} {content}\n"
        total.update(os.fsencode(line))
    return total.hexdigest()


def copy_input(source: Path, target: Path) -> None:
    """Copy a file or directory so that it looks the same on every computer: owned by root, with
    modes 0644 or 0755, and one modification time. Raises NoSpace or OSError."""
    with space_errors(target):
        if not source.is_dir():
            _copy_file(source, target)
            return
        target.mkdir()
        for name, entry in _walk(source):
            copy = target / name
            if entry.is_symlink():
                copy.symlink_to(entry.readlink())
                os.utime(copy, (_TIME, _TIME), follow_symlinks=False)
            elif entry.is_dir():
                copy.mkdir()
            else:
                _copy_file(entry, copy)
        for directory, _, _ in os.walk(target, topdown=False):
            os.chmod(directory, 0o755)  # noqa: PTH101
            os.utime(directory, (_TIME, _TIME))


def require_input(recipe: Recipe, name: str, key: str) -> Path:
    """The local file or directory ``name`` of the recipe. Raises RecipeError if there is none."""
    path = recipe.resolve(name)
    if not path.exists():
        raise RecipeError(
            f"{name} does not exist",
            file=recipe.file,
            key=key,
            hint="names are relative to the recipe's folder",
        )
    return path


def digest_named(recipe: Recipe, name: str, key: str) -> str:
    """``digest_input`` of the local file or directory ``name``. Raises RecipeError for ``key``."""
    try:
        return digest_input(require_input(recipe, name, key))
    except OSError as error:
        raise RecipeError(
            f"{name} cannot be read: {error.strerror or error}", file=recipe.file, key=key
        ) from error


def ensure_download(url: str, sha256: str, downloads: Path, *, offline: bool) -> Path:
    """The file with this SHA-256 in ``downloads``, fetched from ``url`` if it is missing.

    Raises NetworkError, NoSpace, or Damaged when the server sends other content.
    """
    path = downloads / sha256
    if path.exists():
        return path
    if offline:
        raise NetworkError(
            f"{url} is not in the cache, and --offline forbids fetching it",
            hint="build once without --offline",
        )
    downloads.mkdir(parents=True, exist_ok=True)
    with temporary_directory(downloads, prefix=".new-") as temporary, space_errors(downloads):
        made = temporary / "content"
        found = _fetch(url, made)
        if found != sha256:
            raise Damaged(
                f"{url} has the SHA-256 {found}, not {sha256}",
                hint="if the new content is right, write its digest into the recipe",
            )
        made.chmod(0o644)
        made.rename(path)
    return path


def _fetch(url: str, target: Path) -> str:
    """Download to ``target``, durably; the SHA-256 of the content."""
    from atoll.host.http import ByteRange, HttpClient

    total = hashlib.sha256()
    with HttpClient() as web, target.open("wb") as file:
        for chunk in web.download(url, span=ByteRange(end=web.size(url))):
            total.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return total.hexdigest()


def _walk(top: Path) -> Iterator[tuple[str, Path]]:
    """Everything below ``top``, parents first, with its name relative to it."""
    for path in sorted(top.rglob("*"), key=lambda path: path.relative_to(top).parts):
        yield str(path.relative_to(top)), path


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755 if _is_program(source) else 0o644)
    os.utime(target, (_TIME, _TIME))


def _is_program(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXUSR)

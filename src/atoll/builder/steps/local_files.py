"""What a recipe takes from the maker's machine or from the web: named by digest, seen one way.

Local files count by their content and by whether they can be executed, never by their times or
owners; so a copy of the recipe's folder gives the same tree.
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
"""What the times of copied inputs are; a script that wants one has SOURCE_DATE_EPOCH."""


def digest_input(path: Path) -> str:
    """SHA-256 (64 hex) of a file, or of a directory with all in it. Raises OSError."""
    if not path.is_dir():
        return _digest_file(path)
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
    """A file or directory as every maker's machine shows it: root's, plain modes, one time."""
    with space_errors(target):
        if not source.is_dir():
            _copy_file(source, target)
            return
        target.mkdir()
        for name, entry in _walk(source):
            place = target / name
            if entry.is_symlink():
                place.symlink_to(entry.readlink())
                os.utime(place, (_TIME, _TIME), follow_symlinks=False)
            elif entry.is_dir():
                place.mkdir()
            else:
                _copy_file(entry, place)
        for directory, _, _ in os.walk(target, topdown=False):
            os.chmod(directory, 0o755)  # noqa: PTH101
            os.utime(directory, (_TIME, _TIME))


def require_input(recipe: Recipe, name: str, key: str) -> Path:
    """The local file or directory that the recipe calls ``name``; RecipeError without one."""
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
    """``digest_input`` of what the recipe calls ``name``."""
    try:
        return digest_input(require_input(recipe, name, key))
    except OSError as error:
        raise RecipeError(
            f"{name} cannot be read: {error.strerror or error}", file=recipe.file, key=key
        ) from error


def ensure_download(url: str, sha256: str, downloads: Path, *, offline: bool) -> Path:
    """The file with this digest in ``downloads``, fetched from ``url`` when it is not there yet.

    Raises NetworkError, or Damaged when the server has something else.
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
    """SHA-256 of what was written to ``target``."""
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

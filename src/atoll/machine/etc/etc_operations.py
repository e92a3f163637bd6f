"""The operations that write an ``/etc``.

A mounted ``/etc`` is changed one name at a time, and each file is complete when it appears. An
``/etc`` that is not in use is written into a new directory, synced, and put in place by one rename.
An interrupted plan is run again from its start, which removes the unfinished directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.fs import fsync_directory, replace_file, space_errors
from atoll.host.syscalls import exchange_names, syncfs
from atoll.machine.etc.etc_tree import Entry, Kind
from atoll.machine.etc.read import read_xattrs

if TYPE_CHECKING:
    from pathlib import Path

_WHITEOUT = os.makedev(0, 0)
_CHARACTER_DEVICE = 0o020000


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    path: Path
    entry: Entry

    def describe(self) -> str:
        return f"make directory {self.path}"

    def execute(self) -> None:
        with space_errors(self.path):
            self.path.mkdir(mode=0o700)
            set_attributes(self.path, self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLeaf:
    """Create a file or symbolic link; nothing may be at ``path``."""

    path: Path
    entry: Entry

    def describe(self) -> str:
        return f"write {self.entry.kind} {self.path}"

    def execute(self) -> None:
        with space_errors(self.path):
            write_leaf(self.path, self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeWhiteout:
    """Create a whiteout, which hides the name of the lower directory of the overlay."""

    path: Path

    def describe(self) -> str:
        return f"write whiteout {self.path}"

    def execute(self) -> None:
        with space_errors(self.path):
            os.mknod(self.path, _CHARACTER_DEVICE, _WHITEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutInPlace:
    """Give ``fresh`` the name ``target``, durably.

    A directory cannot be renamed over another one, so both exchange their names: what was at
    ``target`` is then at ``fresh``.
    """

    fresh: Path
    target: Path

    def describe(self) -> str:
        return f"put {self.fresh} in place of {self.target}"

    def execute(self) -> None:
        handle = os.open(self.fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with space_errors(self.fresh):
                syncfs(handle)
        finally:
            os.close(handle)
        if self.target.exists():
            exchange_names(self.fresh, self.target)
        else:
            self.fresh.rename(self.target)
        fsync_directory(self.target.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveAside:
    """Rename ``path`` to ``aside``, so that it disappears at once."""

    path: Path
    aside: Path

    def describe(self) -> str:
        return f"move {self.path} to {self.aside}"

    def execute(self) -> None:
        if self.path.exists():
            self.path.rename(self.aside)
            fsync_directory(self.path.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFile:
    path: Path
    content: bytes

    def describe(self) -> str:
        return f"write {self.path}"

    def execute(self) -> None:
        replace_file(self.path, self.content, mode=0o600)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFile:
    path: Path

    def describe(self) -> str:
        return f"remove {self.path}"

    def execute(self) -> None:
        self.path.unlink(missing_ok=True)
        fsync_directory(self.path.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAttributes:
    path: Path
    entry: Entry

    def describe(self) -> str:
        return f"set mode, owner and attributes of {self.path}"

    def execute(self) -> None:
        set_attributes(self.path, self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceLive:
    """Write to a draft that no program reads, then rename it over the old file."""

    path: Path
    entry: Entry
    draft: Path
    """In the same mount, at a name where no program looks for its configuration."""

    def describe(self) -> str:
        return f"write {self.entry.kind} {self.path}"

    def execute(self) -> None:
        with space_errors(self.path):
            self.draft.unlink(missing_ok=True)
            try:
                write_leaf(self.draft, self.entry)
                if self.entry.kind is Kind.FILE:
                    _fsync_file(self.draft)
                self.draft.rename(self.path)
            except BaseException:
                self.draft.unlink(missing_ok=True)
                raise
            fsync_directory(self.path.parent)


def write_leaf(path: Path, entry: Entry) -> None:
    if entry.kind is Kind.SYMLINK:
        path.symlink_to(entry.content)
    else:
        content = entry.read()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    set_attributes(path, entry)
    if entry.mtime_ns is not None:
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def set_attributes(path: Path, entry: Entry) -> None:
    """Set the owner first: changing it clears capabilities and the setuid bit."""
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if entry.kind is not Kind.SYMLINK:
        path.chmod(entry.mode)
    wanted = dict(entry.xattrs)
    for name, value in read_xattrs(os.fspath(path)):
        if name not in wanted:
            os.removexattr(path, name, follow_symlinks=False)
        elif wanted[name] == value:
            del wanted[name]
    for name, value in wanted.items():
        os.setxattr(path, name, value, follow_symlinks=False)


def _fsync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

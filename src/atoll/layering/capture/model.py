"""What a program changed in the tree that it ran over, as values."""

from __future__ import annotations

import posixpath
import stat
from dataclasses import dataclass
from enum import StrEnum


class Happened(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class PathKind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"
    """A device, a socket or a pipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedPath:
    """One absolute ``path``, in Debian's layout. Of what was removed, only ``kind`` is known.

    ``owner`` and ``group`` are names, empty where an id has none; ``size`` is in bytes.
    ``capabilities`` are as getcap(8) prints them, ``xattrs`` the names of other extended
    attributes. ``link_of`` is an earlier path of the same file (a hard link). ``replaces``:
    something of another kind was there. ``package`` is what ships the path in the tree before.
    """

    path: str
    happened: Happened
    kind: PathKind
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"
    size: int = 0
    target: str = ""
    capabilities: str = ""
    xattrs: tuple[str, ...] = ()
    link_of: str = ""
    replaces: bool = False
    package: str = ""

    @property
    def parent(self) -> str:
        return posixpath.dirname(self.path)

    @property
    def is_readable_by_all(self) -> bool:
        return bool(self.mode & stat.S_IROTH)

    @property
    def privileges(self) -> str:
        """What makes it run with more rights than those of who starts it; empty if nothing."""
        if self.kind is not PathKind.FILE or self.happened is Happened.REMOVED:
            return ""
        executable = self.mode & 0o111
        words = [f"setuid {self.owner}"] if self.mode & stat.S_ISUID and executable else []
        words += [f"setgid {self.group}"] if self.mode & stat.S_ISGID and executable else []
        words += [self.capabilities] if self.capabilities else []
        return ", ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotKept:
    """A path that is not part of what is kept, and why. ``count`` paths are at and below it."""

    path: str
    why: str
    count: int = 1

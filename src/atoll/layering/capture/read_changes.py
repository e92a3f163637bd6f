"""Read what a program changed from the upper directory of its overlay.

::

    lower    the tree before, a plain directory
    upper    what the overlay wrote: whole files, whiteouts (character devices 0:0), and
             directories, which are opaque (trusted.overlay.opaque) where they hide the lower one
"""

from __future__ import annotations

import errno
import filecmp
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.layering.capture.model import CapturedPath, Happened, PathKind
from atoll.tree.capabilities import CAPABILITY, format_capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST = 50_000
"""How many changed paths are read; a program that changes more has unpacked a system."""
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_CAPABILITY = CAPABILITY.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesOfIds:
    """The accounts after the program ran, and the packages before, by the paths that they ship."""

    users: Mapping[int, str]
    groups: Mapping[int, str]
    packages: Mapping[str, str]


def read_changes(lower: Path, upper: Path, names: NamesOfIds) -> tuple[CapturedPath, ...]:
    """All changed paths, parents first, at most ``MOST`` and one more. Raises OSError."""
    reader = _Reader(names)
    found = []
    for each in reader.walk(os.fspath(lower), os.fspath(upper), ""):
        found.append(each)
        if len(found) > MOST:
            break
    return tuple(found)


@dataclass(slots=True)
class _Reader:
    names: NamesOfIds
    links: dict[tuple[int, int], str] = field(default_factory=dict)

    def walk(self, lower: str | None, upper: str, path: str) -> Iterator[CapturedPath]:
        """What is in a directory of the upper one. ``lower`` is None where all of it is new."""
        for name in sorted(os.listdir(upper)):  # noqa: PTH208  # the names are enough
            here, inner = f"{upper}/{name}", f"{path}/{name}"
            found = os.lstat(here)
            below = f"{lower}/{name}" if lower is not None else None
            before = _status(below)
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                if before is not None:
                    yield self._removed(inner, before)
                continue
            yield from self._path(here, inner, found, below, before)

    def _path(
        self,
        here: str,
        path: str,
        found: os.stat_result,
        below: str | None,
        before: os.stat_result | None,
    ) -> Iterator[CapturedPath]:
        kind = _kind(found)
        hidden = kind is PathKind.DIRECTORY and before is not None and _is_opaque(here)
        replaces = before is not None and (_kind(before) is not kind or hidden)
        if before is None or replaces or self._differs(here, found, below or "", before):
            yield self._describe(here, path, found, before=before, replaces=replaces)
        if kind is PathKind.DIRECTORY:
            yield from self.walk(None if replaces else below, here, path)

    def _describe(
        self,
        here: str,
        path: str,
        found: os.stat_result,
        *,
        before: os.stat_result | None,
        replaces: bool,
    ) -> CapturedPath:
        kind = _kind(found)
        xattrs = _xattrs(here)
        link_of = ""
        if kind is PathKind.FILE and found.st_nlink > 1:
            link_of = self.links.setdefault((found.st_dev, found.st_ino), path)
        return CapturedPath(
            path=path,
            happened=Happened.ADDED if before is None else Happened.CHANGED,
            kind=kind,
            mode=stat.S_IMODE(found.st_mode),
            owner=self.names.users.get(found.st_uid, ""),
            group=self.names.groups.get(found.st_gid, ""),
            size=found.st_size if kind is PathKind.FILE else 0,
            target=os.readlink(here) if kind is PathKind.SYMLINK else "",  # noqa: PTH115  # Path would tidy it
            capabilities=format_capabilities(xattrs[_CAPABILITY]) if _CAPABILITY in xattrs else "",
            xattrs=tuple(sorted(xattrs.keys() - {_CAPABILITY})),
            link_of="" if link_of == path else link_of,
            replaces=replaces,
            package=self.names.packages.get(path, ""),
        )

    def _removed(self, path: str, before: os.stat_result) -> CapturedPath:
        package = self.names.packages.get(path, "")
        return CapturedPath(
            path=path, happened=Happened.REMOVED, kind=_kind(before), package=package
        )

    def _differs(
        self, here: str, found: os.stat_result, below: str, before: os.stat_result
    ) -> bool:
        """Whether more than times differ: the overlay copies a file up when it is opened."""
        attributes = ("st_mode", "st_uid", "st_gid")
        if any(getattr(found, each) != getattr(before, each) for each in attributes):
            return True
        if _xattrs(here) != _xattrs(below):
            return True
        match _kind(found):
            case PathKind.FILE:
                return found.st_size != before.st_size or not filecmp.cmp(
                    here, below, shallow=False
                )
            case PathKind.SYMLINK:
                return os.readlink(here) != os.readlink(below)  # noqa: PTH115
            case PathKind.OTHER:
                return True
        return False


def _kind(found: os.stat_result) -> PathKind:
    kinds = {
        stat.S_IFREG: PathKind.FILE,
        stat.S_IFDIR: PathKind.DIRECTORY,
        stat.S_IFLNK: PathKind.SYMLINK,
    }
    return kinds.get(stat.S_IFMT(found.st_mode), PathKind.OTHER)


def _status(path: str | None) -> os.stat_result | None:
    try:
        return None if path is None else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _xattrs(path: str) -> dict[str, bytes]:
    """Those of the file itself: marks of the overlay are left out."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in names
        if ".overlay." not in name and name != "security.selinux"
    }


def _is_opaque(path: str) -> bool:
    names = os.listxattr(path)
    return any(name in names and os.getxattr(path, name) == b"y" for name in _OPAQUE)

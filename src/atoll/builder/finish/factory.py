"""The initial content of /var: factory copies in the tree, and the tmpfiles.d lines that copy them.

``/usr/lib/tmpfiles.d/atoll-factory.conf`` uses these lines of tmpfiles.d(5)::

    d  PATH MODE UID GID            an empty directory, or a parent of what other lines create
    L  PATH - UID GID - TARGET      a symbolic link
    C  PATH - - - - FACTORY/PATH    a copy, if PATH does not exist or is an empty directory
    z  PATH MODE UID GID            mode and owner that a package's own line for PATH does not set
    a  PATH - - - - ACL             access control lists, which C does not copy

For each path systemd-tmpfiles uses the first line and ignores the others. So when a package
declares a directory itself, the package's line stays (it may set an age for the content), and the
entries of the directory get lines of their own. When a package declares something else than what
the tree has at a path, Atoll's line must come first: it goes into a file that is read before all
others.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.builder.finish.acl import ACL_NAMES, format_acl
from atoll.builder.finish.tmpfiles import Declared, quote_path, quote_rest
from atoll.image import paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FACTORY = f"/{paths.FACTORY}"
_COPY_DEPTH = 3
"""A directory such as /var/lib/NAME belongs to one program and is copied as a whole. Its parents
are created one by one."""
_ROOTS_HOME = "/var/root"
"""Early boot creates it if it is missing, so its copy must set the mode."""
_GLOB = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]", "\\": "\\\\"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A tmpfiles.d line. ``mode``, ``uid`` and ``gid`` are None for ``-``.

    ``first``: it must be read before the lines of packages.
    """

    kind: str
    path: str
    argument: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    first: bool = False


def plan_seeds(
    factory_var: Path,
    mount_points: Iterable[str],
    declared: Mapping[str, Declared] | None = None,
) -> Iterator[Seed]:
    """The lines that fill ``/var`` with the content of the directory ``factory_var``.

    No copied directory contains one of ``mount_points``: early boot creates those before
    systemd-tmpfiles runs, so the directory would not be empty, and nothing would be copied.
    ``declared`` are the paths that tmpfiles.d files of packages create.
    """
    planner = _Planner(factory_var, frozenset(_parents(mount_points)), declared or {})
    yield from planner.below(factory_var, "/var", 1)


def format_seeds(seeds: Iterable[Seed]) -> str:
    """The text of a tmpfiles.d file."""
    lines = ["# What state starts as. Copies are made once; afterwards it is the machine's."]
    return "\n".join([*lines, *map(_line, seeds)]) + "\n"


@dataclass(frozen=True, slots=True)
class _Planner:
    factory_var: Path
    above: frozenset[str]
    declared: Mapping[str, Declared]

    def below(self, directory: Path, path: str, depth: int) -> Iterator[Seed]:
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            var_path = f"{path}/{entry.name}"
            if entry.is_symlink():
                yield from self._link(var_path, directory / entry.name)
            elif not entry.is_dir(follow_symlinks=False) or self._is_copied(
                var_path, depth + 1, entry.path
            ):
                yield from self._copy(var_path, directory / entry.name)
            else:
                yield from self._directory(var_path, directory / entry.name)
                yield from self.below(directory / entry.name, var_path, depth + 1)

    def _link(self, var_path: str, link: Path) -> Iterator[Seed]:
        target, status = str(link.readlink()), link.lstat()
        theirs = self.declared.get(var_path)
        if theirs is None or not theirs.makes_link(var_path, target):
            owned = bool(status.st_uid or status.st_gid)
            yield Seed(
                kind="L",
                path=var_path,
                argument=target,
                first=theirs is not None,
                uid=status.st_uid if owned else None,
                gid=status.st_gid if owned else None,
            )

    def _copy(self, var_path: str, source: Path) -> Iterator[Seed]:
        theirs = self.declared.get(var_path)
        if theirs is None or not theirs.forced:
            mode = stat.S_IMODE(source.stat().st_mode) if var_path == _ROOTS_HOME else None
            yield Seed(
                kind="C",
                path=var_path,
                argument=FACTORY + var_path,
                mode=mode,
                first=theirs is not None,
            )
        yield from self._acls(var_path, source)

    def _directory(self, var_path: str, directory: Path) -> Iterator[Seed]:
        status = directory.stat()
        mode = stat.S_IMODE(status.st_mode)
        theirs = self.declared.get(var_path)
        seed = Seed(
            kind="d",
            path=var_path,
            mode=mode,
            uid=status.st_uid,
            gid=status.st_gid,
            first=theirs is not None,
        )
        if theirs is None or not theirs.is_directory:
            yield seed
        elif (mode, status.st_uid, status.st_gid) != (0o755, 0, 0) and theirs.leaves_open:
            yield Seed(
                kind="z",
                path=var_path.translate(_GLOB),
                mode=None if theirs.mode else mode,
                uid=None if theirs.user else status.st_uid,
                gid=None if theirs.group else status.st_gid,
            )
        yield from self._acls(var_path, directory, deep=False)

    def _is_copied(self, var_path: str, depth: int, path: str) -> bool:
        theirs = self.declared.get(var_path)
        if var_path in self.above or (theirs is not None and theirs.is_directory):
            return False
        return (depth >= _COPY_DEPTH or var_path == _ROOTS_HOME) and _has_content(path)

    def _acls(self, var_path: str, source: Path, *, deep: bool = True) -> Iterator[Seed]:
        """Lines for the ACLs of ``source``, and with ``deep`` of everything in it: a ``C`` line
        does not copy them."""
        found = [source]
        if deep and source.is_dir():
            found += sorted(path for path in source.rglob("*") if not path.is_symlink())
        for path in found:
            names = set(os.listxattr(path)) & ACL_NAMES.keys()
            if names:
                text = ",".join(
                    format_acl(os.getxattr(path, name), prefix=ACL_NAMES[name])
                    for name in sorted(names)
                )
                where = var_path + str(path)[len(str(source)) :]
                yield Seed(kind="a", path=where.translate(_GLOB), argument=text)


def _has_content(directory: str) -> bool:
    """Whether it contains, at any depth, something that is not a directory. A symbolic link to a
    directory counts as content."""
    with os.scandir(directory) as entries:
        return any(
            not entry.is_dir(follow_symlinks=False) or _has_content(entry.path) for entry in entries
        )


def _parents(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        while path != "/var":
            path = path.rpartition("/")[0]
            yield path


def _line(seed: Seed) -> str:
    mode = "-" if seed.mode is None else f"{seed.mode:04o}"
    uid = "-" if seed.uid is None else str(seed.uid)
    gid = "-" if seed.gid is None else str(seed.gid)
    words = [seed.kind, quote_path(seed.path), mode, uid, gid, "-"]
    return " ".join(words if seed.argument is None else [*words, quote_rest(seed.argument)])

"""What state starts as: the factory copies in a tree and the tmpfiles.d lines that lay them out.

``/usr/lib/tmpfiles.d/atoll-factory.conf`` uses three kinds of lines of tmpfiles.d(5)::

    d  PATH MODE UID GID            an empty directory, and those above the others
    L  PATH - - - - TARGET          a symbolic link
    C  PATH - - - - FACTORY/PATH    a copy, only where there is nothing or an empty directory yet

A place that tmpfiles.d files of packages create already is left to them, for their lines may say
how old its content may grow.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FACTORY = "/usr/lib/atoll/factory"
_COPY_DEPTH = 3
"""Places such as /var/lib/NAME are one program's and are copied whole; above are directories."""
_ROOTS_HOME = "/var/root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One line. ``mode``, ``uid`` and ``gid`` None leave the field open (``-``)."""

    kind: str
    path: str
    argument: str = "-"
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def plan_seeds(factory_var: Path, mount_points: Iterable[str]) -> Iterator[Seed]:
    """The lines that make ``/var`` what the directory ``factory_var`` holds.

    No copy covers any of ``mount_points``: early boot has made those before tmpfiles looks, so a
    copy of a directory above would find it there and leave out the rest.
    """
    yield from _seeds_below(factory_var, "/var", 1, frozenset(_parents(mount_points)))


def format_seeds(seeds: Iterable[Seed], declared: Iterable[str]) -> str:
    """The tmpfiles.d file, without the paths that other such files have ``declared``."""
    others = set(declared)
    lines = ["# What state starts as. Copies are made once; afterwards it is the machine's."]
    lines += [_line(seed) for seed in seeds if seed.kind == "C" or seed.path not in others]
    return "\n".join(lines) + "\n"


def parse_declared(text: str) -> Iterator[str]:
    """The paths that a tmpfiles.d file creates."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0][0] in "dDvqQL":
            yield words[1].rstrip("/")


def _seeds_below(directory: Path, path: str, depth: int, above: frozenset[str]) -> Iterator[Seed]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        place = f"{path}/{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if entry.is_symlink():
            yield Seed(kind="L", path=place, argument=str((directory / entry.name).readlink()))
        elif not entry.is_dir() or (
            _is_copied(place, depth + 1) and place not in above and _has_content(entry.path)
        ):
            yield Seed(kind="C", path=place, argument=FACTORY + place)
        else:
            yield Seed(
                kind="d",
                path=place,
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
            )
            yield from _seeds_below(directory / entry.name, place, depth + 1, above)


def _is_copied(place: str, depth: int) -> bool:
    return depth >= _COPY_DEPTH or place == _ROOTS_HOME


def _has_content(directory: str) -> bool:
    return any(files for _, _, files in os.walk(directory))


def _parents(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        while path != "/var":
            path = path.rpartition("/")[0]
            yield path


def _line(seed: Seed) -> str:
    mode = "-" if seed.mode is None else f"{seed.mode:04o}"
    uid = "-" if seed.uid is None else str(seed.uid)
    gid = "-" if seed.gid is None else str(seed.gid)
    argument = seed.argument.replace("%", "%%")
    words = [seed.kind, seed.path.replace("%", "%%"), mode, uid, gid, "-"]
    return " ".join([*words, argument] if argument != "-" else words)

"""The build cache: results of earlier builds, by the digest of everything that decided them.

::

    <store>/cache/
      lock             held by the build that uses the cache
      apt/ debs/       see debian/sources.py and debian/bootstrap.py
      roots/<id>/      a first root, or the checked-out tree of a base
      steps/<id>/      the changes of a step: the upper directory of its overlay
      initrds/<id>     an initrd
      results/<id>.json     the tree that a finished build gave
      known/<id>       digests of files in cached roots and steps (store/stat_cache.py)
      uses/KIND/NAME   the time of last use (its mtime) and the size of an entry
      logs/<step>.log  the last output of a step's programs
      .new-*/          temporary files of a build; the next build removes what is left

An entry gets its name when it is complete and durable. The id of an entry covers the ids of its
inputs, so an entry never becomes wrong, only unused. At the end of a build, entries that were not
used for ``KEPT.days`` are removed, then the least recently used ones until all take at most
``KEPT.size``. What this build used stays, whatever its size. Packages (debs/) always stay: a lock
may need one that no mirror has any more.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.host.fs import (
    locked,
    make_directory,
    remove_tree,
    restrict_to_owner,
    space_errors,
    temporary_directory,
)
from atoll.host.mount import Overlay, overlay_mounted
from atoll.host.syscalls import syncfs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_NEW = ".new-"
_KINDS = ("roots", "steps", "initrds", "results", "known")
_DAY = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``size`` is in bytes on disk, of all entries together."""

    days: int
    size: int


KEPT = Limits(days=60, size=64 << 30)
"""Enough for some desktops with all their variants; a build server rarely needs more."""
KEPT_ON_MACHINE = Limits(days=30, size=1 << 30)
"""On a machine that builds for itself: what the last build used, for the next one on the same
image. An unpacked image takes as much as the system, so earlier ones must not stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """An entry of the cache: its ``size`` in bytes, and when it was last ``used``, in seconds."""

    kind: str
    name: str
    size: int
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    root: Path

    @property
    def debs(self) -> Path:
        return self.root / "debs"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def downloads(self) -> Path:
        """Downloaded files, by their SHA-256."""
        return self.root / "files"

    def path(self, kind: str, name: str) -> Path:
        """The path of an entry, whether it exists or not; ``kind`` is one of ``_KINDS``."""
        return self.root / kind / name

    def find(self, kind: str, name: str) -> Path | None:
        """The entry, if it exists; it counts as used now."""
        path = self.path(kind, name)
        if not path.exists():
            return None
        self._mark(kind, name)
        return path

    def keep(self, made: Path, kind: str, name: str) -> Path:
        """Sync ``made``, then rename it to its place in the cache, which is returned."""
        path = self.path(kind, name)
        handle = os.open(self.root, os.O_RDONLY)
        try:
            syncfs(handle)
            made.rename(path)
        finally:
            os.close(handle)
        self._mark(kind, name)
        return path

    def keep_bytes(self, content: bytes, kind: str, name: str) -> Path:
        """``keep`` for a file with this content."""
        made = self.root / f"{_NEW}{kind}-{name}"
        made.write_bytes(content)
        return self.keep(made, kind, name)

    def uses(self) -> Iterator[CacheEntry]:
        """All entries. The size of a new entry is measured and recorded."""
        for kind in _KINDS:
            for path in (self.root / kind).iterdir():
                mark = self.root / "uses" / kind / path.name
                if not mark.exists():
                    self._mark(kind, path.name)
                text = mark.read_text()
                used = mark.stat().st_mtime
                if not text.isdigit():
                    text = str(_measure(path))
                    mark.write_text(text)
                    os.utime(mark, (used, used))
                yield CacheEntry(kind=kind, name=path.name, size=int(text), used=used)

    def forget(self, use: CacheEntry) -> None:
        remove_tree(self.path(use.kind, use.name))
        (self.root / "uses" / use.kind / use.name).unlink(missing_ok=True)

    def _mark(self, kind: str, name: str) -> None:
        (self.root / "uses" / kind / name).touch()


def make_id(*parts: str | int | None) -> str:
    """The id of ``parts``, in this order: 32 hex digits of a SHA-256."""
    text = "\0".join(f"{len(str(part))}:{part}" for part in parts)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


@contextmanager
def opened_cache(root: Path, limits: Limits = KEPT) -> Iterator[Cache]:
    """Open the cache in ``root``, and lock it while the context lasts.

    Raises Busy, NoSpace, or Refused when it belongs to another user: the owners of files in its
    roots would be wrong.
    """
    cache = Cache(root=root)
    with space_errors(root):
        make_directory(root, mode=0o700)
        if root.stat().st_uid != os.geteuid():
            raise Refused(
                f"the cache in {root} belongs to another user",
                hint="build as that user, or choose another --store DIR",
            )
        restrict_to_owner(root)
        uses = (f"uses/{kind}" for kind in _KINDS)
        for name in ("apt", "debs", "logs", *_KINDS, *uses):
            (root / name).mkdir(parents=True, exist_ok=True)
        with locked(root / "lock", what=f"the cache in {root}"):
            # Files in roots belong to many ids: only root, also of a user namespace, can remove
            # them.
            removes = os.geteuid() == 0
            if removes:
                _remove_leftovers(root)
            started = time.time()
            yield cache
            if removes:
                for use in plan_trim(cache.uses(), limits, now=time.time(), started=started):
                    cache.forget(use)


def plan_trim(
    uses: Iterable[CacheEntry], limits: Limits, *, now: float, started: float
) -> tuple[CacheEntry, ...]:
    """The entries to remove: those that are too old, then the least recently used ones beyond the
    size limit. What was used since ``started`` stays. Times are in seconds.
    """
    total, removed = 0, []
    for use in sorted(uses, key=lambda use: use.used, reverse=True):
        total += use.size
        old = now - use.used > limits.days * _DAY
        if use.used < started and (old or total > limits.size):
            total -= use.size
            removed.append(use)
    return tuple(removed)


@contextmanager
def step_mounted(cache: Cache, lowers: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Mount an overlay on ``lowers`` (topmost first): its root, and its upper directory.

    The upper directory is removed afterwards, unless the caller has moved it into the cache.
    """
    with temporary_directory(cache.root, prefix=_NEW) as temporary:
        for name in ("upper", "work", "root"):
            (temporary / name).mkdir()
        overlay = Overlay(
            base=cache.root,
            lowers=tuple(str(path.relative_to(cache.root)) for path in lowers),
            upper=f"{temporary.name}/upper",
            work=f"{temporary.name}/work",
        )
        (temporary / "upper").chmod(0o755)
        with overlay_mounted(overlay, temporary / "root", follow_links=False) as root:
            yield root, temporary / "upper"


def _remove_leftovers(root: Path) -> None:
    for directory in (root, root / "roots", root / "apt", root / "known"):
        for path in directory.glob(_NEW + "*"):
            remove_tree(path)


def _measure(path: Path) -> int:
    """Bytes on disk below ``path``; a hard-linked file counts once."""
    seen: dict[tuple[int, int], int] = {}
    todo = [path]
    while todo:
        status = os.lstat(here := todo.pop())
        seen[status.st_dev, status.st_ino] = status.st_blocks * 512
        if here.is_dir() and not here.is_symlink():
            todo += here.iterdir()
    return sum(seen.values())

"""What a build keeps for the next one, by the digest of everything that decided it.

::

    <store>/cache/
      lock             held while a build works here
      apt/ debs/       see debian/sources.py and debian/bootstrap.py
      roots/<id>/      a first root, or the tree of an image that others are derived from
      steps/<id>/      what a step changed: the upper directory of its overlay
      initrds/<id>     an initrd
      results/<id>.json     which tree a finished build gave
      known/<id>       what the files of kept roots and steps hold (store/stat_cache.py)
      uses/KIND/NAME   when an entry was used last (its own time), and how many bytes it has
      logs/<step>.log  what a step's programs said the last time
      .new-*/          what a build is at; a leftover goes away when the next one starts

An entry has its name only when it is complete and durable. The id of an entry covers the id of what
it was made from, so entries that fit nothing any more are only ever garbage. What no build has used
for ``KEPT.days`` goes away, and the oldest while all together have more than ``KEPT.size``; what
the last build used stays whatever its size. Packages (debs/) always stay: a lock may need one that
no mirror has any more.
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
    """``size`` is in bytes of the disk, over all entries."""

    days: int
    size: int


KEPT = Limits(days=60, size=64 << 30)
"""Room for some desktops with all their variants and steps; a build server rarely needs more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """An entry of the cache: its ``size`` in bytes, and when it was used, in seconds."""

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
        """Files of the web by their SHA-256."""
        return self.root / "files"

    def place(self, kind: str, name: str) -> Path:
        """Where the entry ``name`` of a kind of entry is, or would be."""
        return self.root / kind / name

    def find(self, kind: str, name: str) -> Path | None:
        """The entry, when it is there; it counts as used now."""
        path = self.place(kind, name)
        if not path.exists():
            return None
        self._mark(kind, name)
        return path

    def keep(self, made: Path, kind: str, name: str) -> Path:
        """Give what was made its name, once it is durable."""
        path = self.place(kind, name)
        handle = os.open(self.root, os.O_RDONLY)
        try:
            syncfs(handle)
            made.rename(path)
        finally:
            os.close(handle)
        self._mark(kind, name)
        return path

    def keep_bytes(self, content: bytes, kind: str, name: str) -> Path:
        made = self.root / f"{_NEW}{kind}-{name}"
        made.write_bytes(content)
        return self.keep(made, kind, name)

    def uses(self) -> Iterator[CacheEntry]:
        """Every entry. One that nobody has measured yet is measured now."""
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
        remove_tree(self.place(use.kind, use.name))
        (self.root / "uses" / use.kind / use.name).unlink(missing_ok=True)

    def _mark(self, kind: str, name: str) -> None:
        (self.root / "uses" / kind / name).touch()


def make_id(*parts: str | int | None) -> str:
    """One name for all of ``parts``, in this order."""
    text = "\0".join(f"{len(str(part))}:{part}" for part in parts)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


@contextmanager
def opened_cache(root: Path, limits: Limits = KEPT) -> Iterator[Cache]:
    """The cache in ``root``, ours alone while the context lasts.

    Raises Busy, NoSpace, or Refused when another user made it: owners in its roots would be wrong.
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
            # What builds leave may belong to ids that only root can remove, here or in a namespace.
            tidies = os.geteuid() == 0
            if tidies:
                _remove_leftovers(root)
            started = time.time()
            yield cache
            if tidies:
                for use in plan_trim(cache.uses(), limits, now=time.time(), started=started):
                    cache.forget(use)


def plan_trim(
    uses: Iterable[CacheEntry], limits: Limits, *, now: float, started: float
) -> tuple[CacheEntry, ...]:
    """What is to go: what is too old, then the oldest of what is too much.

    What was used since ``started`` stays. Times are in seconds.
    """
    total, gone = 0, []
    for use in sorted(uses, key=lambda use: use.used, reverse=True):
        total += use.size
        old = now - use.used > limits.days * _DAY
        if use.used < started and (old or total > limits.size):
            total -= use.size
            gone.append(use)
    return tuple(gone)


@contextmanager
def step_mounted(cache: Cache, lowers: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """A root over ``lowers`` (topmost first), and the directory where its changes land.

    Unless the caller has kept them, the changes are gone afterwards.
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
    """Bytes of the disk below ``path``; a file with several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    todo = [path]
    while todo:
        status = os.lstat(here := todo.pop())
        seen[status.st_dev, status.st_ino] = status.st_blocks * 512
        if here.is_dir() and not here.is_symlink():
            todo += here.iterdir()
    return sum(seen.values())

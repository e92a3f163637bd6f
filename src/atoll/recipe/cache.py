"""What a build keeps for the next one, by the digest of everything that decided it.

::

    <store>/cache/
      lock             held while a build works here
      apt/ roots/ debs/     see debian/sources.py and debian/bootstrap.py
      steps/<id>/      what a step changed: the upper directory of its overlay
      initrds/<id>     an initrd
      results/<id>.json     which tree a finished build gave, and what its image is called
      logs/<step>.log  what a step's programs said the last time
      .new-*/          what a build is at; a leftover goes away when the next one starts

An entry has its name only when it is complete and durable. The id of an entry covers the id of what
it was made from, so entries that fit nothing any more are only ever garbage; the oldest go away.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.files import locked, remove_tree, space_errors, temporary_directory
from atoll.host.kernel import syncfs
from atoll.host.mount import Overlay, overlay_mounted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_NEW = ".new-"
_KEPT = {"roots": 3, "steps": 6, "initrds": 12, "results": 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    root: Path

    @property
    def debs(self) -> Path:
        return self.root / "debs"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def place(self, kind: str, name: str) -> Path:
        """Where the entry ``name`` of a kind of entry is, or would be."""
        return self.root / kind / name

    def find(self, kind: str, name: str) -> Path | None:
        """The entry, when it is there; it counts as used now."""
        path = self.place(kind, name)
        if not path.exists():
            return None
        os.utime(path)
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
        return path


def make_id(*parts: str | int | None) -> str:
    """One name for all of ``parts``, in this order."""
    text = "\0".join(f"{len(str(part))}:{part}" for part in parts)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened_cache(root: Path) -> Iterator[Cache]:
    """The cache in ``root``, ours alone while the context lasts; raises Busy, NoSpace."""
    cache = Cache(root=root)
    with space_errors(root):
        for name in ("", "apt", "debs", "logs", *_KEPT):
            (root / name).mkdir(parents=True, exist_ok=True)
        with locked(root / "lock", what=f"the cache in {root}"):
            _remove_leftovers(root)
            yield cache
            for kind, count in _KEPT.items():
                _trim(root / kind, count)


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
        with overlay_mounted(overlay, temporary / "root") as root:
            yield root, temporary / "upper"


def _remove_leftovers(root: Path) -> None:
    for directory in (root, root / "roots", root / "apt"):
        for path in directory.glob(_NEW + "*"):
            remove_tree(path)


def _trim(directory: Path, count: int) -> None:
    found = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[count:]:
        remove_tree(path)

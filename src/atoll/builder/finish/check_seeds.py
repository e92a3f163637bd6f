"""Which factory copies the tmpfiles.d files of a finished tree lay out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.builder.finish.factory import FACTORY
from atoll.builder.finish.image_layout import read_declared

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SeededPaths:
    """``copied``: paths below /var with all that is in them; ``made``: single ones."""

    copied: frozenset[str]
    made: frozenset[str]

    @staticmethod
    def read(root: Path) -> SeededPaths:
        declared = read_declared(root)
        copied = (path for path, line in declared.items() if line.argument == FACTORY + path)
        return SeededPaths(frozenset(copied), frozenset(declared))

    def covers(self, place: str) -> bool:
        """Whether ``place`` of a tree comes into a machine's /var, when it is a factory copy."""
        if not place.startswith(f"{FACTORY}/"):
            return True
        path = place[len(FACTORY) :]
        if path in self.made:
            return True
        while path not in ("", "/"):
            if path in self.copied:
                return True
            path = path.rpartition("/")[0]
        return False

"""Which factory copies the tmpfiles.d files of a finished root create on a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.builder.finish.factory import FACTORY
from atoll.builder.finish.image_layout import read_declared

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SeededPaths:
    """Paths below /var that tmpfiles.d creates: ``copied`` ones are copied from the factory with
    all their content; ``made`` has every path that any line creates."""

    copied: frozenset[str]
    made: frozenset[str]

    @staticmethod
    def read(root: Path) -> SeededPaths:
        declared = read_declared(root)
        copied = (path for path, line in declared.items() if line.argument == FACTORY + path)
        return SeededPaths(frozenset(copied), frozenset(declared))

    def covers(self, path_in_tree: str) -> bool:
        """Whether machines get the file at ``path_in_tree``: a factory copy needs a line that
        copies it; any other path is part of the tree itself."""
        if not path_in_tree.startswith(f"{FACTORY}/"):
            return True
        path = path_in_tree[len(FACTORY) :]
        if path in self.made:
            return True
        while path not in ("", "/"):
            if path in self.copied:
                return True
            path = path.rpartition("/")[0]
        return False

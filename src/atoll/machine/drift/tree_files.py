"""Files of a deployment's tree: as they are mounted on the running machine, or from its image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from atoll.host.fs import OWN_LIMIT, is_absent, list_names, read_regular
from atoll.image.read_file import read_content
from atoll.store.tree_images import read_image_bytes
from atoll.tree.erofs_reader import parse_below
from atoll.tree.model import Directory, Regular, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store


class TreeFiles(Protocol):
    """Paths are relative to the root of the tree."""

    def read(self, path: str) -> bytes | None:
        """The content of a regular file; None if there is none. Raises OSError or Damaged."""

    def read_all(self, path: str, suffix: str) -> Iterator[tuple[str, bytes]]:
        """Name and content of the files in a directory whose names end with ``suffix``."""

    def names_below(self, path: str, *, directories: bool = True) -> frozenset[str]:
        """All names below a directory, relative to it, and at any depth; without ``directories``
        only those of files, links and the like."""


@dataclass(frozen=True, slots=True)
class MountedTree:
    """The tree that runs, at ``root``."""

    root: Path = Path("/")

    def read(self, path: str) -> bytes | None:
        try:
            return read_regular(self.root / path, limit=OWN_LIMIT)
        except OSError as error:
            if is_absent(error):
                return None
            raise

    def read_all(self, path: str, suffix: str) -> Iterator[tuple[str, bytes]]:
        for name in list_names(self.root / path):
            if name.endswith(suffix):
                yield name, read_regular(self.root / path / name, limit=OWN_LIMIT)

    def names_below(self, path: str, *, directories: bool = True) -> frozenset[str]:
        top = self.root / path
        return frozenset(
            os.path.relpath(f"{folder}/{name}", top)
            for folder, folders, files in os.walk(top)
            for name in (*folders, *files)
            if directories or name in files or Path(folder, name).is_symlink()
        )


@dataclass(frozen=True)
class ImageTree:
    """A tree of a store."""

    store: Store
    tree: TreeId

    @cached_property
    def _image(self) -> bytes:
        return read_image_bytes(self.store, self.tree)

    def read(self, path: str) -> bytes | None:
        node = parse_below(self._image, path.encode())
        return read_content(self.store, node, path) if isinstance(node, Regular) else None

    def read_all(self, path: str, suffix: str) -> Iterator[tuple[str, bytes]]:
        node = parse_below(self._image, path.encode())
        for name, child in sorted(node.entries.items()) if isinstance(node, Directory) else ():
            if isinstance(child, Regular) and os.fsdecode(name).endswith(suffix):
                yield os.fsdecode(name), read_content(self.store, child, f"{path}/{name!r}")

    def names_below(self, path: str, *, directories: bool = True) -> frozenset[str]:
        node = parse_below(self._image, path.encode())
        if not isinstance(node, Directory):
            return frozenset()
        return frozenset(
            os.fsdecode(name[1:])
            for name, each in walk(node)
            if name != b"/" and (directories or not isinstance(each, Directory))
        )

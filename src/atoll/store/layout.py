"""The layout of a store on disk; the same for builders' stores and a sysroot's ``atoll/``.

::

    ROOT/
      store-format          "1\\n": the version of this layout; written last at creation
      store-lock            flock: shared while adding, exclusive while removing
      objects/ab/cdef…      the content of one regular file, named by its fs-verity SHA-256 digest
                            (2 and 62 hex digits); mode 0444, with fs-verity if supported
      images/<tree digest>  one composefs image, format 1, named by its own fs-verity digest; 0444
      refs/NAME.json        a named root: the tree that NAME refers to, with the image's name
      staging/<random>/     files that are being written; leftovers are removed when the next
                            operation starts and no other runs

Only the owner may enter the directories in ``PRIVATE``, and the store itself if Atoll created its
directory: objects may come from files with mode 0600, and a build's root has setuid programs.

A name below ``objects`` or ``images`` appears only when its content is durable, so an existing name
is complete even after a power failure. Names are never reused for other content.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, MissingPrivilege, NotFound
from atoll.host.fs import (
    make_directory,
    read_if_there,
    replace_file,
    restrict_to_owner,
    space_errors,
)

if TYPE_CHECKING:
    from atoll.base.ids import ObjectId, TreeId

FORMAT = b"1\n"
FORMAT_NAME = "store-format"
PRIVATE = ("objects", "images", "refs", "staging", "layers", "downloads", "cache")
"""Directories of stores, pulls and builds that only the owner may enter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A directory with objects, images and refs; created by ``open_store`` only."""

    root: Path

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def refs(self) -> Path:
        return self.root / "refs"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def lock(self) -> Path:
        return self.root / "store-lock"

    def object_path(self, name: ObjectId) -> Path:
        """The file of an object, whether it exists or not."""
        return self.objects / name[:2] / name[2:]

    def image_path(self, tree: TreeId) -> Path:
        """The file of a tree image, whether it exists or not."""
        return self.images / tree


def default_store_root() -> Path:
    """The default of ``--store`` for builds: in the user's data directory (XDG_DATA_HOME)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "atoll"


def open_store(root: Path, *, create: bool = False) -> Store:
    """Open the store in ``root``; ``create`` makes a new one if there is none.

    Raises NotFound, Damaged (another format), MissingPrivilege or NoSpace.
    """
    marker = root / FORMAT_NAME
    try:
        found = read_if_there(marker)
    except PermissionError as error:
        raise forbidden(f"cannot read the store in {root}", error) from error
    if found is None:
        if not create:
            raise NotFound(
                f"there is no store in {root}", hint="set its directory with --store DIR"
            )
        return _create_store(root)
    if found != FORMAT:
        raise Damaged(
            f"{marker} says {found[:20]!r}: this version of Atoll supports only store format"
            f" {FORMAT!r}",
            hint="use the version of Atoll that created the store, or another --store DIR",
        )
    for name in PRIVATE:
        restrict_to_owner(root / name)
    return Store(root=root)


def _create_store(root: Path) -> Store:
    store = Store(root=root)
    objects = os.fspath(store.objects)
    try:
        with space_errors(root):
            if not root.is_dir() or not any(root.iterdir()):
                make_directory(root, mode=0o700)
                restrict_to_owner(root)
            for name in PRIVATE:
                restrict_to_owner(root / name)
            for path in (store.objects, store.images, store.refs, store.staging):
                make_directory(path, mode=0o700)
            for number in range(256):
                _make_shard(f"{objects}/{number:02x}")
            replace_file(root / FORMAT_NAME, FORMAT)
    except PermissionError as error:
        raise forbidden(f"cannot create a store in {root}", error) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise NotFound(
            f"cannot create a store in {root}: {error.filename} is not a directory",
            hint="choose another --store DIR",
        ) from error
    return store


def _make_shard(path: str) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def forbidden(what: str, error: OSError) -> MissingPrivilege:
    """The error for a store that the user may not access."""
    return MissingPrivilege(
        f"{what}: {error.strerror}", hint="try again with sudo, or choose another --store DIR"
    )

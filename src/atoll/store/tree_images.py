"""Tree images: each tree is a composefs image, named by its digest, that refers to its objects."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound
from atoll.base.ids import TreeId, is_hex_digest
from atoll.host.fs import (
    displace_stray,
    fsync_directory,
    open_regular,
    read_at_most,
    read_regular,
    space_errors,
)
from atoll.host.syscalls import measure_verity
from atoll.store.lock import adding
from atoll.store.objects import OBJECT_MODE, seal_file, staging_directory
from atoll.tree.erofs_reader import parse_below, parse_image
from atoll.tree.erofs_writer import format_image
from atoll.tree.verity import verity_digest

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.store.layout import Store
    from atoll.tree.model import Directory, Node

IMAGE_FORMAT = 1
"""The composefs format of every image in a store."""
IMAGE_LIMIT = 1 << 30
"""Bytes of an image. It has only metadata, some hundred bytes for each file."""


def write_image(store: Store, tree: Directory) -> TreeId:
    """Write ``tree`` durably; its objects must be in the store already.

    The image is read back and verified before it gets its name. Raises Damaged, NoSpace or Busy.
    """
    return write_image_bytes(store, format_image(tree, version=IMAGE_FORMAT))


def write_image_bytes(store: Store, data: bytes | bytearray) -> TreeId:
    """Like ``write_image``, for a tree that is already a composefs image."""
    name = TreeId(verity_digest(data))
    with space_errors(store.root), adding(store), staging_directory(store) as staging:
        displace_stray(store.image_path(name), stat.S_IFREG)
        if not _is_intact(store.image_path(name), name):
            path = staging / name
            _write_durably(path, data)
            if not _is_intact(path, name):
                raise Damaged(
                    f"image {name} was read back with other content than was written to"
                    f" {store.root}",
                    hint="memory or disk is failing: see journalctl -k",
                )
            os.rename(path, store.image_path(name))
        fsync_directory(store.images)
    return name


def read_image(store: Store, name: TreeId) -> Directory:
    """The tree ``name``. Raises NotFound, or Damaged if its digest is wrong."""
    return parse_image(read_image_bytes(store, name))


def read_below(store: Store, name: TreeId, path: str) -> Node | None:
    """The node at ``path`` of the tree ``name``, relative to its root; None if there is none.

    Does not parse the whole image. Raises NotFound or Damaged.
    """
    return parse_below(read_image_bytes(store, name), path.encode())


def read_image_bytes(store: Store, name: TreeId) -> bytes:
    """The composefs image of the tree ``name``, its digest checked. Raises NotFound or Damaged."""
    try:
        data = read_regular(store.image_path(name), limit=IMAGE_LIMIT)
    except FileNotFoundError as error:
        raise NotFound(
            f"no tree {name} in the store {store.root}", hint="see: atoll store list"
        ) from error
    except OSError as error:
        raise _damaged(store, name, error.strerror or str(error)) from error
    except Damaged as error:
        raise _damaged(store, name, error.message) from error
    if TreeId(verity_digest(data)) != name:
        raise _damaged(store, name, "its content does not match its name")
    return data


def list_images(store: Store) -> tuple[TreeId, ...]:
    """The digests of all trees in the store, sorted."""
    return tuple(TreeId(name) for name in sorted(os.listdir(store.images)) if is_hex_digest(name))


def _damaged(store: Store, name: TreeId, why: str) -> Damaged:
    return Damaged(f"image {name} in {store.root}: {why}", hint="build or pull the image again")


def _write_durably(path: Path, data: bytes | bytearray) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    seal_file(os.fspath(path))
    # Sealing adds the Merkle tree and changes the mode: these must be durable too.
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _is_intact(path: Path, name: TreeId) -> bool:
    try:
        with open_regular(path) as file:
            if (os.fstat(file.fileno()).st_mode & 0o7777) != OBJECT_MODE:
                return False
            sealed = measure_verity(file.fileno())
            data = read_at_most(file, IMAGE_LIMIT)
            return sealed in (None, name) and TreeId(verity_digest(data)) == name
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False

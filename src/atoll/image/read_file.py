"""Read single files of a tree in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.store.objects import read_object
from atoll.store.tree_images import read_image_bytes
from atoll.tree.erofs_reader import parse_below
from atoll.tree.model import Regular

if TYPE_CHECKING:
    from atoll.base.ids import TreeId
    from atoll.store.layout import Store


def read_file(store: Store, tree: TreeId, path: str) -> bytes | None:
    """The content of the file at ``path``, relative to the root; None if it is no regular file.

    Raises NotFound or Damaged.
    """
    return read_image_file(store, read_image_bytes(store, tree), path)


def read_image_file(store: Store, image: bytes, path: str) -> bytes | None:
    """Like ``read_file``, for several files of one tree: ``image`` is its composefs image."""
    node = parse_below(image, path.encode())
    return read_content(store, node, path) if isinstance(node, Regular) else None


def read_content(store: Store, node: Regular, path: str) -> bytes:
    """The content of ``node``; ``path`` is for errors.

    Raises Damaged if the object is missing or does not have the length that the tree declares.
    """
    if node.object is None:
        return node.inline or b""
    data = read_object(store, node.object)
    if len(data) != node.size:
        raise Damaged(f"/{path} in the tree has {node.size} bytes, its object {len(data)}")
    return data

"""The content of one file of a tree in a store."""

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
    """The file at ``path``, relative to the root; None when there is no regular file.

    Raises NotFound or Damaged.
    """
    return read_image_file(store, read_image_bytes(store, tree), path)


def read_image_file(store: Store, image: bytes, path: str) -> bytes | None:
    """``read_file`` for callers that read several files: ``image`` is the tree's image."""
    node = parse_below(image, path.encode())
    return read_content(store, node, path) if isinstance(node, Regular) else None


def read_content(store: Store, node: Regular, path: str) -> bytes:
    """Raises NotFound, and Damaged when the object is not as long as the tree says."""
    if node.object is None:
        return node.inline or b""
    data = read_object(store, node.object)
    if len(data) != node.size:
        raise Damaged(f"/{path} in the tree has {node.size} bytes, its object {len(data)}")
    return data

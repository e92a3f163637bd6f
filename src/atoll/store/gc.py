"""Garbage collection: remove trees without a root, and objects that no remaining tree refers to.

Roots are the refs and the trees that the caller asks to keep. Objects are found by a scan of the
bytes of each image for object ids. A false match keeps an object that could go; none is missed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound
from atoll.host.fs import fsync_directory
from atoll.store.layers import prune_layers
from atoll.store.lock import removing
from atoll.store.refs import list_refs
from atoll.store.tree_images import list_images, read_image_bytes
from atoll.tree.erofs_objects import find_objects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.base.ids import ObjectId, TreeId
    from atoll.store.layout import Store

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class GcResult:
    """Numbers of what was removed, or would be; ``freed`` is disk space in bytes."""

    images: int = 0
    objects: int = 0
    freed: int = 0


def collect(store: Store, keep: Iterable[TreeId], *, dry: bool = False) -> GcResult:
    """Remove what neither a ref nor ``keep`` needs.

    Images are removed before objects, so that an existing image always has its objects. With
    ``dry`` nothing is removed.

    Raises Busy while another operation uses the store. Raises Damaged, before anything is removed,
    when a tree to keep is missing or unreadable, as its objects are then unknown.
    """
    with removing(store):
        wanted = {*keep, *(ref.tree for _, ref in list_refs(store))}
        present = list_images(store)
        needed: set[ObjectId] = set()
        for tree in sorted(wanted):
            # The objects of a lost tree are still needed: once its image is back, it is complete.
            try:
                needed.update(find_objects(read_image_bytes(store, tree)))
            except (NotFound, Damaged) as error:
                raise Damaged(
                    f"garbage collection skipped: {error.message}", hint=error.hint
                ) from error
        images = [os.fspath(store.image_path(tree)) for tree in present if tree not in wanted]
        objects = _unneeded(store, needed)
        freed = sum(os.lstat(path).st_blocks * 512 for path in (*images, *objects))
        if not dry:
            _remove(store, images, objects)
        return GcResult(images=len(images), objects=len(objects), freed=freed)


def _remove(store: Store, images: list[str], objects: list[str]) -> None:
    for path in images:
        os.unlink(path)
    fsync_directory(store.images)
    for path in objects:
        os.unlink(path)
    if objects or images:
        prune_layers(store)


def _unneeded(store: Store, needed: set[ObjectId]) -> list[str]:
    found = []
    root = os.fspath(store.objects)
    for folder in sorted(os.listdir(root)):
        if len(folder) != 2 or not set(folder) <= _HEX:
            continue  # a stray directory, which check_store reports
        for rest in os.listdir(f"{root}/{folder}"):
            if folder + rest not in needed:
                found.append(f"{root}/{folder}/{rest}")
    return found

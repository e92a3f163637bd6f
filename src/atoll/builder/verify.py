"""``atoll build --verify``: build a second time under other conditions, and compare bit for bit.

The second build shares only the packages with the first. It has its own store and cache, on another
file system if possible, and everything that should not matter is varied (``host.variations``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.builder.build import build_tree
from atoll.builder.cache import opened_cache
from atoll.builder.explain_diff import explain_differences
from atoll.builder.publish import publish
from atoll.host.fs import temporary_directory
from atoll.host.mount import enter_private_mounts
from atoll.host.run import run
from atoll.host.variations import variations_applied
from atoll.lock.path import find_lock
from atoll.oci.layout import inspect_layout
from atoll.oci.reference import LayoutReference
from atoll.recipe.model import ImageBase
from atoll.store.layout import open_store
from atoll.store.objects import adding_objects, open_object
from atoll.store.tree_images import read_image, read_image_bytes, write_image_bytes
from atoll.tree.erofs_objects import find_objects
from atoll.tree.model import Regular, walk

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import BlobDigest, TreeId
    from atoll.base.report import Reporter
    from atoll.builder.build import Built
    from atoll.builder.explain_diff import PathDifference
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store

_SHARED = ("apt", "debs")
"""Folders that the second cache gets a copy of: package lists, and package files."""

_SPACE_FACTOR = 4
"""A build from nothing needs at most this many times the size of the tree's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """The digests of one build. ``layers`` are the diff_ids, in the order of the manifest."""

    tree: TreeId
    manifest: BlobDigest
    layers: tuple[BlobDigest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Two builds compared. ``changed`` lists what the second build varied, ``same`` what could not
    be varied on this computer; ``differences`` is empty when the trees are equal."""

    first: BuildResult
    second: BuildResult
    changed: tuple[str, ...]
    same: tuple[str, ...]
    differences: tuple[PathDifference, ...]

    @property
    def identical(self) -> bool:
        return self.first == self.second


def verify_build(
    recipe: Recipe,
    built: Built,
    places: tuple[Store, LayoutReference],
    reporter: Reporter,
    *,
    offline: bool = False,
) -> Verification:
    """Build ``recipe`` again from the current lock, and compare.

    ``built`` is the result of the first build, and ``places`` the store with its tree and the
    layout with its image. Raises what ``build_tree`` and ``publish`` raise.
    """
    store, image = places
    enter_private_mounts()
    first = _result(built, image)
    with (
        opened_cache(store.root / "cache") as cache,
        temporary_directory(cache.root, prefix=".new-verify-") as place,
        variations_applied(place, space=_SPACE_FACTOR * measure_tree(store, built.tree)) as now,
    ):
        reporter.notice(f"building again with variations: {', '.join(now.changed)}")
        again = open_store(now.directory / "store", create=True)
        share_packages(cache.root, again.root / "cache")
        link_base(recipe, store, again)
        rebuilt = build_tree(recipe, again, reporter, offline=offline)
        copy = LayoutReference(directory=str(now.directory / "image"), tag=recipe.image.name)
        publish(recipe, rebuilt, again, copy, reporter)
        differences = explain_differences((store, built.tree), (again, rebuilt.tree))
        return Verification(
            first=first,
            second=_result(rebuilt, copy),
            changed=tuple(now.changed),
            same=tuple(now.same),
            differences=differences,
        )


def measure_tree(store: Store, tree: TreeId) -> int:
    """Bytes of all files of a tree; a hard-linked file counts once."""
    nodes = {id(node): node for _, node in walk(read_image(store, tree))}
    return sum(node.size for node in nodes.values() if isinstance(node, Regular))


def share_packages(cache: Path, other: Path) -> None:
    """Copy package lists and package files into the cache ``other``."""
    other.mkdir(parents=True, exist_ok=True)
    for name in _SHARED:
        if (cache / name).exists():
            run(["cp", "--archive", "--reflink=auto", cache / name, other / name])


def link_base(recipe: Recipe, store: Store, other: Store) -> None:
    """Copy the base image of the recipe into the store ``other``. A base that is a recipe is not
    copied: it is built again."""
    lock = find_lock(recipe)
    if not isinstance(recipe.base, ImageBase) or lock is None or lock.base is None:
        return
    image = read_image_bytes(store, lock.base.tree)
    with adding_objects(other) as writer:
        for name in find_objects(image):
            handle = open_object(store, name)
            try:
                writer.put_file(handle)
            finally:
                os.close(handle)
    write_image_bytes(other, image)


def _result(built: Built, image: LayoutReference) -> BuildResult:
    published = inspect_layout(image)
    layers = tuple(diff_id for diff_id, _ in published.record.layers)
    return BuildResult(tree=built.tree, manifest=published.digest, layers=layers)

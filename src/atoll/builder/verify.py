"""A build made a second time, elsewhere and otherwise, to see whether it repeats bit for bit.

The second build shares nothing with the first one but the packages: it has a store and a cache of
its own, on another file system where that is possible, and all that should not matter is changed.
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
"""What the second cache starts with: which packages there are, and their files."""

_ROOM = 4
"""How many times the size of a tree's files a build from nothing needs, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What one build gave. ``layers`` are the diff_ids, in their order."""

    tree: TreeId
    manifest: BlobDigest
    layers: tuple[BlobDigest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """``changed`` says what was otherwise the second time, ``same`` what could not be."""

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
        variations_applied(place, space=_ROOM * measure_tree(store, built.tree)) as now,
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
    """Bytes of all files of a tree; one of two names counts."""
    nodes = {id(node): node for _, node in walk(read_image(store, tree))}
    return sum(node.size for node in nodes.values() if isinstance(node, Regular))


def share_packages(cache: Path, other: Path) -> None:
    other.mkdir(parents=True, exist_ok=True)
    for name in _SHARED:
        if (cache / name).exists():
            run(["cp", "--archive", "--reflink=auto", cache / name, other / name])


def link_base(recipe: Recipe, store: Store, other: Store) -> None:
    """Let ``other`` have the image that the recipe is derived from; a recipe is built again."""
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

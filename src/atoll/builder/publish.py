"""A tree of the store as an image that travels, its layers divided by Debian package.

Which package a path is from stands in the tree's own package database, so any tree of the store can
be published, whoever built it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.builder.finish.factory import FACTORY
from atoll.debian.dpkg_database import name_of_list, parse_owners
from atoll.image.paths import DPKG
from atoll.oci.config import ImageConfig
from atoll.oci.layout import inspect_layout
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.reference import RegistryReference, format_reference, parse_reference
from atoll.oci.system_label import read_system_label
from atoll.store.objects import read_object
from atoll.store.tree_images import read_image
from atoll.tree.model import Directory, Regular

if TYPE_CHECKING:
    from atoll.base.ids import BlobDigest
    from atoll.base.report import Reporter
    from atoll.builder.build import Built
    from atoll.lock.model import LockedBase
    from atoll.oci.image import PublishedImage
    from atoll.oci.reference import LayoutReference
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store

_OCI = "org.opencontainers.image"
_DATABASE = f"/{DPKG}"
_MOVED = (("/opt/", "/usr/lib/opt/"), ("/var/", f"{FACTORY}/var/"))


def publish(
    recipe: Recipe, built: Built, store: Store, target: LayoutReference, reporter: Reporter
) -> BlobDigest:
    """Write what was built as an image into the OCI layout ``target``; its manifest's digest."""
    config = ImageConfig(
        name=recipe.image.name,
        version=recipe.image.version,
        created=built.epoch,
        architecture=built.architecture,
        system=read_system_label(store, built.tree),
        labels=plan_labels(recipe, built.base),
    )
    there = _find_published(target) if built.reused else None
    if (
        there is not None
        and there.record.tree == built.tree
        and there.record.config == config
        and there.record.container is not None
    ):
        return there.digest
    owners = read_tree_owners(store, read_image(store, built.tree))
    return write_layout(
        store, NewImage(tree=built.tree, config=config, owner_of=owners), target, reporter
    )


def read_tree_owners(store: Store, tree: Directory) -> dict[bytes, str]:
    """Path in the tree to the package that ships it."""
    database = _find(tree, _DATABASE)
    info = _find(database, "info")
    lists = [
        (name_of_list(os.fsdecode(name)), _text(store, node))
        for name, node in sorted(info.entries.items())
        if name.endswith(b".list") and isinstance(node, Regular)
    ]
    diversions = database.entries.get(b"diversions")
    text = _text(store, diversions) if isinstance(diversions, Regular) else ""
    owners = parse_owners(lists, text)
    return {os.fsencode(_place(path)): package for path, package in owners.items()}


def plan_labels(recipe: Recipe, base: LockedBase | None) -> tuple[tuple[str, str], ...]:
    """What the recipe says of the image, and which image it was derived from."""
    labels = {}
    if recipe.image.description:
        labels[f"{_OCI}.description"] = recipe.image.description
    if base is not None and base.manifest:
        labels[f"{_OCI}.base.digest"] = base.manifest
        reference = parse_reference(base.reference)
        if isinstance(reference, RegistryReference):
            name = format_reference(replace(reference, digest=None))
            labels[f"{_OCI}.base.name"] = name.removeprefix("docker://")
    return tuple(sorted({**labels, **dict(recipe.image.labels)}.items()))


def _find_published(target: LayoutReference) -> PublishedImage | None:
    """What the layout has under that tag, None when it is nothing that can be read."""
    try:
        return inspect_layout(target)
    except (NotFound, Damaged):
        return None


def _place(path: str) -> str:
    """Where the shape of a tree has put ``path``."""
    for start, place in _MOVED:
        if path.startswith(start):
            return place + path.removeprefix(start)
    return path


def _find(tree: Directory, path: str) -> Directory:
    here = tree
    for name in path.strip("/").split("/"):
        node = here.entries.get(os.fsencode(name))
        if not isinstance(node, Directory):
            raise Refused(
                f"the tree has no package database: {path} is not there",
                hint="only trees that Atoll built can be published",
            )
        here = node
    return here


def _text(store: Store, node: Regular) -> str:
    if node.object is None:
        return (node.inline or b"").decode(errors="surrogateescape")
    return read_object(store, node.object, verify=False).decode(errors="surrogateescape")

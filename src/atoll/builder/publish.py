"""Publish a tree of the store as an OCI image, with its layers divided by Debian package.

The tree's own dpkg database says which package a path belongs to, so any tree that Atoll built can
be published, also one from another computer.
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
    """Write the built tree as an image into the OCI layout ``target``; the digest of the manifest.

    Nothing is written when the layout has this image under this tag already. Raises Refused for a
    tree without a package database, NoSpace or Damaged.
    """
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
    """The package that ships each path of the tree. Raises Refused without a package database."""
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
    return {os.fsencode(_path_in_image(path)): package for path, package in owners.items()}


def plan_labels(recipe: Recipe, base: LockedBase | None) -> tuple[tuple[str, str], ...]:
    """The labels of the image (OCI annotation keys): description, base, and the recipe's own."""
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
    """The image that the layout has under this tag; None if there is none, or it is damaged."""
    try:
        return inspect_layout(target)
    except (NotFound, Damaged):
        return None


def _path_in_image(path: str) -> str:
    """Where the image layout has ``path``, a path that dpkg knows."""
    for start, moved in _MOVED:
        if path.startswith(start):
            return moved + path.removeprefix(start)
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

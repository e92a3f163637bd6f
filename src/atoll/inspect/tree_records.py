"""Read the recipe and the lock that a tree carries in /usr/lib/atoll."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, RecipeError, Refused
from atoll.image.paths import INCLUDED, LOCK, RECIPE
from atoll.lock.serialize import parse_lock
from atoll.recipe.language.parse import parse_recipe

if TYPE_CHECKING:
    from atoll.inspect.tree_source import OpenTree
    from atoll.lock.model import Lock
    from atoll.recipe.language.includes import Load
    from atoll.recipe.model import Recipe

RECORD_PATHS = {"recipe": RECIPE, "lock": LOCK}
"""The paths of the records in a tree, by kind."""


def has_record(tree: OpenTree, kind: str) -> bool:
    """Whether a tree has a record of this ``kind`` (a key of ``RECORD_PATHS``)."""
    return bool(tree.contents([RECORD_PATHS[kind]]))


def read_record(tree: OpenTree, kind: str) -> bytes:
    """The content of a record. Raises NotFound if the tree has none, Refused if it must be pulled
    first."""
    if tree.root is None:
        raise Refused(
            f"{tree.title}: Atoll cannot list its contents before it is pulled",
            hint="it has no table of contents: pull it with atoll pull, then name store:NAME",
        )
    path = RECORD_PATHS[kind]
    found = tree.contents([path])
    if path not in found:
        raise NotFound(
            f"{tree.title} carries no {kind}: /{path} is not in it",
            hint="only trees that Atoll built have it",
        )
    return found[path]


def parse_recipe_of(tree: OpenTree) -> Recipe:
    """Parse the recipe in a tree, with the variant and for the architecture of its lock.

    Raises NotFound, Refused, or RecipeError that names the tree.
    """
    text = _text(read_record(tree, "recipe"), tree)
    lock = parse_lock_of(tree)
    return parse_recipe(
        text,
        file=f"{tree.title}: /{RECORD_PATHS['recipe']}",
        variant=lock.variant if lock else None,
        architecture=lock.architecture if lock else None,
        load=_included(tree),
    )


def _included(tree: OpenTree) -> Load:
    """A loader of included recipes: the tree has them numbered in the order of inclusion."""
    names: list[str] = []

    def load(name: str) -> str:
        if name not in names:
            names.append(name)
        number = names.index(name) + 1
        path = f"{INCLUDED}/{number}-{posixpath.basename(name)}"
        found = tree.contents([path])
        if path not in found:
            raise NotFound(f"{tree.title} does not carry it: /{path} is not in it")
        return _text(found[path], tree)

    return load


def parse_lock_of(tree: OpenTree) -> Lock | None:
    """Parse the lock in a tree; None if it has none.

    The result's ``tree`` is set: the file in the tree cannot contain the tree's own digest.
    """
    if not has_record(tree, "lock"):
        return None
    text = _text(read_record(tree, "lock"), tree)
    lock = parse_lock(text, file=f"{tree.title}: /{RECORD_PATHS['lock']}")
    return replace(lock, tree=tree.tree)


def _text(data: bytes, tree: OpenTree) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RecipeError(f"its record is not UTF-8 text: {error}", file=tree.title) from error

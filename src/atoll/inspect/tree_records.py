"""What a tree carries of how it was made: recipe, lock and list of packages, in /usr/lib/atoll."""

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

PATHS = {"recipe": RECIPE, "lock": LOCK}
"""Where a tree has what it carries."""


def has_record(tree: OpenTree, what: str) -> bool:
    return bool(tree.contents([PATHS[what]]))


def read_record(tree: OpenTree, what: str) -> bytes:
    """What a tree carries; raises NotFound when it does not, Refused when nobody can tell yet."""
    if tree.root is None:
        raise Refused(
            f"{tree.title}: Atoll cannot list its contents before it is pulled",
            hint="it has no table of contents: pull it with atoll pull, then name store:NAME",
        )
    path = PATHS[what]
    found = tree.contents([path])
    if path not in found:
        raise NotFound(
            f"{tree.title} carries no {what}: /{path} is not in it",
            hint="only trees that Atoll built have it",
        )
    return found[path]


def parse_recipe_of(tree: OpenTree) -> Recipe:
    """The recipe that a tree carries, with the variant and for the architecture of its lock.

    Raises NotFound, Refused, or RecipeError naming the tree.
    """
    text = _text(read_record(tree, "recipe"), tree)
    lock = parse_lock_of(tree)
    return parse_recipe(
        text,
        file=f"{tree.title}: /{PATHS['recipe']}",
        variant=lock.variant if lock else None,
        architecture=lock.architecture if lock else None,
        load=_included(tree),
    )


def _included(tree: OpenTree) -> Load:
    """Reads what the recipe includes: a tree carries it numbered, in the order of reading."""
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
    """The lock that a tree carries, None when it has none. It says which tree that is: the text in
    the tree cannot."""
    if not has_record(tree, "lock"):
        return None
    text = _text(read_record(tree, "lock"), tree)
    lock = parse_lock(text, file=f"{tree.title}: /{PATHS['lock']}")
    return replace(lock, tree=tree.tree)


def _text(data: bytes, tree: OpenTree) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RecipeError(f"its record is not UTF-8 text: {error}", file=tree.title) from error

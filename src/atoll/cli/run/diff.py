"""``atoll diff``: what it does; ``cli/diff.py`` has its arguments."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo, UsageError
from atoll.cli.output.diff import format_difference
from atoll.cli.output.diff_json import difference_as_json
from atoll.cli.references import (
    ResolvedLock,
    ResolvedRecipe,
    kind_of_resolved,
    opened_resolved,
    opened_store,
    resolve_word,
)
from atoll.inspect import tree_records
from atoll.inspect.describe import describe_lock, describe_recipe, describe_tree
from atoll.inspect.diff import compare_systems
from atoll.lock.path import find_lock
from atoll.lock.serialize import read_lock
from atoll.recipe.language.parse import read_recipe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.cli.references import ResolvedImage, ResolvedTree
    from atoll.inspect.diff import Description
    from atoll.store.layout import Store


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    with opened_store(arguments.store) as store:
        before, after = _describe_both(arguments, store, reporter)
    with reporter.step("Comparing"):
        found = compare_systems(before, after)
    if arguments.json:
        print(json.dumps(difference_as_json(found, files=arguments.files), indent=2))
    else:
        print(format_difference(found, files=arguments.files))
    return NothingToDo.exit_code if found.is_equal else 0


def _describe_both(
    arguments: argparse.Namespace, store: Store, reporter: Reporter
) -> tuple[Description, Description]:
    """Describe both sides as the same kind of thing: a tree that is compared with a recipe or a
    lock is described by the recipe or the lock that it contains."""
    words = (arguments.before, arguments.after)
    one, other = (resolve_word(word, store.root, arguments.root) for word in words)
    kinds = {kind_of_resolved(one), kind_of_resolved(other)}
    if kinds == {"recipe", "lock"}:
        raise UsageError(
            "a recipe and a lock cannot be compared with each other",
            hint="compare two recipes (their locks are compared too), or two locks",
        )
    kind = next(iter(kinds - {"tree"}), "tree")
    mixed = len(kinds) > 1
    variants = _variants(arguments.variant)
    found = []
    for word, resolved, variant in zip(words, (one, other), variants, strict=True):
        with reporter.step(f"Reading {word}"):
            if isinstance(resolved, ResolvedRecipe):
                found.append(_describe_recipe(resolved.path, variant, has_files=not mixed))
            elif isinstance(resolved, ResolvedLock):
                found.append(_describe_lock(resolved.path))
            else:
                found.append(_describe_tree(resolved, store, kind))
    return _agreed(found[0], found[1])


def _variants(given: Sequence[str]) -> tuple[str | None, str | None]:
    if len(given) > 2:
        raise UsageError("--variant can be given at most twice: for A and for B")
    return (given[0], given[-1]) if given else (None, None)


def _describe_recipe(path: Path, variant: str | None, *, has_files: bool) -> Description:
    recipe = read_recipe(path, variant)
    found = describe_recipe(recipe, find_lock(recipe), has_files=has_files)
    return found if variant is None else replace(found, title=f"{found.title}, {variant}")


def _describe_lock(path: Path) -> Description:
    return describe_lock(read_lock(path), str(path))


def _describe_tree(resolved: ResolvedImage | ResolvedTree, store: Store, kind: str) -> Description:
    with opened_resolved(resolved, store) as tree:
        if kind == "recipe":
            recipe = describe_recipe(tree_records.parse_recipe_of(tree), None, has_files=False)
            return _with_packages(recipe, describe_tree(tree))
        if kind == "lock":
            lock = tree_records.parse_lock_of(tree)
            if lock is not None:
                return describe_lock(lock, tree.title)
        return describe_tree(tree)


def _with_packages(recipe: Description, tree: Description) -> Description:
    """The recipe in a tree, with the packages of the tree instead of those of a lock."""
    packages = {name: facet for name, facet in tree.facets.items() if name == "packages"}
    return replace(
        recipe,
        title=tree.title,
        facets={**recipe.facets, **packages},
        unknown={name: why for name, why in tree.unknown.items() if name == "packages"},
        sizes=tree.sizes,
        sizes_of=tree.sizes_of,
    )


def _agreed(before: Description, after: Description) -> tuple[Description, Description]:
    """Reduce both sides to packages when one is a lock and the other a tree without a lock: only
    packages can be compared then."""
    kinds = {before.what, after.what}
    if "lock" not in kinds or len(kinds) == 1:
        return before, after
    return _only_packages(before), _only_packages(after)


def _only_packages(one: Description) -> Description:
    return replace(
        one,
        facets={name: facet for name, facet in one.facets.items() if name == "packages"},
        unknown={name: why for name, why in one.unknown.items() if name == "packages"},
        files=None,
        tree=None,
    )

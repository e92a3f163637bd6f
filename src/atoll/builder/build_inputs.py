"""The inputs of a build: the recipe, its base and its lock. Together they decide the tree.

The lock of a derived recipe depends on what its base has installed, so ``atoll lock`` and
``atoll build`` find the base in the same way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.builder.base_image import find_image, keep_base
from atoll.builder.steps.ids import AccountIds
from atoll.builder.use_lock import choose_lock, open_resolver
from atoll.debian.resolve import NOTHING
from atoll.lock.model import LockedBase
from atoll.lock.path import find_lock
from atoll.lock.requirements import name_base
from atoll.recipe.language.parse import read_recipe
from atoll.recipe.model import ImageBase, RecipeBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.ids import TreeId
    from atoll.builder.base_image import BaseImage
    from atoll.builder.build_context import BuildContext
    from atoll.lock.model import Lock
    from atoll.lock.resolve import Resolver
    from atoll.recipe.model import Recipe

    BuildBase = Callable[[BuildContext], TreeId]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInputs:
    """Everything that decides the tree. ``recipe`` has the Debian settings of its base where it
    does not set them itself."""

    recipe: Recipe
    base: BaseImage | None
    lock: Lock

    @property
    def epoch(self) -> int:
        """In seconds since 1970: no modification time in the tree is later."""
        return max(self.lock.epoch, self.base.info.epoch) if self.base else self.lock.epoch

    @property
    def ids(self) -> AccountIds:
        """The ids that accounts keep. Those of the base win over those of the lock."""
        base = self.base.ids if self.base else AccountIds()
        return AccountIds(
            users=_merge_ids(self.lock.users, base.users),
            groups=_merge_ids(self.lock.groups, base.groups),
        )


def find_build_inputs(context: BuildContext, build_base: BuildBase) -> BuildInputs:
    """Find the base of the recipe and the lock to build from. ``build_base`` builds the recipe that
    this one is derived from, if it is. Raises what ``find_base`` and ``choose_lock`` raise."""
    base = find_base(context, build_base)
    recipe = merge_base_settings(context.recipe, base)
    lock = choose_lock(
        replace(context, recipe=recipe),
        base=base.installed if base else NOTHING,
        locked_base=base.locked if base else None,
    )
    return BuildInputs(recipe=recipe, base=base, lock=lock)


def find_resolver(context: BuildContext, lock: Lock | None, build_base: BuildBase) -> Resolver:
    """The resolver that makes and updates locks of the recipe on its base."""
    base = find_base(context, build_base)
    return open_resolver(
        replace(context, recipe=merge_base_settings(context.recipe, base)),
        lock,
        base=base.installed if base else NOTHING,
        locked_base=base.locked if base else None,
    )


def merge_base_settings(recipe: Recipe, base: BaseImage | None) -> Recipe:
    """The recipe, with the Debian settings of its base where it does not set them itself, and with
    its name and version if it is a machine file."""
    if base is None:
        return recipe
    debian, info, image = recipe.debian, base.info, recipe.image
    return replace(
        recipe,
        image=replace(image, name=image.name or info.name, version=image.version or info.version),
        debian=replace(
            debian,
            suite=debian.suite or info.suite,
            components=debian.components or info.components,
            architectures=debian.architectures or info.architectures,
        ),
    )


def find_base(context: BuildContext, build_base: BuildBase) -> BaseImage | None:
    """The tree that the recipe is derived from, in the store. A recipe as base is built first. None
    for a recipe that starts from a suite or from nothing."""
    match context.recipe.base:
        case ImageBase() if context.base is not None:
            return keep_base(context, context.base.locked)
        case ImageBase() as image:
            lock = None if context.moves_base else find_lock(context.recipe)
            pinned = lock.base if lock and lock.base else None
            if pinned and pinned.reference != image.reference:
                pinned = None
            return find_image(context, image, pinned)
        case RecipeBase() as other:
            recipe = read_recipe(other.path, other.variant)
            check_cycle(context, recipe)
            above = (*context.above, context.recipe)
            tree = build_base(replace(context, recipe=recipe, above=above))
            name = name_base(context.recipe)
            return keep_base(context, LockedBase(reference=name, manifest="", tree=tree))
    return None


def check_cycle(context: BuildContext, recipe: Recipe) -> None:
    """Raises RecipeError when ``recipe`` is derived from itself; the message shows the cycle."""
    chain = [*context.above, context.recipe, recipe]
    names = [_name(each) for each in chain]
    if names[-1] in names[:-1]:
        cycle = " → ".join(names[names.index(names[-1]) :])
        raise RecipeError(
            f"is derived from itself: {cycle}",
            file=context.recipe.file,
            key="from",
            hint="derive one of them from an image or a Debian suite",
        )


def _name(recipe: Recipe) -> str:
    path = os.path.realpath(recipe.file)
    return path if recipe.variant is None else f"{path} ({recipe.variant})"


def _merge_ids(
    locked: tuple[tuple[str, int], ...], base: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, int], ...]:
    """The ids of both, sorted by name; those of the base win."""
    return tuple(sorted({**dict(locked), **dict(base)}.items()))

"""What a build stands on: the base of its recipe, the lock, and where its packages are had from.

A lock is made of a recipe and, for a derived one, of what its base has already; a build goes by the
lock. So ``atoll lock`` and ``atoll build`` find their ground in the same way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.build.base_image import find_image, keep_base, read_installed, read_tree_ids
from atoll.build.steps.ids import AccountIds
from atoll.build.use_lock import choose_lock, open_maker
from atoll.debian.resolve import NOTHING
from atoll.lock.model import LockedBase
from atoll.lock.path import find_lock
from atoll.lock.requirements import name_base
from atoll.recipe.language.parse import read_recipe
from atoll.recipe.model import ImageBase, RecipeBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.ids import TreeId
    from atoll.build.base_image import BaseImage
    from atoll.build.build_context import BuildContext
    from atoll.debian.resolve import Installed
    from atoll.image.info import ImageInfo
    from atoll.lock.model import Lock
    from atoll.lock.resolve import Resolver
    from atoll.recipe.model import Recipe

    BuildOther = Callable[[BuildContext], TreeId]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInputs:
    """``recipe`` says of Debian what its base does where it says nothing itself."""

    recipe: Recipe
    base: BaseImage | None
    installed: Installed
    ids: AccountIds
    """Those of the accounts that the base has."""


def find_build_inputs(job: BuildContext, build: BuildOther) -> BuildInputs:
    """``build`` makes the tree of another recipe that this one is derived from."""
    base = _find_base(job, build)
    if base is None:
        return BuildInputs(recipe=job.recipe, base=None, installed=NOTHING, ids=AccountIds())
    return BuildInputs(
        recipe=merge_base_settings(job.recipe, base.said),
        base=base,
        installed=read_installed(job.store, base.tree),
        ids=read_tree_ids(job.store, base.tree),
    )


def merge_base_settings(recipe: Recipe, said: ImageInfo) -> Recipe:
    """The recipe, with what its base says of Debian where it says nothing."""
    debian = recipe.debian
    return replace(
        recipe,
        debian=replace(
            debian,
            suite=debian.suite or said.suite,
            components=debian.components or said.components,
            architectures=debian.architectures or said.architectures,
        ),
    )


def find_ground_lock(job: BuildContext, ground: BuildInputs) -> Lock:
    """The lock to build by; see ``follow.settle_lock``."""
    return choose_lock(
        ground.recipe,
        job.cache,
        job.rules,
        job.reporter,
        base=ground.installed,
        locked_base=_locked(ground),
    )


def inputs_resolver(job: BuildContext, ground: BuildInputs, lock: Lock | None) -> Resolver:
    """What makes and moves locks on this ground."""
    return open_maker(
        ground.recipe,
        lock,
        job.cache,
        job.reporter,
        base=ground.installed,
        locked_base=_locked(ground),
    )


def _locked(ground: BuildInputs) -> LockedBase | None:
    return ground.base.locked if ground.base else None


def _find_base(job: BuildContext, build: BuildOther) -> BaseImage | None:
    """The tree that the recipe is derived from, in the store; another recipe is built first."""
    match job.recipe.base:
        case ImageBase() as image:
            lock = None if job.moves_base else find_lock(job.recipe)
            pinned = lock.base if lock and lock.base else None
            if pinned and pinned.reference != image.reference:
                pinned = None
            return find_image(job, image, pinned)
        case RecipeBase() as other:
            recipe = read_recipe(other.path, other.variant)
            check_cycle(job, recipe)
            tree = build(replace(job, recipe=recipe, above=(*job.above, job.recipe)))
            return keep_base(
                job, LockedBase(reference=name_base(job.recipe), manifest="", tree=tree)
            )
    return None


def check_cycle(job: BuildContext, recipe: Recipe) -> None:
    """Raises RecipeError when ``recipe`` waits for itself; names the whole way round."""
    way = [*job.above, job.recipe, recipe]
    names = [_name(each) for each in way]
    if names[-1] in names[:-1]:
        shown = " → ".join(names[names.index(names[-1]) :])
        raise RecipeError(
            f"is derived from itself: {shown}",
            file=job.recipe.file,
            key="from",
            hint="start one of them from an image or a Debian suite",
        )


def _name(recipe: Recipe) -> str:
    path = os.path.realpath(recipe.file)
    return path if recipe.variant is None else f"{path} ({recipe.variant})"

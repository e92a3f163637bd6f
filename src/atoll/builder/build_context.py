"""The request for one build, and the store and cache that it works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.builder.cache import Cache
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """The request for one build.

    ``locked``: there must be a lock, and the build must give its tree. ``offline``: do not use the
    network. ``above``: the recipes derived from this one that wait for it to be built, the
    requested one first. ``moves_base``: use the newest image of the base, not the locked one.
    """

    recipe: Recipe
    store: Store
    cache: Cache
    reporter: Reporter
    locked: bool = False
    offline: bool = False
    above: tuple[Recipe, ...] = ()
    moves_base: bool = False

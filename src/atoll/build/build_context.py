"""One build: what it is asked, and what it may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.build.use_lock import FREELY

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.build.cache import Cache
    from atoll.build.use_lock import Rules
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """``above`` are the recipes that wait for this one, because they are derived from it.

    ``moves_base``: an image that the recipe is derived from is looked for anew, whatever the lock
    says of it.
    """

    recipe: Recipe
    store: Store
    cache: Cache
    reporter: Reporter
    rules: Rules = FREELY
    above: tuple[Recipe, ...] = ()
    moves_base: bool = False

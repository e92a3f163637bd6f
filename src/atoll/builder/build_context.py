"""One build: the request, and where it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.builder.use_lock import FREELY

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.builder.cache import Cache
    from atoll.builder.use_lock import Rules
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """``above`` are the recipes that are derived from this one and wait for it to be built.

    ``moves_base``: use the newest image of the base, whatever the lock says.
    """

    recipe: Recipe
    store: Store
    cache: Cache
    reporter: Reporter
    rules: Rules = FREELY
    above: tuple[Recipe, ...] = ()
    moves_base: bool = False

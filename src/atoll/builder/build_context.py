"""The request for one build, and the store and cache that it works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.builder.cache import Cache
    from atoll.lock.model import LockedBase
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenBase:
    """A base that the caller chose, and that is in the store. ``ref`` is the ref of what is built
    from it, instead of the image's name."""

    locked: LockedBase
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """The request for one build.

    ``locked``: there must be a lock, and the build must give its tree. ``offline``: do not use the
    network. ``above``: the recipes derived from this one that wait for it to be built, the
    requested one first. ``moves_base``: use the newest image of the base, not the locked one.
    ``base``: the base to use, whatever the lock says.
    """

    recipe: Recipe
    store: Store
    cache: Cache
    reporter: Reporter
    locked: bool = False
    offline: bool = False
    above: tuple[Recipe, ...] = ()
    moves_base: bool = False
    base: ChosenBase | None = None

    @property
    def bases_ref(self) -> str:
        """The ref that keeps the base in the store."""
        return f"bases/{self.base.ref if self.base else self.recipe.image.name or 'machine'}"

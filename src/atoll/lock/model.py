"""``atoll.lock``: every input of a build pinned, as values; ``text`` writes and reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.base.ids import TreeId
    from atoll.debian.pin import Pin, PinnedArchive

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBase:
    """The image that the tree is derived from: what the recipe calls it, its manifest and tree.

    ``manifest`` is empty where the base has none: a recipe, or a tree of the store.
    """

    reference: str
    manifest: str
    tree: TreeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """``epoch`` is in seconds; no time in the tree is later.

    ``wishes`` is the digest of everything in the recipe that decides packages, so that a lock that
    no longer fits is noticed; ``asked`` says that in words, a fact each. ``inputs`` maps files,
    URLs and scripts, as the recipe names them, to their SHA-256. ``users`` and ``groups`` are the
    ids of every account that packages make. ``tools`` are the programs that decide bits, with their
    versions; ``tool_pins`` the packages that they come from. ``tree`` is what a build of all this
    gave, None before the first one.
    """

    variant: str | None = None
    architecture: str
    epoch: int
    wishes: str
    asked: tuple[str, ...] = ()
    base: LockedBase | None = None
    archives: tuple[PinnedArchive, ...] = ()
    packages: tuple[Pin, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    users: tuple[tuple[str, int], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()
    tools: tuple[tuple[str, str], ...] = ()
    tool_pins: tuple[Pin, ...] = ()
    tree: TreeId | None = None

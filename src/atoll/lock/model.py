"""``atoll.lock`` as values: every input of a build, pinned. ``serialize`` reads and writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.base.ids import TreeId
    from atoll.debian.pin import Pin, PinnedArchive

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBase:
    """The base of a derived tree: its name in the recipe, its manifest digest and its tree.

    ``manifest`` is empty if the base has none: a recipe, or a tree of the store.
    """

    reference: str
    manifest: str
    tree: TreeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock; attributes have the names of the keys in the file.

    ``epoch`` is in seconds since 1970; no time in the tree is later. ``wishes`` is a digest of
    everything in the recipe that decides packages, to detect a lock that no longer matches its
    recipe; ``asked`` lists the same as text, one fact per line. ``inputs`` maps files, URLs and
    scripts, as named in the recipe, to their SHA-256. ``users`` and ``groups`` are the ids of all
    accounts that packages create. ``tools`` are programs whose version affects the result, with
    their versions; ``tool_pins`` are the packages that contain them. ``tree`` is the result of a
    build, None before the first one.
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

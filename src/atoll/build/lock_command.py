"""``atoll lock``: let a lock follow its recipe, move it, or say what of it is out of date."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.build.build import build_job
from atoll.build.build_context import Job
from atoll.build.build_inputs import find_ground, ground_maker
from atoll.build.cache import opened_cache
from atoll.build.use_lock import asked_epoch, with_inputs
from atoll.debian.resolve import find_newer
from atoll.host.mount import enter_private_mounts
from atoll.host.userns import become_root
from atoll.lock.path import find_lock, lock_path
from atoll.lock.resolve import compare_locks, fits, grow_lock, installed_pins, make_lock, move_lock
from atoll.lock.serialize import read_lock, write_lock
from atoll.recipe.model import RecipeBase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.debian.pin import Pin
    from atoll.lock.model import Lock
    from atoll.lock.resolve import Difference, Maker
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocked:
    """What became of a lock. ``written`` is False when it was right as it was."""

    path: Path
    lock: Lock
    difference: Difference
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outdated:
    """A locked package of which an archive has a newer version. ``security``: from a suite that
    exists for that."""

    pin: Pin
    newer: Pin
    security: bool


def follow_recipe(recipe: Recipe, store: Store, reporter: Reporter) -> Relocked:
    """Make the lock when there is none; let it fit the recipe, moving nothing that may stay."""
    before = find_lock(recipe)
    with opened_maker(recipe, store, reporter, before) as maker:
        if before is None or not stands_on(before, maker):
            after = make_lock(maker, epoch=asked_epoch(), before=before)
        elif fits(before, maker.recipe, maker.wishes):
            after = before
        else:
            after = grow_lock(before, maker)
    return _settle(recipe, before, after)


def update(recipe: Recipe, store: Store, names: Sequence[str], reporter: Reporter) -> Relocked:
    """Move the packages ``names`` and what they need to the newest; without names, everything, the
    base included."""
    before = find_lock(recipe)
    with opened_maker(recipe, store, reporter, before, moves_base=not names) as maker:
        if before is not None and names and stands_on(before, maker):
            if not fits(before, maker.recipe, maker.wishes):
                before = grow_lock(before, maker)
            after = move_lock(before, maker, names, epoch=asked_epoch())
        else:
            after = make_lock(maker, epoch=asked_epoch(), before=before)
            if before and is_same_choice(before, after):
                after = before
    return _settle(recipe, find_lock(recipe), after)


def audit(recipe: Recipe, store: Store, reporter: Reporter) -> tuple[Outdated, ...]:
    """Locked packages of which the archives have newer versions now; raises NotFound."""
    lock = read_lock(lock_path(recipe))
    with opened_maker(recipe, store, reporter, lock) as maker:
        apt = maker.open_apt()
        installed = installed_pins(maker, lock.packages, maker.stanzas(lock.packages))
        newer = find_newer(apt, maker.wishes, installed=installed)
    suites = {source.name: source.suite for source in apt.sources}
    old = {(pin.name, pin.architecture): pin for pin in lock.packages}
    found = (
        Outdated(pin=old[key], newer=pin,
                 security=suites.get(pin.archive, "").endswith("-security"))
        for pin in newer
        if (key := (pin.name, pin.architecture)) in old
    )  # fmt: skip
    return tuple(sorted(found, key=lambda one: (not one.security, one.pin.name)))


@contextmanager
def opened_maker(
    recipe: Recipe, store: Store, reporter: Reporter, lock: Lock | None, *, moves_base: bool = False
) -> Iterator[Maker]:
    """What makes locks of ``recipe``; another recipe that it is derived from is built for it."""
    if isinstance(recipe.base, RecipeBase):
        become_root("building the base of the recipe")
        enter_private_mounts()
    with opened_cache(store.root / "cache") as cache:
        job = Job(recipe=recipe, store=store, cache=cache, reporter=reporter, moves_base=moves_base)
        ground = find_ground(job, lambda other: build_job(other).tree)
        with reporter.step("Choosing packages"):
            yield ground_maker(job, ground, lock)


def stands_on(lock: Lock, maker: Maker) -> bool:
    """Whether the base of the recipe is still that of the lock."""
    base = maker.locked_base
    return (lock.base.tree if lock.base else None) == (base.tree if base else None)


def is_same_choice(before: Lock, after: Lock) -> bool:
    same_base = replace(before, base=after.base) == before
    return same_base and before.asked == after.asked and compare_locks(before, after).empty


def _settle(recipe: Recipe, before: Lock | None, chosen: Lock) -> Relocked:
    path, after = lock_path(recipe), with_inputs(chosen, recipe)
    written = after != before
    if written:
        write_lock(path, after)
    return Relocked(path=path, lock=after, difference=compare_locks(before, after), written=written)

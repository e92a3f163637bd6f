"""``atoll lock``: create a lock, extend it, update it, or list what is out of date."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.builder.build import build_in
from atoll.builder.build_context import BuildContext, ChosenBase
from atoll.builder.build_inputs import find_resolver
from atoll.builder.cache import opened_cache
from atoll.builder.use_lock import source_date_epoch, with_inputs
from atoll.debian.resolve import find_newer
from atoll.host.mount import enter_private_mounts
from atoll.host.userns import become_root
from atoll.lock.path import find_lock, lock_path
from atoll.lock.resolve import (
    compare_locks,
    extend_lock,
    installed_pins,
    make_lock,
    satisfies,
    update_packages,
)
from atoll.lock.serialize import read_lock, write_lock
from atoll.recipe.model import RecipeBase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.debian.pin import Pin
    from atoll.lock.model import Lock
    from atoll.lock.resolve import LockDifference, Resolver
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class LockResult:
    """The result of ``atoll lock``. ``written`` is False when the lock was up to date."""

    path: Path
    lock: Lock
    difference: LockDifference
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OutdatedPin:
    """A locked package that an archive has in a newer version. ``security``: in a security
    suite."""

    pin: Pin
    newer: Pin
    security: bool


def follow_recipe(
    recipe: Recipe,
    store: Store,
    reporter: Reporter,
    *,
    base: ChosenBase | None = None,
) -> LockResult:
    """Create the lock, or extend it to fit the recipe. Locked versions that still fit stay.

    ``base``: as in BuildContext.
    """
    before = find_lock(recipe)
    with opened_resolver(recipe, store, reporter, before, base=base) as resolver:
        if before is None or not has_base(before, resolver):
            after = make_lock(resolver, epoch=source_date_epoch(), before=before)
        elif satisfies(before, resolver.recipe, resolver.requirements):
            after = before
        else:
            after = extend_lock(before, resolver)
    return _write_if_changed(recipe, before, after)


def update(
    recipe: Recipe,
    store: Store,
    names: Sequence[str],
    reporter: Reporter,
    *,
    base: ChosenBase | None = None,
) -> LockResult:
    """Update the packages ``names`` and their dependencies to the newest versions; without names
    all packages, and the base, unless ``base`` is given."""
    before = find_lock(recipe)
    with opened_resolver(
        recipe, store, reporter, before, moves_base=not names, base=base
    ) as resolver:
        if before is not None and names and has_base(before, resolver):
            if not satisfies(before, resolver.recipe, resolver.requirements):
                before = extend_lock(before, resolver)
            after = update_packages(before, resolver, names, epoch=source_date_epoch())
        else:
            after = make_lock(resolver, epoch=source_date_epoch(), before=before)
            if before and is_same_choice(before, after):
                after = before
    return _write_if_changed(recipe, find_lock(recipe), after)


def audit(recipe: Recipe, store: Store, reporter: Reporter) -> tuple[OutdatedPin, ...]:
    """The locked packages that the archives have in newer versions, security updates first. Raises
    NotFound when there is no lock."""
    lock = read_lock(lock_path(recipe))
    with opened_resolver(recipe, store, reporter, lock) as resolver:
        apt = resolver.open_apt()
        installed = installed_pins(resolver, lock.packages, resolver.stanzas(lock.packages))
        newer = find_newer(apt, resolver.requirements, installed=installed)
    suites = {source.name: source.suite for source in apt.sources}
    old = {(pin.name, pin.architecture): pin for pin in lock.packages}
    found = (
        OutdatedPin(
            pin=old[key], newer=pin, security=suites.get(pin.archive, "").endswith("-security")
        )
        for pin in newer
        if (key := (pin.name, pin.architecture)) in old
    )
    return tuple(sorted(found, key=lambda one: (not one.security, one.pin.name)))


@contextmanager
def opened_resolver(
    recipe: Recipe,
    store: Store,
    reporter: Reporter,
    lock: Lock | None,
    *,
    moves_base: bool = False,
    base: ChosenBase | None = None,
) -> Iterator[Resolver]:
    """The resolver that makes locks of ``recipe``. A recipe that it is derived from is built
    first."""
    if isinstance(recipe.base, RecipeBase):
        become_root("building the base of the recipe")
        enter_private_mounts()
    with opened_cache(store.root / "cache") as cache:
        context = BuildContext(
            recipe=recipe,
            store=store,
            cache=cache,
            reporter=reporter,
            moves_base=moves_base,
            base=base,
        )
        resolver = find_resolver(context, lock, lambda other: build_in(other).tree)
        with reporter.step("Choosing packages"):
            yield resolver


def has_base(lock: Lock, resolver: Resolver) -> bool:
    """Whether the lock was made for the base that the recipe has now."""
    base = resolver.locked_base
    return (lock.base.tree if lock.base else None) == (base.tree if base else None)


def is_same_choice(before: Lock, after: Lock) -> bool:
    """Whether both locks choose the same packages and the same base."""
    same_base = replace(before, base=after.base) == before
    return same_base and before.asked == after.asked and compare_locks(before, after).empty


def _write_if_changed(recipe: Recipe, before: Lock | None, chosen: Lock) -> LockResult:
    path, after = lock_path(recipe), with_inputs(chosen, recipe)
    written = after != before
    if written:
        write_lock(path, after)
    return LockResult(
        path=path, lock=after, difference=compare_locks(before, after), written=written
    )

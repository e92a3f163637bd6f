"""Make a lock, extend it when its recipe changes, update it, and compare locks.

A lock that no longer matches its recipe gains only what is missing. Added packages get a stage of
their own as long as no earlier package changes, so that a build can reuse what it installed for the
earlier stages. If a package changes or is removed, all packages go into one stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll import __version__
from atoll.base.errors import PackageError, RecipeError
from atoll.debian.atoll_package import own_path
from atoll.debian.isolated_apt import open_directory
from atoll.debian.resolve import NOTHING, Installed, manual_keys, parse_requirement, resolve
from atoll.debian.sources import read_architecture
from atoll.debian.stanza import closure
from atoll.lock.keep_base import require_base_stays
from atoll.lock.model import Lock
from atoll.lock.own_packages import implied_packages, read_own
from atoll.lock.requirements import (
    architectures,
    digest_requirements,
    find_sources,
    format_requirements,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from atoll.debian.isolated_apt import AptDirectory
    from atoll.debian.pin import Pin, PinnedArchive
    from atoll.debian.resolve import LocalDeb, PackageRequirements, Resolution
    from atoll.debian.stanza import Stanza
    from atoll.lock.model import LockedBase
    from atoll.recipe.model import Recipe

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A package in both locks, with another version or content."""

    before: Pin
    after: Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDifference:
    """The differences between the packages of two locks, sorted by name."""

    added: tuple[Pin, ...] = ()
    removed: tuple[Pin, ...] = ()
    changed: tuple[Changed, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the locks have the same packages."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Resolves the packages of a recipe.

    ``stanzas`` returns the control data of pinned packages by SHA-256. ``base`` are the packages
    that the base of a derived recipe has already.
    """

    recipe: Recipe
    requirements: PackageRequirements
    cache: Path
    stanzas: Callable[[Iterable[Pin]], Mapping[str, Stanza]]
    base: Installed = NOTHING
    locked_base: LockedBase | None = None

    def with_own(self) -> Resolver:
        """Add the files of Atoll's own packages to the requirements, and what they imply.

        Raises NotFound or Damaged.
        """
        present = {deb.name for deb in self.requirements.local}
        missing = [name for name in self.requirements.own if own_path(name) not in present]
        local = (*self.requirements.local, *read_own(missing, self.cache))
        requirements = replace(self.requirements, local=local, implied=implied_packages(local))
        return replace(self, requirements=requirements)

    def open_apt(self) -> AptDirectory:
        """Open apt's directory for the recipe's sources. Raises RecipeError or MissingProgram."""
        return open_directory(
            find_sources(self.recipe, self.cache), architectures(self.recipe), self.cache
        )


def compare_locks(before: Lock | None, after: Lock) -> LockDifference:
    """Compare packages by name and architecture; without ``before`` all are added."""
    old = {(pin.name, pin.architecture): pin for pin in (before.packages if before else ())}
    new = {(pin.name, pin.architecture): pin for pin in after.packages}
    return LockDifference(
        added=tuple(new[key] for key in sorted(new.keys() - old.keys())),
        removed=tuple(old[key] for key in sorted(old.keys() - new.keys())),
        changed=tuple(
            Changed(before=old[key], after=new[key])
            for key in sorted(old.keys() & new.keys())
            if old[key].sha256 != new[key].sha256
        ),
    )


def satisfies(lock: Lock, recipe: Recipe, requirements: PackageRequirements) -> bool:
    """Whether a lock was made for the current package requirements of the recipe."""
    return lock.wishes == digest_requirements(recipe, requirements)


def require_fit(
    lock: Lock, recipe: Recipe, requirements: PackageRequirements, *, file: Path
) -> None:
    """Raise RecipeError with the changes in the recipe if the lock does not satisfy it."""
    if satisfies(lock, recipe, requirements):
        return
    now, then = format_requirements(recipe, requirements), lock.asked
    changes = [f"+ {line}" for line in now if line not in then]
    changes += [f"- {line}" for line in then if line not in now]
    listed = "".join(f"\n    {line}" for line in changes)
    raise RecipeError(
        f"the lock no longer fits the recipe{listed}",
        file=file,
        hint=f"run: atoll lock {recipe.file}",
    )


def make_lock(resolver: Resolver, *, epoch: int | None = None, before: Lock | None = None) -> Lock:
    """Make a lock with the newest packages; inputs and ids are kept from ``before``.

    Raises PackageError, NetworkError, NotFound, RecipeError, Damaged or NoSpace.
    """
    if resolver.locked_base is not None and is_empty(resolver.requirements):
        return _without_packages(resolver, epoch or 0, before)
    resolver = resolver.with_own()
    apt = resolver.open_apt()
    found = resolve(apt, resolver.requirements, installed=resolver.base)
    require_base_stays(found, resolver.base, resolver.requirements)
    lock = Lock(
        variant=resolver.recipe.variant,
        architecture=apt.architectures[0],
        epoch=found.epoch if epoch is None else epoch,
        wishes=digest_requirements(resolver.recipe, resolver.requirements),
        asked=format_requirements(resolver.recipe, resolver.requirements),
        base=resolver.locked_base,
        archives=found.archives,
        packages=found.pins,
        tools=read_tools(),
    )
    return _keep_other_inputs(lock, before)


def is_empty(requirements: PackageRequirements) -> bool:
    """Whether a derived recipe leaves the packages of its base unchanged."""
    return not (
        requirements.install or requirements.remove or requirements.local or requirements.own
    )


def _without_packages(resolver: Resolver, epoch: int, before: Lock | None) -> Lock:
    """A lock without packages, made without an archive: everything is as in the base."""
    lock = Lock(
        variant=resolver.recipe.variant,
        architecture=read_architecture(),
        epoch=epoch,
        wishes=digest_requirements(resolver.recipe, resolver.requirements),
        asked=format_requirements(resolver.recipe, resolver.requirements),
        base=resolver.locked_base,
        tools=read_tools(),
    )
    return _keep_other_inputs(lock, before)


def _keep_other_inputs(lock: Lock, before: Lock | None) -> Lock:
    if before is None:
        return lock
    return replace(lock, inputs=before.inputs, users=before.users, groups=before.groups)


def read_tools() -> tuple[tuple[str, str], ...]:
    """Programs of the building machine that affect the result, with versions: Atoll and zstd."""
    import zstandard

    version = ".".join(str(number) for number in zstandard.ZSTD_VERSION)
    return (("atoll", __version__), ("zstd", version))


def extend_lock(lock: Lock, resolver: Resolver) -> Lock:
    """Extend a lock for a changed recipe; packages that are still wanted stay as they are.

    Raises as ``make_lock``.
    """
    resolver = resolver.with_own()
    requirements = resolver.requirements
    pins = [pin for pin in lock.packages if _may_stay(pin, requirements)]
    # Not of those that go: packages of an earlier Atoll may be nowhere any more.
    stanzas = resolver.stanzas(pins)
    kept = _needed_pins(pins, stanzas, resolver, lock.architecture)
    apt = resolver.open_apt()
    missing = replace(
        requirements,
        base=requirements.base and not kept,
        install=tuple(
            w for w in requirements.arguments if not _satisfies_argument(kept, stanzas, w, lock)
        ),
        implied=(),
        local=tuple(
            deb for deb in requirements.local if deb.sha256 not in {p.sha256 for p in kept}
        ),
    )
    found = resolve(apt, missing, installed=installed_pins(resolver, kept, stanzas))
    require_base_stays(found, resolver.base, resolver.requirements)
    return _merge(lock, resolver, (lock.packages, kept), found)


def update_packages(
    lock: Lock, resolver: Resolver, names: Sequence[str], *, epoch: int | None
) -> Lock:
    """Update the packages ``names`` and their dependencies; all others stay as they are.

    Raises PackageError for a name that is not in the lock, and as ``make_lock``.
    """
    present = {pin.name for pin in lock.packages}
    unknown = [name for name in names if name not in present]
    if unknown:
        raise PackageError(
            f"not in the lock: {', '.join(unknown)}", hint="atoll lock adds what the recipe names"
        )
    resolver = resolver.with_own()
    names = _with_both_own(names, resolver.requirements)
    local = tuple(deb for deb in resolver.requirements.local if deb.stanza.name in names)
    kept = _without_replaced(lock.packages, local)
    stanzas = resolver.stanzas(kept)
    apt = resolver.open_apt()
    required = {
        argument: parse_requirement(argument).name for argument in resolver.requirements.install
    }
    arguments = [argument for argument, name in required.items() if name in names] + [
        name for name in names if name not in required.values()
    ]
    asked = replace(
        resolver.requirements,
        base=False,
        install=tuple(arguments),
        remove=(),
        local=local,
        implied=tuple(
            argument for argument in resolver.requirements.implied if argument not in present
        ),
    )
    found = resolve(apt, asked, installed=installed_pins(resolver, kept, stanzas))
    merged = _merge(lock, resolver, (lock.packages, kept), found)
    if merged == lock:
        return lock
    return replace(merged, epoch=found.epoch if epoch is None else epoch, tree=None)


def _with_both_own(names: Sequence[str], requirements: PackageRequirements) -> Sequence[str]:
    """Add both of Atoll's own packages if one is named: they must have the same version."""
    both = requirements.own if {*requirements.own} & {*names} else ()
    return tuple(dict.fromkeys((*names, *both)))


def _without_replaced(pins: Sequence[Pin], local: Iterable[LocalDeb]) -> tuple[Pin, ...]:
    """Remove the pins that a local file replaces: with equal versions apt would see no change."""
    files = {deb.stanza.name: deb.sha256 for deb in local}
    return tuple(pin for pin in pins if files.get(pin.name, pin.sha256) == pin.sha256)


def _may_stay(pin: Pin, requirements: PackageRequirements) -> bool:
    """Whether the recipe may still want a pin: not if it removes it, or its local file changed."""
    if pin.name in requirements.remove:
        return False
    return bool(pin.archive) or any(deb.sha256 == pin.sha256 for deb in requirements.local)


def _needed_pins(
    pins: Sequence[Pin], stanzas: Mapping[str, Stanza], resolver: Resolver, native: str
) -> list[Pin]:
    """The pins that the recipe asks for, with their dependencies."""
    requirements = resolver.requirements
    available = [*resolver.base.stanzas, *(stanzas[pin.sha256] for pin in pins)]
    roots = set(manual_keys(requirements.arguments, available, native, requirements.local))
    if requirements.base:
        roots |= {one.key for one in available if one.essential or one.name == "apt"}
    needed = closure(available, roots, recommends=requirements.recommends)
    return [pin for pin in pins if (pin.name, pin.architecture) in needed]


def _satisfies_argument(
    kept: Sequence[Pin], stanzas: Mapping[str, Stanza], text: str, lock: Lock
) -> bool:
    """Whether the pins satisfy an argument for apt."""
    requirement = parse_requirement(text)
    suites = {one.name: one.suite for one in lock.archives}
    for pin in kept:
        if not requirement.matches(stanzas[pin.sha256], lock.architecture):
            continue
        if requirement.version is not None and (pin.name, pin.version) != (
            requirement.name,
            requirement.version,
        ):
            continue
        if requirement.suite is not None and requirement.suite not in (
            pin.archive,
            suites.get(pin.archive),
        ):
            continue
        return True
    return False


def installed_pins(
    resolver: Resolver, pins: Iterable[Pin], stanzas: Mapping[str, Stanza]
) -> Installed:
    """The packages of the base, replaced and extended by the pins."""
    pins = list(pins)
    keys = {(pin.name, pin.architecture) for pin in pins}
    unchanged = [stanza for stanza in resolver.base.stanzas if stanza.key not in keys]
    return Installed(
        stanzas=(*unchanged, *(stanzas[pin.sha256] for pin in pins)),
        automatic=frozenset(resolver.base.automatic - keys)
        | {(pin.name, pin.architecture) for pin in pins if pin.automatic},
    )


def _merge(
    lock: Lock, resolver: Resolver, pins: tuple[Sequence[Pin], Sequence[Pin]], found: Resolution
) -> Lock:
    """Merge a resolution into a lock; ``pins`` are its previous pins, and those that are kept."""
    previous, kept = pins
    new_pins = {(pin.name, pin.architecture): pin for pin in found.pins}
    old: dict[Key, Pin] = {(pin.name, pin.architecture): pin for pin in kept}
    outdated = (set(found.removed) & old.keys()) | (new_pins.keys() & old.keys())
    staying = [pin for key, pin in old.items() if key not in outdated]
    disturbed = bool(outdated) or len(kept) < len(previous)
    stage = 1 if disturbed else max((pin.stage for pin in previous), default=0) + 1
    archives, names = _merge_archives(staying, lock.archives, found.archives)
    new = [
        replace(
            pin,
            stage=stage,
            archive=names.get(pin.archive, ""),
            automatic=old[key].automatic if key in old else pin.automatic,
        )
        for key, pin in new_pins.items()
    ]
    if disturbed:
        staying = [replace(pin, stage=1) for pin in staying]
    staying = _clear_automatic(staying, resolver.requirements)
    packages = tuple(
        sorted([*staying, *new], key=lambda pin: (pin.stage, pin.name, pin.architecture))
    )
    asked = format_requirements(resolver.recipe, resolver.requirements)
    changed = packages != lock.packages
    return replace(
        lock,
        wishes=digest_requirements(resolver.recipe, resolver.requirements),
        asked=asked,
        base=resolver.locked_base,
        archives=archives if changed else lock.archives,
        packages=packages,
        tools=read_tools() if changed else lock.tools,
        tree=None if changed or asked != lock.asked else lock.tree,
    )


def _clear_automatic(pins: Iterable[Pin], requirements: PackageRequirements) -> list[Pin]:
    """Clear the automatic mark of packages that the recipe names."""
    named = {parse_requirement(word).name for word in requirements.arguments}
    return [replace(pin, automatic=False) if pin.name in named else pin for pin in pins]


def _merge_archives(
    kept: Sequence[Pin], before: Iterable[PinnedArchive], after: Iterable[PinnedArchive]
) -> tuple[tuple[PinnedArchive, ...], dict[str, str]]:
    """Merge the current archives with previous ones that kept pins refer to.

    Also returns the new names of current archives whose name a previous one has for another URI,
    such as another time of a snapshot service.
    """
    used = {pin.archive for pin in kept}
    old = {one.name: one for one in before if one.name in used}
    merged, names = dict(old), {}
    for one in after:
        name, number = one.name, 2
        while name in old and old[name].uri != one.uri:
            name, number = f"{one.name}@{number}", number + 1
        names[one.name] = name
        merged[name] = replace(one, name=name)
    return tuple(merged.values()), names

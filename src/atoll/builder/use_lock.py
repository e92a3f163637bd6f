"""The lock of a build: which one a build goes by, and what the lock learns from the build.

What was chosen is never moved by a build: packages, and the base that a recipe is derived from.
What comes of it is written down: ids of accounts, digests of the recipe's own files, the tree.
These follow when the recipe's files change; ``--locked`` refuses instead.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, RecipeError, Refused, UsageError
from atoll.builder.steps.local_files import digest_named
from atoll.builder.steps.packages import LockedPackages
from atoll.debian.resolve import NOTHING
from atoll.lock.own_packages import notice_other_own
from atoll.lock.path import find_lock, lock_path
from atoll.lock.requirements import package_requirements, read_local
from atoll.lock.resolve import Resolver, make_lock, read_tools, require_fit
from atoll.lock.serialize import write_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.builder.cache import Cache
    from atoll.debian.pin import Pin
    from atoll.debian.resolve import Installed
    from atoll.debian.stanza import Stanza
    from atoll.lock.model import Lock, LockedBase
    from atoll.recipe.model import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How strictly a build follows its lock. ``locked``: it must be there, and give its tree again.
    ``offline``: no network is touched."""

    locked: bool = False
    offline: bool = False


FREELY = Rules()
_LOCKED_ELSEWHERE = ("packages.install", "from")
"""Keys of local files that a lock pins in tables of their own, not among its inputs."""


def choose_lock(
    recipe: Recipe,
    cache: Cache,
    rules: Rules,
    reporter: Reporter,
    *,
    base: Installed = NOTHING,
    locked_base: LockedBase | None = None,
) -> Lock:
    """The lock to build by: the one that is there, which must fit, or one made now (not written).

    ``base`` is what a tree has already that the recipe is derived from. Raises RecipeError (it no
    longer fits), NotFound (``locked`` or ``offline`` without one), and what resolving raises.
    """
    path = lock_path(recipe)
    lock = find_lock(recipe)
    if lock is not None:
        require_fit(lock, recipe, package_requirements(recipe), file=path)
        require_base(lock, locked_base, file=path)
        if not rules.locked:
            notice_other_own(lock.packages, cache.root, reporter)
        if rules.locked and lock.inputs:
            require_inputs(lock, read_inputs(recipe), file=path)
            return lock
        return with_inputs(lock, recipe)
    if rules.locked or rules.offline:
        raise NotFound(f"there is no lock file {path}", hint=f"run: atoll lock {recipe.file}")
    with reporter.step("Choosing packages"):
        resolver = open_resolver(recipe, None, cache, reporter, base=base, locked_base=locked_base)
        lock = make_lock(resolver, epoch=source_date_epoch())
        return with_inputs(lock, recipe)


def with_inputs(lock: Lock, recipe: Recipe) -> Lock:
    """The lock for the recipe's files and the tools as they are now. Where these are others than
    it was written with, nothing is known of the tree."""
    now, tools = read_inputs(recipe), read_tools()
    if (now, tools) == (lock.inputs, lock.tools):
        return lock
    return replace(lock, inputs=now, tools=tools, tree=None)


def open_resolver(
    recipe: Recipe,
    lock: Lock | None,
    cache: Cache,
    reporter: Reporter,
    *,
    base: Installed = NOTHING,
    locked_base: LockedBase | None = None,
) -> Resolver:
    """What locks of ``recipe`` are made with. Where control data of packages of ``lock`` is asked
    for, they are fetched."""

    def stanzas(pins: Iterable[Pin]) -> Mapping[str, Stanza]:
        assert lock is not None, "only a lock has pins"
        packages = LockedPackages(recipe=recipe, lock=lock, cache=cache, reporter=reporter)
        return {pin.sha256: stanza for pin, stanza in packages.fetch(pins)}

    return Resolver(
        recipe=recipe,
        requirements=package_requirements(recipe),
        cache=cache.root,
        stanzas=stanzas,
        base=base,
        locked_base=locked_base,
    )


def source_date_epoch() -> int | None:
    """SOURCE_DATE_EPOCH, where it is set: no time in a new lock's tree is later."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is not None and not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}, which is not a number of seconds",
            hint="unset it, or set it to seconds since 1970",
        )
    return None if text is None else int(text)


def is_current(recipe: Recipe, tree: TreeId) -> bool:
    """Whether the lock beside the recipe says that ``tree`` is what all its files give now. Of the
    base only the name counts: nobody looks for a newer one.

    Raises what the recipe's local files raise when they are not there or not what they should be.
    """
    lock = find_lock(recipe)
    if lock is None or lock.tree != tree:
        return False
    pinned = {pin.sha256 for pin in lock.packages if not pin.archive}
    local = {deb.sha256 for deb in read_local(recipe)}
    return local <= pinned and with_inputs(lock, recipe) == lock


def check_tree(lock: Lock, tree: TreeId, rules: Rules, reporter: Reporter) -> None:
    """Tell when the same inputs gave another tree than the lock names; with ``locked`` that raises
    Refused."""
    if lock.tree in (None, tree):
        return
    now = dict(read_tools())
    tools = [
        f"{name} {old} then, {now.get(name)} now"
        for name, old in lock.tools
        if now.get(name) != old
    ]
    because = f" ({', '.join(tools)})" if tools else ""
    message = f"the build gave the tree {tree}, but the lock names {lock.tree}{because}"
    if rules.locked:
        raise Refused(message, hint="to see what differs, run: atoll build --verify")
    reporter.notice(message)


def require_inputs(lock: Lock, now: tuple[tuple[str, str], ...], *, file: Path) -> None:
    """Raises RecipeError when the recipe's files are not those that the lock was written with."""
    old, new = dict(lock.inputs), dict(now)
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if changed:
        raise RecipeError(
            f"these changed after the lock was written: {', '.join(changed)}",
            file=file,
            hint="build without --locked to update the lock",
        )


def read_inputs(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """What of the recipe's own decides its tree beside packages: names and SHA-256, sorted."""
    found = dict(_texts(recipe))
    for key, name, _ in recipe.local_files:
        if key not in _LOCKED_ELSEWHERE:
            found[name] = digest_named(recipe, name, key)
    found |= {file.url: file.sha256 for file in recipe.files if file.url and file.sha256}
    return tuple(sorted(found.items()))


def _texts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The recipe's files, named as they lie beside it, so that the folder may be anywhere."""
    folder = Path(recipe.file).parent
    for name, text in recipe.sources or ((Path(recipe.file).name, recipe.text),):
        digest = hashlib.sha256(text.encode()).hexdigest()
        yield os.path.relpath(recipe.resolve(name), folder), digest


def require_base(lock: Lock, base: LockedBase | None, *, file: Path) -> None:
    """Raises RecipeError when the lock was made on another base than there is now."""
    if lock.base == base or (lock.base and base and lock.base.tree == base.tree):
        return
    then = lock.base.tree if lock.base else "none"
    raise RecipeError(
        f"the base of the recipe is now tree {base.tree if base else 'none'}, "
        f"but the lock was made for {then}",
        file=file,
        hint="run: atoll lock --update",
    )


def with_ids(lock: Lock, *, users: Mapping[str, int], groups: Mapping[str, int]) -> Lock:
    """The lock with the ids that it does not have yet."""
    return replace(
        lock,
        users=tuple(sorted((dict(users) | dict(lock.users)).items())),
        groups=tuple(sorted((dict(groups) | dict(lock.groups)).items())),
    )


def complete_lock(
    recipe: Recipe,
    lock: Lock,
    *,
    users: Mapping[str, int] | None = None,
    groups: Mapping[str, int] | None = None,
    tree: TreeId | None = None,
) -> Lock:
    """Write the lock beside its recipe when it is not there or lacks ids or the tree, or when the
    recipe's files changed. What was chosen, and ids that were given, stay."""
    whole = replace(with_ids(lock, users=users or {}, groups=groups or {}), tree=lock.tree or tree)
    if whole != find_lock(recipe):
        write_lock(lock_path(recipe), whole)
    return whole

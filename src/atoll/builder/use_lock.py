"""The lock in a build: which lock the build follows, and what the build writes back into it.

A build never changes what the lock chose: packages, and the base of a derived recipe. It records
what only a build can know: ids of accounts, digests of the recipe's files, the tree. When the
recipe's files change, it records the new digests; with ``--locked`` it fails instead.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, RecipeError, Refused, UsageError
from atoll.builder.steps.local_files import digest_named
from atoll.builder.steps.packages import LockedPackages
from atoll.debian.resolve import NOTHING
from atoll.lock.own_packages import report_other_own
from atoll.lock.path import find_lock, lock_path
from atoll.lock.requirements import package_requirements, read_local
from atoll.lock.resolve import Resolver, make_lock, read_tools, require_fit
from atoll.lock.serialize import write_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.builder.build_context import BuildContext
    from atoll.debian.pin import Pin
    from atoll.debian.resolve import Installed
    from atoll.debian.stanza import Stanza
    from atoll.lock.model import Lock, LockedBase
    from atoll.recipe.model import Recipe


_LOCKED_ELSEWHERE = ("packages.install", "from")
"""Recipe keys whose local files the lock pins in tables of their own, not in ``inputs``."""


def choose_lock(
    context: BuildContext, *, base: Installed = NOTHING, locked_base: LockedBase | None = None
) -> Lock:
    """The lock to build from: the existing one, which must fit the recipe, or a new one, which is
    not written yet.

    ``base`` lists the packages of the tree that the recipe is derived from, and ``locked_base``
    names that tree. Raises RecipeError when the lock does not fit, NotFound when there is none and
    ``locked`` or ``offline`` is set, and the errors of resolving.
    """
    recipe = context.recipe
    path = lock_path(recipe)
    lock = find_lock(recipe)
    if lock is not None:
        require_fit(lock, recipe, package_requirements(recipe), file=path)
        require_base(lock, locked_base, file=path)
        if not context.locked:
            report_other_own(lock.packages, context.cache.root, context.reporter)
        if context.locked and lock.inputs:
            require_inputs(lock, read_inputs(recipe), file=path)
            return lock
        return with_inputs(lock, recipe)
    if context.locked or context.offline:
        raise NotFound(f"there is no lock file {path}", hint=f"run: atoll lock {recipe.file}")
    with context.reporter.step("Choosing packages"):
        resolver = open_resolver(context, None, base=base, locked_base=locked_base)
        lock = make_lock(resolver, epoch=source_date_epoch())
        return with_inputs(lock, recipe)


def with_inputs(lock: Lock, recipe: Recipe) -> Lock:
    """The lock with the current digests of the recipe's files and versions of the tools. If any of
    them changed, the tree digest is dropped: the build may give another tree."""
    now, tools = read_inputs(recipe), read_tools()
    if (now, tools) == (lock.inputs, lock.tools):
        return lock
    return replace(lock, inputs=now, tools=tools, tree=None)


def open_resolver(
    context: BuildContext,
    lock: Lock | None,
    *,
    base: Installed = NOTHING,
    locked_base: LockedBase | None = None,
) -> Resolver:
    """The resolver that makes and updates locks of the recipe. It fetches the packages of ``lock``
    whose control data it needs."""
    recipe, cache = context.recipe, context.cache

    def stanzas(pins: Iterable[Pin]) -> Mapping[str, Stanza]:
        assert lock is not None, "only a lock has pins"
        packages = LockedPackages(recipe=recipe, lock=lock, cache=cache, reporter=context.reporter)
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
    """SOURCE_DATE_EPOCH in seconds, None when it is not set. It becomes the epoch of a new lock."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is not None and not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}, which is not a number of seconds",
            hint="unset it, or set it to seconds since 1970",
        )
    return None if text is None else int(text)


def is_current(recipe: Recipe, tree: TreeId) -> bool:
    """Whether ``tree`` is what a build of the recipe would give now, according to its lock. Only
    the reference of the base is compared: this does not look for a newer image.

    Raises the errors of missing or unsuitable local files of the recipe.
    """
    lock = find_lock(recipe)
    if lock is None or lock.tree != tree:
        return False
    pinned = {pin.sha256 for pin in lock.packages if not pin.archive}
    local = {deb.sha256 for deb in read_local(recipe)}
    return local <= pinned and with_inputs(lock, recipe) == lock


def check_tree(lock: Lock, tree: TreeId, reporter: Reporter, *, locked: bool) -> None:
    """Report that the same inputs gave a tree other than the locked one. With ``locked`` this is an
    error: Refused."""
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
    if locked:
        raise Refused(message, hint="to see what differs, run: atoll build --verify")
    reporter.notice(message)


def require_inputs(lock: Lock, now: tuple[tuple[str, str], ...], *, file: Path) -> None:
    """Raises RecipeError when files of the recipe changed after the lock was written."""
    old, new = dict(lock.inputs), dict(now)
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if changed:
        raise RecipeError(
            f"these changed after the lock was written: {', '.join(changed)}",
            file=file,
            hint="build without --locked to update the lock",
        )


def read_inputs(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """The recipe's files, and the local and downloaded files that it names, other than packages:
    sorted pairs of name and SHA-256 (64 hex digits)."""
    found = dict(_texts(recipe))
    for key, name, _ in recipe.local_files:
        if key not in _LOCKED_ELSEWHERE:
            found[name] = digest_named(recipe, name, key)
    found |= {file.url: file.sha256 for file in recipe.files if file.url and file.sha256}
    return tuple(sorted(found.items()))


def _texts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The recipe's files with their digests. Names are relative to the recipe's folder, so that the
    folder can move."""
    folder = Path(recipe.file).parent
    for name, text in recipe.sources or ((Path(recipe.file).name, recipe.text),):
        digest = hashlib.sha256(text.encode()).hexdigest()
        yield os.path.relpath(recipe.resolve(name), folder), digest


def require_base(lock: Lock, base: LockedBase | None, *, file: Path) -> None:
    """Raises RecipeError when the lock was made for another base than the current one."""
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
    """The lock, with ids for the accounts that it does not list yet."""
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
    """Add missing ids and the tree to the lock, and write it when it differs from the file. Pins
    and ids that it has already stay."""
    whole = replace(with_ids(lock, users=users or {}, groups=groups or {}), tree=lock.tree or tree)
    if whole != find_lock(recipe):
        write_lock(lock_path(recipe), whole)
    return whole

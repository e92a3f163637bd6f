"""Read the facts that lints need: local files, package lists, and the results of earlier builds.

A fact that cannot be read is not an error: it is listed as missing with the reason, and the check
reports which lints it had to skip.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NotFound, PackageError
from atoll.builder.base_image import read_installed
from atoll.builder.steps.local_files import digest_input
from atoll.debian.apt_query import find_offered, find_providers, read_suites, simulate_install
from atoll.debian.dpkg_database import Package, read_names
from atoll.debian.isolated_apt import open_directory, refresh_lists, sources_id
from atoll.debian.package_lists import opened_lists
from atoll.debian.resolve import find_base
from atoll.host.fs import locked, open_regular
from atoll.host.run import run
from atoll.lint.cached_facts import read_accounts, read_contents
from atoll.lint.model import ArchiveFacts, FactKind, LintFacts, LocalFile
from atoll.lint.names import is_available, local_files, near_names, package_names, wanted_packages
from atoll.lock.own_packages import implied_packages, read_own
from atoll.lock.requirements import (
    architectures,
    find_sources,
    format_requirements,
    package_requirements,
)
from atoll.recipe.model import DebianBase, EmptyBase
from atoll.store.layout import open_store
from atoll.tree.identities import KEY_SIZE, has_private_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.base.report import Reporter
    from atoll.debian.apt_query import AvailablePackage
    from atoll.debian.isolated_apt import AptDirectory
    from atoll.debian.resolve import LocalDeb
    from atoll.lock.model import Lock
    from atoll.recipe.model import Recipe

FRESH = 3600.0
"""Seconds for which package lists are used without refreshing them."""
_COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
_STAMP = "checked"
"""A file whose mtime says when the lists were last refreshed for a check. apt does not update the
mtime of its own files if nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSources:
    """Where facts may come from: a store with its cache, and the network unless ``offline``."""

    store: Path
    offline: bool
    reporter: Reporter

    @property
    def cache(self) -> Path:
        """The directory of the store's build cache."""
        return self.store / "cache"


def read_facts(recipe: Recipe, lock: Lock | None, sources: FactSources) -> LintFacts:
    """Read all available facts; the result's ``missing`` has a reason for each other one."""
    local = {name: read_local(recipe.resolve(name)) for _, name, _ in local_files(recipe)}
    packages, problem = _files(recipe, sources)
    facts = _with_lists(
        LintFacts(local=local, requirements=_requirements(recipe)), recipe, sources, packages
    )
    missing = dict(facts.missing)
    if problem is not None and lock is None:
        facts = replace(facts, plan=None, unmet=facts.unmet or problem)
    if lock is not None:
        facts = replace(facts, plan=_locked_plan(lock, sources))
        missing.pop(FactKind.PLAN, None)
    if facts.plan is None:
        missing.setdefault(FactKind.PLAN, _why_no_plan(recipe))
    debs = {deb.stanza.name: deb.path for deb in packages}
    contents = read_contents(sources.cache, facts.plan, debs) if facts.plan is not None else None
    accounts = read_accounts(sources.cache, lock, facts.plan)
    if contents is None or not contents.whole:
        missing[FactKind.CONTENTS] = "the recipe has not been built here yet"
    if accounts is None:
        missing[FactKind.ACCOUNTS] = "the recipe has not been built here yet"
    return replace(facts, contents=contents, accounts=accounts, missing=missing)


def _files(recipe: Recipe, sources: FactSources) -> tuple[tuple[LocalDeb, ...], str | None]:
    """Packages that are local files, including Atoll's own; and why Atoll's are not available."""
    if sources.offline and not sources.cache.is_dir():
        return (), None
    try:
        requirements = package_requirements(recipe)
    except AtollError:  # an invalid local package, which another lint reports
        return (), None
    try:
        return (*requirements.local, *read_own(requirements.own, sources.cache)), None
    except AtollError as error:
        return requirements.local, error.message


def _with_lists(
    facts: LintFacts, recipe: Recipe, sources: FactSources, local: tuple[LocalDeb, ...]
) -> LintFacts:
    try:
        if recipe.debian.suite is None and not recipe.repositories:
            raise NotFound("the base decides which packages are available")
        if not sources.cache.is_dir():
            if sources.offline:
                raise PackageError(
                    "there are no package lists in the cache, and --offline forbids fetching them"
                )
            sources.cache.mkdir(parents=True)
        with locked(sources.cache / "lock", what=f"the cache in {sources.cache}"):
            apt = find_lists(recipe, sources)
            lists = read_lists(recipe, apt, sources)
            plan, unmet = read_plan(recipe, lists, apt, local)
    except AtollError as error:
        lacking = dict.fromkeys((FactKind.LISTS, FactKind.PLAN), error.message)
        refused = error.message if isinstance(error, PackageError) and not sources.offline else None
        expected = sources.offline or isinstance(error, NotFound)
        failed = frozenset[FactKind]() if expected else frozenset(lacking)
        return replace(facts, refused=refused, missing=lacking, failed=failed)
    if not isinstance(recipe.base, DebianBase | EmptyBase):
        plan, unmet = None, None
    return replace(facts, lists=lists, plan=plan, unmet=unmet)


def find_lists(recipe: Recipe, sources: FactSources) -> AptDirectory:
    """apt's directory for the recipe, with package lists refreshed if older than ``FRESH``.

    If refreshing fails, older lists are used with a notice. Raises PackageError (no such suite, or
    offline and none in the cache) or NetworkError.
    """
    archives, kinds = find_sources(recipe, sources.cache), architectures(recipe)
    known = (sources.cache / "apt" / sources_id(archives, kinds) / "var/lib/apt/lists").exists()
    if sources.offline and not known:
        raise PackageError(
            "there are no package lists in the cache, and --offline forbids fetching them"
        )
    apt = open_directory(archives, kinds, sources.cache)
    stamp = apt.path / _STAMP
    times = [path.stat().st_mtime for path in (apt.lists, stamp) if known and path.exists()]
    if sources.offline or time.time() - max(times, default=0.0) < FRESH:
        return apt
    try:
        with sources.reporter.step(f"Looking at what {apt.suite} offers"):
            refresh_lists(apt)
            stamp.touch()
    except AtollError as error:
        if not any(apt.lists.glob("*_Packages")):
            raise
        sources.reporter.notice(f"the package lists are old: {error.message}")
    return apt


def read_lists(recipe: Recipe, apt: AptDirectory, sources: FactSources) -> ArchiveFacts:
    """What the package lists say of the packages that the recipe names."""
    names = package_names(recipe)
    offers = find_offered(apt, names)
    known = {offer.name for offer in offers}
    not_offered = [name for name in names if name not in known]
    virtual = {name: found for name in not_offered if (found := find_providers(apt, name))}
    unknown = [name for name in not_offered if name not in virtual]
    near: dict[str, tuple[str, ...]] = {}
    elsewhere: tuple[AvailablePackage, ...] = ()
    if unknown:
        all_names = sorted(set(read_names(apt.lists)))
        near = {name: near_names(name, all_names) for name in unknown}
        elsewhere = _offered_elsewhere(recipe, unknown, sources)
    return ArchiveFacts(
        offers=offers,
        virtual=virtual,
        near=near,
        elsewhere=elsewhere,
        suites=read_suites(apt.lists),
    )


def _offered_elsewhere(
    recipe: Recipe, names: Iterable[str], sources: FactSources
) -> tuple[AvailablePackage, ...]:
    """Packages of ``names`` in components that the recipe does not use; empty on errors."""
    used = recipe.debian.components or ("main",)
    others = tuple(name for name in _COMPONENTS if name not in used)
    if not others or recipe.debian.suite is None:
        return ()
    plain = replace(
        recipe,
        debian=replace(recipe.debian, components=others, architectures=()),
        repositories=(),
        packages=replace(recipe.packages, install=(), sources=()),
    )
    try:
        return find_offered(find_lists(plain, sources), names)
    except AtollError:
        return ()


def read_plan(
    recipe: Recipe, lists: ArchiveFacts, apt: AptDirectory, local: tuple[LocalDeb, ...]
) -> tuple[tuple[Package, ...] | None, str | None]:
    """Simulate the installation: (packages, None), or (None, apt's reason).

    Packages that do not exist are left out, as another lint reports them. ``local`` are packages
    that are files.
    """
    requests: list[str] = []
    if isinstance(recipe.base, DebianBase):
        with opened_lists(apt) as found:
            requests += find_base(apt, found)
    requests += [each for each in wanted_packages(recipe) if is_available(each, lists)]
    requests += implied_packages(local)
    requests += [str(deb.path.absolute()) for deb in local]
    removed = (name for name in recipe.packages.remove if lists.knows(name.partition(":")[0]))
    requests += [f"{name}-" for name in removed]
    try:
        return simulate_install(apt, requests, recommends=recipe.packages.recommends), None
    except PackageError as error:
        return None, error.message


def read_local(path: Path) -> LocalFile | None:
    """Read the facts about a local file or directory; None if it does not exist."""
    if not path.exists():
        return None
    if not path.is_file() and not path.is_dir():
        return LocalFile(kind="other")
    try:
        digest = digest_input(path)
    except OSError:
        return LocalFile(kind="other")
    if path.is_dir():
        return LocalFile(kind="directory", sha256=digest, secret=any(_secrets_below(path)))
    package = _package_name(path) if path.suffix == ".deb" else None
    return LocalFile(kind="file", sha256=digest, package=package, secret=_is_secret(path))


def _secrets_below(directory: Path) -> Iterator[bool]:
    for parent, _, names in os.walk(directory):
        yield from (_is_secret(Path(parent, name)) for name in names)


def _is_secret(path: Path) -> bool:
    """Whether a file has a private key. An unreadable file has none: it is reported elsewhere."""
    try:
        with open_regular(path, follow=True) as file:
            return has_private_key(file.read(KEY_SIZE))
    except (OSError, AtollError):
        return False


def _requirements(recipe: Recipe) -> tuple[str, ...] | None:
    """The requirements as a lock has them; None for a derived recipe, whose base has some, too."""
    if not isinstance(recipe.base, DebianBase | EmptyBase):
        return None
    try:
        return format_requirements(recipe, package_requirements(recipe))
    except AtollError:
        return None


def _locked_plan(lock: Lock, sources: FactSources) -> tuple[Package, ...] | None:
    """The packages of the lock and of its base; None if the base is not in the store."""
    found = [(pin.name, pin.version, pin.architecture) for pin in lock.packages]
    if lock.base is not None:
        try:
            stanzas = read_installed(open_store(sources.store), lock.base.tree).stanzas
        except AtollError:
            return None
        locked_names = {row[0] for row in found}
        found += [
            (one.name, one.version, one.architecture)
            for one in stanzas
            if one.name not in locked_names
        ]
    return tuple(sorted(Package(name=n, version=v, architecture=a) for n, v, a in found))


def _why_no_plan(recipe: Recipe) -> str:
    if isinstance(recipe.base, DebianBase | EmptyBase):
        return "the packages cannot be installed together"
    return "it is known once the recipe is locked and its base is in the store"


def _package_name(path: Path) -> str | None:
    try:
        return run(["dpkg-deb", "--field", path, "Package"]).decode(errors="replace").strip()
    except AtollError:
        return None

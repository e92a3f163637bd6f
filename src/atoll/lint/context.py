"""Reads the facts that lints need: local files, package lists, and what earlier builds left.

Whatever cannot be had is missing with a reason, never an error: a check says what it could not see.
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
from atoll.debian.local_archive import write_flat_archive
from atoll.debian.package_lists import opened_lists
from atoll.debian.resolve import find_base
from atoll.host.fs import locked, open_regular
from atoll.host.run import run
from atoll.lint.cached_facts import read_accounts, read_contents
from atoll.lint.model import ArchiveFacts, FactKind, LintFacts, LocalFile
from atoll.lint.names import local_files, near_names, package_names, wanted_packages, word_fits
from atoll.lock.own_packages import implied_words, read_own
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
"""Seconds for which package lists are taken as they are."""
_COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
_STAMP = "checked"
"""Its time is when the lists were fetched for a check; apt leaves theirs when nothing is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSources:
    """Where facts may come from: a store with its cache, and a network unless ``offline``."""

    store: Path
    offline: bool
    reporter: Reporter

    @property
    def cache(self) -> Path:
        return self.store / "cache"


def read_facts(recipe: Recipe, lock: Lock | None, place: FactSources) -> LintFacts:
    """All that can be had."""
    local = {name: read_local(recipe.resolve(name)) for _, name, _ in local_files(recipe)}
    packages, problem = _files(recipe, place)
    facts = _with_lists(LintFacts(local=local, asked=_asked(recipe)), recipe, place, packages)
    missing = dict(facts.missing)
    if problem is not None and lock is None:
        facts = replace(facts, plan=None, unmet=facts.unmet or problem)
    if lock is not None:
        facts = replace(facts, plan=_locked_plan(lock, place))
        missing.pop(FactKind.PLAN, None)
    if facts.plan is None:
        missing.setdefault(FactKind.PLAN, _why_no_plan(recipe))
    debs = {deb.stanza.name: deb.path for deb in packages}
    contents = read_contents(place.cache, facts.plan, debs) if facts.plan is not None else None
    accounts = read_accounts(place.cache, lock, facts.plan)
    if contents is None or not contents.whole:
        missing[FactKind.CONTENTS] = "the recipe has not been built here yet"
    if accounts is None:
        missing[FactKind.ACCOUNTS] = "the recipe has not been built here yet"
    return replace(facts, contents=contents, accounts=accounts, missing=missing)


def _files(recipe: Recipe, place: FactSources) -> tuple[tuple[LocalDeb, ...], str | None]:
    """Packages that are files, Atoll's own included, and why one of these cannot be had."""
    if place.offline and not place.cache.is_dir():
        return (), None
    try:
        requirements = package_requirements(recipe)
    except AtollError:  # a file that is named, which is a finding of its own
        return (), None
    try:
        return (*requirements.local, *read_own(requirements.own, place.cache)), None
    except AtollError as error:
        return requirements.local, error.message


def _with_lists(
    facts: LintFacts, recipe: Recipe, place: FactSources, local: tuple[LocalDeb, ...]
) -> LintFacts:
    try:
        if recipe.debian.suite is None and not recipe.repositories:
            raise NotFound("the base decides which packages are available")
        if not place.cache.is_dir():
            if place.offline:
                raise PackageError(
                    "there are no package lists in the cache, and --offline forbids fetching them"
                )
            place.cache.mkdir(parents=True)
        with locked(place.cache / "lock", what=f"the cache in {place.cache}"):
            apt = find_lists(recipe, place)
            lists = read_lists(recipe, apt, place)
            plan, unmet = read_plan(recipe, lists, apt, local)
    except AtollError as error:
        lacking = dict.fromkeys((FactKind.LISTS, FactKind.PLAN), error.message)
        refused = error.message if isinstance(error, PackageError) and not place.offline else None
        expected = place.offline or isinstance(error, NotFound)
        failed = frozenset[FactKind]() if expected else frozenset(lacking)
        return replace(facts, refused=refused, missing=lacking, failed=failed)
    if not isinstance(recipe.base, DebianBase | EmptyBase):
        plan, unmet = None, None
    return replace(facts, lists=lists, plan=plan, unmet=unmet)


def find_lists(recipe: Recipe, place: FactSources) -> AptDirectory:
    """apt's directory for the recipe, with lists not older than ``FRESH`` unless they must be.

    Raises PackageError (no such suite; offline and nothing here), NetworkError.
    """
    sources, kinds = find_sources(recipe, place.cache), architectures(recipe)
    known = (place.cache / "apt" / sources_id(sources, kinds) / "var/lib/apt/lists").exists()
    if place.offline and not known:
        raise PackageError(
            "there are no package lists in the cache, and --offline forbids fetching them"
        )
    apt = open_directory(sources, kinds, place.cache)
    stamp = apt.path / _STAMP
    times = [path.stat().st_mtime for path in (apt.lists, stamp) if known and path.exists()]
    if place.offline or time.time() - max(times, default=0.0) < FRESH:
        return apt
    if not (apt.local / "Packages").exists():
        apt.local.mkdir(exist_ok=True)
        write_flat_archive(apt.local, "")
    try:
        with place.reporter.step(f"Looking at what {apt.suite} offers"):
            refresh_lists(apt)
            stamp.touch()
    except AtollError as error:
        if not any(apt.lists.glob("*_Packages")):
            raise
        place.reporter.notice(f"the package lists are old: {error.message}")
    return apt


def read_lists(recipe: Recipe, apt: AptDirectory, place: FactSources) -> ArchiveFacts:
    names = package_names(recipe)
    offers = find_offered(apt, names)
    known = {offer.name for offer in offers}
    lost = [name for name in names if name not in known]
    virtual = {name: found for name in lost if (found := find_providers(apt, name))}
    unknown = [name for name in lost if name not in virtual]
    near: dict[str, tuple[str, ...]] = {}
    elsewhere: tuple[AvailablePackage, ...] = ()
    if unknown:
        all_names = sorted(set(read_names(apt.lists)))
        near = {name: near_names(name, all_names) for name in unknown}
        elsewhere = _offered_elsewhere(recipe, unknown, place)
    return ArchiveFacts(
        offers=offers,
        virtual=virtual,
        near=near,
        elsewhere=elsewhere,
        suites=read_suites(apt.lists),
    )


def _offered_elsewhere(
    recipe: Recipe, names: Iterable[str], place: FactSources
) -> tuple[AvailablePackage, ...]:
    """What components have that the recipe does not use; nothing where they cannot be asked."""
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
        return find_offered(find_lists(plain, place), names)
    except AtollError:
        return ()


def read_plan(
    recipe: Recipe, lists: ArchiveFacts, apt: AptDirectory, local: tuple[LocalDeb, ...]
) -> tuple[tuple[Package, ...] | None, str | None]:
    """What apt would install of all that is known, or else why it cannot. ``local`` are packages
    that are files."""
    words: list[str] = []
    if isinstance(recipe.base, DebianBase):
        with opened_lists(apt) as found:
            words += find_base(apt, found)
    words += [word for word in wanted_packages(recipe) if word_fits(word, lists)]
    words += implied_words(local)
    words += [str(deb.path.absolute()) for deb in local]
    words += [f"{name}-" for name in recipe.packages.remove if lists.knows(name.partition(":")[0])]
    try:
        return simulate_install(apt, words, recommends=recipe.packages.recommends), None
    except PackageError as error:
        return None, error.message


def read_local(path: Path) -> LocalFile | None:
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


def _secrets_below(folder: Path) -> Iterator[bool]:
    for above, _, names in os.walk(folder):
        yield from (_is_secret(Path(above, name)) for name in names)


def _is_secret(path: Path) -> bool:
    """What cannot be read is told elsewhere."""
    try:
        with open_regular(path, follow=True) as file:
            return has_private_key(file.read(KEY_SIZE))
    except (OSError, AtollError):
        return False


def _asked(recipe: Recipe) -> tuple[str, ...] | None:
    """What a lock would say that the recipe asks for; a derived one asks with its base's words."""
    if not isinstance(recipe.base, DebianBase | EmptyBase):
        return None
    try:
        return format_requirements(recipe, package_requirements(recipe))
    except AtollError:
        return None


def _locked_plan(lock: Lock, place: FactSources) -> tuple[Package, ...] | None:
    """The packages of the lock and of its base; None when the base is not here."""
    found = [(pin.name, pin.version, pin.architecture) for pin in lock.packages]
    if lock.base is not None:
        try:
            stanzas = read_installed(open_store(place.store), lock.base.tree).stanzas
        except AtollError:
            return None
        ours = {row[0] for row in found}
        found += [
            (one.name, one.version, one.architecture) for one in stanzas if one.name not in ours
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
